from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg.data import aami
from ecg.data.wfdb_records import list_records, read_recording, read_signals, stamp
from ecg.errors import UserError

SFREQ = 360  # Hz
N_SAMPLES = 20 * SFREQ
SAMPLE = np.arange(100, N_SAMPLES, 300)
SYMBOL = ["+", *("NVAF/"[i % 5] for i in range(len(SAMPLE) - 1))]


def write_record(
    folder: Path,
    name: str = "100",
    *,
    seed: int = 0,
    fmt: str = "212",
    sample: np.ndarray = SAMPLE,
    symbol: list[str] | None = None,
) -> np.ndarray:
    """Writes a small record and returns its signal, (2, N_SAMPLES) raw ADC values."""
    signal = np.random.default_rng(seed).integers(-2000, 2000, size=(N_SAMPLES, 2))
    wfdb.wrsamp(
        name,
        fs=SFREQ,
        units=["mV", "mV"],
        sig_name=["MLII", "V5"],
        d_signal=signal,
        fmt=[fmt, fmt],
        adc_gain=[200.0, 200.0],
        baseline=[1024, 1024],
        write_dir=str(folder),
    )
    wfdb.wrann(name, "atr", sample, symbol or SYMBOL[: len(sample)], write_dir=str(folder))
    return signal.T


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_record(tmp_path)
    return tmp_path


def sentence(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def edit(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("fmt", ["212", "16", "80", "24", "32", "516"])
def test_reads_what_was_written(tmp_path: Path, fmt: str) -> None:
    signal = np.clip(np.random.default_rng(1).integers(-120, 120, size=(999, 3)), -120, 120)
    wfdb.wrsamp(
        "r",
        fs=250,
        units=["mV"] * 3,
        sig_name=["a", "b", "c"],
        d_signal=signal,
        fmt=[fmt] * 3,
        adc_gain=[200.0] * 3,
        baseline=[0] * 3,
        write_dir=str(tmp_path),
    )
    read = read_signals(tmp_path, "r")
    np.testing.assert_array_equal(read.signal, signal.T)
    assert read.leads == ("a", "b", "c")
    assert read.sfreq == 250


def test_recording(tmp_path: Path) -> None:
    signal = write_record(tmp_path, "201")
    recording = read_recording(tmp_path, "201", patient="201/202")
    assert (recording.name, recording.patient, recording.sfreq) == ("201", "201/202", 360.0)
    assert recording.leads == ("MLII", "V5")
    assert recording.signal.dtype == np.int16
    assert recording.signal.flags.c_contiguous
    np.testing.assert_array_equal(recording.signal, signal)
    np.testing.assert_array_equal(recording.sample, SAMPLE)
    assert recording.sample.dtype == np.int64
    assert recording.symbol.tolist() == SYMBOL
    assert read_recording(tmp_path, "201").patient == "201"


def test_large_values_stay_whole(tmp_path: Path) -> None:
    signal = np.array([[40_000, 0], [-40_000, 1]])
    wfdb.wrsamp(
        "r",
        fs=360,
        units=["mV"] * 2,
        sig_name=["a", "b"],
        d_signal=signal,
        fmt=["24"] * 2,
        adc_gain=[200.0] * 2,
        baseline=[0] * 2,
        write_dir=str(tmp_path),
    )
    read = read_signals(tmp_path, "r").signal
    np.testing.assert_array_equal(read, signal.T)
    assert read.dtype == np.int32


def test_odd_folder_names(tmp_path: Path) -> None:
    odd = tmp_path / "my data [1] * ä.b"
    odd.mkdir()
    write_record(odd, "a-b_1")
    assert list_records(odd) == ["a-b_1"]
    assert read_recording(odd, "a-b_1").signal.shape == (2, N_SAMPLES)


def test_signal_file_with_another_name(folder: Path) -> None:
    (folder / "100.dat").rename(folder / "signals.dat")
    edit(folder / "100.hea", ("100.dat", "signals.dat"))
    assert read_recording(folder, "100").signal.shape == (2, N_SAMPLES)
    (folder / "signals.dat").unlink()
    assert str(folder / "signals.dat") in sentence(lambda: read_recording(folder, "100"))


def test_one_signal_file_per_lead(folder: Path) -> None:
    signal = read_recording(folder, "100").signal
    for i, lead in enumerate(signal):
        lead.astype("<i2").tofile(folder / f"lead{i}.d16")
    header = (folder / "100.hea").read_text().splitlines()
    lines = [line.replace("100.dat 212", f"lead{i}.d16 16") for i, line in enumerate(header[1:])]
    (folder / "100.hea").write_text("\n".join([header[0], *lines]) + "\n")
    np.testing.assert_array_equal(read_recording(folder, "100").signal, signal)
    before = stamp(folder, "100")
    os.utime(folder / "lead1.d16", (0, 0))
    assert stamp(folder, "100") != before
    (folder / "lead1.d16").write_bytes(b"\0\0")
    assert "lead1.d16 is truncated" in sentence(lambda: read_recording(folder, "100"))


@pytest.mark.parametrize("suffix", ["hea", "dat", "atr"])
def test_missing_file(folder: Path, suffix: str) -> None:
    (folder / f"100.{suffix}").unlink()
    message = sentence(lambda: read_recording(folder, "100"))
    assert str(folder / f"100.{suffix}") in message
    assert "missing: put it there" in message
    assert "missing" in sentence(lambda: stamp(folder, "100"))


def test_other_annotator(folder: Path) -> None:
    assert "100.qrs" in sentence(lambda: read_recording(folder, "100", annotator="qrs"))


def test_folder_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "100.dat").unlink()
    (folder / "100.dat").mkdir()
    assert "100.dat is missing" in sentence(lambda: read_recording(folder, "100"))


@pytest.mark.parametrize("size", [0, 1, 3, 1000, 3 * N_SAMPLES - 1])
@pytest.mark.parametrize("checksum", [True, False])
def test_truncated_signal(folder: Path, size: int, checksum: bool) -> None:
    os.truncate(folder / "100.dat", size)
    if not checksum:
        header = (folder / "100.hea").read_text().splitlines()
        lines = [" ".join(line.split()[:3]) for line in header[1:]]
        (folder / "100.hea").write_text("\n".join([header[0], *lines]) + "\n")
    message = sentence(lambda: read_recording(folder, "100"))
    assert f"{folder / '100.dat'} is truncated ({size} bytes" in message
    assert "fresh copy" in message


def test_one_wrong_bit(folder: Path) -> None:
    data = bytearray((folder / "100.dat").read_bytes())
    data[3000] ^= 4
    (folder / "100.dat").write_bytes(data)
    message = sentence(lambda: read_recording(folder, "100"))
    assert f"{folder / '100.dat'} does not match its checksum in 100.hea" in message
    assert "fresh copy" in message


def test_checksum_may_be_signed_unsigned_or_absent(folder: Path) -> None:
    header = (folder / "100.hea").read_text().splitlines()
    sums = [int(line.split()[6]) for line in header[1:]]
    for shift in (-65536, 0, 65536):
        lines = [line.replace(f" {s} ", f" {s + shift} ") for line, s in zip(header[1:], sums, strict=True)]
        (folder / "100.hea").write_text("\n".join([header[0], *lines]) + "\n")
        read_recording(folder, "100")
    lines = [" ".join(line.split()[:3]) for line in header[1:]]
    (folder / "100.hea").write_text("\n".join([header[0], *lines]) + "\n")
    assert read_recording(folder, "100").leads == ("signal 0", "signal 1")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("100 2 360 7200", "", "100.hea"),
        ("100 2 360 7200", "100 2 nan 7200", "100.hea states no number of samples at 250 Hz"),
        ("100 2 360 7200", "100 2 0 7200", "states 7200 samples at 0 Hz"),
        ("100 2 360 7200", "100 2 360", "states no number of samples at 360 Hz"),
        ("100 2 360 7200", "100 3 360 7200", "promises 3 signals"),
        ("100 2 360 7200", "100 1 360 7200", "promises 1 signals"),
        ("100 2 360 7200", "100 0 360 7200", "promises 0 signals"),
        ("100 2 360 7200", "100 2 360 0", "states no number of samples"),
        ("100 2 360 7200", "100 2 360 99999999999999", "is truncated"),
        ("100 2 360 7200", "100/2 2 360 7200", "100.hea"),
        ("100.dat 212 ", "100.dat 999 ", "cannot be read"),
        ("100.dat 212 ", "100.dat 212x2 ", "differ in sampling rate"),
        ("100.dat 212 ", "100.dat 212:5 ", "differ in sampling rate"),
        ("100.dat 212 ", "100.dat ", "100.hea"),
    ],
)
def test_bad_header(folder: Path, old: str, new: str, part: str) -> None:
    edit(folder / "100.hea", (old, new))
    message = sentence(lambda: read_recording(folder, "100"))
    assert part in message
    assert str(folder) in message


def test_several_segments(folder: Path) -> None:
    (folder / "many.hea").write_text("many/2 2 360 14400\n100 7200\n100 7200\n")
    message = sentence(lambda: read_signals(folder, "many"))
    assert "many.hea describes several segments" in message
    assert "several segments" in sentence(lambda: stamp(folder, "many"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a comment\n", b"<html>\n", bytes(range(256)) * 4])
def test_header_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "100.hea").write_bytes(content)
    message = sentence(lambda: read_recording(folder, "100"))
    assert str(folder / "100.hea") in message
    assert "fresh copy" in message


def test_annotation_beyond_the_end(tmp_path: Path) -> None:
    write_record(tmp_path, sample=np.array([10, N_SAMPLES - 1]))
    read_recording(tmp_path, "100")
    write_record(tmp_path, sample=np.array([10, N_SAMPLES]))
    message = sentence(lambda: read_recording(tmp_path, "100"))
    assert f"{tmp_path / '100.atr'} marks sample {N_SAMPLES}, outside the signal" in message
    assert "fresh copy" in message


def annotations(*pairs: tuple[int, int]) -> bytes:
    """Annotation bytes of (samples since the one before, code), each step a SKIP, which may be negative."""
    body = b""
    for step, code in pairs:
        high, low = divmod(step % 2**32, 2**16)
        for word in (59 << 10, high, low, code << 10):
            body += word.to_bytes(2, "little")
    return body + b"\0\0"


def test_negative_and_unordered_annotations(folder: Path) -> None:
    (folder / "100.atr").write_bytes(annotations((-5, 1), (100, 1)))
    assert "marks sample -5" in sentence(lambda: read_recording(folder, "100"))
    (folder / "100.atr").write_bytes(annotations((500, 1), (-100, 1)))
    message = sentence(lambda: read_recording(folder, "100"))
    assert "not in the order of time" in message
    assert "sortann" in message


def test_truncated_annotations(folder: Path) -> None:
    content = (folder / "100.atr").read_bytes()
    for size in (*range(1, 9), len(content) // 2, len(content) - 1, len(content) - 2):
        (folder / "100.atr").write_bytes(content[:size])
        assert str(folder / "100.atr") in sentence(lambda: read_recording(folder, "100"))


@pytest.mark.parametrize("symbol", [["+"], ["+", "~", "!", "x"]])
def test_no_beat(tmp_path: Path, symbol: list[str]) -> None:
    write_record(tmp_path, sample=SAMPLE[: len(symbol)], symbol=symbol)
    message = sentence(lambda: read_recording(tmp_path, "100"))
    assert f"{tmp_path / '100.atr'} holds no beat (it holds '+' 1 times" in message
    assert "leave this record out" in message


@pytest.mark.parametrize("content", [b"", b"\0\0"])
def test_no_annotation(folder: Path, content: bytes) -> None:
    (folder / "100.atr").write_bytes(content)
    assert str(folder / "100.atr") in sentence(lambda: read_recording(folder, "100"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["hea", "atr"]), st.data())
def test_any_damage_is_a_recording_or_a_sentence(folder: Path, suffix: str, data: st.DataObject) -> None:
    write_record(folder)
    path = folder / f"100.{suffix}"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        recording = read_recording(folder, "100")
    except UserError:
        assert str(folder) in sentence(lambda: read_recording(folder, "100"))
        return
    assert recording.signal.shape[0] == len(recording.leads)
    assert ((recording.sample >= 0) & (recording.sample < recording.signal.shape[1])).all()


def test_path_the_system_refuses(folder: Path) -> None:
    """A name that is too long stands for every error of the file system: root has no others."""
    for call in (read_recording, read_signals, stamp):
        assert "check its permissions" in sentence(lambda call=call: call(folder, "x" * 300))
    assert "RECORDS cannot be read" in sentence(lambda: list_records(folder / ("x" * 300)))


def test_list_records(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        message = sentence(lambda folder=folder: list_records(folder))
        assert f"no WFDB records in {folder}: choose" in message
    for name in ("201", "100", "x.1"):
        (tmp_path / f"{name}.hea").touch()
    assert list_records(tmp_path) == ["100", "201", "x.1"]
    (tmp_path / "RECORDS").write_bytes(b"201\r\n\r\n100\r\n")
    assert list_records(tmp_path) == ["201", "100"]
    (tmp_path / "RECORDS").write_text("\n")
    assert "no WFDB records" in sentence(lambda: list_records(tmp_path))
    (tmp_path / "RECORDS").write_bytes(b"\xff\xfe\x00")
    assert "RECORDS" in sentence(lambda: list_records(tmp_path))


def test_stamp(folder: Path) -> None:
    first = stamp(folder, "100")
    assert len(first) == 64
    assert stamp(folder, "100") == first
    seen = {first}
    status = (folder / "100.dat").stat()
    os.utime(folder / "100.dat", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.add(stamp(folder, "100"))
    (folder / "100.hea").write_text((folder / "100.hea").read_text() + "# 69 M\n")
    seen.add(stamp(folder, "100"))
    wfdb.wrann("100", "atr", SAMPLE[:-1], SYMBOL[:-1], write_dir=str(folder))
    seen.add(stamp(folder, "100"))
    wfdb.wrann("100", "qrs", SAMPLE[:-1], SYMBOL[:-1], write_dir=str(folder))
    os.truncate(folder / "100.dat", 30)
    seen.add(stamp(folder, "100"))
    assert len(seen) == 5
    # A touched header is the same header.
    before = stamp(folder, "100")
    os.utime(folder / "100.hea", (0, 0))
    assert stamp(folder, "100") == before


@pytest.mark.real
def test_mit_bih_arrhythmia_database(real_data: Path) -> None:
    folder = real_data / "mitdb"
    names = list_records(folder)
    counts: Counter[int] = Counter()
    for name in names:
        recording = read_recording(folder, name)
        assert recording.signal.shape == (2, 650_000)
        assert recording.sfreq == 360
        counts.update(aami.labels_of(recording.symbol).tolist())
    del counts[-1]
    assert len(names) == 48
    assert {aami.CLASSES[i]: n for i, n in counts.items()} == {
        "N": 90_631,
        "S": 2_781,
        "V": 7_236,
        "F": 803,
        "Q": 8_043,
    }
    assert counts.total() == 109_494
