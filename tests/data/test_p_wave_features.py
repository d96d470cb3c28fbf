"""P wave features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg.data.p_wave_features import P_WAVE_FEATURES, p_wave_features
from ecg.data.shape_features import cut

SFREQ = 120.0
Recording = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]


def make_recording(pattern: str, repeats: int = 20, *, other_p_wave: bool = True) -> Recording:
    """A lead whose beats are N or S by the letters of a repeated pattern, its R peaks, and which of them are S.

    S beats follow after 0.6 s, N beats after 1 s. The P wave of an S beat is inverted and closer to the R peak.
    """
    s = np.array([letter == "S" for letter in pattern * repeats])
    peaks = np.cumsum(np.where(s, 72, 120)) + 120
    t = np.arange(peaks[-1] + 120)
    x = np.zeros(len(t))
    for peak, of_s in zip(peaks, s, strict=True):
        x += np.exp(-0.5 * ((t - peak) / 2) ** 2)
        other = of_s and other_p_wave
        x += (-0.1 if other else 0.15) * np.exp(-0.5 * ((t - peak + (16 if other else 22)) / 3) ** 2)
    return x, peaks, s


def of_lead(
    x: NDArray[np.float64], peaks: NDArray[np.int64], sfreq: float, *, causal: bool = False
) -> NDArray[np.float32]:
    return p_wave_features(cut(x, peaks, sfreq), peaks / sfreq, sfreq, causal=causal)


def features(
    x: NDArray[np.float64], peaks: NDArray[np.int64], *, causal: bool = False
) -> dict[str, NDArray[np.float32]]:
    return dict(zip(P_WAVE_FEATURES, of_lead(x, peaks, SFREQ, causal=causal).T, strict=True))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pattern", ["NNNNNNNS", "NNSSSSSS"])
def test_p_waves_of_s_beats_are_unlike_those_of_late_beats_also_where_most_beats_are_s(
    pattern: str, causal: bool
) -> None:
    x, peaks, s = make_recording(pattern)
    values = features(x, peaks, causal=causal)
    settled = np.arange(len(s)) >= 32  # the first beats have few beats before them
    similarity = values["corr(P, median P of late beats)"]
    assert similarity[settled & ~s].min() > 0.95
    assert similarity[settled & s].max() < 0.5
    distance = values["log(rms(P - median P of late beats))"]
    assert distance[settled & s].min() > distance[settled & ~s].max() + 1


def test_early_beats_with_the_p_wave_of_late_beats_are_like_them() -> None:
    x, peaks, _ = make_recording("NNSSSSSS", other_p_wave=False)
    assert features(x, peaks)["corr(P, median P of late beats)"].min() > 0.95


def test_the_unit_of_the_lead_does_not_matter() -> None:
    x, peaks, _ = make_recording("NNNS")
    np.testing.assert_allclose(of_lead(x, peaks, SFREQ), of_lead(40 * x, peaks, SFREQ), atol=1e-4)


def test_a_lead_without_signal_gives_constant_features() -> None:
    values = of_lead(np.zeros(2000), np.array([100, 300, 500, 900]), SFREQ)
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values, values[:1].repeat(4, axis=0))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 1499), max_size=40), st.integers(0, 3), st.sampled_from([100.0, 128.0, 250.0]))
def test_features_are_finite_for_any_peaks_and_signal(peaks: list[int], seed: int, sfreq: float) -> None:
    x = np.random.default_rng(seed).normal(size=1500).cumsum()
    for causal in (False, True):
        values = of_lead(x, np.sort(np.array(peaks, np.int64)), sfreq, causal=causal)
        assert values.shape == (len(peaks), len(P_WAVE_FEATURES))
        assert np.isfinite(values).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 100), st.integers(0, 99), st.integers(0, 3))
def test_causal_features_do_not_depend_on_later_beats(n: int, at: int, seed: int) -> None:
    x, peaks, _ = make_recording("NNNS", repeats=25)
    peaks, at = peaks[:n], min(at, n - 1)
    x = x + np.random.default_rng(seed).normal(0, 0.1, x.size)
    values = of_lead(x, peaks, SFREQ, causal=True)
    end = peaks[at] + round(0.5 * SFREQ)
    np.testing.assert_array_equal(of_lead(x[:end], peaks[: at + 1], SFREQ, causal=True), values[: at + 1])
