"""Beats that augmentation adds to the training beats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.data.beats import Beats, Positions


@dataclass(frozen=True)
class BalancedBeats:
    """The training beats that a balance method keeps and the m beats that it adds.

    Attributes:
        kept: positions of the kept beats among the training beats.
        signal: (m, C, T) float32, signals of the added beats.
        rr: (m, R) float32, RR features of the added beats.
        label: (m,) int64, labels of the added beats, as in `Split.labels`.
        record: (m,) str, name of the record of each added beat.
        provenance: origin of the added beats if they are synthetic.
    """

    kept: Positions
    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]
    record: NDArray[np.str_]
    provenance: dict[str, Any] = field(default_factory=dict)

    def joined(self, other: BalancedBeats) -> BalancedBeats:
        """Returns the added beats of both; `kept` and `provenance` remain."""
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("signal", "rr", "label", "record")
        }
        return replace(self, **arrays)


@dataclass(frozen=True)
class RecordCopies:
    """Copies of training records with added beats, see `ecg.augmentation.insertion`.

    Attributes:
        beats: the m beats of all copies, those of a copy one after the other. A copy has a name of its own, and the
            patient of its record.
        training: positions of its training beats, added beats included.
        added: positions of the added beats.
        source: name of each copy -> name of its record.
    """

    beats: Beats
    training: Positions
    added: Positions
    source: dict[str, str]
