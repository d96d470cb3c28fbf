"""Insertion of added beats into copies of records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecg.augmentation.insertion import insert, single_beats, waveforms, with_copies
from ecg.data.balanced import BalancedBeats
from ecg.data.beats import Beats
from ecg.data.protocols.protocol import Split
from ecg.data.sequences import record_runs
from ecg.data.simulated import Simulated
from ecg.data.window import CenteredWindow
from ecg.errors import UserError

WINDOW = CenteredWindow(
    lead="first", before=0.35, after=0.55, sfreq=120, difference=True, leads=1, features="rhythm_and_shape"
)
CLASSES = ("N", "S", "V", "F")


@pytest.fixture(scope="module")
def beats(tmp_path_factory: pytest.TempPathFactory) -> Beats:
    source = Simulated(name="simulated", records=None, n_patients=4, minutes=4, seed=0)
    return source.load_beats(WINDOW, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def split(beats: Beats) -> Split:
    """The last record is the test subset, and every tenth beat of the others belongs to no subset."""
    last = record_runs(beats.record)[-1]
    train = np.array([i for i in range(last.start) if i % 10 and beats.label[i] < 4])
    return Split(train, train[:0], np.arange(last.start, last.stop), CLASSES, by_patient=True)


def make_added(beats: Beats, record: str, label: list[int]) -> BalancedBeats:
    """Added beats of one record; all samples of the i-th one are 100 + i."""
    n = len(label)
    signal = np.full((n, 1, WINDOW.n_times), 100, np.float32) + np.arange(n, dtype=np.float32)[:, None, None]
    return BalancedBeats(np.arange(1), signal, np.zeros((n, 0), np.float32), np.array(label), np.full(n, record))


def intervals(time: NDArray[np.float64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """The intervals (m, 2) before and after some beats."""
    return np.stack([time[at] - time[at - 1], time[at + 1] - time[at]], axis=1)


def test_every_added_beat_replaces_a_training_beat_of_class_n_between_two_others(beats: Beats, split: Split) -> None:
    record, n = str(beats.record[0]), 30
    copies = insert(beats, split, WINDOW, make_added(beats, record, [3] * n), seed=0)
    assert set(copies.source.values()) == {record}
    assert len(copies.added) == n
    leads = WINDOW.leads_of(copies.beats.signal)
    assert sorted(leads[copies.added, 0, 0]) == [100 + i for i in range(n)]
    assert (copies.beats.label[copies.added] == 3).all()
    own = np.flatnonzero(beats.record == record)
    for run in record_runs(copies.beats.record):
        inside = np.isin(np.arange(run.start, run.stop), copies.added)
        at = np.flatnonzero(inside)
        assert np.isin(own[at], split.train).all()
        assert (beats.label[own[at]] == beats.label[own[at - 1]]).all()
        assert (beats.label[own[at]] == beats.label[own[at + 1]]).all()
        assert (beats.label[own[at]] == 0).all()
        assert np.diff(at).min(initial=3) >= 3
        np.testing.assert_array_equal(leads[run][~inside], WINDOW.leads_of(beats.signal[own])[~inside])
        np.testing.assert_array_equal(copies.beats.label[run][~inside], beats.label[own][~inside])
        in_training = np.isin(np.arange(run.start, run.stop), copies.training)
        np.testing.assert_array_equal(in_training, np.isin(own, split.train))


def test_channels_and_features_of_a_copy_are_those_of_its_waveforms_and_times(beats: Beats, split: Split) -> None:
    copies = insert(beats, split, WINDOW, make_added(beats, str(beats.record[0]), [2] * 5), seed=0)
    leads = WINDOW.leads_of(copies.beats.signal)
    signal, features = WINDOW.complete(leads, copies.beats.time)
    np.testing.assert_array_equal(signal, copies.beats.signal)
    np.testing.assert_array_equal(features, copies.beats.rr)


def test_an_unchanged_record_keeps_its_channels_and_features(beats: Beats) -> None:
    own = beats.record == beats.record[0]
    signal, features = WINDOW.complete(WINDOW.leads_of(beats.signal[own]), beats.time[own])
    np.testing.assert_array_equal(signal, beats.signal[own])
    np.testing.assert_allclose(features, beats.rr[own], atol=1e-3)


@pytest.mark.parametrize("c", range(1, 4))
def test_intervals_of_added_beats_are_those_of_their_class(beats: Beats, split: Split, c: int) -> None:
    copies = insert(beats, split, WINDOW, make_added(beats, str(beats.record[0]), [c] * 40), seed=0)
    label, near = split.labels(beats), []
    for i in split.train[label[split.train] == c]:
        if label[i - 1] == label[i + 1] == 0 and beats.record[i - 1] == beats.record[i + 1]:
            near.append(i)
    real = intervals(beats.time, np.array(near))
    added = intervals(copies.beats.time, copies.added)
    assert np.median(added[:, 1] / added[:, 0]) == pytest.approx(np.median(real[:, 1] / real[:, 0]), rel=0.15)
    assert (np.diff(copies.beats.time[copies.beats.record == copies.beats.record[0]]) > 0).all()


def test_more_beats_than_places_give_several_copies(beats: Beats, split: Split) -> None:
    record = str(beats.record[0])
    copies = insert(beats, split, WINDOW, make_added(beats, record, [3] * 300), seed=0)
    assert len(copies.source) > 1
    assert len(copies.added) == 300
    assert len(np.unique(copies.beats.record)) == len(copies.source)
    assert (copies.beats.patient == beats.patient[0]).all()


def test_a_record_without_places_is_refused(beats: Beats, split: Split) -> None:
    for record in (str(beats.record[-1]), "unknown"):  # of the test subset, and of no record
        with pytest.raises(UserError, match=f"Record {record} has no training beat of class N between two others"):
            insert(beats, split, WINDOW, make_added(beats, record, [3]), seed=0)


def test_class_n_has_to_take_part(beats: Beats, split: Split) -> None:
    without = replace(split, classes=("S", "V", "F"))
    with pytest.raises(UserError, match="Added beats replace beats of class N"):
        insert(beats, without, WINDOW, make_added(beats, str(beats.record[0]), [2]), seed=0)


def test_a_window_that_is_too_short_for_the_features_is_refused(tmp_path: Path) -> None:
    window = CenteredWindow(
        lead="first", before=0.2, after=0.4, sfreq=120, difference=True, features="rhythm_and_shape"
    )
    source = Simulated(name="simulated", records=None, n_patients=2, minutes=1, seed=0)
    beats = source.load_beats(window, tmp_path)
    with pytest.raises(UserError, match=r"data\.before is 0\.2, and data\.after is 0\.4"):
        window.complete(window.leads_of(beats.signal), beats.time)


def test_single_beats_have_the_channels_and_features_of_the_copies(beats: Beats, split: Split) -> None:
    added = make_added(beats, str(beats.record[0]), [3, 2, 3])
    single = single_beats(added, insert(beats, split, WINDOW, added, seed=0), split)
    assert single.signal.shape[1:] == beats.signal.shape[1:]
    assert single.rr.shape[1:] == beats.rr.shape[1:]
    assert sorted(single.label) == [2, 3, 3]
    assert (single.record == beats.record[0]).all()


def test_copies_follow_the_recorded_beats(beats: Beats, split: Split) -> None:
    copies = insert(beats, split, WINDOW, make_added(beats, str(beats.record[0]), [3]), seed=0)
    every, extended = with_copies(beats, split, copies)
    assert len(every) == len(beats) + len(copies.beats)
    np.testing.assert_array_equal(extended.train[: len(split.train)], split.train)
    assert (extended.labels(every)[extended.train] >= 0).all()
    assert with_copies(beats, split, None) == (beats, split)


def test_waveforms_have_neither_difference_nor_features(beats: Beats) -> None:
    leads = waveforms(beats, WINDOW)
    assert leads.signal.shape == (len(beats), 1, WINDOW.n_times)
    assert leads.rr.shape == (len(beats), 0)
    assert WINDOW.of_leads.n_channels == 1
    assert WINDOW.of_leads.n_rr == 0
