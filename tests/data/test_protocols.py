from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from beats_factories import MITBIH, SIMULATED, assert_disjoint, make_mitbih_beats, make_protocol
from factories import make_beats
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.config.schema import SCHEMAS
from ecg.data import mitbih
from ecg.data.protocols.protocol import Protocol
from ecg.errors import UserError

# The protocol kaggle needs the real beats, see test_kaggle.py and test_real_splits.py; others a second source.
PROTOCOLS = [name for name in SCHEMAS["protocol"] if name not in ("kaggle", "cross_database", "all_records")]
NSVF = list("NSVF")


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    n_patients=st.integers(8, 20),
    counts=st.lists(st.integers(4, 9), min_size=5, max_size=5),
)
def test_subsets_are_disjoint_complete_and_repeatable(name: str, seed: int, n_patients: int, counts: list[int]) -> None:
    beats = make_beats(n_patients, dict(enumerate(counts)), n_times=1)
    split = make_protocol(name, validation_fraction=0.25, split_seed=seed).split(beats, SIMULATED)
    assert_disjoint(beats, split)
    subsets = (split.train, split.validation, split.test)
    assert sum(map(len, subsets)) == len(beats)
    assert all(map(len, subsets))
    again = make_protocol(name, validation_fraction=0.25, split_seed=seed).split(beats, SIMULATED)
    np.testing.assert_array_equal(split.test, again.test)
    np.testing.assert_array_equal(split.validation, again.validation)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_split_depends_on_the_seed(name: str) -> None:
    beats = make_beats(20, dict.fromkeys(range(5), 4), n_times=1)
    tests = [
        make_protocol(name, validation_fraction=0.25, split_seed=seed).split(beats, SIMULATED).test.tolist()
        for seed in range(4)
    ]
    assert any(test != tests[0] for test in tests[1:])


def test_folds_of_unequal_patients_all_contain_the_rare_classes() -> None:
    # As in MIT-BIH, every patient has different classes, and the rare ones come from few patients.
    rng = np.random.default_rng(0)
    beats = make_beats(20, {0: 40, 1: 20, 2: 20}, n_times=1)
    patients_of = {1: ["p1", "p2", "p3", "p4", "p5", "p6"], 2: ["p0", "p7", "p8", "p9", "p10", "p11", "p12"]}
    keep = np.ones(len(beats), bool)
    for label, patients in patients_of.items():
        of_class = beats.label == label
        keep &= ~of_class | (np.isin(beats.patient, patients) & (rng.random(len(beats)) < 0.8))
    beats = beats.take(np.flatnonzero(keep))
    divisions = []
    for seed in range(5):
        protocols = [
            make_protocol("patient_kfold", classes=list("NSV"), split_seed=seed, fold=fold) for fold in range(5)
        ]
        folds = [protocol.split(beats, SIMULATED).test for protocol in protocols]
        for fold in folds:
            assert set(beats.label[fold]) == {0, 1, 2}
        divisions.append(frozenset(frozenset(beats.patient[fold]) for fold in folds))
    assert len(set(divisions)) > 1


def test_folds_contain_every_beat_once() -> None:
    beats = make_beats(11, dict.fromkeys(range(5), 3), n_times=1)
    folds = [make_protocol("patient_kfold", split_seed=3, fold=fold).split(beats, SIMULATED).test for fold in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(len(beats)))


def test_the_random_split_is_stratified() -> None:
    beats = make_beats(10, {0: 40, 1: 4, 2: 8, 3: 2, 4: 6}, n_times=1)
    split = make_protocol("random").split(beats, SIMULATED)
    fraction = np.bincount(beats.label[split.test]) / np.bincount(beats.label)
    np.testing.assert_allclose(fraction, 0.2, atol=0.03)


def test_labels_are_indices_into_the_classes_of_the_split() -> None:
    beats = make_beats(10, dict.fromkeys(range(5), 4), n_times=1)
    split = make_protocol("random", classes=list("QN")).split(beats, SIMULATED)
    labels = split.labels(beats)
    np.testing.assert_array_equal(labels[beats.label == 4], 0)
    np.testing.assert_array_equal(labels[beats.label == 0], 1)
    np.testing.assert_array_equal(labels[np.isin(beats.label, [1, 2, 3])], -1)
    assert set(beats.label[np.r_[split.train, split.validation, split.test]]) == {0, 4}


def test_keep_reduces_the_training_beats_only() -> None:
    beats = make_beats(10, {0: 20, 1: 10, 2: 1, 3: 10, 4: 10}, n_times=1)
    full = make_protocol("random").split(beats, SIMULATED)
    reduced = make_protocol("random", keep={"S": 0.25, "V": 0.01}).split(beats, SIMULATED)
    n_full, n_reduced = (np.bincount(beats.label[split.train]) for split in (full, reduced))
    assert n_reduced.tolist() == [n_full[0], round(0.25 * n_full[1]), 1, n_full[3], n_full[4]]
    np.testing.assert_array_equal(full.validation, reduced.validation)
    np.testing.assert_array_equal(full.test, reduced.test)
    assert np.isin(reduced.train, full.train).all()


def test_the_published_split_of_mitbih_is_used() -> None:
    beats = make_mitbih_beats()
    split = make_protocol("inter_patient", classes=NSVF).split(beats, MITBIH)
    assert_disjoint(beats, split)
    assert set(beats.record[split.test]) == set(mitbih.DS2)
    # Records 201 and 202 are from one patient, and 202 is a test record.
    assert set(beats.record[np.r_[split.train, split.validation]]) == set(mitbih.DS1) - {"201"}
    assert beats.label[np.r_[split.train, split.validation, split.test]].max() == 3


def test_without_test_record_202_record_201_is_a_training_record() -> None:
    beats = make_mitbih_beats()
    test_records = [name for name in mitbih.DS2 if name != "202"]
    split = make_protocol("inter_patient", classes=NSVF, test_records=test_records).split(beats, MITBIH)
    assert_disjoint(beats, split)
    assert "201" in beats.record[np.r_[split.train, split.validation]]


def test_given_records_replace_the_patients_of_a_source_without_a_published_split() -> None:
    beats = make_beats(10, dict.fromkeys(range(5), 4), n_times=1)
    train, test = [[f"p{i}{part}" for i in patients for part in "ab"] for patients in (range(6), range(5, 8))]
    split = make_protocol("inter_patient", train_records=train, test_records=test).split(beats, SIMULATED)
    assert_disjoint(beats, split)
    assert set(beats.patient[split.test]) == {"p5", "p6", "p7"}
    assert set(beats.patient[np.r_[split.train, split.validation]]) == {"p0", "p1", "p2", "p3", "p4"}


def test_both_records_of_a_patient_are_in_one_subset() -> None:
    beats = make_mitbih_beats()
    for fold in range(5):
        split = make_protocol("patient_kfold", fold=fold).split(beats, MITBIH)
        subsets = [{"201", "202"} & set(beats.record[part]) for part in (split.train, split.validation, split.test)]
        assert sorted(map(len, subsets)) == [0, 0, 2]


def test_paced_records_are_excluded_where_they_are_published_or_given() -> None:
    protocol = make_protocol("inter_patient", exclude=["108"])
    assert protocol.excluded_records(MITBIH) == ["108", *mitbih.PACED]
    assert protocol.excluded_records(SIMULATED) == ["108"]
    assert make_protocol("inter_patient", paced_records=[]).excluded_records(MITBIH) == []
    assert make_protocol("inter_patient", paced_records=["sim01"]).excluded_records(SIMULATED) == ["sim01"]
    assert make_protocol("random", exclude=["108"]).excluded_records(MITBIH) == ["108"]


def test_the_test_subset_is_also_evaluated_without_influential_records() -> None:
    assert make_protocol("inter_patient").test_subsets(MITBIH) == mitbih.TEST_SUBSETS
    without_202 = make_protocol("inter_patient", test_records=[name for name in mitbih.DS2 if name != "202"])
    assert list(without_202.test_subsets(MITBIH)) == ["test without 232"]
    assert not make_protocol("inter_patient").test_subsets(SIMULATED)
    assert not make_protocol("patient_kfold").test_subsets(MITBIH)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_class_without_training_beats_is_named(name: str) -> None:
    beats = make_beats(8, {0: 10, 1: 5, 2: 5, 3: 5}, n_times=1)
    with pytest.raises(UserError, match="Class Q has no training beat"):
        make_protocol(name).split(beats, SIMULATED)


@pytest.mark.parametrize(
    ("protocol", "n_patients", "message"),
    [
        (make_protocol("patient_kfold"), 3, r"3 patients are too few for protocol\.n_folds=5"),
        (
            make_protocol("patient_kfold", n_folds=2),
            8,
            r"4 patients are too few for protocol\.validation_fraction=0\.2",
        ),
        (make_protocol("inter_patient"), 2, r"2 patients are too few for protocol\.test_fraction=0\.3"),
    ],
)
def test_too_few_patients_are_a_user_error_that_names_the_setting(
    protocol: Protocol, n_patients: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        protocol.split(make_beats(n_patients, dict.fromkeys(range(5), 4), n_times=1), SIMULATED)


@pytest.mark.parametrize(
    ("counts", "fraction", "reason"),
    [
        ({0: 10, 1: 1}, 0.2, "The 11 beats cannot .*: class S has a single beat"),
        ({0: 10, 1: 10}, 0.01, "The 20 beats cannot .*: one part would have fewer beats than the 2 classes"),
        ({0: 3, 1: 3, 2: 3}, 0.9, "The 9 beats cannot .*: one part would have fewer beats than the 3 classes"),
    ],
)
def test_too_few_beats_to_stratify_are_a_user_error_that_names_the_setting(
    counts: dict[int, int], fraction: float, reason: str
) -> None:
    with pytest.raises(UserError, match=rf"{reason}.* change protocol\.test_fraction") as caught:
        make_protocol("random", test_fraction=fraction).split(make_beats(1, counts), SIMULATED)
    assert f"protocol.test_fraction={fraction}" in str(caught.value)


@given(counts=st.dictionaries(st.integers(0, 4), st.integers(1, 30), min_size=1), fraction=st.floats(0.01, 0.99))
def test_scikit_learn_never_refuses_what_the_check_accepts(counts: dict[int, int], fraction: float) -> None:
    beats = make_beats(1, counts, n_times=1)
    with suppress(UserError):
        make_protocol("random", test_fraction=fraction).partition(beats, SIMULATED)


@pytest.mark.parametrize("subset", ["train", "test"])
def test_an_empty_subset_is_a_user_error(subset: str) -> None:
    protocol = make_protocol("inter_patient", classes=NSVF, **{f"{subset}_records": ["999"]})
    with pytest.raises(UserError, match=f"The {subset}(ing)? subset is empty"):
        protocol.split(make_mitbih_beats(), MITBIH)


def test_a_source_other_than_mitbih_has_no_kaggle_split() -> None:
    with pytest.raises(UserError, match="does not apply to data=simulated"):
        make_protocol("kaggle").split(make_beats(2, dict.fromkeys(range(5), 4)), SIMULATED)
