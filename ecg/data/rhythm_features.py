"""Rhythm features of a beat: functions of the times of the R peaks of its record. They need no labels.

    beat      i-2          i-1               i                   i+1           i+2
    time   ----R------------R----------------R--------------------R-------------R----
               |-- prev2 ---|----- prev -----|------- next -------|--- next2 ---|

All features are relative to other intervals of the record. Intervals in seconds would also describe the patient.

An interval that is missing at an end of the record is replaced by the median interval. All ratios are natural
logarithms, so that a doubled and a halved interval are equally far from 0.

A mean over the past uses the intervals that end at earlier beats. It excludes prev of the beat itself, so that a
premature beat does not change the mean that it is compared with. A mean around a beat uses both sides.

The causal features use past intervals only. `FIRST_INTERVAL` is the interval before the first beat.

Sources: the ratios to a running mean of 32 intervals and next / prev are those of Saenz-Cogollo & Agelli 2020,
Algorithms 13(4):75; the means over 80 and 400 intervals those of Farag 2023, Sensors 23(3):1365; the mean over the
record that of de Chazal et al. 2004, IEEE Trans Biomed Eng 51(7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RR_RANGE = (0.15, 4.0)  # s; longer intervals are gaps in the annotation, such as ventricular flutter
LARGEST_Z = 8.0  # standard deviations
FIRST_INTERVAL = 0.8  # s; 75 beats a minute
N_INTERVALS = 401  # that the causal features of a beat use one by one: `prev` and the 400 before

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Intervals:
    """RR intervals of the n beats of a record, in seconds.

    Attributes:
        prev: (n,) interval before each beat.
        next: (n,) interval after each beat.
        n_earlier: number of the intervals before the first of `prev`, where these are the last beats of a record.
        earlier: sum of these intervals.
    """

    prev: FloatArray
    next: FloatArray
    n_earlier: int = 0
    earlier: float = 0.0

    @staticmethod
    def between(time: FloatArray) -> Intervals:
        """Returns the intervals between R peaks at `time` (n,), in seconds; n is at least 2."""
        rr = np.clip(np.diff(time), *RR_RANGE)
        median = np.median(rr)
        return Intervals(prev=np.append(median, rr), next=np.append(rr, median))

    @staticmethod
    def before(time: FloatArray) -> Intervals:
        """Returns the intervals with `FIRST_INTERVAL` in place of the missing ones. `prev` depends on the past only."""
        rr = np.clip(np.diff(time), *RR_RANGE)
        return Intervals(prev=np.append(FIRST_INTERVAL, rr), next=np.append(rr, FIRST_INTERVAL))

    @cached_property
    def prev2(self) -> FloatArray:
        """(n,) interval before the previous beat."""
        return np.append(self.prev[0], self.prev[:-1])  # prev[0] is the median

    @cached_property
    def next2(self) -> FloatArray:
        """(n,) interval after the next beat."""
        return np.append(self.next[1:], self.next[-1])  # next[-1] is the median

    @cached_property
    def change(self) -> FloatArray:
        """(n,) absolute difference of the interval before each beat from the one before that."""
        return np.abs(np.diff(self.prev, prepend=self.prev[0]))

    @cached_property
    def past16(self) -> FloatArray:
        """(n,) mean of the 16 intervals before `prev`."""
        return mean_of_past(self.prev, 16)

    @cached_property
    def past32(self) -> FloatArray:
        """(n,) mean of the 32 intervals before `prev`."""
        return mean_of_past(self.prev, 32)

    @cached_property
    def past80(self) -> FloatArray:
        """(n,) mean of the 80 intervals before `prev`."""
        return mean_of_past(self.prev, 80)

    @cached_property
    def past400(self) -> FloatArray:
        """(n,) mean of the 400 intervals before `prev`."""
        return mean_of_past(self.prev, 400)

    @cached_property
    def past(self) -> FloatArray:
        """(n,) mean of all intervals before `prev`."""
        if not self.n_earlier:
            return mean_of_past(self.prev, len(self.prev))
        total = self.earlier + np.append(0.0, np.cumsum(self.prev[:-1]))
        mean: FloatArray = total / (self.n_earlier + np.arange(len(self.prev)))
        return mean

    @cached_property
    def around80(self) -> FloatArray:
        """(n,) mean of `prev` and of the 40 intervals on each side of it."""
        return mean_around(self.prev, 40)

    @cached_property
    def around400(self) -> FloatArray:
        """(n,) mean of `prev` and of the 200 intervals on each side of it."""
        return mean_around(self.prev, 200)

    @cached_property
    def record(self) -> float:
        """Mean of all intervals."""
        return float(self.prev.mean())


def _log_ratio(x: FloatArray, to: FloatArray | float) -> FloatArray:
    ratio: FloatArray = np.log(x / to)
    return ratio


def _deviation(rr: Intervals) -> FloatArray:
    """Returns (prev - mean) / std, both over the 32 intervals before."""
    variance = mean_of_past(rr.prev**2, 32) - rr.past32**2
    deviation: FloatArray = (rr.prev - rr.past32) / np.sqrt(np.maximum(variance, 1e-4))
    return np.clip(deviation, -LARGEST_Z, LARGEST_Z)


_Formula: TypeAlias = Callable[[Intervals], FloatArray]
_INTERVALS: dict[str, _Formula] = {
    "prev": lambda rr: rr.prev,
    "next": lambda rr: rr.next,
    "prev2": lambda rr: rr.prev2,
    "next2": lambda rr: rr.next2,
}
_MEANS: dict[str, Callable[[Intervals], FloatArray | float]] = {
    "mean(past 16)": lambda rr: rr.past16,
    "mean(past 32)": lambda rr: rr.past32,
    "mean(around 80)": lambda rr: rr.around80,
    "mean(around 400)": lambda rr: rr.around400,
    "mean(record)": lambda rr: rr.record,
}


def _ratios(
    intervals: dict[str, _Formula], to: dict[str, Callable[[Intervals], FloatArray | float]]
) -> dict[str, _Formula]:
    """Returns the log ratio of each interval to each mean, by its formula."""

    def ratio(interval: _Formula, mean: Callable[[Intervals], FloatArray | float]) -> _Formula:
        return lambda rr: _log_ratio(interval(rr), mean(rr))

    return {
        f"log({name} / {mean_name})": ratio(interval, mean)
        for name, interval in intervals.items()
        for mean_name, mean in to.items()
    }


# The name of a feature is its formula.
_FORMULAS: dict[str, _Formula] = {
    **_ratios(_INTERVALS, _MEANS),
    "(prev - mean(past 32)) / std(past 32)": _deviation,
    "log(next / prev)": lambda rr: _log_ratio(rr.next, rr.prev),
    "log(prev2 / prev)": lambda rr: _log_ratio(rr.prev2, rr.prev),
    "log(next2 / next)": lambda rr: _log_ratio(rr.next2, rr.next),
    "log(mean(|diff(prev)|, around 30) / mean(record) + 0.01)": lambda rr: np.log(
        mean_around(rr.change, 15) / rr.record + 0.01
    ),
    "log(mean(|diff(prev)|, around 200) / mean(record) + 0.01)": lambda rr: np.log(
        mean_around(rr.change, 100) / rr.record + 0.01
    ),
}
_CAUSAL_FORMULAS: dict[str, _Formula] = {
    **_ratios(
        {name: _INTERVALS[name] for name in ("prev", "prev2")},
        {
            "mean(past 16)": lambda rr: rr.past16,
            "mean(past 32)": lambda rr: rr.past32,
            "mean(past 80)": lambda rr: rr.past80,
            "mean(past 400)": lambda rr: rr.past400,
            "mean(past)": lambda rr: rr.past,
        },
    ),
    "(prev - mean(past 32)) / std(past 32)": _deviation,
    "log(prev2 / prev)": _FORMULAS["log(prev2 / prev)"],
    "log(mean(|diff(prev)|, past 30) / mean(past) + 0.01)": lambda rr: np.log(
        mean_of_past(rr.change, 30) / rr.past + 0.01
    ),
    "log(mean(|diff(prev)|, past 200) / mean(past) + 0.01)": lambda rr: np.log(
        mean_of_past(rr.change, 200) / rr.past + 0.01
    ),
}
RHYTHM_FEATURES: tuple[str, ...] = tuple(_FORMULAS)
CAUSAL_RHYTHM_FEATURES: tuple[str, ...] = tuple(_CAUSAL_FORMULAS)


def rhythm_features(time: FloatArray, *, causal: bool = False) -> NDArray[np.float32]:
    """Returns the rhythm features of the beats of one record.

    Args:
        time: (n,) R peaks in seconds, ascending.
        causal: whether the features of a beat use the R peaks up to it only.

    Returns:
        (n, len(RHYTHM_FEATURES)) float32, in that order, or (n, len(CAUSAL_RHYTHM_FEATURES)). Features that are not
        causal are 0 in a record with a single beat.
    """
    formulas = _CAUSAL_FORMULAS if causal else _FORMULAS
    if len(time) < (1 if causal else 2):
        return np.zeros((len(time), len(formulas)), np.float32)
    intervals = Intervals.before(time) if causal else Intervals.between(time)
    return np.stack([formula(intervals) for formula in formulas.values()], axis=1).astype(np.float32)


def latest_rhythm_features(prev: FloatArray, n_earlier: int, earlier: float) -> NDArray[np.float32]:
    """Returns the causal rhythm features (len(CAUSAL_RHYTHM_FEATURES),) of the last beat of a record.

    Args:
        prev: (m,) intervals before the last beats; m is at least `N_INTERVALS`, or the number of all beats.
        n_earlier: number of the intervals before these.
        earlier: their sum in seconds.
    """
    intervals = Intervals(prev, next=prev, n_earlier=n_earlier, earlier=earlier)  # no causal feature uses `next`
    return np.array([formula(intervals)[-1] for formula in _CAUSAL_FORMULAS.values()], np.float32)


def mean_of_past(x: FloatArray, n: int) -> FloatArray:
    """Returns the mean of the n values before each value of x (m,), fewer at the start; x[0] for the first."""
    total = np.append(0.0, np.cumsum(x))
    i = np.arange(len(x))
    start = np.maximum(i - n, 0)
    mean: FloatArray = (total[i] - total[start]) / np.maximum(i - start, 1)
    mean[0] = x[0]
    return mean


def mean_around(x: FloatArray, n: int) -> FloatArray:
    """Returns the mean over each value of x (m,) and up to n values on each side of it, fewer at the ends."""
    total = np.append(0.0, np.cumsum(x))
    i = np.arange(len(x))
    start, end = np.maximum(i - n, 0), np.minimum(i + n + 1, len(x))
    mean: FloatArray = (total[end] - total[start]) / (end - start)
    return mean
