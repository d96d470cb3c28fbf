"""Training on all records of two databases, for weights that are released."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecg.data.beats import Beats, Positions
from ecg.data.protocols.cross_database import CrossDatabase
from ecg.data.source import Source


@dataclass(frozen=True, kw_only=True)
class AllRecords(CrossDatabase):
    """All records of two databases, except paced ones, are for training.

    A small random fraction of the beats of each class is the test subset. Its scores are those of known patients: how
    well the network classifies new patients is measured with other protocols.

    Attributes:
        test: the source of the second database.
        test_fraction: fraction of the beats.
    """

    by_patient = False
    ec57 = False

    test_fraction: float

    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """See `Protocol.partition`."""
        return self._split_beats(beats, np.arange(len(beats)), "test_fraction")
