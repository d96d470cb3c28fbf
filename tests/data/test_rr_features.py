from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.data.rr_features import RR_FEATURES, RR_RANGE, rr_features


def test_a_premature_beat_has_a_short_previous_interval() -> None:
    time = np.cumsum([0.8] * 20 + [0.5, 1.1] + [0.8] * 20)
    rr = rr_features(time)
    premature = 20
    assert rr[premature, 0] == pytest.approx(0.5)
    assert rr[premature, 1] == pytest.approx(1.1)
    assert rr[premature, 2] < 0.7 < rr[premature - 2, 2]
    assert rr[:, 4].argmin() == premature


def test_ratios_follow_their_formulas() -> None:
    rr = rr_features(np.cumsum(np.random.default_rng(0).uniform(0.5, 1.2, 60)))
    prev, following, prev_local, next_local, prev_record, next_record, local_record, _ = rr.T
    np.testing.assert_allclose(prev / prev_local, following / next_local, rtol=1e-5)
    np.testing.assert_allclose(prev / prev_record, following / next_record, rtol=1e-5)
    np.testing.assert_allclose(prev_record / prev_local, local_record, rtol=1e-5)


def test_the_last_feature_is_large_in_an_irregular_rhythm() -> None:
    rng = np.random.default_rng(0)
    regular = rr_features(np.cumsum(rng.normal(0.8, 0.01, 100)))
    irregular = rr_features(np.cumsum(rng.normal(0.8, 0.2, 100)))
    assert irregular[:, -1].min() > 3 * regular[:, -1].max()


def test_intervals_are_clipped() -> None:
    rr = rr_features(np.array([0.0, 0.8, 60.0, 60.05]))
    assert rr[:, :2].max() <= RR_RANGE[1]
    assert rr[:, :2].min() >= RR_RANGE[0] - 1e-6


@pytest.mark.parametrize("n", [0, 1])
def test_features_of_fewer_than_two_beats_are_one(n: int) -> None:
    np.testing.assert_array_equal(rr_features(np.arange(n, dtype=float)), np.ones((n, len(RR_FEATURES))))


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=40))
def test_features_are_finite_and_do_not_depend_on_the_start_of_the_record(intervals: list[float]) -> None:
    time = np.cumsum(intervals)
    rr = rr_features(time)
    assert rr.shape == (len(time), len(RR_FEATURES))
    assert np.isfinite(rr).all()
    np.testing.assert_allclose(rr, rr_features(time + 100), rtol=1e-3, atol=1e-4)
