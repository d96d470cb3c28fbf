"""Balancing with a synthetic set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from augmentation_factories import make_balance, make_set, make_training

from ecg.data.synthetic_set import beat_locations, read_set
from ecg.errors import UserError


def test_beats_of_the_set_are_added_with_their_provenance(tmp_path: Path) -> None:
    folder = make_set(tmp_path, make_training(), n=100)
    balanced = make_balance("gan")(make_training(synthetic_set=folder))
    assert balanced is not None
    synthetic = read_set(folder)
    first = synthetic.signal[np.flatnonzero(synthetic.label == balanced.label[0])[0]]
    np.testing.assert_array_equal(balanced.signal[0], first)
    assert balanced.provenance["sha256"] == synthetic.provenance["sha256"]
    assert str(folder) not in str(balanced.provenance)


def test_a_fraction_of_the_f_beats_can_be_sums_of_n_and_v_beats(tmp_path: Path) -> None:
    training = make_training(synthetic_set=make_set(tmp_path, make_training(), n=100))
    balanced, alone = make_balance("gan", fusion=0.25)(training), make_balance("gan")(training)
    assert balanced is not None
    assert alone is not None
    np.testing.assert_array_equal(np.bincount(balanced.label), np.bincount(alone.label))
    n_fused = round(0.25 * training.missing()["F"])
    assert set(balanced.label[-n_fused:]) == {training.split.classes.index("F")}
    in_set = np.isin(balanced.signal[:, 0, 0], read_set(tmp_path).signal[:, 0, 0])
    assert in_set.sum() == len(balanced.label) - n_fused


def test_a_missing_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no synthetic set"):
        make_balance("gan")(make_training(synthetic_set=tmp_path))


def test_a_set_with_too_few_beats_is_refused(tmp_path: Path) -> None:
    folder = make_set(tmp_path, make_training(), n=3)
    with pytest.raises(UserError, match=r"has 3 beats of class .*synth.py checkpoint=.*synth.per_class=\{"):
        make_balance("gan")(make_training(synthetic_set=folder))


def test_a_set_that_was_fitted_on_test_beats_is_refused(tmp_path: Path) -> None:
    training = make_training()
    leaked = beat_locations(training.beats, training.split.test[:7])
    folder = make_set(tmp_path, training, n=100, fitted_on=leaked)
    with pytest.raises(UserError, match="fitted on 7 test beats"):
        make_balance("gan")(make_training(synthetic_set=folder))
