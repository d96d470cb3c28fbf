"""Means with intervals over seeds, and tests of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its 95 % interval.

    Attributes:
        mean: None without finite values.
        low: lower limit of the interval; None with fewer than two finite values.
        high: upper limit of the interval; None with fewer than two finite values.
        n: number of finite values.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(values: NDArray[np.float64]) -> MeanInterval:
    """Returns the mean of the finite values, with the 95 % interval of Student's t distribution.

    Args:
        values: (n,) one value for each seed.
    """
    finite = values[np.isfinite(values)]
    n = len(finite)
    if not n:
        return MeanInterval(None, None, None, 0)
    mean = float(finite.mean())
    if n == 1:
        return MeanInterval(mean, None, None, 1)
    half = float(stats.t.ppf(0.975, n - 1) * finite.std(ddof=1) / np.sqrt(n))
    return MeanInterval(mean, mean - half, mean + half, n)


def paired_p(differences: NDArray[np.float64]) -> float | None:
    """Returns the p-value of the paired t-test; None with fewer than two differences, or if one is not finite.

    Args:
        differences: (n,) difference of each pair.
    """
    if len(differences) < 2 or not np.isfinite(differences).all():
        return None
    if not differences.std():  # the t statistic is undefined
        return 0.0 if differences.any() else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Returns p-values corrected for multiple tests by the method of Holm 1979, Scand J Stat 6:65-70.

    Args:
        p: p-values; None where there was no test.
    """
    ordered = sorted((value, index) for index, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, index) in enumerate(ordered):
        largest = max(largest, min(1.0, value * (len(ordered) - rank)))
        corrected[index] = largest
    return corrected
