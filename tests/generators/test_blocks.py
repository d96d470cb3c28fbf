from __future__ import annotations

import math

import pytest
import torch

from ecg.generators.blocks import SHIFT_TAPS, Interference, channels_to_time, shifted


def test_hum_has_its_amplitude_and_a_random_phase() -> None:
    interference = Interference(1, 192, 4)
    with torch.no_grad():
        interference.amplitudes.weight.zero_()
        interference.amplitudes.bias.zero_()
        interference.amplitudes.bias[11] = 0.3  # 12/48 of the sampling rate
    hum = interference(torch.randn(300, 4), torch.Generator().manual_seed(0))[:, 0]
    spectrum = torch.fft.rfft(hum).abs() * 2 / 192
    torch.testing.assert_close(spectrum[:, 48], torch.full((300,), 0.3))
    assert spectrum[:, [47, 49, 96]].max() < 1e-4
    assert torch.fft.rfft(hum)[:, 48].angle().std() > 1.5


def test_noise_has_its_amplitude() -> None:
    interference = Interference(1, 192, 4)
    with torch.no_grad():
        interference.amplitudes.weight.zero_()
        interference.amplitudes.bias.zero_()
        interference.amplitudes.bias[-1] = 0.2
    noise = interference(torch.randn(300, 4), torch.Generator().manual_seed(0))
    assert noise.std().item() == pytest.approx(0.2, rel=0.02)


def test_channels_become_successive_samples() -> None:
    x = torch.arange(12.0).reshape(1, 4, 1, 3)  # channel c at time t holds 3 c + t
    x = channels_to_time(x, 2)
    assert x.shape == (1, 2, 1, 6)
    # Channels 0 and 1 are the first of two samples, channels 2 and 3 the second.
    assert x[0, 0, 0].tolist() == [0, 6, 1, 7, 2, 8]
    assert x[0, 1, 0].tolist() == [3, 9, 4, 10, 5, 11]


def test_a_sine_is_shifted_by_a_fraction_of_a_sample() -> None:
    shift = torch.tensor([[-1.0], [-0.5], [0.0], [0.3], [1.0]])
    time = torch.arange(60.0)

    def sine(t: torch.Tensor) -> torch.Tensor:
        return torch.sin(2 * math.pi * 0.2 * t)  # a fifth of the sampling rate: 25 Hz at 125 Hz

    x = sine(time).expand(5, 1, -1)
    moved = shifted(x, shift, 52)[:, 0]
    torch.testing.assert_close(moved, sine(time[:52] + SHIFT_TAPS / 2 + shift), atol=0.01, rtol=0)


def test_a_shift_passes_its_gradient() -> None:
    shift = torch.zeros(1, 1, requires_grad=True)
    ramp = torch.arange(30.0).expand(1, 1, -1)
    shifted(ramp, shift, 20)[0, 0, 10].backward()
    assert shift.grad is not None
    assert shift.grad.item() == pytest.approx(1, abs=0.15)  # the slope of the ramp
