from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import make_recording
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data.beats import KAGGLE_TIMES, Beats, cut_centered, cut_kaggle, lead_index, rr_features
from ecg.errors import UserError


def kaggle_row(x: np.ndarray, s: list[int], i: int) -> np.ndarray:
    """The published rule for one beat, as a slow reading of it."""
    following = s[i + 2] if i + 2 < len(s) else len(x)
    crop = [
        float(x[t])
        for t in range(s[i], min(len(x), s[i + 1] + int(0.2 * (following - s[i + 1]))))
        if (t - s[i]) % 3 == 0
    ]
    low, high = min(crop), max(crop)
    row = [(v - low) / (high - low) if high > low else 0.0 for v in crop][:KAGGLE_TIMES]
    return np.array(row + [0.0] * (KAGGLE_TIMES - len(row)))


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 700), min_size=2, max_size=25),
    symbols=st.lists(st.sampled_from(["N", "V", "+", "~", "A", "F", "/", "Q"]), min_size=25, max_size=25),
    tail=st.integers(1, 900),
)
def test_kaggle_window_is_the_rule(gaps: list[int], symbols: list[str], tail: int) -> None:
    sample = np.cumsum(gaps).tolist()
    symbol = symbols[: len(sample)]
    recording = make_recording(sample, symbol, n=sample[-1] + tail)
    beats = cut_kaggle(recording)
    chosen = [i for i, mark in enumerate(symbol[:-1]) if mark not in "+~"]
    assert beats.sample.tolist() == [sample[i] for i in chosen]
    for row, i in zip(beats.signal[:, 0], chosen, strict=True):
        np.testing.assert_allclose(row, kaggle_row(recording.signal[0], sample, i), atol=1e-6)
    assert not beats.last.any()


def test_kaggle_beats_are_scaled_and_end_in_zeros() -> None:
    beats = cut_kaggle(make_recording([10, 310, 610, 910], list("NNNN"), n=1200))
    # From R to a fifth into the next RR: 300 + 60 samples, every third of them.
    assert (beats.signal[0, 0, 120:] == 0).all()
    assert beats.signal[0, 0, :120].max() == 1
    assert beats.rr.shape == (3, 0)
    assert beats.sfreq == 120


def test_flat_signal_gives_zeros_not_nan() -> None:
    recording = dataclasses.replace(make_recording([10, 300, 600], list("NNN")), signal=np.ones((2, 4000), np.int16))
    assert (cut_kaggle(recording).signal == 0).all()
    assert np.isfinite(cut_centered(recording, "auto", 0.5, 0.5, 120, True).signal).all()


@settings(max_examples=30, deadline=None)
@given(
    sfreq=st.sampled_from([100.0, 250.0, 360.0, 1000.0]),
    target=st.sampled_from([100.0, 120.0, 128.0, 250.0]),
    before=st.floats(0.1, 1.0),
    after=st.floats(0.1, 1.5),
    n_beats=st.integers(1, 12),
)
def test_centered_window_has_one_shape(sfreq: float, target: float, before: float, after: float, n_beats: int) -> None:
    n = int(20 * sfreq)
    sample = np.linspace(0, n - 1, n_beats).astype(int).tolist()
    recording = make_recording(sample, ["N"] * n_beats, n=n, sfreq=sfreq)
    beats = cut_centered(recording, "auto", before, after, target, difference=True)
    assert beats.signal.shape == (n_beats, 2, round(before * target) + round(after * target))
    assert beats.rr.shape == (n_beats, 8)
    assert np.isfinite(beats.signal).all()
    assert np.isfinite(beats.rr).all()
    assert beats.last.tolist() == [False] * (n_beats - 1) + [True]


def test_centered_window_is_centred_on_the_peak() -> None:
    signal = np.zeros((2, 7200), np.int16)
    peaks = [1000, 2500, 4001, 5999]
    for peak in peaks:
        signal[1, peak - 8 : peak + 9] = 400 - 40 * np.abs(np.arange(-8, 9))
    recording = dataclasses.replace(make_recording(peaks, list("NVNF"), n=7200), signal=signal)
    beats = cut_centered(recording, "MLII", before=0.5, after=0.7, sfreq=120, difference=False)
    assert beats.signal.shape[1] == 1
    assert np.abs(beats.signal[:, 0].argmax(axis=1) - 60).max() <= 1


def test_second_channel_is_what_is_unusual_for_the_record() -> None:
    signal = np.zeros((2, 7200), np.int16)
    peaks = list(range(600, 6600, 600))
    for peak in peaks:
        signal[1, peak - 8 : peak + 9] = 400 - 40 * np.abs(np.arange(-8, 9))
    signal[1, peaks[4] + 40 : peaks[4] + 60] = 300
    recording = dataclasses.replace(make_recording(peaks, list("NNNNVNNNNN"), n=7200), signal=signal)
    beats = cut_centered(recording, "MLII", before=0.5, after=0.5, sfreq=120, difference=True)
    unusual = np.abs(beats.signal[:, 1]).max(axis=1)
    assert unusual.argmax() == 4
    assert unusual[4] > 5 * np.delete(unusual, 4).max()


def test_resampling_does_not_alias() -> None:
    t = np.arange(36000) / 360
    hum = np.round(500 * np.sin(2 * np.pi * 110 * t)).astype(np.int16)  # above the 60 Hz that 120 Hz can hold
    slow = np.round(500 * np.sin(2 * np.pi * 10 * t)).astype(np.int16)
    base = make_recording(list(range(1000, 35000, 300)), ["N"] * 114, n=36000)
    both = dataclasses.replace(base, signal=np.stack([hum + slow] * 2))
    clean = dataclasses.replace(base, signal=np.stack([slow] * 2))
    args = ("auto", 0.5, 0.5, 120.0, True)
    assert np.abs(cut_centered(both, *args).signal - cut_centered(clean, *args).signal).max() < 0.05


def test_scale_and_offset_of_the_record_do_not_matter() -> None:
    recording = make_recording(list(range(500, 3500, 300)), ["N"] * 10)
    louder = dataclasses.replace(recording, signal=(recording.signal.astype(np.int32) * 3 + 700))
    for cut in (lambda r: cut_kaggle(r), lambda r: cut_centered(r, "auto", 0.5, 0.5, 120, True)):
        np.testing.assert_allclose(cut(recording).signal, cut(louder).signal, atol=1e-4)


def test_leads_by_name() -> None:
    recording = make_recording([10, 300], ["N", "N"])
    assert lead_index(recording, "first") == 0
    assert lead_index(recording, "auto") == 1
    assert lead_index(recording, "V5") == 0
    with pytest.raises(UserError, match="Record x has no lead II, only V5, MLII"):
        lead_index(recording, "II")


def test_rr_features_tell_a_premature_beat() -> None:
    time = np.cumsum([0.8] * 20 + [0.5, 1.1] + [0.8] * 20)
    rr = rr_features(time)
    early = 20
    assert rr[early, 0] == pytest.approx(0.5)
    assert rr[early, 1] == pytest.approx(1.1)
    assert rr[early, 2] < 0.7 < rr[early - 2, 2]
    assert rr[:, 4].argmin() == early


def test_rr_gaps_are_clipped() -> None:
    rr = rr_features(np.array([0.0, 0.8, 60.0, 60.05]))
    assert rr[:, :2].max() <= 3
    assert rr[:, :2].min() >= 0.2 - 1e-6


def test_digest_and_concatenation() -> None:
    a = cut_kaggle(make_recording([10, 300, 700], list("NVN"), name="a"))
    b = cut_kaggle(make_recording([10, 300, 700], list("NVN"), name="b", seed=1))
    both = Beats.concatenate([a, b])
    assert len(both) == len(a) + len(b)
    assert a.digest() == dataclasses.replace(a).digest()
    assert len({a.digest(), b.digest(), both.digest()}) == 3
