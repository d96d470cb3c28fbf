from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_factories import WINDOWS, make_canvas, make_signals

from ecg.generators.canvas import Canvas, adc_steps, beat_length


@pytest.mark.parametrize("window", WINDOWS)
def test_encoding_and_decoding_returns_the_same_beats(window: str) -> None:
    signal = make_signals(window)
    canvas = make_canvas(window)
    encoded = canvas.encode(signal)
    assert encoded.shape == (12, canvas.n_total, signal.shape[2])
    torch.testing.assert_close(canvas.decode(canvas.constrain(encoded)), signal, atol=1e-5, rtol=0)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 100))
def test_any_network_output_becomes_a_padded_beat(seed: int, scale: float) -> None:
    canvas = make_canvas("kaggle")
    raw = torch.randn(8, 3, 187, generator=torch.Generator().manual_seed(seed)) * scale
    constrained = canvas.constrain(raw)
    signal = canvas.decode(constrained)
    length = (constrained[:, 1, 0] * canvas.scale[1] + canvas.offset[1]).round()
    assert ((signal >= 0) & (signal <= 1)).all()
    assert (beat_length(signal) <= length).all()
    assert (signal.amax(dim=(1, 2))[length < 187] > 1 - 1e-5).all()
    steps = (constrained[:, 2, 0] * canvas.scale[2] + canvas.offset[2]).exp()[:, None, None]
    assert ((signal * steps) - (signal * steps).round()).abs().max() < 0.01
    for beat, n in zip(signal[:, 0], length.int().tolist(), strict=True):
        assert (beat[n:] == 0).all()
        assert n == 187 or beat[:n].min() < 1e-5


def test_adc_steps_are_the_range_divided_by_the_smallest_difference() -> None:
    rng = np.random.default_rng(0)
    for steps in (50, 402, 1000):
        adc = np.cumsum(rng.integers(-3, 4, 187))
        adc = np.round((adc - adc.min()) * steps / np.ptp(adc))
        beat = torch.from_numpy((adc / steps).astype(np.float32))[None, None]
        assert adc_steps(beat).item() == round(steps / np.diff(np.unique(adc)).min())


def test_the_length_receives_a_gradient() -> None:
    raw = torch.randn(4, 3, 187, requires_grad=True)
    make_canvas("kaggle").constrain(raw)[:, 0].square().sum().backward()
    assert raw.grad is not None
    assert (raw.grad[:, 1] != 0).any()


def test_texture_amplifies_hum_of_a_hundredth_of_a_beat() -> None:
    t = torch.arange(187)
    torch.manual_seed(0)
    waves = torch.exp(-t / 4) + 0.5 * torch.exp(-(((t - 60) / 9) ** 2))
    signal = (0.8 * waves + 0.1 + 0.005 * torch.randn(200, 187))[:, None]
    canvas = Canvas(1, 187, padded=True)
    canvas.fit(signal)
    encoded = canvas.encode(signal)
    with_hum = encoded.clone()
    with_hum[:, 0] += 0.02 * (-1.0) ** t
    first, second = canvas.with_texture(encoded), canvas.with_texture(with_hum)
    assert torch.equal(first[:, : canvas.n_total], encoded)
    change = (second - first).square().mean(dim=(0, 2)).sqrt()  # of each channel
    assert change[-1] > 5 * change[0]
    assert first[:, -1].abs().median() == pytest.approx(0.25 * np.arcsinh(1), abs=0.01)
    assert first[:, -1].abs().max() < 2  # limited at the QRS complex
