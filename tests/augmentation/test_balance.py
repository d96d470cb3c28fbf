"""Properties of all balance methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from augmentation_factories import BALANCES, make_balance, make_datamodule, make_set, make_training
from hypothesis import given
from hypothesis import strategies as st

from ecg.augmentation.balance.balance import missing_beats
from ecg.data.aami import CLASSES


@given(st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 50_000), min_size=2), st.floats(0.01, 1))
def test_missing_beats_fill_classes_up_to_the_second_largest(counts: dict[str, int], fraction: float) -> None:
    second = sorted(counts.values())[-2]
    assert all(0 < n <= second - counts[name] for name, n in missing_beats(counts, None, fraction).items())
    for name, n in missing_beats(counts, None, 1.0).items():
        assert counts[name] + n == second


def test_missing_beats_fill_classes_up_to_the_chosen_class() -> None:
    assert missing_beats({"N": 90, "S": 10, "V": 30}, "N", 0.5) == {"S": 40, "V": 30}


def test_a_single_class_misses_no_beats() -> None:
    assert missing_beats({"N": 7}, None, 1.0) == {}


@pytest.mark.parametrize("fraction", [1.0, 0.3])
@pytest.mark.parametrize("name", [name for name in BALANCES if name not in ("fusion", "synthetic")])
def test_methods_that_add_beats_add_the_missing_ones(name: str, fraction: float, tmp_path: Path) -> None:
    folder = make_set(tmp_path, make_training(), n=100)
    training = make_training(fraction=fraction, synthetic_set=folder)
    balanced = make_balance(name)(training)
    if balanced is not None and len(balanced.label):
        added = np.bincount(balanced.label, minlength=len(CLASSES)).tolist()
        assert {c: n for c, n in zip(CLASSES, added, strict=True) if n} == training.missing()
        kept = np.bincount(training.label[balanced.kept], minlength=len(CLASSES)).tolist()
        assert kept[1:] == list(training.counts.values())[1:]
        assert len(balanced.signal) == len(balanced.rr) == len(balanced.label) == len(balanced.record)
        assert set(balanced.record) <= set(training.beats.record)


@pytest.mark.parametrize("name", BALANCES)
def test_the_same_seed_gives_the_same_beats(name: str, tmp_path: Path) -> None:
    training = make_training(synthetic_set=make_set(tmp_path, make_training(), n=100))
    first, second = (make_balance(name)(training) for _ in range(2))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        for array in ("kept", "signal", "rr", "label", "record"):
            np.testing.assert_array_equal(getattr(first, array), getattr(second, array))


@pytest.mark.parametrize("name", BALANCES)
def test_validation_and_test_beats_are_never_changed(name: str, tmp_path: Path) -> None:
    training = make_training(synthetic_set=make_set(tmp_path, make_training(), n=100))
    balance, plain = make_balance(name), make_datamodule(training)
    data = make_datamodule(training, balanced=balance(training), class_power=balance.class_power)
    for loader in ("val_dataloader", "test_dataloader"):
        for batch, expected in zip(getattr(data, loader)(), getattr(plain, loader)(), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))
    held_out = {*training.split.validation.tolist(), *training.split.test.tolist()}
    assert not held_out & set(data.train_positions.tolist())
    assert (data.tensors.record[len(data.beats) :] == -1).all()


def test_class_balanced_samples_rare_classes_as_often_as_common_ones() -> None:
    training, balance = make_training(), make_balance("class_balanced")
    assert balance(training) is None
    data = make_datamodule(training, class_power=balance.class_power)
    sampled = torch.bincount(torch.cat([batch.label for batch in data.train_dataloader()]))
    assert sampled.min() > 0.1 * sampled.sum()


def test_oversample_repeats_beats_of_the_class() -> None:
    training = make_training()
    balanced = make_balance("oversample")(training)
    assert balanced is not None
    assert len(balanced.kept) == len(training.label)
    for signal, label in zip(balanced.signal, balanced.label, strict=True):
        assert (signal == training.signal[training.label == label]).all(axis=(1, 2)).any()


def test_undersample_keeps_at_most_the_target() -> None:
    training = make_training(balance_to="S")
    balanced = make_balance("undersample")(training)
    assert balanced is not None
    assert len(balanced.label) == 0
    assert len(set(balanced.kept.tolist())) == len(balanced.kept)
    kept = np.bincount(training.label[balanced.kept]).tolist()
    assert kept == [min(n, training.counts["S"]) for n in training.counts.values()]


def test_the_log_contains_the_numbers_of_beats(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        make_balance("oversample")(make_training())
    assert "Training beats after Oversample: N 180, S 60, V 60, F 60, Q 60" in caplog.text
