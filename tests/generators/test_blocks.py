from __future__ import annotations

import pytest
import torch

from ecg.generators.blocks import Interference, channels_to_time


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
