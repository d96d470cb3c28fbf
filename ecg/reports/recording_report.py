"""The report of an annotated recording: a strip that scrolls through all of it, counts, runs, and doubtful beats."""

from __future__ import annotations

import itertools
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal as dsp

from ecg.reports.colours import class_colour
from ecg.reports.page import write_page

STRIP_SFREQ = 125.0  # Hz
OUTLIERS = (0.05, 99.95)  # percentiles of the lead between which the strip has its height
MIN_RUN = 3  # beats of V or S one after the other
N_DOUBTFUL, N_EXAMPLES, N_RUNS = 24, 6, 100


@dataclass(frozen=True)
class Burden:
    """Beats of one hour, or of the whole recording.

    Attributes:
        start: h from the start of the recording.
        counts: class -> number of beats.
        rate: median heart rate in beats a minute; None with fewer than two beats.
    """

    start: int
    counts: dict[str, int]
    rate: float | None

    @property
    def n(self) -> int:
        """Number of beats."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class BeatRun:
    """Beats of one ectopic class one after the other.

    Attributes:
        class_name: V or S.
        start: s, R peak of the first beat.
        n: number of beats.
        rate: beats a minute.
    """

    class_name: str
    start: float
    n: int
    rate: float


@dataclass(frozen=True)
class RecordingReport:
    """Content of the report.

    Attributes:
        title: name of the recording.
        lead: name of the lead of the strip.
        sfreq: its sampling rate in Hz.
        signal: (n_samples,) the lead.
        beats: a row for each beat: `time` (s), `rr` (s), `class`, and `p_N` and so on.
        classes: names of the classes.
        details: what was done, by heading.
    """

    title: str
    lead: str
    sfreq: float
    signal: NDArray[np.float64]
    beats: pd.DataFrame
    classes: Sequence[str]
    details: Mapping[str, str]


def write_recording_report(report: RecordingReport, path: Path) -> None:
    """Writes the report as one HTML file, atomically.

    Args:
        report: content of the report.
        path: the file; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    beats, certainty = report.beats, certainty_of(report.beats, report.classes)
    order = np.argsort(certainty, kind="stable")[:N_DOUBTFUL]
    write_page(
        path,
        "recording.html",
        title=report.title,
        simulated=False,
        report=report,
        total=burden(beats, report.classes, 0),
        hours=by_hour(beats, report.classes),
        runs=runs(beats),
        n_shown=N_RUNS,
        examples={name: examples(beats, name) for name in report.classes},
        doubtful=[
            (float(beats["time"].iloc[i]), str(beats["class"].iloc[i]), float(certainty[i])) for i in order.tolist()
        ],
        strip=strip(report, certainty),
    )


def certainty_of(beats: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Returns the probability (n,) of the predicted class of each beat."""
    certainty: NDArray[np.float64] = beats[[f"p_{name}" for name in classes]].to_numpy(np.float64).max(axis=1)
    return certainty


def burden(beats: pd.DataFrame, classes: Sequence[str], start: int) -> Burden:
    """Returns the number of beats of each class, and the median heart rate."""
    rr = beats["rr"].dropna()
    counts = {name: int((beats["class"] == name).sum()) for name in classes}
    return Burden(start, counts, float(60 / rr.median()) if len(rr) else None)


def by_hour(beats: pd.DataFrame, classes: Sequence[str]) -> list[Burden]:
    """Returns the burden of each hour, with hours without beats."""
    hour = (beats["time"] // 3600).astype(int)
    return [burden(beats[hour == h], classes, h) for h in range(int(hour.max()) + 1)]


def runs(beats: pd.DataFrame) -> list[BeatRun]:
    """Returns the runs of at least `MIN_RUN` V or S beats, the longest first."""
    name, time = beats["class"].to_numpy(np.str_), beats["time"].to_numpy(np.float64)
    bounds = np.concatenate([[0], np.flatnonzero(name[1:] != name[:-1]) + 1, [len(name)]])
    found = [
        BeatRun(str(name[a]), float(time[a]), int(b - a), float(60 * (b - a - 1) / (time[b - 1] - time[a])))
        for a, b in itertools.pairwise(bounds.tolist())
        if b - a >= MIN_RUN and name[a] in ("V", "S")
    ]
    return sorted(found, key=lambda run: -run.n)


def examples(beats: pd.DataFrame, name: str) -> list[float]:
    """Returns the times in s of beats of a class, from all parts of the recording."""
    time = beats["time"][beats["class"] == name].to_numpy(np.float64)
    at = np.linspace(0, len(time) - 1, min(N_EXAMPLES, len(time))).astype(int)
    return [float(t) for t in time[at]]


def strip(report: RecordingReport, certainty: NDArray[np.float64]) -> dict[str, Any]:
    """Returns what the script needs: the lead in 8 bits, and time, class and certainty of each beat, compressed."""
    ratio = Fraction(STRIP_SFREQ / report.sfreq).limit_denominator(1000)
    x = dsp.resample_poly(report.signal, ratio.numerator, ratio.denominator, padtype="line")
    low, high = np.percentile(x, OUTLIERS).tolist()  # Python numbers, so that x remains float32
    scaled = np.rint(255 * (x - low) / max(high - low, 1e-12)).clip(0, 255).astype(np.uint8)
    milliseconds = np.rint(1000 * report.beats["time"].to_numpy(np.float64)).astype("<u4")
    label = report.beats["class"].map(list(report.classes).index).to_numpy(np.uint8)
    percent = np.rint(100 * certainty).astype(np.uint8)
    return {
        "sfreq": STRIP_SFREQ,
        "seconds": len(x) / STRIP_SFREQ,
        "n": len(report.beats),
        "classes": list(report.classes),
        "colours": [class_colour(name) for name in report.classes],
        # Differences compress better. The script adds them up modulo 256.
        "signal": _packed(np.diff(scaled, prepend=np.uint8(0)).tobytes()),
        "beats": _packed(milliseconds.tobytes() + label.tobytes() + percent.tobytes()),
    }


def _packed(content: bytes) -> str:
    return b64encode(zlib.compress(content, 6)).decode()
