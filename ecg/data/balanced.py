"""The result of a balance method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.data.beats import Positions


@dataclass(frozen=True)
class BalancedBeats:
    """The training beats that a balance method keeps and the m beats that it adds.

    Attributes:
        kept: positions of the kept beats among the training beats.
        signal: (m, C, T) float32, signals of the added beats.
        rr: (m, R) float32, RR features of the added beats.
        label: (m,) int64, labels of the added beats, as in `Split.labels`.
        provenance: origin of the added beats if they are synthetic.
    """

    kept: Positions
    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]
    provenance: dict[str, Any] = field(default_factory=dict)
