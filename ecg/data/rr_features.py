"""RR features of a beat.

    beat      i-1               i                   i+1
    time   ----R----------------R--------------------R----
               |--- rr_prev ----|------ rr_next -----|

The local mean is over the interval before the beat and up to 10 intervals on each side of it. The record mean is over
all intervals of the record; it also replaces the missing interval at each end of the record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecg.data.rhythm_features import mean_around

N_LOCAL = 10  # intervals on each side that enter a local mean
RR_RANGE = (0.2, 3.0)  # s; longer intervals are gaps in the annotation, such as ventricular flutter

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class _Intervals:
    """RR intervals of n beats, in seconds.

    Attributes:
        prev: (n,) interval before each beat.
        next: (n,) interval after each beat.
        local: (n,) mean of the intervals around each beat.
        local_change: (n,) mean absolute difference of successive intervals around each beat.
        record: mean of all intervals.
    """

    prev: FloatArray
    next: FloatArray
    local: FloatArray
    local_change: FloatArray
    record: float


# The name of a feature is its formula. Ratios have no unit. The last one is large in atrial fibrillation, where a
# premature beat has little meaning.
_FORMULAS: dict[str, Callable[[_Intervals], FloatArray]] = {
    "rr_prev in s": lambda rr: rr.prev,
    "rr_next in s": lambda rr: rr.next,
    "rr_prev / mean(rr, local)": lambda rr: rr.prev / rr.local,
    "rr_next / mean(rr, local)": lambda rr: rr.next / rr.local,
    "rr_prev / mean(rr, record)": lambda rr: rr.prev / rr.record,
    "rr_next / mean(rr, record)": lambda rr: rr.next / rr.record,
    "mean(rr, local) / mean(rr, record)": lambda rr: rr.local / rr.record,
    "mean(|diff(rr)|, local) / mean(rr, local)": lambda rr: rr.local_change / rr.local,
}
RR_FEATURES: tuple[str, ...] = tuple(_FORMULAS)


def rr_features(time: FloatArray) -> NDArray[np.float32]:
    """Returns the RR features of the beats of one record.

    Args:
        time: (n,) R peaks in seconds, ascending.

    Returns:
        (n, 8) float32, in the order of `RR_FEATURES`. All features are 1 in a record with a single beat.
    """
    if len(time) < 2:
        return np.ones((len(time), len(RR_FEATURES)), np.float32)
    rr = np.clip(np.diff(time), *RR_RANGE)  # (n-1,)
    mean = rr.mean()
    prev = np.append(mean, rr)  # (n,)
    intervals = _Intervals(
        prev=prev,
        next=np.append(rr, mean),
        local=mean_around(prev, N_LOCAL),
        local_change=mean_around(np.abs(np.diff(prev, prepend=prev[0])), N_LOCAL),
        record=float(mean),
    )
    return np.stack([formula(intervals) for formula in _FORMULAS.values()], axis=1).astype(np.float32)
