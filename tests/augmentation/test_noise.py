"""Transforms that add noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from augmentation_factories import NOISES, make_signals, make_transform, make_waveform, transformed
from torch import Tensor

from ecg.errors import UserError


def snr_in_db(name: str, snr: float) -> Tensor:
    """Signal-to-noise ratio of each beat that the transform changes."""
    signal, _, changed, _ = transformed(make_transform(name, snr=snr), padded=False)
    noise = (changed - signal).square().mean(dim=2).sqrt()[:, 0]
    return 20 * torch.log10(signal.std(dim=2, correction=0)[:, 0] / noise)[noise > 0]


@pytest.mark.parametrize("name", NOISES)
def test_the_signal_to_noise_ratio_starts_at_the_lowest_and_varies_by_20_db(name: str) -> None:
    ratio = snr_in_db(name, 10.0)
    assert ratio.min() > 6  # a beat may contain the largest part of a slow oscillation
    assert 17 < ratio.median() < 23


@pytest.mark.parametrize("name", ["white_noise", "hum", "recorded_noise"])
def test_the_lowest_signal_to_noise_ratio_is_exact_for_fast_noise(name: str) -> None:
    assert snr_in_db(name, 10.0).min() > 8.5


@pytest.mark.parametrize("name", NOISES)
def test_all_channels_get_the_same_noise(name: str) -> None:
    signal, rr = make_signals()
    signal = torch.cat([signal, 0.1 * signal], dim=1)  # (B, 2, T)
    changed, _ = make_waveform(make_transform(name, snr=5.0), padded=False)(signal, rr)
    noise = changed - signal
    assert noise.abs().max() > 0
    torch.testing.assert_close(noise[:, 0], noise[:, 1], atol=1e-5, rtol=1e-4)


def test_recorded_noise_is_read_from_the_given_folder(noise_root: Path, tmp_path: Path) -> None:
    given = transformed(make_transform("recorded_noise", snr=5.0, dir=str(noise_root / "nstdb")))[2]
    default = transformed(make_transform("recorded_noise", snr=5.0, dir=None))[2]
    assert torch.equal(given, default)
    with pytest.raises(UserError, match=str(tmp_path)):
        transformed(make_transform("recorded_noise", snr=5.0, dir=str(tmp_path)))
