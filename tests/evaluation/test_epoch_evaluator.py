from __future__ import annotations

import numpy as np
import pytest
from evaluation_factories import BAD_BEATS, HELD_OUT, TRAIN

from ecg.evaluation.epoch_evaluator import EpochEvaluator
from ecg.models.network import Network


@pytest.fixture(scope="module")
def evaluator(classifier: Network) -> EpochEvaluator:
    return EpochEvaluator(classifier, TRAIN, HELD_OUT, n_classes=2, n_compared=80)


def test_real_beats_are_close_to_the_reference(evaluator: EpochEvaluator) -> None:
    scores = evaluator.evaluate(TRAIN)
    assert 0.3 < scores["frechet"] < 3
    assert scores["coverage"] > 0.9
    assert 0.8 < scores["spread"] < 1.2


@pytest.mark.parametrize("name", BAD_BEATS)
def test_bad_beats_are_far_from_the_reference(evaluator: EpochEvaluator, name: str) -> None:
    scores = evaluator.evaluate(BAD_BEATS[name])
    assert scores["frechet"] > 5
    assert scores["coverage"] < 0.3 * evaluator.evaluate(TRAIN)["coverage"]


def test_one_repeated_beat_has_no_spread(evaluator: EpochEvaluator) -> None:
    assert evaluator.evaluate(BAD_BEATS["one beat"])["spread"] < 0.1


def test_a_copy_of_training_beats_is_not_detected(evaluator: EpochEvaluator) -> None:
    assert evaluator.evaluate(TRAIN.take(np.arange(80)))["frechet"] < 5


def test_a_class_with_few_validation_beats_is_left_out(classifier: Network) -> None:
    few = HELD_OUT.take(np.flatnonzero((HELD_OUT.label == 0) | (np.arange(len(HELD_OUT)) < 10)))
    with_both = EpochEvaluator(classifier, TRAIN, few, n_classes=2, n_compared=80).evaluate(TRAIN)
    with_first = EpochEvaluator(classifier, TRAIN, few.of_class(0), n_classes=1, n_compared=80).evaluate(TRAIN)
    assert with_both == with_first


def test_the_scores_are_nan_where_every_class_is_left_out(classifier: Network) -> None:
    evaluator = EpochEvaluator(classifier, TRAIN, HELD_OUT.take(np.arange(4)), n_classes=2, n_compared=80)
    assert np.isnan(list(evaluator.evaluate(TRAIN).values())).all()
