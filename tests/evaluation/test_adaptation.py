"""Adaptation of predictions to a record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.evaluation.adaptation import recentre, shapes, vote

CLASSES = ["N", "S", "V", "F"]


def bump(width: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """QRS complexes (n, 40) of one width and random amplitude, with a little noise."""
    x = np.exp(-np.square((np.arange(40) - 20) / width))
    return rng.uniform(0.5, 2, (n, 1)) * x + 0.02 * rng.standard_normal((n, 40))


def test_recentring_moves_the_median_of_every_record_and_only_s() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(90, 4))
    record = np.repeat(["a", "b", "c"], 30)
    logits[record == "b", 1] += 5
    moved = recentre(logits, record, CLASSES, to=-7.0)
    np.testing.assert_array_equal(moved[:, [0, 2, 3]], logits[:, [0, 2, 3]])
    for name in "abc":
        margin = moved[record == name, 1] - moved[record == name, 0]
        assert np.median(margin) == pytest.approx(-7)
        original = logits[record == name, 1] - logits[record == name, 0]
        np.testing.assert_allclose(np.diff(margin), np.diff(original))


def test_beats_of_one_width_have_one_shape() -> None:
    rng = np.random.default_rng(0)
    wide = rng.permutation(np.arange(100) % 5 == 0)
    qrs = np.where(wide[:, None], bump(9, 100, rng), bump(2, 100, rng))
    shape = shapes(qrs)
    assert set(shape[~wide]) == {0}  # the most common one
    assert set(shape[wide]) == {1}


def test_a_vote_replaces_v_and_f_by_the_mean_of_the_shape_and_keeps_the_ratio_of_n_and_s() -> None:
    rng = np.random.default_rng(1)
    qrs = np.concatenate([bump(2, 20, rng), bump(9, 10, rng), bump(9, 10, rng)])
    record = np.repeat(["a", "a", "b"], [20, 10, 10])
    probability = rng.dirichlet(np.ones(4), 40)
    voted = vote(probability, record, qrs, CLASSES)
    np.testing.assert_allclose(voted.sum(axis=1), 1)
    for same in (slice(0, 20), slice(20, 30), slice(30, 40)):
        np.testing.assert_allclose(voted[same, 2:], np.tile(probability[same, 2:].mean(axis=0), (len(voted[same]), 1)))
    np.testing.assert_allclose(voted[:, 0] / voted[:, 1], probability[:, 0] / probability[:, 1])


def test_a_rare_shape_keeps_its_probabilities() -> None:
    rng = np.random.default_rng(2)
    qrs = np.concatenate([bump(2, 20, rng), bump(9, 2, rng)])
    probability = rng.dirichlet(np.ones(4), 22)
    voted = vote(probability, np.full(22, "a"), qrs, CLASSES)
    np.testing.assert_array_equal(voted[20:], probability[20:])


@given(st.integers(1, 60), st.integers(0, 2**20))
def test_voted_probabilities_sum_to_1(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    qrs = rng.standard_normal((n, 5)) * rng.integers(0, 2, (n, 1))  # constant beats among them
    probability = rng.dirichlet(np.full(4, 0.05), n)
    voted = vote(probability, rng.choice(["a", "b"], n), qrs, CLASSES)
    np.testing.assert_allclose(voted.sum(axis=1), 1, atol=1e-9)
    assert (voted >= 0).all()
