"""Cross-validation over patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecg.data.beats import Beats, Positions
from ecg.data.protocols.patient_folds import patient_fold
from ecg.data.protocols.protocol import Protocol
from ecg.data.source import Source


@dataclass(frozen=True, kw_only=True)
class PatientKFold(Protocol):
    """One fold of the patients is the test subset.

    Attributes:
        fold: index of the test fold, 0 to n_folds - 1.
        n_folds: number of folds.
    """

    by_patient = True

    fold: int
    n_folds: int

    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """See `Protocol.partition`."""
        return patient_fold(
            beats,
            np.arange(len(beats)),
            n_folds=self.n_folds,
            fold=self.fold,
            seed=self.split_seed,
            setting=f"protocol.n_folds={self.n_folds}",
            remedy="decrease protocol.n_folds",
        )
