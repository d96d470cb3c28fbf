from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.data.rhythm_features import (
    CAUSAL_RHYTHM_FEATURES,
    RHYTHM_FEATURES,
    mean_around,
    mean_of_past,
    rhythm_features,
)


def column(time: np.ndarray, name: str) -> np.ndarray:
    return rhythm_features(time)[:, RHYTHM_FEATURES.index(name)]


def test_a_premature_beat_is_compared_with_the_intervals_before_it() -> None:
    time = np.cumsum([0.8] * 40 + [0.5, 1.1] + [0.8] * 40)
    premature = 40
    assert column(time, "log(prev / mean(past 32))")[premature] == pytest.approx(np.log(0.5 / 0.8), abs=1e-5)
    assert column(time, "log(next / prev)")[premature] == pytest.approx(np.log(1.1 / 0.5), abs=1e-5)
    assert column(time, "(prev - mean(past 32)) / std(past 32)").argmin() == premature


def test_a_long_run_of_short_intervals_is_short_relative_to_the_record_only() -> None:
    time = np.cumsum([1.0] * 200 + [0.7] * 60 + [1.0] * 200)
    end_of_run = 255
    assert abs(column(time, "log(prev / mean(past 32))")[end_of_run]) < 1e-5
    assert column(time, "log(prev / mean(record))")[end_of_run] < -0.25


def test_means_are_those_of_their_intervals() -> None:
    x = np.random.default_rng(0).random(50)
    past = [x[0], *(x[max(0, i - 16) : i].mean() for i in range(1, 50))]
    np.testing.assert_allclose(mean_of_past(x, 16), past)
    np.testing.assert_allclose(mean_around(x, 15), [x[max(0, i - 15) : i + 16].mean() for i in range(50)])


def test_irregularity_is_large_in_fibrillation() -> None:
    rng = np.random.default_rng(0)
    name = "log(mean(|diff(prev)|, around 30) / mean(record) + 0.01)"
    regular, irregular = (column(np.cumsum(rng.normal(0.8, spread, 100)), name) for spread in (0.01, 0.2))
    assert irregular.min() > regular.max()


@given(st.lists(st.floats(0, 500), max_size=60))
def test_features_are_finite_and_do_not_depend_on_the_start_of_the_recording(times: list[float]) -> None:
    time = np.sort(np.array(times))
    features = rhythm_features(time)
    assert features.shape == (len(time), len(RHYTHM_FEATURES))
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features, rhythm_features(time + 64), rtol=1e-3, atol=1e-3)


def test_the_ratios_do_not_depend_on_the_heart_rate() -> None:
    time = np.cumsum(np.random.default_rng(0).uniform(0.5, 0.8, 60))
    ratios = [i for i, name in enumerate(RHYTHM_FEATURES) if "std" not in name]
    np.testing.assert_allclose(rhythm_features(time)[:, ratios], rhythm_features(1.5 * time)[:, ratios], atol=1e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9))
def test_causal_features_do_not_depend_on_later_beats(n: int, n_kept: int, seed: int) -> None:
    time = np.cumsum(np.random.default_rng(seed).uniform(0.3, 1.5, n))
    features = rhythm_features(time, causal=True)
    assert features.shape == (n, len(CAUSAL_RHYTHM_FEATURES))
    assert np.isfinite(features).all()
    np.testing.assert_allclose(rhythm_features(time[:n_kept], causal=True), features[:n_kept], rtol=1e-4, atol=1e-5)


def test_causal_features_compare_a_premature_beat_with_the_past() -> None:
    time = np.cumsum([0.8] * 40 + [0.5, 1.1] + [0.8] * 40)
    ratio = rhythm_features(time, causal=True)[:, CAUSAL_RHYTHM_FEATURES.index("log(prev / mean(past))")]
    assert ratio[40] == pytest.approx(np.log(0.5 / 0.8), abs=1e-5)
