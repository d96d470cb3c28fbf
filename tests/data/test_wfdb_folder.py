from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from wfdb_factories import error_message, write_recording

from ecg.data.simulated import Simulated
from ecg.data.simulator import simulate
from ecg.data.wfdb_folder import WfdbFolder
from ecg.data.window import CenteredWindow, KaggleWindow, Window

WINDOW = CenteredWindow(lead="auto", before=0.7, after=0.9, sfreq=120.0, difference=True)


def wfdb_folder(
    folder: Path, *, patients: dict[str, str] | None = None, records: list[str] | None = None, annotator: str = "atr"
) -> WfdbFolder:
    return WfdbFolder(name="wfdb", records=records, dir=str(folder), annotator=annotator, patients=patients or {})


def test_written_recordings_give_the_same_beats_as_their_source(tmp_path: Path) -> None:
    for patient in range(3):
        write_recording(tmp_path / "records", simulate(patient, minutes=0.5, seed=0))
    source = wfdb_folder(tmp_path / "records", patients={"sim01": "sim00"})
    beats = source.load_beats(WINDOW, tmp_path / "cache")
    simulated = Simulated(name="simulated", records=None, n_patients=3, minutes=0.5, seed=0)
    assert beats.digest() == simulated.load_beats(WINDOW, tmp_path / "cache").digest()
    np.testing.assert_array_equal(beats.patient[beats.record == "sim01"], "sim00")
    assert set(beats.patient) == {"sim00", "sim02"}


def test_a_changed_record_or_patient_is_prepared_again(tmp_path: Path) -> None:
    source = wfdb_folder(tmp_path / "records")
    write_recording(tmp_path / "records", simulate(0, minutes=0.2, seed=0), "a")
    first = source.load_beats(WINDOW, tmp_path / "cache")
    renamed = wfdb_folder(tmp_path / "records", patients={"a": "b"})
    assert set(renamed.load_beats(WINDOW, tmp_path / "cache").patient) == {"b"}
    write_recording(tmp_path / "records", simulate(1, minutes=0.2, seed=0), "a")
    assert source.load_beats(WINDOW, tmp_path / "cache").digest() != first.digest()


@pytest.mark.parametrize("damage", ["missing", "rate", "truncated", "no beats", "lead"])
@pytest.mark.parametrize("window", [WINDOW, KaggleWindow("first")], ids=lambda window: window.name)
def test_a_message_that_refuses_a_record_says_how_to_exclude_it(tmp_path: Path, damage: str, window: Window) -> None:
    records = tmp_path / "records"
    for patient, name in enumerate(("a", "b")):
        write_recording(records, simulate(patient, minutes=0.2, seed=0), name)
    header = records / "b.hea"
    if damage == "missing":
        (records / "b.dat").unlink()
    elif damage == "rate":
        header.write_text(header.read_text().replace("b 1 360", "b 1 -360"))
    elif damage == "truncated":
        (records / "b.dat").write_bytes(b"")
    elif damage == "no beats":
        (records / "b.atr").write_bytes(b"\0\0")
    else:
        header.write_text(header.read_text().replace("MLII", "V5"))
        window = dataclasses.replace(window, lead="MLII")
    source = wfdb_folder(records)
    message = error_message(lambda: source.load_beats(window, tmp_path / "cache"))
    assert message.endswith("Or add b to protocol.exclude; only protocol=kaggle needs all records.")
    assert set(source.load_beats(window, tmp_path / "cache", exclude=["b"]).record) == {"a"}
    # A record cannot be excluded if there is no other.
    alone = wfdb_folder(records, records=["b"])
    assert "protocol.exclude" not in error_message(lambda: alone.load_beats(window, tmp_path / "cache"))


def test_records_of_different_sampling_rates_give_beats_of_one_rate(tmp_path: Path) -> None:
    for sfreq in (128.0, 250.0, 360.0):
        write_recording(tmp_path / "records", simulate(0, minutes=0.5, seed=0, sfreq=sfreq), f"at{sfreq:g}")
    beats = wfdb_folder(tmp_path / "records").load_beats(KaggleWindow("first"), tmp_path / "cache")
    assert beats.sfreq == 120
    length = [(beats.signal[beats.record == name] != 0).sum(axis=2).mean() for name in ("at128", "at250", "at360")]
    np.testing.assert_allclose(length, length[2], rtol=0.02)


def test_records_and_annotator_are_chosen(tmp_path: Path) -> None:
    for patient, name in enumerate(("a", "b")):
        write_recording(tmp_path / "records", simulate(patient, minutes=0.2, seed=0), name, annotator="qrs")
    beats = wfdb_folder(tmp_path / "records", records=["b"], annotator="qrs").load_beats(WINDOW, tmp_path / "cache")
    assert set(beats.record) == {"b"}
    source = wfdb_folder(tmp_path / "records", records=["c"])
    assert "Valid records of wfdb: a, b." in error_message(lambda: source.load_beats(WINDOW, tmp_path / "cache"))
