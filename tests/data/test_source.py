from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from wfdb_factories import error_message

from ecg.data.beats import Beats
from ecg.data.recording import Recording
from ecg.data.simulated import Simulated
from ecg.data.source import data_root
from ecg.data.window import CenteredWindow, Window

WINDOW = CenteredWindow(lead="auto", before=0.3, after=0.4, sfreq=120.0, difference=False)


def simulated(n_patients: int = 3, records: list[str] | None = None) -> Simulated:
    return Simulated(name="simulated", records=records, n_patients=n_patients, minutes=0.2, seed=0)


def test_a_subset_of_the_records_has_the_same_beats_as_in_all_records(tmp_path: Path) -> None:
    beats = simulated().load_beats(WINDOW, tmp_path)
    subset = simulated(records=["sim02", "sim00"]).load_beats(WINDOW, tmp_path)
    expected = beats.take(np.flatnonzero(beats.record != "sim01"))
    assert subset.digest() == expected.digest()


def test_excluded_records_are_left_out(tmp_path: Path) -> None:
    excluded = simulated().load_beats(WINDOW, tmp_path, exclude=["sim01"])
    assert excluded.digest() == simulated(records=["sim00", "sim02"]).load_beats(WINDOW, tmp_path).digest()


def test_a_record_that_is_named_twice_is_used_once(tmp_path: Path) -> None:
    twice = simulated(records=["sim01", "sim01"]).load_beats(WINDOW, tmp_path)
    assert twice.digest() == simulated(records=["sim01"]).load_beats(WINDOW, tmp_path).digest()


def test_a_record_outside_the_subset_can_be_excluded(tmp_path: Path) -> None:
    beats = simulated(records=["sim01"]).load_beats(WINDOW, tmp_path, exclude=["sim00"])
    assert set(beats.record) == {"sim01"}


def test_an_unknown_record_is_an_error_that_lists_the_valid_ones(tmp_path: Path) -> None:
    valid = "Valid records of simulated: sim00, sim01, sim02."
    message = error_message(lambda: simulated(records=["sim01", "sim07"]).load_beats(WINDOW, tmp_path))
    assert message == f"Unknown records in data.records: sim07. {valid}"
    message = error_message(lambda: simulated().load_beats(WINDOW, tmp_path, exclude=["100"]))
    assert message == f"Unknown records in the excluded records: 100. {valid}"


@pytest.mark.parametrize(("records", "exclude"), [(None, ["sim00"]), ([], []), (["sim00"], ["sim00"])])
def test_no_remaining_record_is_an_error(tmp_path: Path, records: list[str] | None, exclude: list[str]) -> None:
    source = simulated(1, records)
    assert "Every record is excluded" in error_message(lambda: source.load_beats(WINDOW, tmp_path, exclude=exclude))


def test_a_signal_while_beats_are_cut_leaves_the_remaining_records_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def slow_read(self: Simulated, record: str, window: Window) -> Recording:
        read.append(record)
        time.sleep(0.02)
        return original(self, record, window)

    def interrupted_cut(self: CenteredWindow, recording: Recording) -> Beats:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return cut(self, recording)

    original, cut = Simulated.read, CenteredWindow.cut
    monkeypatch.setattr(Simulated, "read", slow_read)
    monkeypatch.setattr(CenteredWindow, "cut", interrupted_cut)
    with pytest.raises(KeyboardInterrupt):
        simulated(200).load_beats(WINDOW, tmp_path)
    assert len(read) < 100


def test_a_source_without_the_kaggle_split_refuses_it(tmp_path: Path) -> None:
    source = simulated(1)
    beats = source.load_beats(WINDOW, tmp_path)
    assert "does not apply to data=simulated" in error_message(lambda: source.kaggle_split(beats))


def test_the_data_root_is_set_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("ECG_DATA_DIR")
    assert data_root().name == "data"
