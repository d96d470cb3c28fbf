from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from conftest import make_beats
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data import mitdb
from ecg.data.beats import Beats
from ecg.data.splits import InterPatient, PatientKFold, Protocol, Random, Split
from ecg.errors import UserError

ALL = list("NSVFQ")
PROTOCOLS: dict[str, Callable[[int], Protocol]] = {
    "inter_patient": lambda seed: InterPatient(ALL, [], 0.25, seed),
    "patient_kfold": lambda seed: PatientKFold(ALL, [], 0.25, seed, fold=1, n_folds=4),
    "random": lambda seed: Random(ALL, [], 0.25, seed),
}


def assert_disjoint(beats: Beats, split: Split) -> None:
    sides = [split.train, split.validation, split.test]
    everything = np.concatenate(sides)
    assert len(np.unique(everything)) == len(everything), "a beat is on two sides"
    if split.by_patient:
        for a, b in ((0, 1), (0, 2), (1, 2)):
            shared = np.intersect1d(beats.patient[sides[a]], beats.patient[sides[b]])
            assert not shared.size, f"patients {shared} are on two sides"


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_patients=st.integers(8, 20),
    counts=st.lists(st.integers(4, 9), min_size=5, max_size=5),
)
def test_no_beat_and_no_patient_is_on_two_sides(name: str, seed: int, n_patients: int, counts: list[int]) -> None:
    beats = make_beats(n_patients, dict(enumerate(counts)), n_times=1)
    split = PROTOCOLS[name](seed).split(beats, "simulated")
    assert_disjoint(beats, split)
    assert len(split.train) + len(split.validation) + len(split.test) == len(beats)
    for side in (split.train, split.validation, split.test):
        assert len(side)
    again = PROTOCOLS[name](seed).split(beats, "simulated")
    np.testing.assert_array_equal(split.test, again.test)
    np.testing.assert_array_equal(split.validation, again.validation)


def test_the_seed_governs_the_split() -> None:
    beats = make_beats(20, dict.fromkeys(range(5), 4), n_times=1)
    for make in PROTOCOLS.values():
        tests = [make(seed).split(beats, "simulated").test.tolist() for seed in range(4)]
        assert any(test != tests[0] for test in tests[1:])


def test_folds_of_uneven_patients_are_alike_and_follow_the_seed() -> None:
    # As in MIT-BIH: every patient has another mixture, the rare classes sit in a few of them.
    rng = np.random.default_rng(0)
    beats = make_beats(20, {0: 40, 1: 20, 2: 20}, n_times=1)
    rare_in = {1: ["p1", "p2", "p3", "p4", "p5", "p6"], 2: ["p0", "p7", "p8", "p9", "p10", "p11", "p12"]}
    keep = np.ones(len(beats), bool)
    for label, patients in rare_in.items():
        of_class = beats.label == label
        keep &= ~of_class | (np.isin(beats.patient, patients) & (rng.random(len(beats)) < 0.8))
    beats = beats.take(np.flatnonzero(keep))
    found = []
    for seed in range(5):
        folds = [PatientKFold(list("NSV"), [], 0.25, seed, fold, 5).split(beats, "simulated").test for fold in range(5)]
        for fold in folds:
            assert set(beats.label[fold]) == {0, 1, 2}
        found.append(frozenset(frozenset(beats.patient[fold]) for fold in folds))
    assert len(set(found)) > 1


def test_folds_cover_every_beat_once() -> None:
    beats = make_beats(11, dict.fromkeys(range(5), 3), n_times=1)
    folds = [PatientKFold(ALL, [], 0.25, 3, fold, 5).split(beats, "simulated").test for fold in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(len(beats)))


def test_random_is_stratified() -> None:
    beats = make_beats(10, {0: 40, 1: 4, 2: 8, 3: 2, 4: 6}, n_times=1)
    split = PROTOCOLS["random"](0).split(beats, "simulated")
    share = np.bincount(beats.label[split.test]) / np.bincount(beats.label)
    np.testing.assert_allclose(share, 0.2, atol=0.03)


def mitbih_like() -> Beats:
    """A few beats of every class for each of the 48 records, under their own names."""
    beats = make_beats(48, dict.fromkeys(range(5), 4), n_times=1)
    record = np.repeat(mitdb.RECORDS, 20)
    patient = np.array([mitdb.PATIENT_OF.get(name, name) for name in record])
    return dataclasses.replace(beats, record=record, patient=patient)


def test_ds1_and_ds2() -> None:
    beats = mitbih_like()
    protocol = InterPatient(list("NSVF"), [], 0.2, 0, mitdb.DS1, mitdb.DS2, mitdb.PACED)
    split = protocol.split(beats, "mitbih")
    assert_disjoint(beats, split)
    assert set(beats.record[split.test]) == set(mitdb.DS2)
    # 201 is the person of 202, a test record.
    assert set(beats.record[np.r_[split.train, split.validation]]) == set(mitdb.DS1) - {"201"}
    assert beats.label[np.r_[split.train, split.validation, split.test]].max() == 3


def test_without_202_the_other_record_of_its_patient_trains() -> None:
    beats = mitbih_like()
    test_records = [name for name in mitdb.DS2 if name != "202"]
    split = InterPatient(list("NSVF"), [], 0.2, 0, mitdb.DS1, test_records, mitdb.PACED).split(beats, "mitbih")
    assert_disjoint(beats, split)
    assert "201" in beats.record[np.r_[split.train, split.validation]]


def test_both_records_of_one_patient_stay_together() -> None:
    beats = mitbih_like()
    for fold in range(5):
        split = PatientKFold(ALL, [], 0.2, 0, fold, 5).split(beats, "mitbih")
        sides = [{"201", "202"} & set(beats.record[side]) for side in (split.train, split.validation, split.test)]
        assert sorted(map(len, sides)) == [0, 0, 2]


def test_class_absent_from_training_is_named() -> None:
    beats = make_beats(8, {0: 10, 1: 5, 2: 5, 3: 5}, n_times=1)
    for make in PROTOCOLS.values():
        with pytest.raises(UserError, match="Class Q has no training beat"):
            make(0).split(beats, "simulated")


def test_too_few_patients_is_a_sentence() -> None:
    with pytest.raises(UserError, match="3 patients cannot make 5 folds"):
        PatientKFold(ALL, [], 0.2, 0).split(make_beats(3, dict.fromkeys(range(5), 4)), "simulated")


def test_too_few_beats_to_stratify_is_a_sentence() -> None:
    with pytest.raises(UserError, match="cannot be divided by class"):
        Random(ALL, [], 0.2, 0).split(make_beats(1, {0: 10, 1: 1}), "simulated")


def test_paced_records_of_mitbih_are_left_out_and_nobody_elses() -> None:
    protocol = InterPatient(list("NSVF"), ["108"], 0.2, 0, mitdb.DS1, mitdb.DS2, mitdb.PACED)
    assert protocol.excluded("mitbih") == ["108", *mitdb.PACED]
    assert protocol.excluded("wfdb") == ["108"]


def test_nothing_to_test_is_a_sentence() -> None:
    with pytest.raises(UserError, match="No beat is left to test"):
        InterPatient(list("NSVF"), [], 0.2, 0, mitdb.DS1, ["999"]).split(mitbih_like(), "mitbih")
