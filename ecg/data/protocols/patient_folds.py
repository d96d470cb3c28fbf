"""Folds of patients with similar class counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecg.data.aami import CLASSES
from ecg.data.beats import Beats, Positions
from ecg.errors import UserError

N_DIVISIONS = 500  # more divisions hardly improve the best one; takes 20 ms


def patient_fold(
    beats: Beats, positions: Positions, *, n_folds: int, fold: int, seed: int, setting: str, remedy: str
) -> tuple[Positions, Positions]:
    """Divides the beats into those outside and those inside of one fold of patients.

    Draws random divisions into folds of equally many patients and uses the one with the most similar class counts,
    since S and F beats come from few patients.

    Args:
        beats: the beats.
        positions: the beats to divide.
        n_folds: number of folds.
        fold: index of the fold, 0 to n_folds - 1.
        seed: seed of the divisions.
        setting: "key=value" of the configuration that decides the number of folds, for the error message.
        remedy: change of this setting that needs fewer patients, for the error message.

    Returns:
        Positions outside of the fold and positions inside of it.

    Raises:
        UserError: there are fewer patients than folds.
    """
    names, patient = np.unique(beats.patient[positions], return_inverse=True)
    if len(names) < n_folds:
        patients = "1 patient is" if len(names) == 1 else f"{len(names)} patients are"
        raise UserError(f"{patients} too few for {setting}, which needs {n_folds:,}. Add records, or {remedy}.")
    counts = np.zeros((len(names), len(CLASSES)))
    np.add.at(counts, (patient, beats.label[positions]), 1)
    fractions = counts / np.maximum(counts.sum(axis=0), 1)  # (patients, classes) of the beats of each class
    rng = np.random.default_rng(seed)
    divisions = [rng.permutation(np.arange(len(names)) % n_folds) for _ in range(N_DIVISIONS)]
    best = min(divisions, key=lambda division: _imbalance(fractions, division, n_folds))  # (patients,) fold of each
    inside = (best == fold)[patient]
    return positions[~inside], positions[inside]


def _imbalance(fractions: NDArray[np.float64], division: NDArray[np.int64], n_folds: int) -> float:
    """Returns the summed deviation of the folds' class fractions from 1 / n_folds; 0 if all folds are equal."""
    of_fold = np.stack([fractions[division == fold].sum(axis=0) for fold in range(n_folds)])  # (folds, classes)
    return float(np.abs(of_fold - fractions.sum(axis=0) / n_folds).sum())
