"""Windows: how beats are cut out of a recording.

kaggle     annotation  s[i]                s[i+1]               s[i+2]
           record      R-------------------R--------------------R
           crop        |-----------------------|                       ends before s[i+1] + int(0.2 (s[i+2] - s[i+1]))
           beat        |x  x  x  x  x  x  x  x |0  0  0  0  0  0|      every 3rd sample, scaled to [0, 1], zero-padded
                       0                                        187

centered   record      ----------------R-----------------------------
           seconds     |-before        0                      after|
           beat        |x  x  x  x  x  x  x  x  x  x  x  x  x  x  x|   high-passed, resampled, standardised by record
                       0               peak                        n_times

Source of the window kaggle: the files of https://www.kaggle.com/datasets/shayanfazeli/heartbeat. This rule reproduces
their values; the description published with them does not.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ecg.data.aami import labels_from_symbols
from ecg.data.beats import Beats, Positions
from ecg.data.filters import filter_zero_phase
from ecg.data.p_wave_features import P_WAVE_FEATURES, p_wave_features
from ecg.data.recording import Recording
from ecg.data.rhythm_features import CAUSAL_RHYTHM_FEATURES, RHYTHM_FEATURES, rhythm_features
from ecg.data.rr_features import RR_FEATURES, rr_features
from ecg.data.shape_features import (
    AFTER,
    BEFORE,
    CAUSAL_SHAPE_FEATURES,
    QRS,
    SHAPE_FEATURES,
    cut,
    past_templates,
    shape_features,
)
from ecg.errors import UserError

KAGGLE_TIMES = 187
KAGGLE_STEP = 3
KAGGLE_RECORD_SFREQ = 360.0  # Hz, of the records that the Kaggle set was made from
RESAMPLING_DELAY = 0.1  # s, half of the anti-alias filter for rates of 100 Hz and more
RMS_SECONDS = 60  # before the end of a beat, over which a causal window standardises it
TINY = 1e-12
KAGGLE_SFREQ = KAGGLE_RECORD_SFREQ / KAGGLE_STEP  # Hz; the description published with the set says 125 Hz

_LEADS = {"first": "Use the first lead.", "auto": "Use lead II (MLII), or the first lead where there is none."}
_PADDING = ", padtype='line'"
_FILTER = (
    "Filter it with a Butterworth high-pass of order 2 at 0.5 Hz, forward and backward (scipy.signal.sosfiltfilt)."
)
_CAUSAL_FILTER = (
    "Subtract its first value, and filter it with a Butterworth high-pass of order 2 at 0.5 Hz, forward only "
    "(scipy.signal.sosfilt)."
)
_CAUSAL_SCALE = "Divide a beat by the root mean square of the lead in the minute before the end of the beat."
_MODULES = {
    "rr": "ecg/data/rr_features.py",
    "rhythm_and_shape": "rhythm_features.py, p_wave_features.py and shape_features.py in ecg/data",
}


@dataclass(frozen=True)
class Window(ABC):
    """Cuts a recording into beats.

    Attributes:
        lead: "first", "auto" for the recording's preferred lead where it has it and else the first, or a lead's name.
    """

    name: ClassVar[str]
    padded: ClassVar[bool]  # whether beats lie in [0, 1] and end in zeros
    highpass_hz: ClassVar[float | None]  # cut-off of the high-pass filter; None without a filter
    older_annotations: ClassVar[bool]  # whether older annotations of a record replace its current ones

    lead: str

    @property
    @abstractmethod
    def n_times(self) -> int:
        """Samples of a beat, T."""

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """What each channel of a beat holds."""

    @property
    def n_channels(self) -> int:
        """Channels of a beat, C."""
        return len(self.channels)

    @property
    @abstractmethod
    def n_rr(self) -> int:
        """RR features of a beat, R."""

    @property
    def n_rhythm(self) -> int:
        """How many of these describe the rhythm; they come first."""
        return self.n_rr

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a beat (R,)."""
        return ()

    @property
    def n_p_wave(self) -> int:
        """How many describe the P wave; they follow, and those of the shape come last."""
        return 0

    @property
    @abstractmethod
    def peak(self) -> int:
        """Sample of the annotated R peak in a beat."""

    @property
    @abstractmethod
    def instructions(self) -> str:
        """How beats are cut, for programs without this package."""

    @abstractmethod
    def qrs(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the QRS complexes of all leads (n, m) of beats (n, C, T)."""

    @abstractmethod
    def cut(self, recording: Recording) -> Beats:
        """Returns the beats of a recording, in order.

        Raises:
            UserError: the recording does not have the lead, or is too short.
        """

    def settings(self) -> dict[str, Any]:
        """Returns name and arguments as JSON-able values. Windows with equal settings cut the same beats."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class KaggleWindow(Window):
    """The window of the Kaggle heartbeat set: from the R peak into the next beat, without RR features.

    Every third sample is kept without a filter. The crop is scaled to [0, 1], then cut or zero-padded to 187 samples.
    Neighbouring annotations include those of rhythm and noise. The record's length replaces a missing s[i+2]. The last
    annotation of a record gives no beat. A record of another sampling rate than 360 Hz is first resampled to 360 Hz,
    with an anti-alias filter, so that all beats have 120 Hz.
    """

    name = "kaggle"
    padded = True
    highpass_hz = None
    older_annotations = True  # the Kaggle set was made with them
    n_times = KAGGLE_TIMES
    channels = ("lead",)
    n_rr = 0
    peak = 0

    @property
    def instructions(self) -> str:
        """See `Window`."""
        return (
            f"{_LEADS.get(self.lead, f'Use lead {self.lead}.')} Resample it to {KAGGLE_RECORD_SFREQ:g} Hz "
            f"(scipy.signal.resample_poly{_PADDING}), and with it the samples s of the annotations (R peaks). Beat i "
            f"is every {KAGGLE_STEP}rd sample from s[i] to before s[i+1] + int(0.2 * (s[i+2] - s[i+1])). The number of "
            "samples of the lead replaces a missing s[i+2]. The last annotation gives no beat. Scale the beat to "
            f"[0, 1] by its minimum and maximum. Keep its first {KAGGLE_TIMES} samples, or add zeros after its end. A "
            "constant beat is zero."
        )

    def qrs(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Window`. The first half of a QRS complex is not in this window."""
        return signal[:, 0, : round(QRS[1] * KAGGLE_SFREQ) + 1]

    def cut(self, recording: Recording) -> Beats:
        """See `Window`."""
        x = recording.signal[lead_index(recording, self.lead)].astype(np.float64)
        s = recording.sample
        if recording.sfreq != KAGGLE_RECORD_SFREQ:
            ratio = resampling_ratio(recording.sfreq, KAGGLE_RECORD_SFREQ)
            x = _resample(x, ratio)
            s = np.minimum(np.rint(s * float(ratio)).astype(np.int64), x.size - 1)
        s = np.append(s, x.size)
        positions = np.flatnonzero(labels_from_symbols(recording.symbol)[:-1] >= 0)
        ends = s[positions + 1] + (0.2 * (s[positions + 2] - s[positions + 1])).astype(np.int64)
        signal = np.zeros((positions.size, 1, KAGGLE_TIMES), np.float32)
        for row, start, end in zip(signal[:, 0], s[positions], ends, strict=True):
            crop = x[start:end:KAGGLE_STEP]
            # A crop is empty if all three annotations are at the same sample.
            low, high = crop.min(initial=np.inf), crop.max(initial=-np.inf)
            if high > low:
                kept = crop[:KAGGLE_TIMES]
                row[: kept.size] = (kept - low) / (high - low)
        rr = np.zeros((positions.size, 0), np.float32)
        return _beats(recording, positions, signal, rr, KAGGLE_SFREQ)


@dataclass(frozen=True)
class CenteredWindow(Window):
    """A window around the R peak, with RR features.

    The lead is high-passed without phase shift, resampled with an anti-alias filter, and standardised by record:
    median 0, standard deviation 1. The first and last values are repeated beyond the ends of the record.

    A causal window can be computed while the record is made. The high-pass filter runs forward only, and each beat is
    divided by the root mean square of the lead in the minute before the end of the beat. A beat then depends on no
    sample later than `delay` after its R peak.

    Attributes:
        before: s before the R peak.
        after: s after the R peak.
        sfreq: sampling rate of the beats in Hz.
        difference: whether a second channel of each lead holds the beat minus the median beat of its record. It needs
            all beats of the record, but no labels.
        leads: 1, or 2 for the lead and the next other lead of the recording. A second lead that the recording does not
            have is zero.
        features: "rr" for the eight RR features, "rhythm_and_shape" for the rhythm features and, of each lead, the
            P wave and shape features, which need all beats of the record, but no labels; or "none".
        causal: whether a beat is independent of later beats. The difference is then that to the template of past beats
            (`ecg.data.shape_features`), and the features, "rhythm_and_shape", are the causal ones.
    """

    name = "centered"
    padded = False
    highpass_hz = 0.5  # respiration and electrode drift lie below
    older_annotations = False

    before: float
    after: float
    sfreq: float
    difference: bool
    leads: int = 1
    features: str = "rr"
    causal: bool = False

    @property
    def delay(self) -> float:
        """s after its R peak up to which a beat depends on the lead; infinite if not causal."""
        return max(self.after, AFTER) + RESAMPLING_DELAY if self.causal else math.inf

    @property
    def n_times(self) -> int:
        """See `Window`."""
        return self.peak + round(self.after * self.sfreq)

    @property
    def channels(self) -> tuple[str, ...]:
        """See `Window`."""
        leads = ("lead", "second lead")[: self.leads]
        difference = f"its difference to the median beat of the {'past' if self.causal else 'record'}"
        return tuple(name for lead in leads for name in (lead, difference)[: 1 + self.difference])

    @property
    def n_rr(self) -> int:
        """See `Window`."""
        n_shape = len(CAUSAL_SHAPE_FEATURES if self.causal else SHAPE_FEATURES)
        return self.n_rhythm + self.n_p_wave + (self.leads * n_shape if self.features == "rhythm_and_shape" else 0)

    @property
    def n_rhythm(self) -> int:
        """See `Window`."""
        of_record = CAUSAL_RHYTHM_FEATURES if self.causal else RHYTHM_FEATURES
        return len({"rr": RR_FEATURES, "rhythm_and_shape": of_record, "none": ()}[self.features])

    @property
    def n_p_wave(self) -> int:
        """See `Window`."""
        return self.leads * len(P_WAVE_FEATURES) if self.features == "rhythm_and_shape" else 0

    @property
    def feature_names(self) -> tuple[str, ...]:
        """See `Window`."""
        if self.features != "rhythm_and_shape":
            return RR_FEATURES if self.features == "rr" else ()
        rhythm = CAUSAL_RHYTHM_FEATURES if self.causal else RHYTHM_FEATURES
        shape = CAUSAL_SHAPE_FEATURES if self.causal else SHAPE_FEATURES
        of_leads = [
            f"{kind}{name}{lead}"
            for kind, names in (("P wave: ", P_WAVE_FEATURES), ("", shape))
            for lead in ("", ", second lead")[: self.leads]
            for name in names
        ]
        return (*rhythm, *of_leads)

    @property
    def peak(self) -> int:
        """See `Window`."""
        return round(self.before * self.sfreq)

    @property
    def instructions(self) -> str:
        """See `Window`."""
        templates = ("the median beat of the record", "the template of past beats (ecg/data/shape_features.py)")
        parts = [
            _LEADS.get(self.lead, f"Use lead {self.lead}."),
            "The second lead is the first other lead of the record, or zero." if self.leads == 2 else "",
            _CAUSAL_FILTER if self.causal else _FILTER,
            f"Resample it to {self.sfreq:g} Hz (scipy.signal.resample_poly{'' if self.causal else _PADDING}).",
            "" if self.causal else "Subtract its median, and divide it by its standard deviation in the record.",
            f"A beat has {self.n_times} samples, and its R peak is at index {self.peak}. The first and last values of "
            "the lead are repeated beyond its ends.",
            _CAUSAL_SCALE if self.causal else "",
            f"A second channel of each lead has the beats minus {templates[self.causal]}." if self.difference else "",
            f"The features are defined in {_MODULES[self.features]}." if self.n_rr else "",
        ]
        return " ".join(part for part in parts if part)

    def qrs(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Window`."""
        leads = signal[:, :: 1 + self.difference, self.qrs_samples]  # (n, leads, m)
        return leads.reshape(len(signal), -1)

    @property
    def qrs_samples(self) -> slice:
        """Samples of the QRS complex in a beat."""
        first, last = (self.peak + round(end * self.sfreq) for end in QRS)
        return slice(max(0, first), last + 1)

    @property
    def of_leads(self) -> CenteredWindow:
        """The same window with the leads as its only channels, and without features."""
        return replace(self, difference=False, features="none")

    def leads_of(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the leads (n, leads, T) of beats (n, C, T)."""
        return signal[:, :: 1 + self.difference]

    def complete(
        self, signal: NDArray[np.float32], time: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns all channels (n, C, T) and the features (n, R) of the beats of a record, in order.

        They are those of `cut`, except for the rounding of the leads.

        Args:
            signal: (n, leads, T) the leads.
            time: (n,) R peaks in seconds, ascending.

        Raises:
            UserError: the window is shorter than the part of a beat that the features describe.
        """
        before, after = round(BEFORE * self.sfreq), round(AFTER * self.sfreq)
        if self.features == "rhythm_and_shape" and (self.peak < before or self.n_times - self.peak < after):
            raise UserError(
                f"The features of beats in changed records need a window from {BEFORE} s before to {AFTER} s after the "
                f"R peak: data.before is {self.before:g}, and data.after is {self.after:g}."
            )
        around = signal[..., max(0, self.peak - before) : self.peak + after].astype(np.float64)
        features = self._features([around[:, lead] for lead in range(self.leads)], time)
        return self._with_difference(signal), features

    def cut(self, recording: Recording) -> Beats:
        """See `Window`."""
        ratio = resampling_ratio(recording.sfreq, self.sfreq)
        positions = np.flatnonzero(labels_from_symbols(recording.symbol) >= 0)
        peaks = np.rint(recording.sample[positions] * float(ratio)).astype(np.int64)
        leads = self._preprocess(recording, ratio)
        time = recording.sample[positions] / recording.sfreq
        features = self._features([cut(x, peaks, self.sfreq) for x in leads], time)
        waveforms = np.stack([self._cut_lead(x, peaks) for x in leads], axis=1)
        del leads  # those of a day need much memory
        return _beats(recording, positions, self._with_difference(waveforms), features, self.sfreq)

    def _cut_lead(self, x: NDArray[np.float64], peaks: Positions) -> NDArray[np.float32]:
        """Returns the beats (n, T) of a lead (n_samples,)."""
        offsets = np.arange(self.n_times) - self.peak  # (T,)
        beats = x.take(peaks[:, None] + offsets, mode="clip").astype(np.float32, copy=False)  # (n, T)
        scale = self._past_rms(x, peaks)[:, None] if self.causal else np.float32(1)
        scaled: NDArray[np.float32] = beats / scale
        return scaled

    def _with_difference(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the channels (n, C, T) of the beats (n, leads, T) of a record."""
        if not self.difference:
            return signal
        n, leads, n_times = signal.shape
        if self.causal:
            median = np.stack([past_templates(signal[:, lead], self.qrs_samples) for lead in range(leads)], axis=1)
        else:
            median = np.median(signal, axis=0)
        both = np.stack([signal, signal], axis=2)
        both[:, :, 1] -= median
        return both.reshape(n, 2 * leads, n_times)

    def _past_rms(self, x: NDArray[np.float64], peaks: Positions) -> NDArray[np.float32]:
        """Returns the root mean square (n,) of a lead in the minute before the end of each beat; 1 for a flat lead."""
        total = np.append(0.0, np.cumsum(np.square(x)))
        end = np.minimum(peaks + round(self.after * self.sfreq), x.size)
        start = np.maximum(end - round(RMS_SECONDS * self.sfreq), 0)
        mean_square = (total[end] - total[start]) / np.maximum(end - start, 1)
        return np.sqrt(np.where(mean_square > TINY, mean_square, 1.0)).astype(np.float32)

    def _features(self, leads: Sequence[NDArray[np.float64]], time: NDArray[np.float64]) -> NDArray[np.float32]:
        """Returns the features (n, R) of the beats of a record at `time` (n,) in s, given those of each lead (n, m)."""
        if self.features == "none":
            return np.zeros((len(time), 0), np.float32)
        if self.features == "rr":
            return rr_features(time)
        p_waves = [p_wave_features(beats, time, self.sfreq, causal=self.causal) for beats in leads]
        shapes = [shape_features(beats, self.sfreq, causal=self.causal) for beats in leads]
        return np.concatenate([rhythm_features(time, causal=self.causal), *p_waves, *shapes], axis=1)

    def _preprocess(self, recording: Recording, ratio: Fraction) -> list[NDArray[np.float64]]:
        """Returns the leads (n_samples,) at `ratio` times their sampling rate, filtered and standardised."""
        first = lead_index(recording, self.lead)
        others = [i for i in range(len(recording.leads)) if i != first]
        leads = [self._preprocess_lead(recording, i, ratio) for i in [first, *others][: self.leads]]
        return leads + [np.zeros_like(leads[0])] * (self.leads - len(leads))

    def _preprocess_lead(self, recording: Recording, index: int, ratio: Fraction) -> NDArray[np.float64]:
        """Returns a lead (n_samples,) at `ratio` times its sampling rate, filtered and standardised."""
        x = recording.signal[index]
        if x.size < recording.sfreq:
            raise UserError(
                f"Record {recording.name} has {x.size} samples at {recording.sfreq:g} Hz. A record must be at least "
                "1 s long."
            )
        highpass = dsp.butter(2, self.highpass_hz, "highpass", fs=recording.sfreq, output="sos")
        if self.causal:
            x = x.astype(np.float64)
            causal: NDArray[np.float64] = dsp.resample_poly(
                dsp.sosfilt(highpass, x - x[0]), ratio.numerator, ratio.denominator
            )
            return causal
        x = _resample(filter_zero_phase(highpass, x, recording.sfreq), ratio)
        standardised: NDArray[np.float64] = (x - np.median(x)) / (x.std() or 1.0)
        return standardised


def resampling_ratio(sfreq: float, to: float) -> Fraction:
    """Returns the ratio of the sampling rates in Hz, with a small denominator."""
    return Fraction(to / sfreq).limit_denominator(1000)


def _resample(x: NDArray[np.float64], ratio: Fraction) -> NDArray[np.float64]:
    """Returns a lead (n_samples,) at `ratio` times its sampling rate."""
    resampled: NDArray[np.float64] = dsp.resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
    return resampled


def lead_index(recording: Recording, lead: str) -> int:
    """Returns the index of a lead in a recording.

    Args:
        recording: the recording.
        lead: see `Window`.

    Raises:
        UserError: the recording does not have the lead.
    """
    if lead == "auto":
        lead = recording.preferred_lead if recording.preferred_lead in recording.leads else "first"
    if lead == "first":
        return 0
    if lead not in recording.leads:
        raise UserError(
            f"Record {recording.name} has no lead {lead}. Its leads: {', '.join(recording.leads)}. "
            "Choose another lead with data.lead."
        )
    return recording.leads.index(lead)


def _beats(
    recording: Recording, positions: Positions, signal: NDArray[np.float32], rr: NDArray[np.float32], sfreq: float
) -> Beats:
    """Returns the beats at the given positions among the annotations of a recording."""
    n = positions.size
    return Beats(
        signal=signal,
        rr=rr,
        label=labels_from_symbols(recording.symbol)[positions],
        record=np.full(n, recording.name),
        patient=np.full(n, recording.patient),
        sample=recording.sample[positions],
        time=recording.sample[positions] / recording.sfreq,
        last=positions == recording.sample.size - 1,
        sfreq=sfreq,
    )
