"""SMOTE and its combination with Tomek links."""

from __future__ import annotations

import numpy as np
import pytest
from augmentation_factories import make_arrays_training, make_balance
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.errors import UserError


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(7, 30), st.integers(0, 2**31))
def test_smote_interpolates_beats_of_the_class(n: int, target: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.random((n + target, 1, 7), dtype=np.float32)
    rr = rng.random((n + target, 2), dtype=np.float32)
    label = np.repeat([0, 1], [n, target])
    training = make_arrays_training(signal, label, rr, classes="SV", balance_to="V", seed=seed)
    balanced = make_balance("smote")(training)
    assert balanced is not None
    assert len(balanced.label) == len(balanced.signal) == len(balanced.rr) == target - n
    assert (balanced.label == 0).all()
    assert (balanced.kept == np.arange(n + target)).all()
    for added, own in ((balanced.signal, signal[:n]), (balanced.rr, rr[:n])):
        assert added.dtype == np.float32
        assert added.min() >= own.min() - 1e-6
        assert added.max() <= own.max() + 1e-6


def test_smote_adds_nothing_to_classes_of_equal_size() -> None:
    signal = np.random.default_rng(0).random((6, 1, 4), dtype=np.float32)
    balanced = make_balance("smote")(make_arrays_training(signal, [0, 0, 0, 1, 1, 1], classes="SV"))
    assert balanced is not None
    assert balanced.signal.shape == (0, 1, 4)


def test_smote_refuses_a_class_with_a_single_beat() -> None:
    training = make_arrays_training(np.zeros((3, 1, 4), np.float32), [0, 1, 1], classes="FN", balance_to="N")
    with pytest.raises(UserError, match=r"class F has 1\. Use another augmentation"):
        make_balance("smote")(training)


def test_tomek_links_remove_the_border_beat_of_the_larger_class() -> None:
    signal = np.array([0.0, 0.1, 5.0, 5.1, 5.2, 5.3, 9.0, 0.11], np.float32)[:, None, None]
    training = make_arrays_training(signal, [0, 0, 1, 1, 1, 1, 1, 1], classes="SN", balance_to="S")
    balanced = make_balance("smote_tomek")(training)
    assert balanced is not None
    assert set(range(8)) - set(balanced.kept.tolist()) == {7}


def test_tomek_links_remove_neither_added_beats_nor_beats_of_smaller_classes() -> None:
    label = np.repeat([0, 1, 2], [400, 20, 60])
    noise = np.random.default_rng(0).normal(size=(480, 1, 4))
    signal = (noise + 0.5 * label[:, None, None]).astype(np.float32)
    training = make_arrays_training(signal, label, classes="NSV")
    balanced = make_balance("smote_tomek")(training)
    assert balanced is not None
    assert len(balanced.label) == 40
    kept = np.bincount(label[balanced.kept]).tolist()
    assert kept[0] < 400
    assert kept[1:] == [20, 60]
