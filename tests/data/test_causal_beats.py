"""Beats that are cut while a recording is made are those of the finished recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data.beats import Beats
from ecg.data.causal_beats import CausalBeats
from ecg.data.recording import Recording
from ecg.data.window import CenteredWindow

WINDOW = CenteredWindow(
    lead="II",
    before=0.35,
    after=0.55,
    sfreq=120.0,
    difference=True,
    leads=2,
    features="rhythm_and_shape",
    causal=True,
)


def make_recording(n_beats: int, sfreq: float, *, n_leads: int = 2, seed: int = 0) -> Recording:
    """Beats of random height and width about every 0.7 s, with noise and drift, in V1 and II, or in II alone."""
    rng = np.random.default_rng(seed)
    peak = np.cumsum(rng.uniform(0.4, 1.0, n_beats))
    t = np.arange(round((peak[-1] + 0.3) * sfreq)) / sfreq
    x = 0.05 * rng.standard_normal((n_leads, len(t))) + 0.5 * np.sin(t) + 3
    for r, width in zip(peak, rng.uniform(0.01, 0.04, n_beats), strict=True):
        near = slice(*np.searchsorted(t, [r - 0.3, r + 0.3]))
        x[:, near] += rng.uniform(0.5, 1.5, (n_leads, 1)) * np.exp(-0.5 * ((t[near] - r) / width) ** 2)
    sample = np.rint(peak * sfreq).astype(np.int64)
    symbol = np.full(n_beats, "N")
    return Recording("r", "r", sfreq, ("V1", "II")[-n_leads:], x, sample, symbol, preferred_lead="II")


def stream(window: CenteredWindow, recording: Recording, cuts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms and features, from blocks that end at `cuts`."""
    beats = CausalBeats(window, recording.sfreq, [1, 0] if len(recording.leads) == 2 else [0])
    waiting, cut = recording.sample.tolist(), []
    n = recording.signal.shape[1]
    for start, end in zip([0, *cuts], [*cuts, n], strict=True):
        beats.push(recording.signal[:, start:end])
        while waiting and waiting[0] < end and beats.complete(waiting[0]):
            cut.append(beats.cut(waiting.pop(0)))
        beats.drop()
    beats.end()
    cut += [beats.cut(peak) for peak in waiting]
    return np.stack([signal for signal, _ in cut]), np.stack([features for _, features in cut])


def assert_equal(found: tuple[np.ndarray, np.ndarray], expected: Beats) -> None:
    np.testing.assert_allclose(found[0], expected.signal, atol=1e-5)
    np.testing.assert_allclose(found[1], expected.rr, atol=1e-4)
    assert (found[0].dtype, found[1].dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("sfreq", [60.0, 120.0, 128.0, 250.0, 360.0])
def test_beats_are_those_of_the_finished_recording(sfreq: float) -> None:
    recording = make_recording(60, sfreq)
    cuts = list(range(100, recording.signal.shape[1], 100))
    assert_equal(stream(WINDOW, recording, cuts), WINDOW.cut(recording))


def test_the_last_beats_replace_all_beats_of_a_long_recording() -> None:
    recording = make_recording(700, 120.0)
    cuts = list(range(500, recording.signal.shape[1], 500))
    assert_equal(stream(WINDOW, recording, cuts), WINDOW.cut(recording))


@pytest.mark.parametrize(("leads", "n_leads", "difference"), [(1, 2, True), (2, 1, True), (2, 2, False)])
def test_leads_and_channels_are_those_of_the_window(leads: int, n_leads: int, difference: bool) -> None:
    window = replace(WINDOW, leads=leads, difference=difference)
    recording = make_recording(30, 250.0, n_leads=n_leads)
    assert_equal(stream(window, recording, [1000, 1001, 3000]), window.cut(recording))


@settings(max_examples=10)
@given(st.lists(st.integers(0, 4000), max_size=20), st.sampled_from([60.0, 128.0, 360.0]))
def test_blocks_of_any_length_give_the_same_beats(cuts: list[int], sfreq: float) -> None:
    recording = make_recording(15, sfreq)
    n = recording.signal.shape[1]
    whole = stream(WINDOW, recording, [])
    parts = stream(WINDOW, recording, sorted(min(cut, n) for cut in cuts))
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_gap_repeats_the_last_value() -> None:
    recording = make_recording(30, 250.0)
    with_gap, filled = recording.signal.copy(), recording.signal.copy()
    with_gap[:, :40], with_gap[:, 2000:2300] = np.nan, np.inf
    filled[:, :40], filled[:, 2000:2300] = filled[:, 40:41], filled[:, 1999:2000]
    found = stream(WINDOW, replace(recording, signal=with_gap), [20, 30, 2100, 2200])
    for values, expected in zip(found, stream(WINDOW, replace(recording, signal=filled), []), strict=True):
        np.testing.assert_array_equal(values, expected)
