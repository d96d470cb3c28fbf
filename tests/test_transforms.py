from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ecg.augmentation.transforms import Mix, Waveform

SFREQ, N_TIMES = 120.0, 96
STRENGTHS: dict[str, float] = {
    "noise_snr": 10, "wander_snr": 5, "hum_snr": 5, "scale": 0.2, "offset": 0.5, "shift": 0.05, "warp": 0.1,
    "mask": 0.1, "recorded_snr": 5,
}  # fmt: skip
NOISE = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)


def beats(n: int = 400) -> tuple[Tensor, Tensor]:
    """Padded beats of 40 to 95 samples with a wave at 20, and RR features."""
    torch.manual_seed(1)
    t = torch.arange(N_TIMES)
    length = torch.randint(40, 96, (n, 1))
    signal = torch.exp(-t / 3) + 0.5 * torch.exp(-(((t - 20) / 4) ** 2)) + 0.1
    signal = torch.where(t < length, signal, 0.0)[:, None]
    return signal, torch.rand(n, 8) + 0.5


def transformed(padded: bool = True, **strengths: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    signal, rr = beats()
    torch.manual_seed(2)
    changed = Waveform(sfreq=SFREQ, padded=padded, peak=0 if padded else 20, recorded=NOISE, **strengths)(signal, rr)
    return signal, rr, *changed


def length(signal: Tensor) -> Tensor:
    return ((signal != 0).any(dim=1) * torch.arange(1, N_TIMES + 1)).amax(dim=1)


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_changes_some_beats_and_leaves_others(name: str) -> None:
    signal, _, changed, _ = transformed(**{name: STRENGTHS[name]})
    touched = (changed != signal).flatten(1).any(dim=1)
    assert 0.3 < touched.float().mean() < 0.7


@pytest.mark.parametrize("name", STRENGTHS)
def test_padded_beats_end_in_exact_zeros_where_their_length_says(name: str) -> None:
    signal, _, changed, _ = transformed(**{name: STRENGTHS[name]})
    before, after = length(signal), length(changed)
    if name == "warp":
        inside = (before < N_TIMES) & (after < N_TIMES)
        ratio = (after / before)[inside]
        assert (ratio - 1).abs().max() < 0.13
        assert (ratio != 1).any()
    else:
        assert torch.equal(after, before)


def test_a_warp_moves_waves_end_and_rr_intervals_by_the_same_factor() -> None:
    signal, rr, changed, new_rr = transformed(warp=0.1)
    factor = new_rr[:, 0] / rr[:, 0]
    wave = changed[:, 0, 10:40].argmax(dim=1) + 10
    assert (wave - 20 * factor).abs().max() <= 1
    whole = (length(signal) < N_TIMES) & (length(changed) < N_TIMES)
    assert (length(changed) - length(signal) * factor)[whole].abs().max() <= 1
    assert torch.equal(new_rr[:, 2:], rr[:, 2:])


def test_the_r_peak_stays_under_a_warp_and_moves_with_a_shift() -> None:
    _, _, changed, _ = transformed(padded=False, warp=0.2)
    assert (changed[:, 0, 10:40].argmax(dim=1) == 10).all()
    _, _, changed, _ = transformed(padded=False, shift=0.05)
    moved = changed[:, 0, 10:40].argmax(dim=1) - 10
    assert moved.min() < 0
    assert moved.max() > 0
    assert moved.abs().max() <= 0.05 * SFREQ + 1


@pytest.mark.parametrize("name", ["noise_snr", "wander_snr", "hum_snr", "recorded_snr"])
def test_noise_has_the_ratio_that_is_asked_for(name: str) -> None:
    signal, _, changed, _ = transformed(padded=False, **{name: 10.0})
    noise = (changed - signal).square().mean(dim=2).sqrt()[:, 0]
    ratio = 20 * torch.log10(signal.std(dim=2, correction=0)[:, 0] / noise)[noise > 0]
    slack = 4.0 if name == "wander_snr" else 1.5  # less than one period of a sine is in a beat
    assert 10 - slack < ratio.min()
    assert 17 < ratio.median() < 23


def test_the_same_seed_gives_the_same_beats_and_another_does_not() -> None:
    a, b = transformed(**STRENGTHS)[2], transformed(**STRENGTHS)[2]
    assert torch.equal(a, b)
    signal, rr = beats()
    torch.manual_seed(3)
    waveform = Waveform(sfreq=SFREQ, padded=True, peak=0, recorded=NOISE, **STRENGTHS)
    assert not torch.equal(waveform(signal, rr)[0], a)


def test_everything_switched_off_changes_nothing() -> None:
    signal, rr, changed, new_rr = transformed()
    assert torch.equal(signal, changed)
    assert torch.equal(rr, new_rr)


NOISES = {name: STRENGTHS[name] for name in STRENGTHS if name.endswith("snr")}


def test_noise_leaves_a_padded_beat_the_range_it_had() -> None:
    signal, _, changed, _ = transformed(**NOISES)
    inside = signal != 0
    for extreme, nothing in (("amin", torch.inf), ("amax", -torch.inf)):
        before, after = (getattr(torch.where(inside, x, nothing), extreme)(dim=2) for x in (signal, changed))
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    _, _, free, _ = transformed(padded=False, **NOISES)
    assert free.max() > signal.max() + 0.1


@pytest.mark.parametrize("name", NOISES)
def test_both_channels_get_the_same_noise(name: str) -> None:
    signal, rr = beats()
    two = torch.cat([signal, 0.1 * signal], dim=1)
    changed, _ = Waveform(sfreq=SFREQ, padded=False, peak=20, recorded=NOISE, **{name: STRENGTHS[name]})(two, rr)
    noise = changed - two
    assert noise.abs().max() > 0
    torch.testing.assert_close(noise[:, 0], noise[:, 1], atol=1e-5, rtol=1e-4)


def test_a_flat_beat_stays_finite() -> None:
    signal = torch.zeros(8, 1, N_TIMES)
    for padded in (True, False):
        made = Waveform(sfreq=SFREQ, padded=padded, peak=0, recorded=NOISE, **STRENGTHS)
        changed, _ = made(signal, torch.zeros(8, 0))
        assert torch.equal(changed, signal)
        mixed = Mix(2, padded=padded, mixup=0.5, cutmix=0.5)(signal, torch.zeros(8, 0), torch.arange(8) % 2)
        assert all(torch.isfinite(part).all() for part in mixed)


MIXES = [{"mixup": 0.5}, {"cutmix": 0.5}, {"mixup": 0.3, "cutmix": 0.3}]


@pytest.mark.parametrize("strengths", MIXES)
def test_a_mixed_beat_keeps_its_end_and_the_larger_share(strengths: dict[str, float]) -> None:
    (signal, rr), label = beats(), torch.arange(400) % 3
    signal = signal * (1 + torch.rand(400, 1, 1))
    mixed, new_rr, share = Mix(3, padded=True, **strengths)(signal, rr, label)
    assert torch.equal(length(mixed), length(signal))
    torch.testing.assert_close(share.sum(dim=1), torch.ones(400))
    assert share.min() >= 0
    own = share[torch.arange(400), label]
    assert own.min() > 0.48  # a stretch is a whole number of samples
    assert 0.2 < (own < 1).float().mean() < 0.7
    untouched = (mixed == signal).flatten(1).all(dim=1)
    assert (own[untouched] == 1).all()
    assert torch.equal(new_rr[untouched], rr[untouched])


@pytest.mark.parametrize("strengths", MIXES)
def test_labels_and_rr_features_follow_the_share_of_the_other_beat(strengths: dict[str, float]) -> None:
    # Beats of class c are c + 1 throughout, and so are their RR features: both are then the mean of the shares.
    label = torch.arange(300) % 3
    signal = (label + 1.0)[:, None, None].expand(-1, 1, N_TIMES)
    mixed, rr, share = Mix(3, padded=False, **strengths)(signal, signal[:, 0, :2], label)
    expected = share @ torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(rr, expected[:, None].expand(-1, 2))
    torch.testing.assert_close(mixed.mean(dim=(1, 2)), expected)
    assert (share.amax(dim=1) < 1).any()


def test_cutmix_replaces_one_stretch() -> None:
    label = torch.arange(300) % 2
    signal = (label + 1.0)[:, None, None].expand(-1, 1, N_TIMES)
    mixed, _, _ = Mix(2, padded=False, cutmix=0.5)(signal, torch.zeros(300, 0), label)
    assert set(mixed.unique().tolist()) == {1.0, 2.0}
    assert (mixed.diff(dim=2) != 0).sum(dim=2).max() <= 2
