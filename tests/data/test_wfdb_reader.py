from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wfdb_factories import N_SAMPLES, SAMPLE, SYMBOL, error_message, write_noise_record, write_signals

from ecg.data import aami
from ecg.data.wfdb_reader import fingerprint, list_records, read_recording, read_signals
from ecg.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_noise_record(tmp_path)
    return tmp_path


def edit(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("fmt", ["212", "16", "80", "24", "32", "516"])
def test_written_signals_are_read_in_each_format(tmp_path: Path, fmt: str) -> None:
    signal = np.clip(np.random.default_rng(1).integers(-120, 120, size=(999, 3)), -120, 120)
    write_signals(tmp_path, "r", signal.T, ["a", "b", "c"], sfreq=250, fmt=fmt)
    read = read_signals(tmp_path, "r")
    np.testing.assert_array_equal(read.signal, signal.T)
    assert read.leads == ("a", "b", "c")
    assert read.sfreq == 250


def test_a_recording_has_the_written_signal_and_annotations(tmp_path: Path) -> None:
    signal = write_noise_record(tmp_path, "201")
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


def test_values_beyond_16_bits_are_kept(tmp_path: Path) -> None:
    signal = np.tile([[40_000, 0], [-40_000, 1]], (180, 1))
    write_signals(tmp_path, "r", signal.T, ["a", "b"], fmt="24")
    read = read_signals(tmp_path, "r").signal
    np.testing.assert_array_equal(read, signal.T)
    assert read.dtype == np.int32


def test_folder_names_may_contain_special_characters(tmp_path: Path) -> None:
    odd = tmp_path / "my data [1] * ä.b"
    odd.mkdir()
    write_noise_record(odd, "a-b_1")
    assert list_records(odd) == ["a-b_1"]
    assert read_recording(odd, "a-b_1").signal.shape == (2, N_SAMPLES)


def test_a_signal_file_may_have_another_name_than_its_record(folder: Path) -> None:
    (folder / "100.dat").rename(folder / "signals.dat")
    edit(folder / "100.hea", ("100.dat", "signals.dat"))
    assert read_recording(folder, "100").signal.shape == (2, N_SAMPLES)
    (folder / "signals.dat").unlink()
    assert str(folder / "signals.dat") in error_message(lambda: read_recording(folder, "100"))


def test_each_lead_may_have_a_signal_file(folder: Path) -> None:
    signal = read_recording(folder, "100").signal
    for i, lead in enumerate(signal):
        lead.astype("<i2").tofile(folder / f"lead{i}.d16")
    header = (folder / "100.hea").read_text().splitlines()
    lines = [line.replace("100.dat 212", f"lead{i}.d16 16") for i, line in enumerate(header[1:])]
    (folder / "100.hea").write_text("\n".join([header[0], *lines]) + "\n")
    np.testing.assert_array_equal(read_recording(folder, "100").signal, signal)
    before = fingerprint(folder, "100")
    os.utime(folder / "lead1.d16", (0, 0))
    assert fingerprint(folder, "100") != before
    (folder / "lead1.d16").write_bytes(b"\0\0")
    assert "lead1.d16 is truncated" in error_message(lambda: read_recording(folder, "100"))


@pytest.mark.parametrize("suffix", ["hea", "dat", "atr"])
def test_a_missing_file_is_named(folder: Path, suffix: str) -> None:
    (folder / f"100.{suffix}").unlink()
    message = error_message(lambda: read_recording(folder, "100"))
    assert str(folder / f"100.{suffix}") in message
    assert "is missing. Add it" in message
    assert "missing" in error_message(lambda: fingerprint(folder, "100"))


def test_another_annotator_has_another_file(folder: Path) -> None:
    assert "100.qrs" in error_message(lambda: read_recording(folder, "100", annotator="qrs"))


def test_a_folder_instead_of_a_file_is_an_error(folder: Path) -> None:
    (folder / "100.dat").unlink()
    (folder / "100.dat").mkdir()
    assert "100.dat is missing" in error_message(lambda: read_recording(folder, "100"))


@pytest.mark.parametrize("size", [0, 1, 3, 1000, 3 * N_SAMPLES - 1])
@pytest.mark.parametrize("checksum", [True, False])
def test_a_truncated_signal_file_is_refused(folder: Path, size: int, checksum: bool) -> None:
    os.truncate(folder / "100.dat", size)
    if not checksum:
        header = (folder / "100.hea").read_text().splitlines()
        lines = [" ".join(line.split()[:3]) for line in header[1:]]
        (folder / "100.hea").write_text("\n".join([header[0], *lines]) + "\n")
    message = error_message(lambda: read_recording(folder, "100"))
    assert f"{folder / '100.dat'} is truncated: {size} bytes instead of" in message
    assert "fresh copy" in message


def test_a_compressed_file_that_states_more_than_fits_into_memory_is_refused(tmp_path: Path) -> None:
    write_signals(tmp_path, "r", np.zeros((1, 1000)), ["II"], fmt="516")
    edit(tmp_path / "r.hea", ("r 1 360 1000", "r 1 360 99999999999999"))
    message = error_message(lambda: read_signals(tmp_path, "r"))
    assert "The 99,999,999,999,999 samples of the header" in message
    assert "need about 800.0 TB of memory" in message


def test_one_wrong_bit_is_detected(folder: Path) -> None:
    data = bytearray((folder / "100.dat").read_bytes())
    data[3000] ^= 4
    (folder / "100.dat").write_bytes(data)
    message = error_message(lambda: read_recording(folder, "100"))
    assert f"{folder / '100.dat'} does not match its checksum in 100.hea" in message
    assert "fresh copy" in message


def test_a_checksum_may_be_signed_unsigned_or_absent(folder: Path) -> None:
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
        ("100 2 360 7200", "100 2", "100.hea states no sampling rate. Valid rates: 50 to 20,000 Hz"),
        ("100 2 360 7200", "100 2 360 359", "states 359 samples at 360 Hz. A record must be at least 1 s long"),
        ("100 2 360 7200", "100 2 360", "states no number of samples at 360 Hz"),
        ("100 2 360 7200", "100 3 360 7200", "states 3 signals and describes 2"),
        ("100 2 360 7200", "100 1 360 7200", "states 1 signals and describes 2"),
        ("100 2 360 7200", "100 0 360 7200", "states 0 signals and describes 2"),
        ("100 2 360 7200", "100 2 360 0", "states no number of samples"),
        ("100 2 360 7200", "100 2 360 99999999999999", "is truncated"),
        ("100 2 360 7200", "100/2 2 360 7200", "100.hea"),
        ("100 2 360 7200", "100 2 360 " + "9" * 19, "has a number with more than 18 digits"),
        ("100.dat 212 ", "100.dat 212+" + "9" * 4000 + " ", "has a number with more than 18 digits"),
        ("100.dat 212 ", "../100.dat 212 ", "names the signal file ../100.dat, which is not in its folder. Put all"),
        ("100.dat 212 ", "/etc/passwd 212 ", "names the signal file /etc/passwd, which is not in its folder."),
        ("100.dat 212 ", "s3://a/100.dat 212 ", "names the signal file s3://a/100.dat, which is not in its folder."),
        ("100.dat 212 ", "a" * 999 + " 212 ", "which is not in its folder."),
        ("100.dat 212 ", "100.dat 999 ", "Cannot read"),
        ("100.dat 212 ", "100.dat 212x2 ", "differ in sampling rate"),
        ("100.dat 212 ", "100.dat 212:5 ", "differ in sampling rate"),
        ("100.dat 212 ", "100.dat ", "100.hea"),
    ],
)
def test_an_invalid_header_is_refused(folder: Path, old: str, new: str, part: str) -> None:
    edit(folder / "100.hea", (old, new))
    message = error_message(lambda: read_recording(folder, "100"))
    assert part in message
    assert str(folder) in message


@pytest.mark.parametrize(
    "rate", ["-360", "0", "-0.5", "nan", "inf", "-inf", "1e400", "1e3", "x", "/360", "-360/360", "49", "20001", "3_60"]
)
def test_an_invalid_sampling_rate_is_refused(folder: Path, rate: str) -> None:
    edit(folder / "100.hea", ("100 2 360 7200", f"# a comment\n\n 100 2 {rate} 7200"))
    message = error_message(lambda: read_recording(folder, "100"))
    assert f"The header {folder / '100.hea'} states" in message
    assert "Valid rates: 50 to 20,000 Hz. Correct its first line" in message


@pytest.mark.parametrize("rate", ["360/360(0)", "360.0", "360/1000"])
def test_a_sampling_rate_may_have_a_counter_frequency(folder: Path, rate: str) -> None:
    edit(folder / "100.hea", ("100 2 360 7200", f"# a comment\n\n 100 2 {rate} 7200"))
    assert read_recording(folder, "100").sfreq == 360


def test_a_record_of_several_segments_is_refused(folder: Path) -> None:
    (folder / "many.hea").write_text("many/2 2 360 14400\n100 7200\n100 7200\n")
    message = error_message(lambda: read_signals(folder, "many"))
    assert "many.hea describes several segments" in message
    assert "several segments" in error_message(lambda: fingerprint(folder, "many"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a comment\n", b"<html>\n", bytes(range(256)) * 4])
def test_a_file_that_is_no_header_is_refused(folder: Path, content: bytes) -> None:
    (folder / "100.hea").write_bytes(content)
    message = error_message(lambda: read_recording(folder, "100"))
    assert str(folder / "100.hea") in message
    assert "fresh copy" in message


def test_the_last_sample_can_be_annotated(tmp_path: Path) -> None:
    write_noise_record(tmp_path, sample=np.array([10, N_SAMPLES - 1]))
    assert read_recording(tmp_path, "100").sample.tolist() == [10, N_SAMPLES - 1]


@pytest.mark.parametrize("beyond", [0, 500])
def test_few_annotations_beyond_the_end_are_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, beyond: int
) -> None:
    sample = np.append(np.arange(0, N_SAMPLES, 30), [N_SAMPLES + beyond, N_SAMPLES + beyond])  # 2 of 242
    write_noise_record(tmp_path, sample=sample, symbol=["N"] * len(sample))
    recording = read_recording(tmp_path, "100")
    assert recording.sample.tolist() == sample[:-2].tolist()
    assert len(recording.symbol) == len(recording.sample)
    (message,) = caplog.messages
    assert f"2 of 242 annotations in {tmp_path / '100.atr'} lie outside the signal of {N_SAMPLES} samples" in message


def test_many_annotations_beyond_the_end_are_refused(tmp_path: Path) -> None:
    write_noise_record(tmp_path, sample=np.append(SAMPLE, N_SAMPLES), symbol=["N"] * (len(SAMPLE) + 1))  # 1 of 25
    message = error_message(lambda: read_recording(tmp_path, "100"))
    assert f"1 of 25 annotations in {tmp_path / '100.atr'} lie outside the signal" in message
    assert f"the first is at sample {N_SAMPLES}" in message
    assert "fresh copies" in message


def annotations(*pairs: tuple[int, int]) -> bytes:
    """The content of an annotation file with pairs of a difference in samples, which may be negative, and a code."""
    body = b""
    for step, code in pairs:  # each difference is a SKIP word
        high, low = divmod(step % 2**32, 2**16)
        for word in (59 << 10, high, low, code << 10):
            body += word.to_bytes(2, "little")
    return body + b"\0\0"


def test_negative_and_unordered_annotations_are_refused(folder: Path) -> None:
    (folder / "100.atr").write_bytes(annotations((-5, 1), (100, 1)))
    assert "the first is at sample -5" in error_message(lambda: read_recording(folder, "100"))
    (folder / "100.atr").write_bytes(annotations((500, 1), (-100, 1)))
    message = error_message(lambda: read_recording(folder, "100"))
    assert "not in order of time" in message
    assert "sortann" in message


def test_a_truncated_annotation_file_is_refused(folder: Path) -> None:
    content = (folder / "100.atr").read_bytes()
    for size in (*range(1, 9), len(content) // 2, len(content) - 1, len(content) - 2):
        (folder / "100.atr").write_bytes(content[:size])
        assert str(folder / "100.atr") in error_message(lambda: read_recording(folder, "100"))


@pytest.mark.parametrize("symbol", [["+"], ["+", "~", "!", "x"]])
def test_a_record_without_beats_is_refused(tmp_path: Path, symbol: list[str]) -> None:
    write_noise_record(tmp_path, sample=SAMPLE[: len(symbol)], symbol=symbol)
    message = error_message(lambda: read_recording(tmp_path, "100"))
    assert f"No annotation in {tmp_path / '100.atr'} is a beat. Its annotations: 1 x +" in message
    assert "Choose another annotator" in message


@pytest.mark.parametrize("content", [b"", b"\0\0"])
def test_an_empty_annotation_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "100.atr").write_bytes(content)
    assert str(folder / "100.atr") in error_message(lambda: read_recording(folder, "100"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["hea", "atr"]), st.data())
def test_any_damaged_file_is_read_or_refused_with_a_message(folder: Path, suffix: str, data: st.DataObject) -> None:
    write_noise_record(folder)
    path = folder / f"100.{suffix}"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        recording = read_recording(folder, "100")
    except UserError:
        assert str(folder) in error_message(lambda: read_recording(folder, "100"))
        return
    assert recording.signal.shape[0] == len(recording.leads)
    assert ((recording.sample >= 0) & (recording.sample < recording.signal.shape[1])).all()


def test_an_error_of_the_file_system_has_a_message(folder: Path) -> None:
    # A name that is too long: unlike missing permissions, this error occurs for root too.
    for call in (read_recording, read_signals, fingerprint):
        assert "Check the permissions of" in error_message(lambda call=call: call(folder, "x" * 300))
    assert "Cannot read the list" in error_message(lambda: list_records(folder / ("x" * 300)))


def test_records_are_listed_from_the_index_or_the_headers(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        message = error_message(lambda folder=folder: list_records(folder))
        assert f"{folder} has no WFDB records. Choose" in message
    for name in ("201", "100", "x.1"):
        (tmp_path / f"{name}.hea").touch()
    assert list_records(tmp_path) == ["100", "201", "x.1"]
    (tmp_path / "RECORDS").write_bytes(b"201\r\n\r\n100\r\n")
    assert list_records(tmp_path) == ["201", "100"]
    (tmp_path / "RECORDS").write_text("\n")
    assert "has no WFDB records" in error_message(lambda: list_records(tmp_path))
    (tmp_path / "RECORDS").write_bytes(b"\xff\xfe\x00")
    assert "RECORDS" in error_message(lambda: list_records(tmp_path))


def test_the_fingerprint_changes_with_each_file(folder: Path) -> None:
    first = fingerprint(folder, "100")
    assert len(first) == 64
    assert fingerprint(folder, "100") == first
    seen = {first}
    status = (folder / "100.dat").stat()
    os.utime(folder / "100.dat", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.add(fingerprint(folder, "100"))
    (folder / "100.hea").write_text((folder / "100.hea").read_text() + "# 69 M\n")
    seen.add(fingerprint(folder, "100"))
    wfdb.wrann("100", "atr", SAMPLE[:-1], SYMBOL[:-1], write_dir=str(folder))
    seen.add(fingerprint(folder, "100"))
    wfdb.wrann("100", "qrs", SAMPLE[:-1], SYMBOL[:-1], write_dir=str(folder))
    os.truncate(folder / "100.dat", 30)
    seen.add(fingerprint(folder, "100"))
    assert len(seen) == 5
    # The header counts by content.
    before = fingerprint(folder, "100")
    os.utime(folder / "100.hea", (0, 0))
    assert fingerprint(folder, "100") == before


@pytest.mark.real
def test_the_mit_bih_arrhythmia_database_has_its_published_numbers_of_beats(real_data: Path) -> None:
    folder = real_data / "mitdb"
    names = list_records(folder)
    counts: Counter[int] = Counter()
    for name in names:
        recording = read_recording(folder, name)
        assert recording.signal.shape == (2, 650_000)
        assert recording.sfreq == 360
        counts.update(aami.labels_from_symbols(recording.symbol).tolist())
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
