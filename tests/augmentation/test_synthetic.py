"""Training on a synthetic set alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from augmentation_factories import make_balance, make_set, make_training

from ecg.data.aami import CLASSES
from ecg.data.synthetic_set import Chunk, beat_locations, read_set, write_set
from ecg.errors import UserError


def test_the_beats_of_the_set_replace_the_training_beats(tmp_path: Path) -> None:
    training = make_training(synthetic_set=make_set(tmp_path, make_training(), n=10))
    balanced, synthetic = make_balance("synthetic")(training), read_set(tmp_path)
    assert balanced is not None
    assert len(balanced.kept) == 0
    np.testing.assert_array_equal(balanced.signal, synthetic.signal)
    classes = np.array(training.split.classes)
    np.testing.assert_array_equal(classes[balanced.label], np.array(CLASSES)[synthetic.label])
    assert balanced.provenance["sha256"] == synthetic.provenance["sha256"]


def test_a_set_that_was_fitted_on_test_beats_is_refused(tmp_path: Path) -> None:
    training = make_training()
    make_set(tmp_path, training, n=10, fitted_on=beat_locations(training.beats, training.split.test[:7]))
    with pytest.raises(UserError, match="fitted on 7 test beats"):
        make_balance("synthetic")(make_training(synthetic_set=tmp_path))


def test_a_set_without_a_class_is_refused(tmp_path: Path) -> None:
    training = make_training(synthetic_set=make_set(tmp_path, make_training(), n=10))
    path = tmp_path / "provenance.json"
    synthetic, provenance = read_set(tmp_path), json.loads(path.read_text())
    kept = synthetic.label != CLASSES.index("F")
    chunk = Chunk(synthetic.signal[kept], synthetic.label[kept], synthetic.record[kept])
    write_set(tmp_path, [chunk], n=int(kept.sum()), shape=tuple(provenance["shape"]), provenance=provenance)
    with pytest.raises(UserError, match="no beats of class F"):
        make_balance("synthetic")(training)
