"""The report of an annotated recording."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg.reports.recording_report import RecordingReport, burden, by_hour, runs, write_recording_report

CLASSES = ("N", "S", "V", "F")


def make_beats(classes: str, *, rr: float = 0.5) -> pd.DataFrame:
    """Beats at regular intervals; the i-th one has a probability of 0.5 + i / (2 n)."""
    n = len(classes)
    time = 1 + rr * np.arange(n)
    table = pd.DataFrame({"time": time, "rr": np.diff(time, prepend=np.nan), "class": list(classes)})
    probability = np.full((n, 4), 0.0)
    probability[np.arange(n), [CLASSES.index(name) for name in classes]] = 0.5 + np.arange(n) / (2 * n)
    return table.assign(**{f"p_{name}": probability[:, c] for c, name in enumerate(CLASSES)})


def make_report(beats: pd.DataFrame, title: str = "r1", seconds: float | None = None) -> RecordingReport:
    seconds = beats["time"].iloc[-1] + 2 if seconds is None else seconds
    signal = np.sin(np.arange(round(seconds * 250)) / 20)
    return RecordingReport(title, "II", 250.0, signal, beats, CLASSES, {"Model": "m"})


def embedded(path: Path) -> dict[str, object]:
    """What the page holds for its script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    content: dict[str, object] = json.loads(found[1])
    return content


def test_runs_are_three_or_more_beats_of_v_or_s() -> None:
    found = runs(make_beats("NVVNVVVSSSSNFFFF"))
    assert [(run.class_name, run.n) for run in found] == [("S", 4), ("V", 3)]
    assert found[1].start == 1 + 0.5 * 4
    assert found[1].rate == pytest.approx(120)


def test_burden_is_counted_by_hour() -> None:
    beats = make_beats("N" * 5000 + "V" * 20, rr=1.0)
    hours = by_hour(beats, CLASSES)
    assert [hour.start for hour in hours] == [0, 1]
    assert [hour.counts["V"] for hour in hours] == [0, 20]
    assert sum(hour.n for hour in hours) == 5020
    assert hours[0].rate == pytest.approx(60)
    assert burden(beats[:1], CLASSES, 0).rate is None


def test_the_page_holds_every_beat_and_the_lead(tmp_path: Path) -> None:
    beats = make_beats("NNVSFNN" * 40)
    write_recording_report(make_report(beats), tmp_path / "r.html")
    data = embedded(tmp_path / "r.html")
    n = data["n"]
    content = zlib.decompress(b64decode(str(data["beats"])))
    time = np.frombuffer(content, "<u4", n)
    label = np.frombuffer(content, np.uint8, n, 4 * len(beats))
    np.testing.assert_allclose(time / 1000, beats["time"], atol=1e-3)
    assert [CLASSES[c] for c in label] == beats["class"].tolist()
    signal = np.cumsum(np.frombuffer(zlib.decompress(b64decode(str(data["signal"]))), np.uint8), dtype=np.uint8)
    assert len(signal) == pytest.approx(float(str(data["seconds"])) * 125)
    assert signal.min() == 0
    assert signal.max() == 255


def test_the_least_certain_beats_come_first(tmp_path: Path) -> None:
    write_recording_report(make_report(make_beats("NSVF" * 20)), tmp_path / "r.html")
    doubtful = (tmp_path / "r.html").read_text().split("Least certain beats")[1]
    assert re.findall(r"</canvas>(\w) (\d+) %", doubtful)[:4] == [("N", "50"), ("S", "51"), ("V", "51"), ("F", "52")]


def test_the_page_needs_no_other_file_and_escapes_names(tmp_path: Path) -> None:
    name = "</script><b>x"
    write_recording_report(make_report(make_beats("NNN"), title=name), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert name not in page
    assert not re.search(r"https?:|<link|<iframe", page)


def test_a_day_is_a_small_file(tmp_path: Path) -> None:
    beats = make_beats("N" * 100_000, rr=0.86)
    write_recording_report(make_report(beats), tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 15_000_000
