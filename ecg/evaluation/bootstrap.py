"""Percentile bootstrap over units, and the areas under the ROC and precision-recall curves of all draws at once.

A unit is a beat or a patient with all beats. A draw is a sample of units with replacement, of the same number of
units. It is stored as the number of times that each unit was drawn, and the beats are weighted by these counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation.scores import Score

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

PERCENTILES = (2.5, 97.5)
# torchmetrics computes in float32, which has about seven significant decimals.
DECIMALS = 7


@dataclass(frozen=True)
class Areas:
    """Areas under the curves; NaN where undefined.

    Attributes:
        auroc: (D,) area under the ROC curve.
        auprc: (D,) area under the precision-recall curve, as average precision.
    """

    auroc: Floats
    auprc: Floats


@dataclass(frozen=True)
class Ranking:
    """The beats sorted by decreasing probability of one class. It is computed once for all draws.

    Beats of equal probability form a group, because no threshold separates them. Only the G groups that contain a
    beat of the class change the number of true positives.

    Attributes:
        unit: (n,) unit of each beat, in sorted order.
        positive_unit: (P,) units of the beats of the class, in sorted order.
        starts: (G,) first position of each group in `positive_unit`.
        first: (G,) first position of each group in `unit`.
        last: (G,) last position of each group in `unit`.
    """

    unit: Ints
    positive_unit: Ints
    starts: Ints
    first: Ints
    last: Ints


def draw_counts(n_units: int, n_draws: int, chunk: int, rng: np.random.Generator) -> Iterator[Counts]:
    """Yields, for at most `chunk` draws at a time, the number of times that each unit was drawn, (<= chunk, n_units).

    Args:
        n_units: number of units.
        n_draws: number of draws in total.
        chunk: largest number of draws in one array.
        rng: source of the draws.
    """
    for start in range(0, n_draws, chunk):
        n = min(chunk, n_draws - start)
        drawn = rng.integers(n_units, size=(n, n_units)) + np.arange(n)[:, None] * n_units
        counts = np.bincount(drawn.ravel(), minlength=n * n_units)
        yield counts.astype(np.int32).reshape(n, n_units)


def rank(probability: NDArray[np.floating[Any]], positive: NDArray[np.bool_], unit: Ints) -> Ranking:
    """Returns the ranking of the beats by decreasing probability.

    Args:
        probability: (n,) probability of the class.
        positive: (n,) whether the beat belongs to the class; at least one does.
        unit: (n,) unit of each beat.
    """
    order = np.argsort(-probability, kind="stable")
    new = np.diff(probability[order], prepend=np.inf) != 0
    group, first = np.cumsum(new) - 1, np.flatnonzero(new)
    last = np.append(first[1:], len(probability)) - 1
    positions = np.flatnonzero(positive[order])
    starts = np.flatnonzero(np.diff(group[positions], prepend=-1))
    with_positives = group[positions][starts]
    return Ranking(unit[order], unit[order[positions]], starts, first[with_positives], last[with_positives])


def areas_under_curves(ranking: Ranking, counts: Counts) -> Areas:
    """Returns the areas under the curves of one class in D draws.

    Args:
        ranking: of the n beats by the probability of the class.
        counts: (D, n_units) number of times that each unit was drawn.
    """
    weight = np.take(counts, ranking.unit, axis=1)  # (D, n)
    cumulative = np.cumsum(weight, axis=1, dtype=np.int32)
    predicted = cumulative[:, ranking.last]  # (D, G) beats in or above the group
    above = cumulative[:, ranking.first] - weight[:, ranking.first]  # (D, G) beats above the group
    in_group = np.add.reduceat(np.take(counts, ranking.positive_unit, axis=1), ranking.starts, axis=1)
    in_group = in_group.astype(np.float64)  # (D, G) positives in the group; products exceed 32 bits
    true_positives = np.cumsum(in_group, axis=1)  # (D, G) positives in or above the group
    positives = true_positives[:, -1]
    negatives = cumulative[:, -1] - positives
    # Pairs of a positive and a negative with at least its probability. Pairs of equal probability count half.
    misranked = (in_group * (predicted - true_positives + above - (true_positives - in_group))).sum(axis=1) / 2
    with np.errstate(invalid="ignore"):  # 0 / 0 where a draw has no positive or no negative
        auroc = 1 - misranked / (positives * negatives)
        auprc = (in_group * true_positives / np.maximum(predicted, 1)).sum(axis=1) / positives
    return Areas(auroc, auprc)


def with_interval(value: Floats | float, draws: Floats | None) -> Score:
    """Returns the score with the 95 % percentile interval of its draws.

    Args:
        value: the score of the beats; NaN if undefined.
        draws: (D,) the score of each draw, NaN if undefined; None for a score without an interval.
    """
    if np.isnan(value):
        return Score(None)
    point = round(float(value), DECIMALS)
    if draws is None or np.isnan(draws).all():
        return Score(point)
    low, high = (round(float(q), DECIMALS) for q in np.nanpercentile(draws, PERCENTILES))
    return Score(point, low, high)


def centre(draws: Floats, value: float) -> Floats:
    """Returns non-negative draws of a calibration error, shifted so that their mean is the error itself.

    The draws of the calibration error are biased upwards, because drawing adds noise to every bin and the absolute
    value does not cancel it. Without the shift, all draws of a calibrated classifier may exceed its error.
    """
    centred: Floats = np.maximum(draws - draws.mean() + value, 0)
    return centred
