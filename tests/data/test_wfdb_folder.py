from __future__ import annotations

from pathlib import Path

import numpy as np
from wfdb_factories import error_message, write_recording

from ecg.data.simulated import Simulated
from ecg.data.simulator import simulate
from ecg.data.wfdb_folder import WfdbFolder
from ecg.data.window import CenteredWindow

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


def test_records_and_annotator_are_chosen(tmp_path: Path) -> None:
    for patient, name in enumerate(("a", "b")):
        write_recording(tmp_path / "records", simulate(patient, minutes=0.2, seed=0), name, annotator="qrs")
    beats = wfdb_folder(tmp_path / "records", records=["b"], annotator="qrs").load_beats(WINDOW, tmp_path / "cache")
    assert set(beats.record) == {"b"}
    source = wfdb_folder(tmp_path / "records", records=["c"])
    assert "Valid records of data=wfdb: a, b." in error_message(lambda: source.load_beats(WINDOW, tmp_path / "cache"))
