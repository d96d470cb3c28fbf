from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from factories import make_recording
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg.data.window import KAGGLE_TIMES, CenteredWindow, KaggleWindow, Window, lead_index
from ecg.errors import UserError


def centered(**changes: Any) -> CenteredWindow:
    usual = {"lead": "auto", "before": 0.5, "after": 0.5, "sfreq": 120.0, "difference": True}
    return CenteredWindow(**{**usual, **changes})


WINDOWS: list[Window] = [
    KaggleWindow("first"),
    centered(),
    centered(before=0.31, after=0.77, difference=False),
    centered(leads=2, features="rhythm_and_shape"),
    centered(leads=2, features="rhythm_and_shape", causal=True),
]


def kaggle_row(x: NDArray[np.int16], s: list[int], i: int) -> NDArray[np.float64]:
    """One beat of the Kaggle set, by a direct implementation of the rule."""
    following = s[i + 2] if i + 2 < len(s) else len(x)
    end = min(len(x), s[i + 1] + int(0.2 * (following - s[i + 1])))
    crop = [float(x[t]) for t in range(s[i], end) if (t - s[i]) % 3 == 0]
    low, high = min(crop, default=0), max(crop, default=0)
    row = [(v - low) / (high - low) if high > low else 0.0 for v in crop][:KAGGLE_TIMES]
    return np.array(row + [0.0] * (KAGGLE_TIMES - len(row)))


def triangular_peaks(peaks: list[int], n: int) -> NDArray[np.int16]:
    """Two leads, the second one with a peak of 17 samples at each position."""
    signal = np.zeros((2, n), np.int16)
    for peak in peaks:
        signal[1, peak - 8 : peak + 9] = 400 - 40 * np.abs(np.arange(-8, 9))
    return signal


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_a_window_has_the_shape_of_its_beats(window: Window) -> None:
    recording = make_recording(list(range(500, 3500, 300)), ["N"] * 10)
    beats = window.cut(recording)
    assert beats.signal.shape[1:] == (window.n_channels, window.n_times)
    assert beats.rr.shape[1:] == (window.n_rr,)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_the_r_peak_is_at_the_sample_of_the_window(window: Window) -> None:
    peaks = [1000, 2500, 4001, 5999, 7000]
    recording = dataclasses.replace(
        make_recording(peaks, list("NVNFN"), n=7200), signal=triangular_peaks(peaks, 7200)[::-1], leads=("MLII", "V5")
    )
    beats = window.cut(recording)
    near_peak = beats.signal[:, 0, max(0, window.peak - 30) : window.peak + 30]
    assert np.abs(near_peak.argmax(axis=1) - min(30, window.peak)).max() <= 1


def test_settings_differ_between_windows_that_cut_differently() -> None:
    texts = [json.dumps(window.settings(), sort_keys=True) for window in (*WINDOWS, KaggleWindow("auto"))]
    assert len(set(texts)) == len(texts)
    assert centered(before=0.5).settings() == centered().settings()


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_settings_create_the_window_again(window: Window) -> None:
    settings = json.loads(json.dumps(window.settings()))
    assert settings.pop("name") == window.name
    assert type(window)(**settings) == window


@settings(max_examples=60)
@given(
    gaps=st.lists(st.integers(0, 700), min_size=2, max_size=25),
    symbols=st.lists(st.sampled_from(["N", "V", "+", "~", "A", "F", "/", "Q"]), min_size=25, max_size=25),
    tail=st.integers(1, 900),
)
def test_the_kaggle_window_follows_the_rule(gaps: list[int], symbols: list[str], tail: int) -> None:
    sample = np.cumsum(gaps).tolist()
    symbol = symbols[: len(sample)]
    recording = make_recording(sample, symbol, n=sample[-1] + tail)
    beats = KaggleWindow("first").cut(recording)
    of_beats = [i for i, name in enumerate(symbol[:-1]) if name not in "+~"]
    assert beats.sample.tolist() == [sample[i] for i in of_beats]
    for row, i in zip(beats.signal[:, 0], of_beats, strict=True):
        np.testing.assert_allclose(row, kaggle_row(recording.signal[0], sample, i), atol=1e-6)
    assert not beats.last.any()


@pytest.mark.parametrize("sfreq", [50.0, 128.0, 250.0, 360.5, 1000.0])
def test_the_kaggle_window_has_one_sampling_rate(sfreq: float) -> None:
    """A record at another rate gives the beats that it gives at 360 Hz."""
    beats = {}
    for rate in (360.0, sfreq):
        t = np.arange(round(30 * rate)) / rate
        x = np.round(1000 * np.sin(2 * np.pi * 3 * t) + 500 * np.cos(2 * np.pi * 0.8 * t)).astype(np.int16)
        recording = make_recording(np.rint(np.arange(1.0, 29.0) * rate).astype(int).tolist(), ["N"] * 28, sfreq=rate)
        beats[rate] = KaggleWindow("first").cut(dataclasses.replace(recording, signal=np.stack([x, x])))
        assert beats[rate].sfreq == 120
    assert len(beats[sfreq]) == len(beats[360.0]) == 27
    assert np.abs(beats[sfreq].signal - beats[360.0].signal)[:, :, :143].max() < 0.05


def test_annotations_at_the_end_of_a_resampled_record_are_within_it() -> None:
    for n in range(1001, 1012):
        recording = make_recording([n - 3, n - 2, n - 1, n - 1, n - 1], ["N"] * 5, n=n, sfreq=5000.0)
        assert np.isfinite(KaggleWindow("first").cut(recording).signal).all()


def test_beats_of_the_kaggle_window_are_scaled_and_zero_padded() -> None:
    beats = KaggleWindow("first").cut(make_recording([10, 310, 610, 910], list("NNNN"), n=1200))
    # The RR interval of 300 samples and a fifth of the next one, every third sample of them.
    assert (beats.signal[0, 0, 120:] == 0).all()
    assert beats.signal[0, 0, :120].max() == 1
    assert beats.rr.shape == (3, 0)
    assert beats.sfreq == 120


@settings(max_examples=30)
@given(
    sfreq=st.sampled_from([100.0, 250.0, 360.0, 1000.0]),
    target=st.sampled_from([100.0, 120.0, 128.0, 250.0]),
    before=st.floats(0.1, 1.0),
    after=st.floats(0.1, 1.5),
    n_beats=st.integers(1, 12),
)
def test_the_centered_window_cuts_every_beat(
    sfreq: float, target: float, before: float, after: float, n_beats: int
) -> None:
    n = int(20 * sfreq)
    sample = np.linspace(0, n - 1, n_beats).astype(int).tolist()
    recording = make_recording(sample, ["N"] * n_beats, n=n, sfreq=sfreq)
    window = centered(before=before, after=after, sfreq=target)
    beats = window.cut(recording)
    assert window.n_times == round(before * target) + round(after * target)
    assert beats.signal.shape == (n_beats, 2, window.n_times)
    assert beats.rr.shape == (n_beats, 8)
    assert np.isfinite(beats.signal).all()
    assert np.isfinite(beats.rr).all()
    assert beats.last.tolist() == [False] * (n_beats - 1) + [True]


def test_the_second_channel_is_the_difference_to_the_median_beat() -> None:
    peaks = list(range(600, 6600, 600))
    signal = triangular_peaks(peaks, 7200)
    signal[1, peaks[4] + 40 : peaks[4] + 60] = 300
    recording = dataclasses.replace(make_recording(peaks, list("NNNNVNNNNN"), n=7200), signal=signal)
    beats = centered(lead="MLII").cut(recording)
    np.testing.assert_array_equal(beats.signal[:, 1], beats.signal[:, 0] - np.median(beats.signal[:, 0], axis=0))
    difference = np.abs(beats.signal[:, 1]).max(axis=1)
    assert difference.argmax() == 4
    assert difference[4] > 5 * np.delete(difference, 4).max()


@settings(max_examples=15, deadline=None)
@given(
    sfreq=st.sampled_from([100.0, 128.0, 250.0, 360.0]),
    target=st.sampled_from([100.0, 120.0]),
    after=st.sampled_from([0.3, 0.55]),
    at=st.integers(0, 23),
    seed=st.integers(0, 3),
)
def test_a_causal_beat_does_not_depend_on_the_record_after_the_delay(
    sfreq: float, target: float, after: float, at: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sample = np.cumsum(rng.uniform(0.3, 1.2, 24) * sfreq).astype(int) + int(sfreq)
    recording = make_recording(sample.tolist(), ["N"] * 24, n=int(sample[-1] + 3 * sfreq), sfreq=sfreq)
    noise = rng.normal(0, 100, recording.signal.shape).cumsum(axis=1) / 10
    recording = dataclasses.replace(recording, signal=(recording.signal + noise).astype(np.int16))
    window = centered(sfreq=target, after=after, leads=2, features="rhythm_and_shape", causal=True)
    later = recording.signal.copy()
    later[:, int(sample[at] + window.delay * sfreq) + 1 :] += 999
    n_kept = at + 1
    kept = dataclasses.replace(
        recording, sample=recording.sample[:n_kept], symbol=recording.symbol[:n_kept], signal=later
    )
    beats, expected = window.cut(kept), window.cut(recording)
    np.testing.assert_allclose(beats.signal, expected.signal[:n_kept], atol=1e-4)
    np.testing.assert_allclose(beats.rr, expected.rr[:n_kept], atol=1e-3)


def test_resampling_does_not_alias() -> None:
    t = np.arange(36000) / 360
    above_nyquist = np.round(500 * np.sin(2 * np.pi * 110 * t)).astype(np.int16)  # of 120 Hz
    slow = np.round(500 * np.sin(2 * np.pi * 10 * t)).astype(np.int16)
    recording = make_recording(list(range(1000, 35000, 300)), ["N"] * 114, n=36000)
    both = centered().cut(dataclasses.replace(recording, signal=np.stack([above_nyquist + slow] * 2)))
    clean = centered().cut(dataclasses.replace(recording, signal=np.stack([slow] * 2)))
    assert np.abs(both.signal - clean.signal).max() < 0.05


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_beats_do_not_depend_on_gain_and_offset_of_the_record(window: Window) -> None:
    recording = make_recording(list(range(500, 3500, 300)), ["N"] * 10)
    louder = dataclasses.replace(recording, signal=recording.signal.astype(np.int32) * 3 + 700)
    np.testing.assert_allclose(window.cut(recording).signal, window.cut(louder).signal, atol=1e-4)


def test_a_flat_signal_gives_finite_beats() -> None:
    recording = dataclasses.replace(make_recording([10, 300, 600], list("NNN")), signal=np.ones((2, 4000), np.int16))
    assert (KaggleWindow("first").cut(recording).signal == 0).all()
    assert np.isfinite(centered().cut(recording).signal).all()


def test_a_recording_of_less_than_a_second_is_refused() -> None:
    with pytest.raises(UserError, match=r"Record x has 300 samples at 360 Hz\. A record must be at least 1 s long"):
        centered().cut(make_recording([10, 200], ["N", "N"], n=300))


def test_a_lead_is_selected_by_position_preference_or_name() -> None:
    recording = make_recording([10, 300], ["N", "N"])
    assert lead_index(recording, "first") == 0
    assert lead_index(recording, "auto") == 1
    assert lead_index(recording, "V5") == 0
    assert lead_index(dataclasses.replace(recording, preferred_lead="V5"), "auto") == 0
    assert lead_index(dataclasses.replace(recording, preferred_lead="ECG1"), "auto") == 0
    with pytest.raises(UserError, match=r"Record x has no lead II\. Its leads: V5, MLII\."):
        lead_index(recording, "II")


def test_the_second_lead_follows_the_chosen_one() -> None:
    recording = make_recording(list(range(500, 3500, 300)), ["N"] * 10)
    both = centered(leads=2, lead=recording.leads[0]).cut(recording)
    for lead, channels in ((recording.leads[0], slice(0, 2)), (recording.leads[1], slice(2, 4))):
        one = centered(lead=lead).cut(recording)
        np.testing.assert_array_equal(both.signal[:, channels], one.signal)
    swapped = centered(leads=2, lead=recording.leads[1]).cut(recording)
    np.testing.assert_array_equal(swapped.signal, both.signal[:, [2, 3, 0, 1]])


def test_a_missing_second_lead_is_zero_and_its_features_are_constant() -> None:
    recording = make_recording(list(range(500, 3500, 300)), ["N"] * 10)
    single = dataclasses.replace(recording, leads=recording.leads[:1], signal=recording.signal[:1])
    window, of_one = centered(leads=2, features="rhythm_and_shape"), centered(features="rhythm_and_shape")
    beats = window.cut(single)
    assert not beats.signal[:, 2:].any()
    rhythm, p_waves, shapes = np.split(beats.rr, [window.n_rhythm, window.n_rhythm + window.n_p_wave], axis=1)
    first_p, second_p = np.split(p_waves, 2, axis=1)
    first_shape, second_shape = np.split(shapes, 2, axis=1)
    np.testing.assert_array_equal(np.hstack([rhythm, first_p, first_shape]), of_one.cut(single).rr)
    of_second = np.hstack([second_p, second_shape])[1:-1]
    np.testing.assert_array_equal(of_second, of_second[:1].repeat(len(of_second), axis=0))
