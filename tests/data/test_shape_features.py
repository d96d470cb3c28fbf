from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg.data.shape_features import CAUSAL_SHAPE_FEATURES, SHAPE_FEATURES, Lead, cut, shape_features

SFREQ = 120.0
WIDE = 17  # the beat that differs


def make_lead(n: int = 40, wide: int | None = WIDE) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A lead with n narrow QRS complexes, one of them wide and without a P wave, and their R peaks."""
    peaks = np.arange(n) * 100 + 80
    t = np.arange(n * 100 + 100)
    x = np.zeros(len(t))
    for i, peak in enumerate(peaks):
        x += (0.7 if i == wide else 1) * np.exp(-0.5 * ((t - peak) / (6 if i == wide else 2)) ** 2)
        if i != wide:
            x += 0.15 * np.exp(-0.5 * ((t - peak + 20) / 4) ** 2)
    return x, peaks


def of_lead(
    x: NDArray[np.float64], peaks: NDArray[np.int64], sfreq: float, *, causal: bool = False
) -> NDArray[np.float32]:
    return shape_features(cut(x, peaks, sfreq), sfreq, causal=causal)


def column(name: str, x: NDArray[np.float64], peaks: NDArray[np.int64]) -> NDArray[np.float32]:
    return of_lead(x, peaks, SFREQ)[:, SHAPE_FEATURES.index(name)]


@pytest.mark.parametrize("name", ["corr(QRS, template)", "corr(P, template)", "fraction of beats with this QRS"])
def test_a_beat_of_another_shape_has_the_smallest_similarity(name: str) -> None:
    values = column(name, *make_lead())
    assert values.argmin() == WIDE
    assert np.delete(values, WIDE).min() > values[WIDE] + 0.05


@pytest.mark.parametrize("name", ["log(rms(QRS - template))", "log(width(1/2) / median(width(1/2), record))"])
def test_a_beat_of_another_shape_has_the_largest_distance(name: str) -> None:
    values = column(name, *make_lead())
    assert values.argmax() == WIDE


def test_the_width_is_that_of_the_peak_at_half_its_height() -> None:
    widths = Lead.of(cut(*make_lead(), SFREQ), SFREQ).width(1 / 2)
    assert np.median(widths) == pytest.approx(2.355 * 2 / SFREQ, rel=0.05)
    assert widths[WIDE] == pytest.approx(2.355 * 6 / SFREQ, rel=0.1)


def test_the_neighbours_of_a_different_beat_are_unlike_it_on_one_side() -> None:
    x, peaks = make_lead()
    previous, following = (column(f"corr(QRS, {name} QRS)", x, peaks) for name in ("previous", "next"))
    np.testing.assert_allclose(previous[1:], following[:-1], atol=1e-6)
    assert previous[WIDE] < 0.95 < previous[WIDE - 1]
    assert previous[0] == following[-1] == 1


def test_amplitude_and_offset_of_the_lead_do_not_matter() -> None:
    x, peaks = make_lead()
    np.testing.assert_allclose(of_lead(x, peaks, SFREQ), of_lead(40 * x, peaks, SFREQ), atol=1e-4)


def test_a_lead_without_signal_gives_constant_features() -> None:
    features = of_lead(np.zeros(2000), np.array([100, 300, 500, 900]), SFREQ)
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features[1:-1], features[1:2].repeat(2, axis=0))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 1499), max_size=20), st.integers(0, 3), st.sampled_from([100.0, 120.0, 250.0]))
def test_features_are_finite_for_any_peaks_and_signal(peaks: list[int], seed: int, sfreq: float) -> None:
    x = np.random.default_rng(seed).normal(size=1500).cumsum()
    features = of_lead(x, np.sort(np.array(peaks, np.int64)), sfreq)
    assert features.shape == (len(peaks), len(SHAPE_FEATURES))
    assert np.isfinite(features).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 120), st.integers(0, 119), st.integers(0, 3))
def test_causal_features_do_not_depend_on_later_beats(n: int, at: int, seed: int) -> None:
    at = min(at, n - 1)
    x, peaks = make_lead(n)
    x += np.random.default_rng(seed).normal(0, 0.1, x.size)
    end = peaks[at] + round(0.5 * SFREQ)
    features = of_lead(x, peaks, SFREQ, causal=True)
    assert features.shape == (n, len(CAUSAL_SHAPE_FEATURES))
    np.testing.assert_array_equal(of_lead(x[:end], peaks[: at + 1], SFREQ, causal=True), features[: at + 1])


def test_a_causal_template_is_made_of_the_beats_before() -> None:
    x, peaks = make_lead()
    correlation = of_lead(x, peaks, SFREQ, causal=True)[:, CAUSAL_SHAPE_FEATURES.index("corr(QRS, template)")]
    assert correlation.argmin() == WIDE
    assert np.delete(correlation, WIDE).min() > 0.95


def test_the_causal_fraction_of_beats_with_this_qrs_counts_past_beats_only() -> None:
    x, peaks = make_lead(n=1000)
    name = "fraction of past beats with this QRS"
    common = of_lead(x, peaks, SFREQ, causal=True)[:, CAUSAL_SHAPE_FEATURES.index(name)]
    assert common[0] == 1
    assert common[WIDE] == 0
    assert common[WIDE + 1] == pytest.approx(WIDE / (WIDE + 1))
    assert common[WIDE + 401] == 1
