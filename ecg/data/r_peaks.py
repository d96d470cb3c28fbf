"""Detection of R peaks in one lead.

    lead         ----R----T--------R----T------
    steepness    ____^____^________^____^______     mean absolute slope from 5 to 20 Hz, at 125 Hz
    candidates      x    .        x    .            its local maxima

A candidate is a beat if it exceeds a threshold between the level of beats and that of noise, which both follow the
recording. It is a T wave if it comes soon after a beat and is much less steep. If no beat comes for 1.5 intervals, the
steepest candidate since the last beat is one, where it exceeds a lower threshold. At last, beats are moved to the
largest deflection of the lead.

docs/detectors.md compares this detector with those of other packages. It needs a fraction of a second for an hour.

Source of the adaptive thresholds, the search back and the rule for T waves: Pan and Tompkins 1985, IEEE Trans Biomed
Eng 32(3):230-236. The bands, the steepness and the numbers differ.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from ecg.data.filters import filter_zero_phase, in_blocks

SFREQ = 125.0  # Hz, of the detection
SHORTEST_LEAD = 2.0  # s
SLOPE_BAND = (5.0, 20.0)  # Hz
SMALLEST_SLOPE = 1e-7  # of a candidate, relative to the range of the lead; below are errors of rounding
SLOPE_WINDOW = 0.1  # s over which the slope is averaged
REFRACTORY = 0.2  # s after a beat in which there is no other
FIRST_SECONDS = 8  # s from which the first level of beats is estimated
FIRST_NOISE = 0.1  # first level of noise, relative to that of beats
THRESHOLD, LOWER_THRESHOLD = 0.45, 0.2  # between the level of noise, 0, and that of beats, 1
ADAPTATION = 0.125  # of the levels and of the interval, by each beat
ADAPTATION_BACK = 0.25  # of the level of beats, by a beat of the search back
LARGEST_HEIGHT = 2.5  # relative to the level of beats, in its adaptation
INTERVALS = (0.4, 1.6)  # shortest and longest, relative to the mean interval, in its adaptation
FIRST_INTERVAL = 0.8  # s
SEARCH_BACK = 1.5  # intervals without a beat
T_WAVE_AFTER, T_WAVE_HEIGHT = 0.36, 0.45  # s after a beat; steepness relative to it
SILENCE, DECAY = 2.5, 0.9  # s without a beat after which the level of beats decays with each candidate
PEAK_BAND = (1.0, 40.0)  # Hz, in which peaks are searched; a narrower one moves the peak of a wide V beat by 50 ms
PEAK_WINDOW = 0.07  # s on each side

FloatArray: TypeAlias = NDArray[np.float64]


def detect_r_peaks(x: FloatArray, sfreq: float) -> NDArray[np.int64]:
    """Returns the samples of the R peaks (n,), ascending.

    A lead that is shorter than `SHORTEST_LEAD`, or constant, has none.

    Args:
        x: (n_samples,) one lead without NaN, in any unit.
        sfreq: sampling rate in Hz, at least 50.
    """
    if len(x) < SHORTEST_LEAD * sfreq or not np.ptp(x):
        return np.empty(0, np.int64)
    near = np.rint(_beats(x, sfreq) * sfreq / SFREQ).astype(np.int64).clip(0, len(x) - 1)
    return np.unique(_move_to_peaks(_filtered(x, PEAK_BAND, sfreq), near, sfreq))


def _beats(x: FloatArray, sfreq: float) -> FloatArray:
    """Returns the samples of the beats (n,) at the rate of the detection."""
    steepness = _steepness(x, sfreq)
    width = round(REFRACTORY * SFREQ) | 1
    visible = steepness > SMALLEST_SLOPE * np.ptp(x)
    highest = in_blocks(lambda part: maximum_filter1d(part, width), steepness, SFREQ)
    candidate = np.flatnonzero((steepness == highest) & visible)
    blocks = steepness[: round(FIRST_SECONDS * SFREQ)]
    level = float(np.median([block.max() for block in np.array_split(blocks, max(1, round(len(blocks) / SFREQ)))]))
    return np.array(_select(candidate.tolist(), steepness[candidate].tolist(), level), np.float64)


def _steepness(x: FloatArray, sfreq: float) -> FloatArray:
    """Returns the mean absolute slope of a lead at the rate of the detection."""
    ratio = Fraction(SFREQ / sfreq).limit_denominator(1000)
    x = dsp.resample_poly(x - np.median(x), ratio.numerator, ratio.denominator, padtype="line")
    width = round(SLOPE_WINDOW * SFREQ)
    return in_blocks(
        lambda part: uniform_filter1d(np.abs(np.gradient(part)), width), _filtered(x, SLOPE_BAND, SFREQ), SFREQ
    )


def _select(candidate: list[int], height: list[float], level: float) -> list[int]:
    """Returns the candidates that are beats.

    Args:
        candidate: samples, ascending, at the rate of the detection.
        height: their steepness.
        level: first level of beats.
    """
    noise, interval, last_height = FIRST_NOISE * level, FIRST_INTERVAL * SFREQ, 0.0
    beats: list[int] = []
    waiting: list[tuple[float, int]] = []  # steepness and sample of the candidates since the last beat
    for sample, steepness in zip(candidate, height, strict=True):
        since = sample - beats[-1] if beats else None
        if since is not None and since > SEARCH_BACK * interval:
            lower = noise + LOWER_THRESHOLD * (level - noise)
            missed = [(h, s) for h, s in waiting if h > lower and s - beats[-1] > REFRACTORY * SFREQ]
            if missed:
                missed_height, missed_sample = max(missed)
                interval += ADAPTATION * (min(missed_sample - beats[-1], INTERVALS[1] * interval) - interval)
                level += ADAPTATION_BACK * (missed_height - level)
                beats.append(missed_sample)
            waiting = [(h, s) for h, s in waiting if s > beats[-1]]
            since = sample - beats[-1]
        if steepness > noise + THRESHOLD * (level - noise) and (since is None or since > REFRACTORY * SFREQ):
            if since is not None and since < T_WAVE_AFTER * SFREQ and steepness < T_WAVE_HEIGHT * last_height:
                waiting.append((steepness, sample))
                continue
            if since is not None:
                limited = min(max(since, INTERVALS[0] * interval), INTERVALS[1] * interval)
                interval += ADAPTATION * (limited - interval)
            beats.append(sample)
            last_height, waiting = steepness, []
            level += ADAPTATION * (min(steepness, LARGEST_HEIGHT * level) - level)
        else:
            noise += ADAPTATION * (min(steepness, noise + THRESHOLD * (level - noise)) - noise)
            waiting.append((steepness, sample))
            if since is not None and since > SILENCE * SFREQ:
                level *= DECAY
    return beats


def _move_to_peaks(x: FloatArray, near: NDArray[np.int64], sfreq: float) -> NDArray[np.int64]:
    """Returns the samples of the largest deflections around the given samples (n,)."""
    reach = round(PEAK_WINDOW * sfreq)
    around = x[np.clip(near[:, None] + np.arange(-reach, reach + 1), 0, len(x) - 1)]  # (n, 2 reach + 1)
    moved: NDArray[np.int64] = (near - reach + np.abs(around).argmax(axis=1)).clip(0, len(x) - 1)
    return moved


def _filtered(x: FloatArray, band: tuple[float, float], sfreq: float) -> FloatArray:
    """Returns a lead (n_samples,) without the frequencies outside of a band in Hz, as far as its rate resolves them."""
    return filter_zero_phase(_bandpass(band[0], min(band[1], 0.45 * sfreq), sfreq), x, sfreq)


@functools.cache  # in a stream, the design takes longer than the filter
def _bandpass(low_hz: float, high_hz: float, sfreq: float) -> FloatArray:
    """Returns the filter as second-order sections."""
    sos: FloatArray = dsp.butter(2, (low_hz, high_hz), "bandpass", fs=sfreq, output="sos")
    return sos
