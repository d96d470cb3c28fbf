"""Fusion beats as mixtures of N and V beats."""

from __future__ import annotations

import numpy as np
import pytest
from augmentation_factories import make_arrays_training, make_balance, make_training
from factories import make_beats

from ecg.data.window import CenteredWindow
from ecg.errors import UserError

CENTERED = CenteredWindow(lead="first", before=0.05, after=0.08, sfreq=120, difference=False, features="none")


def test_a_fusion_beat_is_the_sum_of_an_n_and_a_v_beat_of_one_record() -> None:
    height = np.repeat(np.array([0, 1, 10, 20], np.float32), [5, 2, 5, 2])
    label = [0] * 5 + [1, 2] + [0] * 5 + [1, 2]  # N, V, F
    training = make_arrays_training(
        height[:, None, None] * np.ones((14, 1, 16), np.float32), label, classes="NVF", window=CENTERED, balance_to="N"
    )
    training.beats.record[7:] = "y"
    balanced = make_balance("fusion")(training)
    assert balanced is not None
    assert set(balanced.label) == {2}
    assert sorted(balanced.record) == ["x"] * 4 + ["y"] * 4
    assert np.ptp(balanced.signal, axis=2).max() == 0
    for value, record in zip(balanced.signal[:, 0, 0], balanced.record, strict=True):
        n, v = {"x": (0, 1), "y": (10, 20)}[record]
        assert 0.5 * n + 0.2 * v <= value <= 1.1 * n + v


def test_the_v_beat_is_shifted_by_at_most_30_ms() -> None:
    signal, label = np.zeros((60, 1, 16), np.float32), [0] * 50 + [1] * 9 + [2]
    signal[50:59, 0, 8] = 1
    training = make_arrays_training(signal, label, classes="NVF", window=CENTERED, balance_to="N")
    balanced = make_balance("fusion")(training)
    assert balanced is not None
    assert set(balanced.signal[:, 0].argmax(axis=1)) == set(range(4, 13))  # 4 samples at 120 Hz


def test_only_class_f_is_filled_up() -> None:
    training = make_training(make_beats(6, {0: 60, 1: 6, 2: 20, 3: 4, 4: 5}, n_times=16))
    balanced = make_balance("fusion")(training)
    assert balanced is not None
    assert len(balanced.label) == training.missing()["F"]
    assert set(balanced.label) == {training.split.classes.index("F")}


def test_padded_fusion_beats_end_with_their_n_beat_and_span_0_to_1() -> None:
    beats = make_beats(6, {0: 60, 1: 6, 2: 20, 3: 4, 4: 5}, n_times=16)
    beats.signal[beats.label == 0, :, 9:] = 0
    balanced = make_balance("fusion")(make_training(beats))
    assert balanced is not None
    assert (balanced.signal[:, :, 9:] == 0).all()
    assert (balanced.signal[:, :, :9].max(axis=2) == 1).all()
    assert (balanced.signal.min(axis=2) == 0).all()


def test_no_record_with_both_classes_is_refused() -> None:
    signal = np.zeros((6, 1, 16), np.float32)
    training = make_arrays_training(signal, [0, 0, 0, 1, 1, 2], classes="NVF", window=CENTERED, balance_to="N")
    training.beats.record[3:] = "y"
    with pytest.raises(UserError, match="No record has training beats of the classes N and V"):
        make_balance("fusion")(training)
