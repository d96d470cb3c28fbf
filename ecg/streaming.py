"""Annotates a recording while it is made, with a fitted causal classifier.

    seconds      0    1    2    3    4    5    6    7    8
    samples      |---------------------------------|            received so far
    detection    ...--------------------------|    |            R peaks before the last second are final
    beats           N    N   N    V      N   N                  returned once, by the first push after they are final

A beat is returned when its R peak is final and the samples up to `CenteredWindow.delay` after it are there. R peaks can
also be given, by a device that detects them. The rows are then those of `BeatClassifier` for the same R peaks.

The detector needs a stretch of the recording, so it sees the last `DETECTION_SECONDS` every `DETECTION_STEP`. An R peak
is final `DETECTION_DELAY` after it, and a later one is at least `REFRACTORY` away.

The time of a beat does not depend on the length of the recording, and neither does the memory. Blocks of any length
give the same rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ecg.data.causal_beats import LATEST, CausalBeats
from ecg.data.r_peaks import REFRACTORY, detect_r_peaks
from ecg.data.recording_files import recording_of_array
from ecg.data.window import CenteredWindow, lead_index
from ecg.errors import UserError
from ecg.models.beat_sequence import BeatSequence, State
from ecg.prediction import BeatClassifier, beat_table, bridge

DETECTION_SECONDS, DETECTION_STEP, DETECTION_DELAY = 16.0, 1.0, 1.0  # s

Peaks = NDArray[np.int64]


class BeatStream:
    """Classifies the beats of one recording while it is made.

    >>> stream = BeatStream(ecg.load("RUN_DIR"), sfreq=360, leads=["MLII", "V1"])
    >>> for samples in blocks:  # arrays (n_leads, n)
    ...     beats = stream.push(samples)  # pandas: a row for each beat that became certain
    >>> beats = stream.finish()

    Args:
        classifier: a classifier in context with data.causal=true.
        sfreq: sampling rate in Hz.
        leads: names of the leads; None for "lead 1" and so on.
        lead: the lead that beats are detected in; None for lead II by name, else the first.

    Raises:
        UserError: the classifier is not causal, or is an ONNX file.
    """

    def __init__(
        self, classifier: BeatClassifier, sfreq: float, leads: Sequence[str] | None = None, lead: str | None = None
    ) -> None:
        window, network = classifier.window, classifier.network
        if not isinstance(window, CenteredWindow) or not window.causal:
            raise UserError(
                "This classifier uses later beats of a recording, so it cannot classify a stream. Train one with "
                "experiment=inter_patient_causal."
            )
        if not isinstance(network, BeatSequence):
            raise UserError("An ONNX file keeps no state between beats. Use a run folder or a .safetensors file.")
        self._classifier, self._window, self._network = classifier, window, network
        self._sfreq, self._names, self._lead = sfreq, leads, lead
        self._beats: CausalBeats | None = None  # None before the first samples
        self._detector: _Detector
        self._n_leads = self._n = 0  # samples so far
        self._waiting: deque[int] = deque()  # R peaks that are final
        self._last_peak = -1
        self._given: bool | None = None  # whether R peaks are given
        self._state: State | None = None
        self._last_time = np.nan
        self._finished = False

    def push(self, samples: NDArray[Any], r_peaks: Sequence[int] | Peaks | None = None) -> pd.DataFrame:
        """Returns a row for each beat that became certain, in order, with the columns of `BeatClassifier.predict`.

        Args:
            samples: (n,) or (n_leads, n), the next samples in any unit; NaN where a lead has no contact.
            r_peaks: samples of further R peaks, ascending, counted from the start of the recording; up to the last
                sample, and at most 10 s before the samples. None to detect them, in all blocks or in none.

        Raises:
            UserError: the samples or the R peaks are not valid, or the stream is finished.
        """
        if self._finished:
            raise UserError("This stream is finished. Make another BeatStream for another recording.")
        values = self._checked(samples)
        self._waiting.extend(self._r_peaks(values, r_peaks))
        self._n += values.shape[1]
        assert self._beats is not None
        self._beats.push(values)
        table = self._complete()
        self._beats.drop()
        return table

    def finish(self) -> pd.DataFrame:
        """Returns a row for each beat that is left. No samples may follow."""
        ended, self._finished = self._finished, True
        if self._beats is None or not self._n or ended:
            return self._table([], [])
        if not self._given:
            self._waiting.extend(self._detector.finish())
        self._beats.end()
        return self._complete()

    def _checked(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Returns a block as (n_leads, n); the first one creates what depends on the number of leads."""
        values = np.atleast_2d(np.asarray(samples))
        if self._beats is None:
            checked = values if values.size else np.zeros((len(values), 1))  # a block may be empty
            recording = recording_of_array(checked, self._sfreq, self._names, self._lead)
            first = lead_index(recording, recording.preferred_lead)
            others = [i for i in range(len(values)) if i != first]
            self._n_leads = len(values)
            self._beats = CausalBeats(self._window, self._sfreq, [first, *others])
            self._detector = _Detector(self._sfreq, first)
        if values.ndim != 2 or values.dtype.kind not in "iuf" or len(values) != self._n_leads:
            raise UserError(
                f"The samples are {values.dtype} {values.shape}. Valid: numbers (n_leads, n) of {self._n_leads} leads, "
                "as in the first block."
            )
        return values.astype(np.float64)

    def _r_peaks(self, values: NDArray[np.float64], given: Sequence[int] | Peaks | None) -> list[int]:
        """Returns the R peaks that became final with a block."""
        if self._given not in (None, given is not None):
            raise UserError("R peaks are given for some blocks and not for others. Give them for all or for none.")
        if given is None:
            self._given = False
            return self._detector.push(values)
        peaks = np.asarray(given)
        if peaks.size and (peaks.ndim != 1 or peaks.dtype.kind not in "iu"):
            raise UserError(f"The R peaks are {peaks.dtype} {peaks.shape}. Valid: samples as whole numbers (n,).")
        earliest = max(self._last_peak + 1, self._n - int(LATEST * self._sfreq))
        latest = self._n + values.shape[1] - 1
        ordered: list[int] = peaks.tolist()
        if ordered and (ordered[0] < earliest or ordered[-1] > latest or (np.diff(peaks) <= 0).any()):
            raise UserError(
                f"The R peaks are {', '.join(map(str, ordered[:5]))}. Valid: ascending samples from {earliest} to "
                f"{latest}."
            )
        self._given = True
        self._last_peak = ordered[-1] if ordered else self._last_peak
        return ordered

    def _complete(self) -> pd.DataFrame:
        """Returns the rows of the beats whose samples are all there."""
        assert self._beats is not None
        peaks, logits = [], []
        while self._waiting and self._beats.complete(self._waiting[0]):
            peaks.append(self._waiting.popleft())
            logits.append(self._logits(*self._beats.cut(peaks[-1])))
        return self._table(peaks, logits)

    @torch.inference_mode()
    def _logits(self, waveforms: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the logits (n_classes,) of the next beat."""
        beat = torch.from_numpy(waveforms)[None, None], torch.from_numpy(features)[None, None]
        logits, self._state = self._network.continue_from(self._state, *beat)
        values: NDArray[np.float64] = logits[0, 0].double().numpy()
        return values

    def _table(self, peaks: list[int], logits: list[NDArray[np.float64]]) -> pd.DataFrame:
        classes = self._classifier.classes
        probability = self._classifier.probability_of(np.reshape(logits, (len(peaks), len(classes))))
        sample = np.array(peaks, np.int64)
        time = sample / self._sfreq
        table = beat_table(sample, time, probability, classes, self._last_time)
        self._last_time = time[-1] if len(time) else self._last_time
        return table


class _Detector:
    """Detects R peaks while a recording is made.

    Args:
        sfreq: sampling rate in Hz.
        lead: index of the lead.
    """

    def __init__(self, sfreq: float, lead: int) -> None:
        self._sfreq, self._lead = sfreq, lead
        self._length, self._step = round(DETECTION_SECONDS * sfreq), round(DETECTION_STEP * sfreq)
        self._x, self._start = np.empty(0), 0  # the last samples, and the number of the first of them
        self._next = self._step  # samples at which the next detection takes place
        self._last = -self._length  # last R peak

    def push(self, samples: NDArray[np.float64]) -> list[int]:
        """Returns the R peaks that became final with the samples (n_leads, n)."""
        self._x = np.concatenate([self._x, samples[self._lead]])
        found = []
        while self._next <= self._start + len(self._x):
            found += self._detect(self._next, self._next - round(DETECTION_DELAY * self._sfreq))
            self._next += self._step
        first = max(self._start, self._next - self._length)
        self._x, self._start = self._x[first - self._start :], first
        return found

    def finish(self) -> list[int]:
        """Returns the R peaks that are left."""
        end = self._start + len(self._x)
        return self._detect(end, end)

    def _detect(self, end: int, final: int) -> list[int]:
        """Returns the new R peaks before the sample `final`, detected in the samples before `end`."""
        first = max(self._start, end - self._length)
        (x,), (missing,) = bridge(self._x[None, first - self._start : end - self._start], self._sfreq)
        peaks = detect_r_peaks(x, self._sfreq)
        found = []
        for peak in (first + peaks[~missing[peaks]]).tolist():
            if self._last + REFRACTORY * self._sfreq < peak < final:
                found.append(peak)
                self._last = peak
        return found
