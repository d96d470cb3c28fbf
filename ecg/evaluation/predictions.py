"""Predictions of a classifier for the beats of one subset of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities and true classes of n beats, in the same order.

    Attributes:
        label: (n,) int64, index of the true class in `classes`.
        probability: (n, n_classes) float32, rows sum to 1.
        record: (n,) str, the record of the beat.
        patient: (n,) str, the patient; the same for all records of one patient.
        sample: (n,) int64, the annotation of the beat, at the sampling rate of the record.
        classes: names of the classes, in the order of the columns.
    """

    label: NDArray[np.int64]
    probability: NDArray[np.float32]
    record: NDArray[np.str_]
    patient: NDArray[np.str_]
    sample: NDArray[np.int64]
    classes: tuple[str, ...]
