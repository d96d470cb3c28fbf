"""Training on one folder of records, test on another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from beats_factories import assert_disjoint
from wfdb_factories import SAMPLE, write_noise_record, write_signals

from ecg.data.beats import Beats
from ecg.data.protocols.all_records import AllRecords
from ecg.data.protocols.cross_database import CrossDatabase
from ecg.data.wfdb_folder import WfdbFolder
from ecg.data.window import CenteredWindow

WINDOW = CenteredWindow(lead="first", before=0.3, after=0.4, sfreq=100.0, difference=False, leads=2)


def make_folders(tmp_path: Path) -> tuple[WfdbFolder, WfdbFolder]:
    """A training folder a, b, c and a test folder c, d, with other rates and leads; b and d are of one patient."""
    for i, name in enumerate("abc"):
        write_noise_record(tmp_path / "train", name, seed=i)
    for i, name in enumerate("cd"):
        write_noise_record(tmp_path / "test", name, seed=10 + i)
    signal = np.random.default_rng(0).integers(-900, 900, (1, 128 * 20))
    write_signals(tmp_path / "test", "d", signal, ["ECG1"], sfreq=128)
    import wfdb

    wfdb.wrann("d", "atr", SAMPLE[:8] // 3, list("NVANVANV"), write_dir=str(tmp_path / "test"))
    shared = {"b": "anna", "d": "anna"}
    train, test = (
        WfdbFolder(name="wfdb", records=None, dir=str(tmp_path / name), annotator="atr", patients=shared)
        for name in ("train", "test")
    )
    return train, replace(test, prefix="protocol.test_")


def load(train: WfdbFolder, protocol: CrossDatabase, tmp_path: Path) -> Beats:
    """The beats of both folders, as the programs load them."""
    return Beats.concatenate(
        [
            source.load_beats(WINDOW, tmp_path / "cache", exclude=protocol.excluded_records(source))
            for source in (train, protocol.test)
        ]
    )


def make_protocol(test: WfdbFolder, **settings: object) -> CrossDatabase:
    defaults = {"classes": ["N", "S", "V"], "exclude": [], "validation_fraction": 0.0, "split_seed": 0, "keep": {}}
    return CrossDatabase(**{**defaults, **settings}, test=test)  # type: ignore[arg-type]


def test_training_beats_are_those_of_patients_that_are_not_in_the_test_folder(tmp_path: Path) -> None:
    train, test = make_folders(tmp_path)
    protocol = make_protocol(test)
    beats = load(train, protocol, tmp_path)
    split = protocol.split(beats, train)
    assert_disjoint(beats, split)
    assert set(beats.record[split.train]) == {"a"}  # b is of the patient of d, and c is in both folders
    assert set(beats.record[split.test]) == {"c", "d"}
    assert not len(split.validation)


def test_all_records_of_both_folders_are_for_training(tmp_path: Path) -> None:
    train, test = make_folders(tmp_path)
    settings = {"classes": ["N", "V"], "exclude": [], "validation_fraction": 0.0, "split_seed": 0, "keep": {}}
    protocol = AllRecords(**settings, test=test, test_fraction=0.2)  # type: ignore[arg-type]
    beats = load(train, protocol, tmp_path)
    split = protocol.split(beats, train)
    assert set(beats.record[split.train]) == {"a", "b", "c", "d"}
    assert not set(split.train) & set(split.test)
    assert not split.by_patient


def test_beats_of_both_folders_have_the_same_window_and_rate(tmp_path: Path) -> None:
    train, test = make_folders(tmp_path)
    beats = load(train, make_protocol(test), tmp_path)
    assert beats.sfreq == 100
    assert beats.signal.shape[1:] == (2, 70)
    assert not beats.signal[beats.record == "d", 1].any()  # it has no second lead
    assert beats.signal[beats.record == "a", 1].any()


def test_excluded_records_may_be_of_either_folder(tmp_path: Path) -> None:
    train, test = make_folders(tmp_path)
    protocol = make_protocol(test, exclude=["b", "d"])
    assert protocol.excluded_records(train) == ["b", "c"]
    assert protocol.excluded_records(test) == ["d"]
