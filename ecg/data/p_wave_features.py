"""P wave features of a beat: its P wave in one lead, compared with those of late beats. They need no labels.

    beat      ----P------QRS---------T-----------
    seconds   |-.30  -.07|

An S beat does not start in the sinus node, so its P wave differs from that of an N beat. The median beat of a record
does not show this if most beats are S. But S beats are early by definition, so the late beats of a record, those after
its longest intervals, are nearly always N. Each P wave is compared with the median of those of the late beats:

    early beats              their P wave
    S                        unlike that of late beats
    N between blocked beats  like that of late beats
    N in fibrillation        there are none

Only beats whose QRS is like the median QRS are used for a median. P waves are compared without their mean, and
amplitudes are relative to the QRS. The causal features compare a beat with past beats only, see
`ecg.data.shape_features`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecg.data.rhythm_features import Intervals
from ecg.data.shape_features import COMMON, TINY, correlation, past_blocks, span

P = (-0.30, -0.07)  # s around the R peak
QRS = (-0.06, 0.10)  # s; the P wave of an S beat can be close to it
LATE_FRACTION = 0.3  # of the beats with a common QRS, those after the longest intervals

FloatArray: TypeAlias = NDArray[np.float64]

P_WAVE_FEATURES: tuple[str, ...] = (
    "corr(P, median P of late beats)",
    "log(rms(P - median P of late beats))",
)


def p_wave_features(beats: FloatArray, time: FloatArray, sfreq: float, *, causal: bool = False) -> NDArray[np.float32]:
    """Returns the P wave features of the beats of one record in one lead.

    Args:
        beats: (n, m) the beats in order, without baseline wander, see `ecg.data.shape_features.cut`.
        time: (n,) times of their R peaks in seconds.
        sfreq: sampling rate of the lead in Hz.
        causal: whether the features of a beat use past beats only.

    Returns:
        (n, len(P_WAVE_FEATURES)) float32, in that order.
    """
    n = len(beats)
    if not n:
        return np.zeros((0, len(P_WAVE_FEATURES)), np.float32)
    intervals = Intervals.before if causal or n == 1 else Intervals.between
    rr = intervals(time).prev
    blocks = past_blocks(n) if causal else [(slice(0, n), slice(0, n))]
    features = [compare(beats[block], late_p_wave(beats[past], rr[past], sfreq), sfreq) for block, past in blocks]
    return np.concatenate(features)


@dataclass(frozen=True)
class LatePWave:
    """The P wave of late beats in one lead.

    Attributes:
        p: (m,) without its mean.
        height: largest deflection of the QRS.
    """

    p: FloatArray
    height: float


def late_p_wave(beats: FloatArray, rr: FloatArray, sfreq: float) -> LatePWave:
    """Returns the median P wave of the late ones of beats (n, m), given the intervals before them (n,) in seconds."""
    qrs = beats[:, span(QRS, sfreq)]
    similarity = correlation(qrs, np.median(qrs, axis=0))
    common = np.flatnonzero(similarity >= min(COMMON, np.median(similarity)))  # at least half of them
    n_late = max(1, round(LATE_FRACTION * len(common)))
    late = common[np.argsort(rr[common], kind="stable")[-n_late:]]
    height = max(np.abs(np.median(qrs[common], axis=0)).max(), TINY)
    return LatePWave(np.median(_p_waves(beats[late], sfreq), axis=0), float(height))


def compare(beats: FloatArray, late: LatePWave, sfreq: float) -> NDArray[np.float32]:
    """Returns the P wave features (n, len(P_WAVE_FEATURES)) of beats (n, m), see `p_wave_features`."""
    p = _p_waves(beats, sfreq)
    mean_square = np.square((p - late.p) / late.height).mean(axis=1)
    return np.stack([correlation(p, late.p), 0.5 * np.log(mean_square + 1e-4)], axis=1).astype(np.float32)


def _p_waves(beats: FloatArray, sfreq: float) -> FloatArray:
    """Returns the P waves (n, m) of beats, without their means."""
    p = beats[:, span(P, sfreq)]
    waves: FloatArray = p - p.mean(axis=1, keepdims=True)
    return waves
