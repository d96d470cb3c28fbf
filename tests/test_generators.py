from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data.beats import rr_features
from ecg.generators.blocks import Interference
from ecg.generators.canvas import Canvas, beat_length, converter_steps
from ecg.generators.generator import Generator
from ecg.generators.lstm_gan import LSTMGAN
from ecg.generators.r3gan import R3GAN
from ecg.generators.rectified_flow import RectifiedFlow
from ecg.generators.wgan_gp import WGANGP

N_CLASSES, N_STYLES = 3, 4
SMALL = {
    "lstm_gan": (LSTMGAN, {"hidden": 8, "latent": 4}),
    "lstm_gan_beat": (LSTMGAN, {"hidden": 8, "latent": 4, "over": "beat"}),
    "wgan_gp": (WGANGP, {"hidden": 8, "latent": 4}),
    "r3gan": (R3GAN, {"hidden": 8, "latent": 4}),
    "rectified_flow": (RectifiedFlow, {"hidden": 8, "steps": 3}),
    "rectified_flow_guided": (RectifiedFlow, {"hidden": 8, "steps": 3, "guidance": 2.0}),
}
WINDOWS = ("kaggle", "centered")


def beats(window: str, n: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Signals and RR features as the window has them."""
    rng = np.random.default_rng(seed)
    if window == "centered":
        rr = rr_features(np.cumsum(rng.uniform(0.5, 1.5, n)))
        return torch.randn(n, 2, 192, generator=torch.Generator().manual_seed(seed)), torch.from_numpy(rr)
    signal = torch.from_numpy(rng.random((n, 1, 187), dtype=np.float32)) * 0.8 + 0.1
    signal = (signal * 300).round() / 300  # whole steps of a converter
    for i, length in enumerate(rng.integers(40, 180, n)):
        signal[i, 0, 0], signal[i, 0, 5], signal[i, 0, length:] = 1, 0, 0
    return signal, torch.zeros(n, 0)


def canvas_of(window: str) -> Canvas:
    signal, rr = beats(window)
    canvas = Canvas(signal.shape[1], signal.shape[2], rr.shape[1], padded=window == "kaggle")
    canvas.fit(signal, rr)
    return canvas


def small(name: str, window: str) -> Generator:
    make, options = SMALL[name]
    torch.manual_seed(0)
    return make(canvas_of(window), N_CLASSES, N_STYLES, **options)


@pytest.mark.parametrize("window", WINDOWS)
def test_beats_survive_the_canvas(window: str) -> None:
    signal, rr = beats(window)
    canvas = canvas_of(window)
    drawn = canvas.encode(signal, rr)
    assert drawn.shape == (12, canvas.channels, signal.shape[2])
    back, rr_back = canvas.decode(canvas.finish(drawn))
    torch.testing.assert_close(back, signal, atol=1e-5, rtol=0)
    torch.testing.assert_close(rr_back, rr, atol=1e-4, rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 100))
def test_whatever_is_drawn_ends_as_a_padded_beat(seed: int, scale: float) -> None:
    canvas = canvas_of("kaggle")
    raw = torch.randn(8, 3, 187, generator=torch.Generator().manual_seed(seed)) * scale
    finished = canvas.finish(raw)
    signal, _ = canvas.decode(finished)
    length = (finished[:, 1, 0] * canvas.scale[1] + canvas.offset[1]).round()
    assert ((signal >= 0) & (signal <= 1)).all()
    assert (beat_length(signal) <= length).all()
    cut = length < 187
    assert (signal.amax(dim=(1, 2))[cut] > 1 - 1e-5).all()
    steps = (finished[:, 2, 0] * canvas.scale[2] + canvas.offset[2]).exp()[:, None, None]
    assert ((signal * steps) - (signal * steps).round()).abs().max() < 0.01
    for beat, n in zip(signal[:, 0], length.int().tolist(), strict=True):
        assert (beat[n:] == 0).all()
        assert n == 187 or beat[:n].min() < 1e-5


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", SMALL)
def test_every_generator_draws_learns_and_is_saved(name: str, window: str) -> None:
    generator = small(name, window)
    signal, rr = beats(window)
    label, style = torch.arange(12) % N_CLASSES, torch.arange(12) % N_STYLES
    real = generator.canvas.encode(signal, rr)
    for step, player in enumerate(generator.turns):
        found = generator.loss(player, real, label, style, step)
        generator.zero_grad()
        found["loss"].backward()
        gradient = [p.grad for p in getattr(generator, player).parameters() if p.grad is not None]
        assert gradient
        assert all(torch.isfinite(g).all() for g in gradient)
        assert any((g != 0).any() for g in gradient)
    drawn = [generator.eval().sample(label, style, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert drawn[0].shape == real.shape
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    file = io.BytesIO()
    torch.save(generator.state_dict(), file)
    file.seek(0)
    torch.manual_seed(9)
    other = SMALL[name][0](canvas_of(window), N_CLASSES, N_STYLES, **SMALL[name][1])
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.eval().sample(label, style, torch.Generator().manual_seed(1)), drawn[0])


def test_the_steps_of_the_converter_are_found() -> None:
    rng = np.random.default_rng(0)
    for steps in (50, 402, 1000):
        adc = np.cumsum(rng.integers(-3, 4, 187))
        adc = np.round((adc - adc.min()) * steps / np.ptp(adc))
        beat = torch.from_numpy((adc / steps).astype(np.float32))[None, None]
        values = np.unique(adc)
        assert converter_steps(beat).item() == round(steps / np.diff(values).min())


def test_the_length_has_a_gradient() -> None:
    canvas = canvas_of("kaggle")
    raw = torch.randn(4, 3, 187, requires_grad=True)
    canvas.finish(raw)[:, 0].square().sum().backward()
    assert raw.grad is not None
    assert (raw.grad[:, 1] != 0).any()


def test_a_critic_sees_hum_that_is_a_hundredth_of_a_beat() -> None:
    t = torch.arange(187)
    torch.manual_seed(0)
    waves = torch.exp(-t / 4) + 0.5 * torch.exp(-(((t - 60) / 9) ** 2))
    signal = (0.8 * waves + 0.1 + 0.005 * torch.randn(200, 187))[:, None]
    canvas = Canvas(1, 187, 0, padded=True)
    canvas.fit(signal, torch.zeros(200, 0))
    canvases = canvas.encode(signal, torch.zeros(200, 0))
    hum = canvases.clone()
    hum[:, 0] += 0.02 * (-1.0) ** t
    plain, humming = canvas.magnified(canvases), canvas.magnified(hum)
    assert torch.equal(plain[:, : canvas.channels], canvases)
    moved = (humming - plain).square().mean(dim=(0, 2)).sqrt()
    assert moved[-1] > 5 * moved[0]
    assert plain[:, -1].abs().median() == pytest.approx(0.25 * np.arcsinh(1), abs=0.01)
    assert plain[:, -1].abs().max() < 2  # a complex does not drown what is around it


def test_hum_has_the_heights_it_is_given_and_any_phase() -> None:
    hum = Interference(1, 192, 4)
    with torch.no_grad():
        hum.heights.weight.zero_()
        hum.heights.bias.zero_()
        hum.heights.bias[11] = 0.3  # 12/48 of the sampling rate
    drawn = hum(torch.randn(300, 4), torch.Generator().manual_seed(0))[:, 0]
    spectrum = torch.fft.rfft(drawn).abs() * 2 / 192
    torch.testing.assert_close(spectrum[:, 48], torch.full((300,), 0.3))
    assert spectrum[:, [47, 49, 96]].max() < 1e-4
    assert torch.fft.rfft(drawn)[:, 48].angle().std() > 1.5
    with torch.no_grad():
        hum.heights.bias.zero_()
        hum.heights.bias[-1] = 0.2
    assert hum(torch.randn(300, 4), torch.Generator().manual_seed(0)).std().item() == pytest.approx(0.2, rel=0.02)


def test_each_class_of_the_lstm_gan_has_its_own_pair() -> None:
    generator = small("lstm_gan", "kaggle")
    signal, rr = beats("kaggle")
    real = generator.canvas.encode(signal, rr)
    label = torch.ones(12, dtype=torch.int64)
    generator.loss("critic", real, label, label, 0)["loss"].backward()
    touched = {name.split(".")[1] for name, p in generator.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"1"}


def test_a_flow_learns_a_constant_beat() -> None:
    canvas = canvas_of("kaggle")
    signal = torch.zeros(1, 1, 187)
    signal[0, 0, :100] = ((torch.linspace(0, 6, 100).cos() / 2 + 0.5) * 300).round() / 300
    real = canvas.encode(signal, torch.zeros(1, 0)).expand(32, -1, -1)
    torch.manual_seed(0)
    flow = RectifiedFlow(canvas, 1, 1, hidden=16, steps=10, unconditional=0.0)
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3)
    none = torch.zeros(32, dtype=torch.int64)

    def error() -> float:
        with torch.no_grad():
            return float((flow.sample(none, none, torch.Generator().manual_seed(0)) - real)[:, 0].abs().mean())

    before = error()
    for step in range(200):
        optimizer.zero_grad()
        flow.loss("velocity", real, none, none, step)["loss"].backward()
        optimizer.step()
    assert error() < before / 2


def test_numbers_are_drawn_close_to_those_of_the_same_class_and_style() -> None:
    from ecg.generators.canvas import Numbers

    rng = torch.Generator().manual_seed(0)
    label, style = torch.randint(3, (900,), generator=rng), torch.randint(2, (900,), generator=rng)
    centre = (4 * label + style).float()
    numbers = torch.stack([centre, -centre], dim=1) + 0.1 * torch.randn(900, 2, generator=rng)
    made = Numbers(2, 3, 2)
    made.fit(numbers, label, style)
    for c in range(3):
        for s in range(2):
            drawn = made(torch.full((2000,), c), torch.full((2000,), s), rng)
            own = numbers[(label == c) & (style == s)]
            assert torch.allclose(drawn.mean(0), own.mean(0), atol=0.03)
            assert torch.allclose(drawn.std(0), own.std(0), rtol=0.2)
            # Both numbers of a beat belong together, and none is a copy.
            assert torch.corrcoef(drawn.T)[0, 1].sub(torch.corrcoef(own.T)[0, 1]).abs() < 0.2
            assert len(drawn.unique(dim=0)) == 2000
