"""What a classifier said about every beat of one side of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """Probabilities and truth for n beats, aligned by position.

    Attributes:
        label: (n,) int64, index into `classes`.
        probability: (n, n_classes) float32, rows sum to 1.
        record: (n,) str, the record each beat was cut from.
        patient: (n,) str, the person; the same for two records of one patient.
        sample: (n,) int64, the beat's annotation, at the record's own sampling rate.
        classes: names of the classes, in the order of the columns.
    """

    label: NDArray[np.int64]
    probability: NDArray[np.float32]
    record: NDArray[np.str_]
    patient: NDArray[np.str_]
    sample: NDArray[np.int64]
    classes: tuple[str, ...]
