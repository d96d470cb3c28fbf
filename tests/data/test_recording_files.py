"""Recordings without annotations, in several formats."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
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
    labels = ("ECG", "ECG 2", "ECG", "ECG 2")
    edfio.Edf([edfio.EdfSignal(SIGNAL[0], 250, label=label) for label in labels]).write(tmp_path / "b.edf")
    assert read_recording(tmp_path / "b.edf").leads == ("ECG", "ECG 2", "ECG 3", "ECG 2 2")


def test_the_names_of_leads_are_short_and_printable(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'"V1\nII","\x1b[31m",' + b"L" * 999 + b",Brustwand \xfc\n" + b"1,2,3,4\n" * 9)
    recording = read_recording(tmp_path / "a.csv", sfreq=250)
    assert recording.leads == ("V1 II", "�[31m", "L" * 40, "Brustwand �")
    assert error_message(lambda: read_recording(tmp_path / "a.csv", sfreq=250, lead="x")).isprintable()


def test_twelve_leads_without_lead_ii_use_the_first_one(tmp_path: Path) -> None:
    leads = ["I", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6", "V7"]
    pd.DataFrame(np.zeros((500, 12)), columns=leads).to_csv(tmp_path / "a.csv", index=False)
    assert read_recording(tmp_path / "a.csv", sfreq=250).preferred_lead == "I"
    message = error_message(lambda: read_recording(tmp_path / "a.csv", sfreq=250, lead="II"))
    assert message.endswith("a.csv has no lead II. Its leads: I, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6, V7.")


def test_missing_samples_of_a_wfdb_record_are_not_numbers(tmp_path: Path) -> None:
    signal = SIGNAL.copy()
    signal[1, 100:200] = -32768  # the value of format 16 for a missing sample
    write_signals(tmp_path, "r1", signal, LEADS, sfreq=250)
    read = read_recording(tmp_path / "r1").signal
    assert np.flatnonzero(np.isnan(read[1])).tolist() == list(range(100, 200))
    np.testing.assert_array_equal(read[0], SIGNAL[0])


def test_names_with_spaces_and_letters_outside_ascii_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "Aufnahmen für Müller 心電図"
    folder.mkdir()
    for suffix in (".edf", ".csv", ".npy", ".parquet"):
        path = write_file(folder, suffix)
        assert read_recording(path, sfreq=250).name == "mein Gerät"
        path.unlink()
    write_file(folder, "")
    (folder / "r1.hea").rename(folder / "mein Gerät.hea")
    assert [path.name for path in find_recordings([str(folder)])] == ["mein Gerät"]
    assert read_recording(folder / "mein Gerät").name == "mein Gerät"


@pytest.mark.parametrize(
    ("suffix", "sfreq", "message"),
    [
        (".csv", None, "does not state its sampling rate. Add --sfreq=HZ."),
        (".npy", 1.0, "--sfreq is 1. Valid rates: 50 to 20,000 Hz."),
        ("", 360.0, "--sfreq is 360, but"),
        (".edf", 128.0, "--sfreq is 128, but"),
        (".csv", float("nan"), "--sfreq is nan. Valid rates: 50 to 20,000 Hz."),
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
        ("a.csv", b"V1;II\n1;2\n", "has text in the columns V1;II. Keep columns of numbers only, with commas"),
        ("a.csv", b"\0\nx\n", "has text in the columns"),
        ("a.npy", b"\x93NUMPY", "Cannot read"),
        ("a.npy", b"PK\x05\x06" + bytes(18), "Cannot read"),  # NumPy reads an empty archive from it
        ("a.npy", b"\x93NUMPY\1\0\x64\0" + b"(" * 99 + b"\n", "Cannot read"),
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


@pytest.mark.parametrize("shape", ["(10**12,)", "(1000000000000,)", "(4294967296, 4294967296)", "(-1,)"])
def test_an_array_that_states_more_than_its_file_holds_is_refused(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    content = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(80)
    (tmp_path / "a.npy").write_bytes(content)
    assert "Cannot read" in error_message(lambda: read_recording(tmp_path / "a.npy", sfreq=250))


def test_a_small_parquet_file_with_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"II": pa.array(np.zeros(1_000_000, np.int8))}), path)
    assert path.stat().st_size < 10_000
    assert read_recording(path, sfreq=250).signal.shape == (1, 1_000_000)
    monkeypatch.setattr("ecg.resources.available_memory", lambda: 7_000_000)
    message = error_message(lambda: read_recording(path, sfreq=250))
    assert message.startswith(f"The 1,000,000 rows that {path} states need about 0.0 GB of memory.")


def edit_edf(path: Path, start: int, text: str, width: int = 8) -> None:
    """Writes a field of the header of an EDF file."""
    content = bytearray(path.read_bytes())
    content[start : start + width] = text.encode().ljust(width)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("start", "text", "message"),
    [
        (184, "256", "its header states 256 bytes and 3 signals"),
        (184, "-1", "its header states -1 bytes and 3 signals"),
        (236, "999999", "is truncated: 20 data records instead of 999999"),
        (236, "x", "Cannot read"),
        (244, "0", "Cannot read"),
        (244, "1e-9", "Hz. Valid rates: 50 to 20,000 Hz."),
        (244, "1000", "states 0.25 Hz. Valid rates: 50 to 20,000 Hz."),
        (244, "nan", "states nan Hz. Valid rates: 50 to 20,000 Hz."),
        (252, "9999", "its header states 1024 bytes and 9999 signals"),
        (256 + 3 * 216 + 8, "-250", "states -250 Hz. Valid rates: 50 to 20,000 Hz."),
        (256 + 3 * 216 + 8, "999999", "is truncated: 0 data records instead of 20"),
    ],
)
def test_a_hostile_header_of_an_edf_file_is_refused(start: int, text: str, message: str, tmp_path: Path) -> None:
    path = write_file(tmp_path, ".edf")
    edit_edf(path, start, text, 4 if start == 252 else 8)
    assert message in error_message(lambda: read_recording(path))


def test_a_truncated_edf_file_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path, ".edf")
    path.write_bytes(path.read_bytes()[:-3000])
    message = error_message(lambda: read_recording(path))
    assert message == f"{path} is truncated: 18 data records instead of 20. Replace it with a fresh copy."


def test_an_edf_file_with_pauses_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    signals = [edfio.EdfSignal(SIGNAL[0], 250, label="ECG")]
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(1, None, "N")], data_record_duration=1.0).write(path)
    edit_edf(path, 192, "EDF+D", 44)
    assert read_recording(path).signal.shape == (1, 5000)  # it may be continuous
    path.write_bytes(path.read_bytes().replace(b"+10\x14\x14", b"+60\x14\x14"))
    assert "a.edf is an EDF+D file with pauses. Split it" in error_message(lambda: read_recording(path))


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
    assert "Check its permissions" in error_message(lambda: find_recordings(["x" * 300]))  # too long, an OSError
    for name in ("empty", "*.dat"):
        assert "has no recordings" in error_message(lambda name=name: find_recordings([f"{tmp_path}/{name}"]))
