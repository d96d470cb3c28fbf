"""Beats of a recording that is being made, for a causal window. They are those of `CenteredWindow.cut`.

    samples     high-pass -- resample -- leads ---+---------- waveforms (C, T)
    R peaks     ----------------------------------+---------- features (R,)
                                                  |
                                     last beats, last intervals

All that is kept has a limited length: 70 s of the leads, and the last 401 beats, which the features compare a beat
with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ecg.data.p_wave_features import LatePWave, compare, late_p_wave
from ecg.data.rhythm_features import FIRST_INTERVAL, N_INTERVALS, RR_RANGE, latest_rhythm_features
from ecg.data.shape_features import (
    AFTER,
    BEFORE,
    N_COMPARED,
    N_PAST,
    QRS,
    RENEWED,
    latest_shape_features,
    past_of,
    span,
    template_of,
)
from ecg.data.window import RMS_SECONDS, TINY, CenteredWindow, resampling_ratio

LATEST = 10.0  # s after an R peak up to which a beat can be cut

Floats = NDArray[np.float64]


class CausalBeats:
    """Cuts beats while a recording is made.

    Args:
        window: a causal window with rhythm and shape features.
        sfreq: sampling rate of the recording in Hz.
        leads: indices of all leads of the recording, those of the window first. Leads that it does not have are zero.
    """

    def __init__(self, window: CenteredWindow, sfreq: float, leads: list[int]) -> None:
        self.window, self.sfreq, self.leads = window, sfreq, leads[: window.leads]
        self._ratio = resampling_ratio(sfreq, window.sfreq)
        self._signal = _CausalLeads(window, sfreq, len(self.leads))
        self._past = [_PastBeats(window) for _ in range(window.leads)]
        self._intervals = _PastIntervals()
        self._ended = False

    def push(self, samples: Floats) -> None:
        """Appends samples (n_leads, n) of all leads of the recording; NaN where a lead has no contact."""
        self._signal.push(samples[self.leads])

    def end(self) -> None:
        """Ends the recording. Its last values are repeated where a beat needs more."""
        self._signal.end()
        self._ended = True

    def complete(self, peak: int) -> bool:
        """Whether all samples that the beat at an R peak depends on are there."""
        end = max(self.window.n_times - self.window.peak, round(AFTER * self.window.sfreq))
        return self._ended or self._at(peak) + end <= self._signal.n

    def cut(self, peak: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns waveforms (C, T) and features (R,) of the beat at the next R peak, a sample of the recording."""
        at, window = self._at(peak), self.window
        interval = self._intervals.append(peak / self.sfreq)
        rms = self._signal.rms(at + round(window.after * window.sfreq))
        waveforms = self._signal.cut(at, window.peak, window.n_times - window.peak).astype(np.float32) / rms[:, None]
        around = self._signal.cut(at, round(BEFORE * window.sfreq), round(AFTER * window.sfreq))
        missing = window.leads - len(self.leads)
        waveforms, around = (np.pad(x, ((0, missing), (0, 0))) for x in (waveforms, around))
        for past, waveform, beat in zip(self._past, waveforms, around, strict=True):
            past.append(waveform, beat, interval)
        features = [
            self._intervals.features(),
            *(past.p_wave_features() for past in self._past),
            *(past.shape_features() for past in self._past),
        ]
        channels = [
            channel
            for past, waveform in zip(self._past, waveforms, strict=True)
            for channel in (waveform, waveform - past.template)[: 1 + window.difference]
        ]
        return np.stack(channels), np.concatenate(features)

    def drop(self) -> None:
        """Drops samples of the leads that later beats do not need."""
        self._signal.drop()

    def _at(self, peak: int) -> int:
        return int(np.rint(peak * float(self._ratio)))


class _CausalLeads:
    """The leads of a causal window, filtered and resampled, while they are recorded.

    Attributes:
        n: number of samples at the rate of the window.
    """

    def __init__(self, window: CenteredWindow, sfreq: float, n_leads: int) -> None:
        self.window, self.sfreq, self.n = window, sfreq, 0
        ratio = resampling_ratio(sfreq, window.sfreq)
        self._up, self._down = ratio.numerator, ratio.denominator
        longest = max(self._up, self._down)
        self._half = 10 * longest if longest > 1 else 0  # of the filter of dsp.resample_poly
        self._fir = dsp.firwin(2 * self._half + 1, 1 / longest, window=("kaiser", 5.0)) if self._half else None
        self._highpass = dsp.butter(2, window.highpass_hz, "highpass", fs=sfreq, output="sos")
        self._state = np.zeros((len(self._highpass), n_leads, 2))
        self._first, self._last = np.full((2, n_leads, 1), np.nan)  # values
        self._input, self._input_start = np.empty((n_leads, 0)), 0  # high-passed
        self._output, self._start = np.empty((n_leads, 0)), 0  # resampled
        self._total = np.zeros((n_leads, 1))  # of the squares before each sample of the output

    def push(self, samples: Floats) -> None:
        """Appends samples (n_leads, n)."""
        if not samples.shape[1]:
            return
        x = self._without_gaps(samples)
        x, self._state = dsp.sosfilt(self._highpass, x, zi=self._state)
        self._input = np.concatenate([self._input, x], axis=1)
        self._resample(self._known())

    def end(self) -> None:
        """Computes the last samples; the filter takes later ones as zero."""
        n_input = self._input_start + self._input.shape[1]
        self._resample(-(-n_input * self._up // self._down))

    def rms(self, end: int) -> NDArray[np.float32]:
        """Returns the root mean square of each lead (n_leads,) in the minute before a sample; 1 for a flat lead."""
        end = min(end, self.n)
        start = max(end - round(RMS_SECONDS * self.window.sfreq), 0)
        total = self._total[:, end - self._start] - self._total[:, start - self._start]
        mean_square = total / max(end - start, 1)
        rms: NDArray[np.float32] = np.sqrt(np.where(mean_square > TINY, mean_square, 1.0)).astype(np.float32)
        return rms

    def cut(self, at: int, before: int, after: int) -> Floats:
        """Returns the samples (n_leads, before + after) around a sample."""
        samples: Floats = self._output[:, np.clip(np.arange(at - before, at + after), 0, self.n - 1) - self._start]
        return samples

    def drop(self) -> None:
        """Drops the samples that are older than `RMS_SECONDS` and `LATEST`."""
        surplus = self._output.shape[1] - round((RMS_SECONDS + LATEST) * self.window.sfreq)
        if surplus > 0:
            self._output, self._total = self._output[:, surplus:], self._total[:, surplus:]
            self._start += surplus

    def _without_gaps(self, samples: Floats) -> Floats:
        """Returns the samples minus the first value, with the last value in place of those that are no numbers."""
        valid = np.isfinite(samples)
        # Position of the last valid value before each sample, 0 for that of earlier samples.
        position = np.maximum.accumulate(np.where(valid, np.arange(1, samples.shape[1] + 1), 0), axis=1)
        values = np.concatenate([self._last, samples], axis=1)
        filled: Floats = np.take_along_axis(values, position, axis=1)
        found = valid.any(axis=1)
        first = samples[np.arange(len(samples)), valid.argmax(axis=1)]
        self._first[:, 0] = np.where(np.isnan(self._first[:, 0]) & found, first, self._first[:, 0])
        self._last = filled[:, -1:]
        values_from_first: Floats = np.nan_to_num(filled - self._first)
        return values_from_first

    def _known(self) -> int:
        """Number of samples of the output that do not depend on later input."""
        n_input = self._input_start + self._input.shape[1]
        return max(self.n, -(-(n_input * self._up - self._half) // self._down))

    def _resample(self, n: int) -> None:
        """Computes the output up to n samples."""
        if self._fir is None:
            new = self._input[:, self.n - self._input_start : n - self._input_start]
            first = n
        else:
            offset = self._input_start // self._down * self._up  # sample of the output at the first input
            resampled = dsp.resample_poly(self._input, self._up, self._down, axis=1, window=self._fir)
            new = resampled[:, self.n - offset : n - offset]
            first = max(0, (n * self._down - self._half) // self._up // self._down * self._down)
        self._output = np.concatenate([self._output, new], axis=1)
        total = np.cumsum(np.concatenate([self._total[:, -1:], np.square(new)], axis=1), axis=1)
        self._total = np.concatenate([self._total[:, :-1], total], axis=1)
        self._input = self._input[:, first - self._input_start :]
        self._input_start, self.n = first, n


class _PastBeats:
    """The last beats of one lead.

    Attributes:
        template: (T,) of the waveforms of past beats.
    """

    template: NDArray[np.float32]

    def __init__(self, window: CenteredWindow) -> None:
        self.window, self.n = window, 0
        self._waveforms = _Rows(N_PAST + RENEWED)
        self._beats, self._intervals = _Rows(N_COMPARED + 1), _Rows(N_PAST + RENEWED)
        self._compared_with = slice(0, 0)
        self._beat_template: Floats
        self._late: LatePWave

    def append(self, waveform: NDArray[np.float32], beat: Floats, interval: float) -> None:
        """Appends a beat.

        Args:
            waveform: (T,).
            beat: (m,) from `BEFORE` to `AFTER` the R peak.
            interval: before the beat in s.
        """
        self._waveforms.append(waveform)
        self._beats.append(beat)
        self._intervals.append(np.asarray(interval))
        past = past_of(self.n)
        if past != self._compared_with:
            sfreq, beats = self.window.sfreq, self._beats[past]
            self.template = template_of(self._waveforms[past], self.window.qrs_samples)
            self._beat_template = template_of(beats, span(QRS, sfreq))
            self._late = late_p_wave(beats, self._intervals[past], sfreq)
            self._compared_with = past
        self.n += 1

    def p_wave_features(self) -> NDArray[np.float32]:
        """Returns the P wave features of the last beat."""
        features: NDArray[np.float32] = compare(self._beats.last[-1:], self._late, self.window.sfreq)[0]
        return features

    def shape_features(self) -> NDArray[np.float32]:
        """Returns the shape features of the last beat."""
        return latest_shape_features(self._beats.last, self._beat_template, self.window.sfreq)


class _PastIntervals:
    """The intervals before the last beats."""

    def __init__(self) -> None:
        self._last, self._n_earlier, self._earlier = np.empty(0), 0, 0.0
        self._time: float | None = None  # of the last beat

    def append(self, time: float) -> float:
        """Appends a beat at a time in s; returns the interval before it."""
        interval = FIRST_INTERVAL if self._time is None else float(np.clip(time - self._time, *RR_RANGE))
        if len(self._last) == N_INTERVALS:
            self._n_earlier += 1
            self._earlier += float(self._last[0])
            self._last = self._last[1:]
        self._last, self._time = np.append(self._last, interval), time
        return interval

    def features(self) -> NDArray[np.float32]:
        """Returns the rhythm features of the last beat."""
        return latest_rhythm_features(self._last, self._n_earlier, self._earlier)


class _Rows:
    """The last rows of an array. A row keeps its number.

    Args:
        keep: number of rows.

    Attributes:
        last: the rows that are kept.
    """

    last: NDArray[Any]

    def __init__(self, keep: int) -> None:
        self._keep, self._end = keep, 0

    def append(self, row: NDArray[Any]) -> None:
        """Appends a row."""
        self.last = np.concatenate([self.last[1 - self._keep :], row[None]]) if self._end else row[None]
        self._end += 1

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Returns rows by their numbers."""
        first = self._end - len(self.last)
        return self.last[rows.start - first : rows.stop - first]
