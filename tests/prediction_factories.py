"""Predictions for tests: random ones, and ones with given confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation.predictions import Predictions

CLASSES = ("N", "S", "V", "F", "Q")


def make_predictions(
    label: NDArray[Any],
    probability: NDArray[Any],
    patient: NDArray[np.str_],
    classes: tuple[str, ...] = CLASSES,
) -> Predictions:
    """Predictions in which each patient has one record of the same name."""
    sample = np.arange(len(label))
    return Predictions(label.astype(np.int64), probability.astype(np.float32), patient, patient, sample, classes)


def random_predictions(
    n: int = 600,
    *,
    classes: tuple[str, ...] = CLASSES,
    prior: Sequence[float] | None = None,
    n_patients: int = 12,
    decimals: int = 2,
    seed: int = 0,
) -> Predictions:
    """Predictions of n random beats. Probabilities with few decimals are often equal."""
    rng = np.random.default_rng(seed)
    label = rng.choice(len(classes), n, p=prior)
    probability = rng.dirichlet(np.ones(len(classes)), n) + 0.6 * np.eye(len(classes))[label]
    probability = np.round(probability / probability.sum(axis=1, keepdims=True), decimals)
    patient = rng.integers(0, n_patients, n).astype(str)
    return make_predictions(label, probability, patient, classes)


def predictions_with_confusion(matrices: dict[str, list[list[int]]], classes: tuple[str, ...]) -> Predictions:
    """Predictions with the given confusion matrix for each record."""
    label, predicted, record = [], [], []
    for name, matrix in matrices.items():
        for truth, row in enumerate(matrix):
            for prediction, n in enumerate(row):
                label += [truth] * n
                predicted += [prediction] * n
                record += [name] * n
    return make_predictions(np.array(label), np.eye(len(classes))[predicted], np.array(record), classes)
