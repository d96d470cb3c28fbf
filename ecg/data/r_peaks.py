"""Detection of R peaks in one lead.

    lead       -----R----T--------R----T------
    gqrs            x             x    x
    T waves                            |-- < 0.36 s after a beat, and less than 0.4 times as steep: removed
    peak            ^             ^        moved to the largest deflection

The detector is `gqrs` of the wfdb package, at 125 Hz, which is faster than at the rate of the recording and no less
accurate. docs/detectors.md compares it with others.

Source of the rule for T waves: Pan and Tompkins 1985, IEEE Trans Biomed Eng 32(3):230-236, with their 0.36 s.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

DETECTION_SFREQ = 125.0  # Hz
LARGE_PERCENTILE = 99.0  # of the deflections of a lead, which is scaled to 1 mV for gqrs
ADC_GAIN = 200.0  # values per mV that gqrs receives
DELAY = 0.036  # s by which gqrs marks a QRS complex before its peak
T_WAVE_AFTER, T_WAVE_SLOPE = 0.36, 0.4  # s after the R peak; slope of a T wave relative to that of the QRS complex
SLOPE_WINDOW = 0.05  # s on each side in which the slope is measured
PEAK_WINDOW = 0.07  # s on each side in which the peak is searched
SLOPE_BAND = (5.0, 30.0)  # Hz, in which slopes are measured
PEAK_BAND = (1.0, 40.0)  # Hz, in which peaks are searched; a narrower one moves the peak of a wide V beat by 50 ms
SHORTEST_LEAD = 2.0  # s

FloatArray: TypeAlias = NDArray[np.float64]


def detect_r_peaks(x: FloatArray, sfreq: float) -> NDArray[np.int64]:
    """Returns the samples of the R peaks (n,), ascending.

    A lead that is shorter than `SHORTEST_LEAD`, or constant, has none.

    Args:
        x: (n_samples,) one lead without NaN, in any unit.
        sfreq: sampling rate in Hz.
    """
    deflection = np.abs(x - np.median(x)) if len(x) else x
    scale = np.percentile(deflection, LARGE_PERCENTILE) if len(x) >= SHORTEST_LEAD * sfreq else 0.0
    if not scale:
        return np.empty(0, np.int64)
    from wfdb.processing import gqrs_detect  # takes a second to import

    ratio = Fraction(DETECTION_SFREQ / sfreq).limit_denominator(1000)
    slow = dsp.resample_poly((x - np.median(x)) / scale, ratio.numerator, ratio.denominator, padtype="line")
    marked = np.asarray(gqrs_detect(sig=slow, fs=DETECTION_SFREQ, adc_gain=ADC_GAIN, adc_zero=0), np.float64)
    near = np.rint((marked / DETECTION_SFREQ + DELAY) * sfreq).astype(np.int64).clip(0, len(x) - 1)
    slopes, peaks = (_filtered(x, band, sfreq) for band in (SLOPE_BAND, PEAK_BAND))
    return np.unique(_move_to_peaks(peaks, _without_t_waves(slopes, near, sfreq), sfreq))


def _filtered(x: FloatArray, band: tuple[float, float], sfreq: float) -> FloatArray:
    """Returns a lead (n_samples,) without the frequencies outside of a band in Hz."""
    filtered: FloatArray = dsp.sosfiltfilt(dsp.butter(2, band, "bandpass", fs=sfreq, output="sos"), x)
    return filtered


def _without_t_waves(qrs: FloatArray, peak: NDArray[np.int64], sfreq: float) -> NDArray[np.int64]:
    """Returns the peaks (m,) that are not the T wave of the one before; (n,) are given."""
    slope = _around(np.abs(np.gradient(qrs)), peak, SLOPE_WINDOW * sfreq).max(axis=1)
    kept: list[int] = []
    for i in range(len(peak)):  # sequential, because a removed T wave is not the beat before the next one
        soon = kept and peak[i] - peak[kept[-1]] < T_WAVE_AFTER * sfreq
        if not (soon and slope[i] < T_WAVE_SLOPE * slope[kept[-1]]):
            kept.append(i)
    return peak[kept]


def _move_to_peaks(qrs: FloatArray, peak: NDArray[np.int64], sfreq: float) -> NDArray[np.int64]:
    """Returns the samples of the largest deflections around the given samples (n,)."""
    reach = round(PEAK_WINDOW * sfreq)
    moved = peak - reach + np.abs(_around(qrs, peak, PEAK_WINDOW * sfreq)).argmax(axis=1)
    within: NDArray[np.int64] = moved.clip(0, len(qrs) - 1)
    return within


def _around(x: FloatArray, at: NDArray[np.int64], reach: float) -> FloatArray:
    """Returns the values (n, 2 reach + 1) of x around the samples `at` (n,)."""
    offsets = np.arange(-round(reach), round(reach) + 1)
    around: FloatArray = x[np.clip(at[:, None] + offsets, 0, len(x) - 1)]
    return around
