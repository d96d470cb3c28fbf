"""Recordings without annotations, in several formats."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pandas as pd
import pytest
from wfdb_factories import error_message, write_signals

from ecg.data.recording_files import find_recordings, read_recording, recording_of_array

RNG = np.random.default_rng(0)
SIGNAL = np.rint(RNG.normal(size=(2, 5000)).cumsum(axis=1) * 5)  # ADC values
LEADS = ("V1", "II")


def write_file(folder: Path, suffix: str) -> Path:
    """The same signal in a file of a format; EDF has physical values, the others ADC values."""
    path = folder / f"mein Gerät{suffix}"
    if suffix == ".npy":
        np.save(path, SIGNAL)
    elif suffix == ".csv":
        pd.DataFrame(SIGNAL.T, columns=LEADS).to_csv(path, index=False)
    elif suffix == ".parquet":
        pd.DataFrame(SIGNAL.T, columns=LEADS).to_parquet(path)
    elif suffix == ".edf":
        channels = [edfio.EdfSignal(x, 250, label=f"ECG {lead}") for x, lead in zip(SIGNAL, LEADS, strict=True)]
        edfio.Edf([edfio.EdfSignal(SIGNAL[0], 250, label="Resp"), *channels]).write(path)
    else:
        path = folder / "r1"
        write_signals(folder, "r1", SIGNAL, LEADS, sfreq=250)
    return path


@pytest.mark.parametrize("suffix", ["", ".edf", ".csv", ".npy", ".parquet"])
def test_every_format_gives_the_same_recording(suffix: str, tmp_path: Path) -> None:
    stated = suffix in ("", ".edf")
    recording = read_recording(write_file(tmp_path, suffix), sfreq=None if stated else 250)
    assert recording.sfreq == 250
    scale = np.abs(SIGNAL).max()
    np.testing.assert_allclose(recording.signal / scale, SIGNAL / scale, atol=1e-4)
    expected = {".edf": ("ECG V1", "ECG II"), ".npy": ("lead 1", "lead 2")}.get(suffix, LEADS)
    assert recording.leads == expected
    assert recording.preferred_lead == ("lead 1" if suffix == ".npy" else expected[1])


def test_a_header_or_signal_file_names_its_record(tmp_path: Path) -> None:
    write_file(tmp_path, "")
    for suffix in (".hea", ".dat"):
        assert read_recording(tmp_path / f"r1{suffix}").name == "r1"


def test_the_name_of_a_record_may_contain_a_dot(tmp_path: Path) -> None:
    write_file(tmp_path, "")
    (tmp_path / "r1.hea").rename(tmp_path / "r1.b.hea")
    assert read_recording(tmp_path / "r1.b").name == "r1.b"


def test_a_lead_is_chosen_by_name(tmp_path: Path) -> None:
    path = write_file(tmp_path, ".csv")
    assert read_recording(path, sfreq=250, lead="V1").preferred_lead == "V1"
    assert error_message(lambda: read_recording(path, sfreq=250, lead="aVR")).endswith("Its leads: V1, II.")


def test_leads_of_one_name_are_numbered(tmp_path: Path) -> None:
    edfio.Edf([edfio.EdfSignal(x, 250, label="ECG") for x in SIGNAL]).write(tmp_path / "a.edf")
    assert read_recording(tmp_path / "a.edf").leads == ("ECG", "ECG 2")


@pytest.mark.parametrize(
    ("suffix", "sfreq", "message"),
    [
        (".csv", None, "does not state its sampling rate. Add --sfreq=HZ."),
        (".npy", 1.0, "--sfreq is 1. Valid rates: 50 to 20,000 Hz."),
        ("", 360.0, "--sfreq is 360, but"),
        (".edf", 128.0, "--sfreq is 128, but"),
    ],
)
def test_a_missing_or_contradictory_rate_is_refused(
    suffix: str, sfreq: float | None, message: str, tmp_path: Path
) -> None:
    path = write_file(tmp_path, suffix)
    assert message in error_message(lambda: read_recording(path, sfreq=sfreq))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"V1,II\n1,2\n3,x\n", "has text in the columns II"),
        ("a.csv", b"", "Cannot read"),
        ("a.csv", b"V1\n", "has 1 leads of 0 samples"),
        ("a.npy", b"\x93NUMPY", "Cannot read"),
        ("a.npy", b"cos\nsystem\n(S'touch x'\ntR.", "Cannot read"),
        ("a.parquet", b"PAR1", "Cannot read"),
        ("a.edf", b"0       x", "Cannot read"),
    ],
)
def test_damaged_files_are_one_message(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in error_message(lambda: read_recording(tmp_path / name, sfreq=250))


def test_arrays_that_are_no_signals_are_refused(tmp_path: Path) -> None:
    for array in (np.zeros((2, 3, 4)), np.array(["a", "b"]), np.zeros((65, 10))):
        np.save(tmp_path / "a.npy", array)
        assert "Valid:" in error_message(lambda: read_recording(tmp_path / "a.npy", sfreq=250))


def test_an_edf_file_without_ecg_lists_its_channels(tmp_path: Path) -> None:
    edfio.Edf([edfio.EdfSignal(SIGNAL[0], 250, label="Resp")]).write(tmp_path / "a.edf")
    message = error_message(lambda: read_recording(tmp_path / "a.edf"))
    assert message.endswith("has no ECG channel. Its channels: Resp.")


@pytest.mark.parametrize("name", ["a.csv", "a.npy", "a.edf", "a"])
def test_a_missing_file_is_one_message(name: str, tmp_path: Path) -> None:
    assert str(tmp_path) in error_message(lambda: read_recording(tmp_path / name, sfreq=250))


def test_an_array_is_a_recording() -> None:
    recording = recording_of_array(SIGNAL, 250, LEADS)
    assert (recording.leads, recording.preferred_lead, recording.sfreq) == (LEADS, "II", 250)
    np.testing.assert_array_equal(recording.signal, SIGNAL)
    single = recording_of_array(SIGNAL[0].tolist(), 250)
    assert (single.signal.shape, single.preferred_lead) == ((1, 5000), "lead 1")
    assert recording_of_array(SIGNAL, 250, LEADS, lead="V1").preferred_lead == "V1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SIGNAL[None], 250), r"The signal is float64 (1, 2, 5000). Valid: numbers"),
        ((["a", "b"], 250), "The signal is <U1 (2,)"),
        ((SIGNAL[:, :0], 250), "The signal is float64 (2, 0)"),
        ((SIGNAL.T, 250), "The signal has 5000 leads"),
        ((SIGNAL, 5), "sfreq is 5. Valid rates: 50 to 20,000 Hz"),
        ((SIGNAL, 250, ["II"]), "The leads are II, but 2 different names are needed"),
        ((SIGNAL, 250, ["II", "II"]), "The leads are II, II, but 2 different names are needed"),
        ((SIGNAL, 250, LEADS, "V5"), "There is no lead V5. The leads: V1, II"),
    ],
)
def test_an_array_that_is_no_recording_gives_one_sentence(arguments: tuple[object, ...], message: str) -> None:
    assert message in error_message(lambda: recording_of_array(*arguments))  # type: ignore[arg-type]


def test_folders_and_patterns_name_recordings(tmp_path: Path) -> None:
    for name in ("b.hea", "b.dat", "a.edf", "c.CSV", "a.beats.csv", "notes.txt", "s 1.npy"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    everything = ["a.edf", "b", "c.CSV", "s 1.npy"]
    assert [path.name for path in find_recordings([str(tmp_path)])] == everything
    assert [path.name for path in find_recordings([f"{tmp_path}/*", f"{tmp_path}/b"])] == everything
    assert find_recordings([f"{tmp_path}/?.edf"]) == [tmp_path / "a.edf"]
    assert find_recordings(["x/100"]) == [Path("x/100")]  # whether it exists is checked when it is read
    for name in ("empty", "*.dat"):
        assert "has no recordings" in error_message(lambda name=name: find_recordings([f"{tmp_path}/{name}"]))
