"""Beats, and the two windows that cut them out of a recording.

kaggle      |R ............... next R ...|          from the annotation into the next beat, at a third of
            0            RR      + 0.2 RR'          the rate, min-max scaled, zero-padded to 187 samples

centered    |........... R ...................|     `before` seconds before the R peak, `after` behind it,
         -before         0                 after    resampled, per-record scale, with RR features
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ecg.data.aami import labels_of
from ecg.data.recording import Recording
from ecg.errors import UserError

KAGGLE_TIMES = 187
KAGGLE_STEP = 3
HIGHPASS_HZ = 0.5  # below it lie respiration and electrode drift, not heartbeats
RR_FEATURES = (
    "previous RR in s",
    "next RR in s",
    "previous RR / local mean",
    "next RR / local mean",
    "previous RR / record mean",
    "next RR / record mean",
    "local mean / record mean",
    "local irregularity",
)
LOCAL_BEATS = 10  # beats before and behind that make the local mean
RR_RANGE_S = (0.2, 3.0)  # longer gaps are pauses of the annotation, such as ventricular flutter


@dataclass(frozen=True)
class Beats:
    """n beats as arrays, aligned by position.

    Attributes:
        signal: (n, C, T) float32.
        rr: (n, R) float32, `RR_FEATURES`; R is 0 where the window carries none.
        label: (n,) int64, index into `aami.CLASSES`.
        record: (n,) str, the record each beat was cut from.
        patient: (n,) str, the person.
        sample: (n,) int64, the beat's annotation, at the record's own rate.
        last: (n,) bool, whether it is the very last annotation of its record.
        sfreq: sampling rate of `signal` in Hz.
    """

    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]
    record: NDArray[np.str_]
    patient: NDArray[np.str_]
    sample: NDArray[np.int64]
    last: NDArray[np.bool_]
    sfreq: float

    def __len__(self) -> int:
        return len(self.label)

    def take(self, positions: NDArray[np.int64]) -> Beats:
        """The beats at `positions`, in that order."""
        columns = {f.name: getattr(self, f.name) for f in fields(Beats) if f.name != "sfreq"}
        return Beats(**{name: column[positions] for name, column in columns.items()}, sfreq=self.sfreq)

    def digest(self) -> str:
        """sha256 over signals, RR features, labels and places: the same beats have the same digest."""
        h = hashlib.sha256()
        for column in (self.signal, self.rr, self.label, self.sample):
            h.update(np.ascontiguousarray(column).data)
        h.update("\n".join(self.record).encode())
        return h.hexdigest()

    @staticmethod
    def concatenate(parts: Sequence[Beats]) -> Beats:
        """All beats of several parts, in order."""
        names = [f.name for f in fields(Beats) if f.name != "sfreq"]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Beats(**joined, sfreq=parts[0].sfreq)


def lead_index(recording: Recording, lead: str) -> int:
    """Which signal of a recording `lead` means.

    Args:
        recording: the recording.
        lead: "first"; "auto" for MLII where the record has it, else the first; or the name of a lead.

    Raises:
        UserError: the record has no lead of that name.
    """
    if lead == "first" or (lead == "auto" and "MLII" not in recording.leads):
        return 0
    name = "MLII" if lead == "auto" else lead
    if name not in recording.leads:
        raise UserError(
            f"Record {recording.name} has no lead {name}, only {', '.join(recording.leads)}: "
            f"exclude it with 'protocol.exclude=[{recording.name}]' or choose another lead with data.lead."
        )
    return recording.leads.index(name)


def cut_kaggle(recording: Recording, lead: str = "first") -> Beats:
    """Beats as the Kaggle heartbeat set has them: signals (n, 1, 187) in [0, 1] at a third of the rate, no RR.

    The crop runs from the annotated sample s[i] to s[i+1] + int(0.2 (s[i+2] - s[i+1])), over every annotation
    of the record; every third sample is taken without a filter; the whole crop is scaled to [0, 1] and then cut
    or zero-padded to 187. The record's length stands in for a missing s[i+2]; the very last annotation gives
    no beat.

    Args:
        recording: the recording.
        lead: see `lead_index`.
    """
    x = recording.signal[lead_index(recording, lead)].astype(np.float64)
    s = np.append(recording.sample, x.size)
    label = labels_of(recording.symbol)
    chosen = np.flatnonzero(label[:-1] >= 0)
    ends = s[chosen + 1] + (0.2 * (s[chosen + 2] - s[chosen + 1])).astype(np.int64)
    rows = np.zeros((chosen.size, 1, KAGGLE_TIMES), np.float32)
    for row, start, end in zip(rows[:, 0], s[chosen], ends, strict=True):
        crop = x[start:end:KAGGLE_STEP]
        low, high = crop.min(), crop.max()
        if high > low:
            kept = crop[:KAGGLE_TIMES]
            row[: kept.size] = (kept - low) / (high - low)
    return _beats(recording, chosen, rows, np.zeros((chosen.size, 0), np.float32), recording.sfreq / KAGGLE_STEP)


def cut_centered(recording: Recording, lead: str, before: float, after: float, sfreq: float, difference: bool) -> Beats:
    """Beats around the R peak: signals (n, C, T) with T = round((before + after) sfreq), and RR features.

    The lead is high-passed at 0.5 Hz without phase shift, resampled to `sfreq` with an anti-alias filter, and
    scaled by the record: its median becomes 0, its standard deviation 1. Beyond the ends of the record the
    signal goes on at its last value.

    Args:
        recording: the recording.
        lead: see `lead_index`.
        before: seconds of signal before the annotated R peak.
        after: seconds of signal from the R peak on.
        sfreq: sampling rate of the beats in Hz.
        difference: add a second channel, the beat minus the median of the record's beats: what is unusual for
            this patient. It needs no labels, but the whole record.
    """
    x = recording.signal[lead_index(recording, lead)].astype(np.float64)
    x = dsp.sosfiltfilt(dsp.butter(2, HIGHPASS_HZ, "highpass", fs=recording.sfreq, output="sos"), x)
    ratio = Fraction(sfreq / recording.sfreq).limit_denominator(1000)
    x = dsp.resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
    x = (x - np.median(x)) / (x.std() or 1.0)
    label = labels_of(recording.symbol)
    chosen = np.flatnonzero(label >= 0)
    peak = np.rint(recording.sample[chosen] * float(ratio)).astype(np.int64)
    offset = np.arange(-round(before * sfreq), round(after * sfreq))  # (T,)
    signal = x[np.clip(peak[:, None] + offset, 0, x.size - 1)].astype(np.float32)  # (n, T)
    channels = [signal, signal - np.median(signal, axis=0)] if difference else [signal]
    rr = rr_features(recording.sample[chosen] / recording.sfreq)
    return _beats(recording, chosen, np.stack(channels, axis=1), rr, sfreq)


def rr_features(time: NDArray[np.float64]) -> NDArray[np.float32]:
    """RR features (n, 8), in the order of `RR_FEATURES`, of beats at `time` (n,) in seconds.

    The local mean is over the 10 intervals on either side, the record's mean over all; local irregularity is
    the mean absolute difference of successive local intervals over the local mean: it is large in atrial
    fibrillation, where an early beat means little. At the ends of a record its mean stands in.
    """
    if len(time) < 2:
        return np.ones((len(time), len(RR_FEATURES)), np.float32)
    rr = np.clip(np.diff(time), *RR_RANGE_S)  # (n-1,)
    mean = rr.mean()
    previous, following = np.append(mean, rr), np.append(rr, mean)  # (n,)
    local = _moving_mean(previous, LOCAL_BEATS)
    jump = _moving_mean(np.abs(np.diff(previous, prepend=previous[0])), LOCAL_BEATS) / local
    columns = [previous, following, previous / local, following / local, previous / mean, following / mean]
    return np.stack([*columns, local / mean, jump], axis=1).astype(np.float32)


def _moving_mean(x: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Mean over up to `half` values on either side and the value itself, fewer at the ends."""
    total = np.append(0.0, np.cumsum(x))
    at = np.arange(len(x))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(x))
    return (total[high] - total[low]) / (high - low)


def _beats(
    recording: Recording,
    chosen: NDArray[np.int64],
    signal: NDArray[np.float32],
    rr: NDArray[np.float32],
    sfreq: float,
) -> Beats:
    n = chosen.size
    return Beats(
        signal=signal,
        rr=rr,
        label=labels_of(recording.symbol)[chosen],
        record=np.full(n, recording.name),
        patient=np.full(n, recording.patient),
        sample=recording.sample[chosen],
        last=chosen == recording.sample.size - 1,
        sfreq=sfreq,
    )
