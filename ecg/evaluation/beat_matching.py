"""Comparison of detected and classified beats with annotated ones.

    annotated   N     V     N           N
    found       N     N           V     N
    pair        N-N   V-N   N-.   .-V   N-N       . is no beat

A pair is at most 150 ms apart, as in EC57. An annotated beat without a partner is missed, a found one without a partner
is false. Both count in the rates of their class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation.ec57 import NOT_COUNTED, count_outcomes

TOLERANCE = 0.15  # s
NONE = "no beat"

Samples = NDArray[np.int64]


def match(reference: Samples, found: Samples, tolerance: float) -> list[tuple[int, int]]:
    """Returns the pairs (position in reference, position in found): each beat with the closest free detection.

    Args:
        reference: (n,) samples of the annotated beats, ascending.
        found: (m,) samples of the detections, ascending.
        tolerance: largest distance in samples.
    """
    pairs, free = [], np.ones(len(found), bool)
    for i, sample in enumerate(reference):
        near = np.arange(*np.searchsorted(found, [sample - tolerance, sample + tolerance + 1]))
        near = near[free[near]]
        if len(near):
            j = int(near[np.abs(found[near] - sample).argmin()])
            pairs.append((i, j))
            free[j] = False
    return pairs


@dataclass(frozen=True)
class Comparison:
    """Annotated beats (rows) and found beats (columns) by class; the last row and column are `NONE`.

    Attributes:
        classes: names of the classes.
        counts: (n_classes + 1, n_classes + 1).
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    def __add__(self, other: Comparison) -> Comparison:
        """The beats of both."""
        return Comparison(self.classes, self.counts + other.counts)

    @property
    def sensitivity(self) -> float:
        """Fraction of the annotated beats that are found; NaN without beats."""
        return _ratio(self.counts[:-1, :-1].sum(), self.counts[:-1].sum())

    @property
    def positive_predictive_value(self) -> float:
        """Fraction of the found beats that are annotated; NaN without beats."""
        return _ratio(self.counts[:-1, :-1].sum(), self.counts[:, :-1].sum())

    def rates(self, name: str) -> tuple[float, float]:
        """Sensitivity and positive predictive value of a class, missed and false beats included.

        Those of S, V and F follow the rules of `ecg.evaluation.ec57`.
        """
        if name in NOT_COUNTED:
            counted = count_outcomes(self.counts, (*self.classes, NONE), name)
            return _ratio(counted.tp, counted.tp + counted.fn), _ratio(counted.tp, counted.tp + counted.fp)
        c = self.classes.index(name)
        return _ratio(self.counts[c, c], self.counts[c].sum()), _ratio(self.counts[c, c], self.counts[:, c].sum())


def compare_beats(
    reference: Samples,
    reference_label: Samples,
    found: Samples,
    found_label: Samples,
    classes: Sequence[str],
    sfreq: float,
) -> Comparison:
    """Returns the comparison of the beats of one recording.

    Args:
        reference: (n,) samples of the annotated beats, ascending.
        reference_label: (n,) index into `classes`, or -1 for beats of another class, which are not counted.
        found: (m,) samples of the found beats, ascending.
        found_label: (m,) index into `classes`.
        classes: names of the classes.
        sfreq: sampling rate in Hz.
    """
    n = len(classes)
    partner, taken = np.full(len(reference), -1), np.zeros(len(found), bool)
    for i, j in match(reference, found, TOLERANCE * sfreq):
        partner[i], taken[j] = j, True
    counts = np.zeros((n + 1, n + 1), np.int64)
    known = reference_label >= 0
    columns = np.where(partner >= 0, np.append(found_label, n)[partner], n)
    np.add.at(counts, (reference_label[known], columns[known]), 1)
    np.add.at(counts, (np.full(np.count_nonzero(~taken), n), found_label[~taken]), 1)
    return Comparison(tuple(classes), counts)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
