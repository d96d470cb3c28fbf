"""A random split of the beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecg.data.beats import Beats, Positions
from ecg.data.protocols.protocol import Protocol
from ecg.data.source import Source


@dataclass(frozen=True, kw_only=True)
class RandomSplit(Protocol):
    """A random fraction of the beats of each class is the test subset. Patients are in several subsets.

    Attributes:
        test_fraction: fraction of the beats.
    """

    test_fraction: float

    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """See `Protocol.partition`."""
        return self._split_beats(beats, np.arange(len(beats)), "test_fraction")
