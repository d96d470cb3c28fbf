"""From a recording to annotated beats."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wfdb
from programs import ROOT, TINY_TRAIN
from typer.testing import CliRunner, Result
from wfdb_factories import error_message, write_recording

from ecg.cli import app
from ecg.data.aami import CLASSES, labels_from_symbols
from ecg.data.recording import Recording
from ecg.data.recording_files import read_recording
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow
from ecg.errors import UserError
from ecg.prediction import BeatClassifier, bridge, gaps, load_classifier

CONTEXT = ["data.context=5", "data.features=rhythm_and_shape", "data.leads=2", "protocol.classes=[N,S,V,F]"]


@pytest.fixture(scope="module")
def fitted(finished_run: Callable[..., Path]) -> Path:
    """A run of beats in context with two leads."""
    return finished_run("train", *TINY_TRAIN, *CONTEXT, "logger=none", "prediction.vote=true")


@pytest.fixture(scope="module")
def model(fitted: Path) -> BeatClassifier:
    return load_classifier(fitted)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """A simulated recording that is not one of the fit."""
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=2, seed=7)
    return source.read(source.record_names()[0], KaggleWindow("first"))


def predict(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--model", str(model)])


def test_the_beats_of_a_recording_are_found_and_classified(model: BeatClassifier, recording: Recording) -> None:
    table = model.predict_recording(recording)
    true = recording.sample[labels_from_symbols(recording.symbol) >= 0]
    distance = np.abs(table["sample"].to_numpy()[:, None] - true).min(axis=1)
    assert (distance < 0.05 * recording.sfreq).mean() > 0.97
    assert abs(len(table) - len(true)) < 0.03 * len(true)
    probability = table[[f"p_{name}" for name in "NSVF"]].to_numpy()
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert table["class"].tolist() == [model.classes[c] for c in probability.argmax(axis=1)]
    np.testing.assert_allclose(np.diff(table["time"]), table["rr"][1:])
    assert table["time"].to_numpy() == pytest.approx(table["sample"] / recording.sfreq)


def test_annotations_of_the_recording_are_not_used(model: BeatClassifier, recording: Recording) -> None:
    without = replace(recording, sample=recording.sample[:0], symbol=recording.symbol[:0])
    pd.testing.assert_frame_equal(model.predict_recording(recording), model.predict_recording(without))


def test_given_r_peaks_are_used(model: BeatClassifier, recording: Recording) -> None:
    detected = model.predict_recording(recording)
    given = model.predict_recording(recording, r_peaks=detected["sample"].to_numpy())
    pd.testing.assert_frame_equal(detected, given)
    fewer = model.predict(recording.signal, recording.sfreq, r_peaks=detected["sample"].to_numpy()[::2])
    assert fewer["sample"].tolist() == detected["sample"].tolist()[::2]


@pytest.mark.parametrize("r_peaks", [[5, 3], [-1, 3], [3, 10**9], [0.5, 3.0], [[3, 5]], [3, 3]])
def test_r_peaks_outside_of_the_recording_are_refused(
    model: BeatClassifier, recording: Recording, r_peaks: list[Any]
) -> None:
    with pytest.raises(UserError, match="R peaks are"):
        model.predict_recording(recording, r_peaks=np.array(r_peaks))


def test_the_unit_of_the_signal_does_not_matter(model: BeatClassifier, recording: Recording) -> None:
    in_mv = replace(recording, signal=recording.signal / 200 - 5)
    assert model.predict_recording(in_mv)["class"].tolist() == model.predict_recording(recording)["class"].tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_part_without_contact_has_no_beats(model: BeatClassifier, recording: Recording, value: float) -> None:
    signal = recording.signal.astype(np.float64)
    gap = slice(round(30 * recording.sfreq), round(50 * recording.sfreq))
    signal[:, gap] = value
    time = model.predict_recording(replace(recording, signal=signal))["time"]
    assert not ((time > 30) & (time < 50)).any()
    assert (time < 30).sum() > 20
    assert (time > 50).sum() > 40


def test_a_recording_of_one_lead_is_predicted(model: BeatClassifier, recording: Recording) -> None:
    one = replace(recording, signal=recording.signal[:1], leads=recording.leads[:1])
    assert len(model.predict_recording(one)) > 50


def one_lead(signal: np.ndarray) -> Recording:
    none = np.empty(0, np.int64)
    return Recording("r", "r", 250.0, ("II",), signal[None], none, none.astype(str), "II")


@pytest.mark.parametrize("value", [0.0, 2047.0, np.nan, np.inf, 1e300])
def test_a_lead_without_contact_is_refused(model: BeatClassifier, value: float) -> None:
    message = error_message(lambda: model.predict_recording(one_lead(np.full(5000, value))))
    assert message == "Lead II of r has no contact throughout. Choose another lead with --lead."


@pytest.mark.parametrize(
    "signal",
    [np.ones(3), np.arange(5000.0), 200.0 * (np.abs(np.arange(500) - 250) < 5)],
    ids=["shorter than a beat", "no R peak", "one beat"],
)
def test_a_recording_with_fewer_than_two_beats_is_refused(model: BeatClassifier, signal: np.ndarray) -> None:
    message = error_message(lambda: model.predict_recording(one_lead(signal)))
    assert re.match(r"r has [01] R peaks in lead II\. At least 2 are needed\. Choose another lead", message)


def test_a_saturated_part_is_a_gap(model: BeatClassifier, recording: Recording) -> None:
    """The amplifier drifts to the end of its range and back. Clipped R peaks alone are no gap."""
    index, seconds = recording.leads.index(recording.preferred_lead), recording.signal.shape[1] / recording.sfreq
    signal = recording.signal.astype(np.float64)
    clipped = np.quantile(signal[index], 0.99)
    signal[index] = signal[index].clip(max=clipped)
    assert gaps(replace(recording, signal=signal)) == []
    at = np.arange(signal.shape[1]) / recording.sfreq
    signal[index] = (signal[index] + 40 * np.ptp(signal[index]) * ((at > 30) & (at < 50))).clip(max=clipped)
    drifted = replace(recording, signal=signal)
    ((start, end),) = gaps(drifted)
    assert (start, end) == pytest.approx((30, 50), abs=0.1)
    time = model.predict_recording(drifted)["time"]
    assert not ((time > start) & (time < end)).any()
    assert (time > 50).sum() > 0.8 * (seconds - 50) / 60 * 50


def test_twelve_leads_without_lead_ii_are_predicted(model: BeatClassifier, recording: Recording) -> None:
    names = tuple("I III aVR aVL aVF V1 V2 V3 V4 V5 V6 V7".split())
    many = replace(recording, leads=names, signal=np.repeat(recording.signal[:1], 12, axis=0), preferred_lead="I")
    assert len(model.predict_recording(many)) > 50


def test_gaps_are_straight_lines() -> None:
    x = np.array([1.0, 2.0, np.nan, np.nan, 5.0, 6.0, 6.0, 6.0, 7.0])
    (bridged,), (missing,) = bridge(x[None], 3.0)
    assert missing.tolist() == [False] * 2 + [True] * 2 + [False] + [True] * 3 + [False]
    np.testing.assert_allclose(bridged, [1, 2, 3, 4, 5, 5.5, 6, 6.5, 7])


def test_gaps_at_both_ends_are_constant_and_one_sample_between_gaps_is_kept() -> None:
    nan = np.nan
    x = np.array([[nan, nan, 1.0, nan, 2.0, nan, nan, 5.0, nan], [nan] * 9])
    bridged, missing = bridge(x, 20.0)
    np.testing.assert_allclose(bridged, [[1, 1, 1, 1.5, 2, 3, 4, 5, 5], [0] * 9])
    np.testing.assert_array_equal(missing, np.isnan(x))


def test_the_classifier_of_a_run_is_loaded_without_the_libraries_of_a_training(fitted: Path) -> None:
    code = "import sys; from ecg import annotation, prediction; prediction.load_classifier(sys.argv[1]); "
    code += "print([name for name in ('pytorch_lightning', 'lightning_fabric', 'torchmetrics', 'sklearn', 'matplotlib')"
    code += " if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code, fitted], check=True, capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"


def test_the_command_writes_annotations_and_a_table(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path, recording, "r1")
    ended = predict(fitted, tmp_path / "r1", "--out", tmp_path / "out put")
    assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in (tmp_path / "out put").iterdir()) == ["r1.beats.csv", "r1.ecg", "r1.html"]
    table = pd.read_csv(tmp_path / "out put" / "r1.beats.csv")
    annotation = wfdb.rdann(str(tmp_path / "out put" / "r1"), "ecg")
    assert annotation.sample.tolist() == table["sample"].tolist()
    assert annotation.symbol == table["class"].tolist()
    assert annotation.fs == recording.sfreq
    np.testing.assert_allclose(table["time"], table["sample"] / recording.sfreq, atol=1e-4)
    assert f"r1: {len(table)} beats" in ended.output


def test_gaps_are_reported(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    signal = recording.signal.astype(np.float64)
    for start, end, value in ((30, 50, np.nan), (60, 65, 0.0)):
        signal[:, round(start * recording.sfreq) : round(end * recording.sfreq)] = value
    np.save(tmp_path / "Gerät 1.npy", signal)
    ended = predict(fitted, tmp_path / "Gerät 1.npy", "--sfreq", recording.sfreq)
    assert ended.exit_code == 0, ended.output
    (line,) = [line for line in ended.stdout.splitlines() if "without contact" in line]
    assert line.startswith("  without contact: 25.0 s of lead lead 1, in 2 parts, the first at 30.0 s")
    assert line.removeprefix("  without contact: ") in (tmp_path / "Gerät 1.html").read_text()
    names = ["Gerät 1.beats.csv", "Gerät 1.ecg", "Gerät 1.html", "Gerät 1.npy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_results_are_compared_with_annotations(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path, recording, "r1")
    ended = predict(fitted, tmp_path / "r1", "--reference", "atr")
    assert ended.exit_code == 0, ended.output
    assert re.search(r"within 150 ms of an annotated one: Se (9|100)", ended.output)
    assert len(re.findall(r"^  [NSVF]: Se ", ended.output, re.MULTILINE)) == 4
    ended = predict(fitted, tmp_path / "r1", "--reference", "qrs", "--overwrite")
    assert ended.exit_code == 1
    assert "r1.qrs is missing" in ended.output


def test_existing_results_are_kept(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path, recording, "r1")
    (tmp_path / "r1.beats.csv").write_text("mine")
    ended = predict(fitted, tmp_path / "r1")
    assert ended.exit_code == 1
    assert "r1.beats.csv exists. Add --overwrite" in ended.output
    assert (tmp_path / "r1.beats.csv").read_text() == "mine"
    assert not (tmp_path / "r1.ecg").exists()
    assert predict(fitted, tmp_path / "r1", "--overwrite").exit_code == 0
    assert (tmp_path / "r1.ecg").exists()


def test_a_folder_that_cannot_be_written_is_one_message(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path, recording, "r1")
    (tmp_path / "file").write_text("")
    ended = predict(fitted, tmp_path / "r1", "--out", tmp_path / "file")
    assert ended.exit_code == 1
    assert ended.output.startswith("Error: Cannot write to ")


def test_a_read_only_folder_is_one_message(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path, recording, "r1")
    load_classifier(fitted)
    read_only = tmp_path / "out"
    read_only.mkdir(mode=0o500)
    with as_ordinary_user(tmp_path):
        ended = predict(fitted, tmp_path / "r1", "--out", read_only)
        below = predict(fitted, tmp_path / "r1", "--out", read_only / "new")
    for output in (ended, below):
        assert output.exit_code == 1
        assert output.output.startswith("Error: Cannot write to ")
        assert output.output.rstrip().endswith("Permission denied). Choose another folder with --out.")
    assert not list(read_only.iterdir())


@contextmanager
def as_ordinary_user(folder: Path) -> Iterator[None]:
    """Continues without the rights of root, who may write everywhere; the user may read the folders above `folder`."""
    if os.geteuid() != 0:
        yield
        return
    above = [parent for parent in (folder, *folder.parents) if not parent.stat().st_mode & 0o005]
    for parent in above:
        parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(65534)  # nobody
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_a_classifier_is_one_message(tmp_path: Path) -> None:
    ended = predict(tmp_path, tmp_path / "r1")
    assert ended.exit_code == 1
    assert ended.output.startswith(f"Error: {tmp_path}")


@pytest.mark.slow
def test_an_exported_file_predicts_what_its_run_predicts(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    expected = load_classifier(fitted).predict_recording(recording)
    for suffix in ("onnx", "safetensors"):
        ended = CliRunner().invoke(app, ["export", str(fitted), str(tmp_path / f"m.{suffix}")])
        assert ended.exit_code == 0, ended.output
        table = load_classifier(tmp_path / f"m.{suffix}").predict_recording(recording)
        assert table["class"].tolist() == expected["class"].tolist()
        np.testing.assert_allclose(table.filter(like="p_"), expected.filter(like="p_"), atol=1e-4)


@pytest.mark.slow
def test_recordings_of_a_folder_are_annotated_in_parallel(fitted: Path, recording: Recording, tmp_path: Path) -> None:
    for name in ("r1", "r2", "r3"):
        write_recording(tmp_path / "in", recording, name)
    (tmp_path / "in" / "r2.dat").write_bytes(b"short")
    ended = predict(fitted, tmp_path / "in", "--out", tmp_path / "out", "--jobs", 2, "--reference", "atr")
    assert ended.exit_code == 1
    assert [line.split(":")[0] for line in ended.stdout.splitlines() if "beats (" in line] == ["r1", "r3"]
    assert "Error: " in ended.output
    assert "r2" in ended.output.split("Error: ")[1]
    assert "Se " in ended.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.csv")) == ["r1.beats.csv", "r3.beats.csv"]
    alone = predict(fitted, tmp_path / "in" / "r1", "--out", tmp_path / "alone")
    assert alone.exit_code == 0
    for suffix in ("beats.csv", "ecg"):
        assert (tmp_path / "alone" / f"r1.{suffix}").read_bytes() == (tmp_path / "out" / f"r1.{suffix}").read_bytes()


def test_cut_beats_are_classified_as_those_of_a_recording(recording: Recording) -> None:
    model = load_classifier("kaggle")
    table, beats = model.predict_beats(recording)
    expected = table.drop(columns=["sample", "time", "rr"])
    pd.testing.assert_frame_equal(model.predict_cut_beats(beats.signal), expected)
    pd.testing.assert_frame_equal(model.predict_cut_beats(beats.signal[:, 0].astype(np.float64)), expected)


def test_cut_beats_that_cannot_be_classified_give_one_sentence(model: BeatClassifier) -> None:
    of_rows, beats = load_classifier("kaggle"), np.full((2, 187), 0.5)
    for wrong in (beats[:, :100], beats[:0], beats[0], np.zeros((2, 2, 187))):
        assert "It must be (n, 187), or (n, 1, 187)" in error_message(lambda x=wrong: of_rows.predict_cut_beats(x))
    for wrong in (3 * beats, -beats, beats * np.nan, beats.astype(str)):
        assert "not a number from 0 to 1" in error_message(lambda x=wrong: of_rows.predict_cut_beats(x))
    assert "needs the recording around a beat" in error_message(lambda: model.predict_cut_beats(beats))


def test_the_released_classifier_of_rows_has_the_score_of_its_card(real_data: Path) -> None:
    model, window = load_classifier("kaggle"), KaggleWindow("first")
    recording = read_recording(real_data / "mitdb" / "208", annotator="atr")
    beats = window.cut(recording)
    table = model.predict_cut_beats(beats.signal)
    assert (table["class"] == np.array(CLASSES)[beats.label]).mean() > 0.97  # most of them are training rows
