"""Detected and classified beats against annotated ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg.evaluation.beat_matching import compare_beats, match

beats = st.lists(st.integers(0, 3000), max_size=15, unique=True).map(lambda x: np.sort(np.array(x, np.int64)))


@given(beats, beats, st.integers(0, 200))
def test_pairs_are_close_and_every_beat_is_in_one_at_most(
    reference: np.ndarray, found: np.ndarray, tolerance: int
) -> None:
    pairs = match(reference, found, tolerance)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(abs(reference[i] - found[j]) <= tolerance for i, j in pairs)
    paired = {j for _, j in pairs}
    for i in set(range(len(reference))) - {i for i, _ in pairs}:  # a beat without a partner has no free one
        near = np.flatnonzero(np.abs(found - reference[i]) <= tolerance)
        assert set(near.tolist()) <= paired


@given(beats)
def test_beats_at_the_same_samples_are_all_paired(reference: np.ndarray) -> None:
    assert match(reference, reference, 0) == [(i, i) for i in range(len(reference))]


def test_missed_and_false_beats_count_in_the_rates_of_their_class() -> None:
    # annotated N V N . N Q, found N N . V N N
    comparison = compare_beats(
        np.array([100, 200, 300, 500, 600]),
        np.array([0, 1, 0, 0, -1]),
        np.array([101, 199, 400, 502, 600]),
        np.array([0, 0, 1, 0, 0]),
        ("N", "V"),
        360.0,
    )
    assert comparison.counts.tolist() == [[2, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert comparison.rates("N") == pytest.approx((2 / 3, 2 / 3))
    assert comparison.rates("V") == (0, 0)
    assert comparison.sensitivity == 3 / 4
    assert comparison.positive_predictive_value == 3 / 4
    assert (comparison + comparison).counts.sum() == 10


def test_a_fusion_beat_that_is_found_as_v_is_not_false() -> None:
    at = np.array([100, 200, 300])
    comparison = compare_beats(at, np.array([0, 1, 2]), at, np.array([1, 1, 1]), ("N", "V", "F"), 360.0)
    assert comparison.rates("V") == (1, 1 / 2)
    assert comparison.rates("F")[0] == 0


def test_a_recording_without_beats_has_no_rates() -> None:
    none = np.empty(0, np.int64)
    comparison = compare_beats(none, none, none, none, ("N",), 360.0)
    assert np.isnan([comparison.sensitivity, *comparison.rates("N")]).all()
