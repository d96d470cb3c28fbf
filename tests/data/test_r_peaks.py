"""Detection of R peaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg.data import filters
from ecg.data.r_peaks import detect_r_peaks

Floats = NDArray[np.float64]


def make_lead(sfreq: float, *, seconds: float = 60, t_wave: float = 0.3) -> tuple[Floats, Floats]:
    """A lead with a beat of 1 mV about every 0.8 s, and the times of the R peaks in s."""
    rng = np.random.default_rng(0)
    peak = np.cumsum(rng.uniform(0.7, 0.9, int(seconds / 0.8) - 2)) + 0.3
    t = np.arange(round(seconds * sfreq)) / sfreq
    x = 0.01 * rng.standard_normal(len(t))
    for r in peak:
        x += np.exp(-0.5 * ((t - r) / 0.012) ** 2) + t_wave * np.exp(-0.5 * ((t - r - 0.28) / 0.04) ** 2)
    return x, peak


@pytest.mark.parametrize("sfreq", [60.0, 100.0, 250.0, 360.0, 1000.0])
@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-3, 2000.0])
def test_every_r_peak_is_detected_once_at_its_sample(sfreq: float, scale: float) -> None:
    x, peak = make_lead(sfreq)
    found = detect_r_peaks(scale * x + 7 * scale, sfreq)
    settled = peak[3:]  # the thresholds need some beats
    np.testing.assert_allclose(found[-len(settled) :] / sfreq, settled, atol=max(0.004, 1.5 / sfreq))
    assert len(found) <= len(peak)


def test_t_waves_as_high_as_the_qrs_complex_are_not_beats() -> None:
    x, peak = make_lead(250, t_wave=1.0)
    found = detect_r_peaks(x, 250) / 250
    assert abs(len(found) - len(peak)) <= 2
    assert np.abs(found[5:60, None] - peak).min(axis=1).max() < 0.02


def test_a_long_lead_has_the_same_beats_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = make_lead(250, seconds=400)
    whole = detect_r_peaks(x, 250)
    monkeypatch.setattr(filters, "BLOCK", 100.0)
    monkeypatch.setattr(filters, "LONG", 200.0)
    assert detect_r_peaks(x.astype(np.float32), 250).tolist() == whole.tolist()


@pytest.mark.parametrize("x", [np.zeros(5000), np.full(5000, 3.0), np.zeros(0), np.ones(1), make_lead(250)[0][:400]])
def test_a_constant_or_short_lead_has_no_beats(x: Floats) -> None:
    assert detect_r_peaks(x, 250).tolist() == []


def test_errors_of_rounding_are_not_beats() -> None:
    time = np.arange(5000) / 250
    assert len(detect_r_peaks(200 * (np.abs(time - 10) < 0.02), 250)) == 1
    assert len(detect_r_peaks(1e6 + 1000 * time, 250)) <= 1  # at the edge


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([100.0, 128.0, 360.0]), st.floats(2, 20))
def test_peaks_of_any_signal_are_ascending_samples_of_it(seed: int, sfreq: float, seconds: float) -> None:
    x = np.random.default_rng(seed).normal(size=round(seconds * sfreq)).cumsum()
    found = detect_r_peaks(x, sfreq)
    assert (np.diff(found) > 0).all()
    assert ((found >= 0) & (found < len(x))).all()
