"""Intervals and tests, compared with SciPy and with the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ecg.comparison.statistics import MeanInterval, holm, mean_interval, paired_p


def test_the_interval_is_that_of_students_t() -> None:
    values = np.array([0.7, 0.8, 0.75, 0.9])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    mean = mean_interval(values)
    assert (mean.mean, mean.low, mean.high) == pytest.approx((values.mean(), low, high))
    assert mean.n == 4


def test_undefined_scores_are_left_out_of_a_mean() -> None:
    nan = float("nan")
    assert mean_interval(np.array([0.5, nan, 0.7])) == mean_interval(np.array([0.5, 0.7]))
    assert mean_interval(np.array([0.5, nan])) == MeanInterval(0.5, None, None, 1)
    assert mean_interval(np.array([nan])) == MeanInterval(None, None, None, 0)


def test_the_p_value_is_that_of_the_paired_t_test() -> None:
    a, b = np.array([0.7, 0.8, 0.75]), np.array([0.8, 0.82, 0.9])
    assert paired_p(b - a) == pytest.approx(stats.ttest_rel(b, a).pvalue)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([], None), ([0.1], None), ([0.1, float("nan")], None), ([0.0, 0.0], 1.0), ([0.1, 0.1], 0.0)],
)
def test_the_p_value_of_degenerate_differences(differences: list[float], expected: float | None) -> None:
    assert paired_p(np.array(differences)) == expected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_correction_keeps_the_order_and_never_lowers_a_p_value(p: list[float]) -> None:
    corrected = holm(p)
    assert all(c is not None and min(1.0, a) <= c <= 1 for a, c in zip(p, corrected, strict=True))
    assert min(c for c in corrected if c is not None) == pytest.approx(min(1.0, len(p) * min(p)))
    ordered = [corrected[i] for i in np.argsort(p, kind="stable")]
    assert ordered == sorted(ordered)


def test_holm_correction_skips_missing_tests() -> None:
    assert holm([0.04, None, 0.01]) == [0.04, None, 0.02]
