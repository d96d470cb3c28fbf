"""Properties of all transforms of single beats, and of their pipeline."""

from __future__ import annotations

import pytest
import torch
from augmentation_factories import (
    CONFIGS,
    MIXES,
    N_TIMES,
    NAMES,
    NOISES,
    PEAK,
    SETTINGS,
    STRENGTHS,
    all_transforms,
    lengths,
    make_signals,
    make_transform,
    make_waveform,
    transformed,
)

from ecg.augmentation.transforms.transform import Stage


def test_every_transform_is_in_one_of_the_two_pipelines() -> None:
    assert {*NAMES, *MIXES} == {*CONFIGS}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_transform_is_off_by_default_and_on_with_each_strength(name: str) -> None:
    assert not make_transform(name).active
    assert STRENGTHS[name]
    for setting, value in STRENGTHS[name].items():
        assert make_transform(name, **{setting: value}).active


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_a_transform_changes_some_beats_and_leaves_others(name: str, setting: str) -> None:
    signal, _, changed, _ = transformed(make_transform(name, **{setting: STRENGTHS[name][setting]}))
    is_changed = (changed != signal).flatten(1).any(dim=1)
    assert 0.3 < is_changed.float().mean() < 0.7


@pytest.mark.parametrize("name", NAMES)
def test_only_resampling_moves_the_end_of_padded_beats(name: str) -> None:
    transform = make_transform(name, **STRENGTHS[name])
    signal, _, changed, _ = transformed(transform)
    assert torch.equal(lengths(changed), lengths(signal)) == (transform.stage != Stage.RESAMPLE)


def test_the_same_seed_gives_the_same_beats_and_another_does_not() -> None:
    first, second = transformed(*all_transforms())[2], transformed(*all_transforms())[2]
    assert torch.equal(first, second)
    signal, rr = make_signals()
    torch.manual_seed(3)
    assert not torch.equal(make_waveform(*all_transforms())(signal, rr)[0], first)


def test_the_stages_run_in_order_for_every_order_of_the_transforms() -> None:
    one_per_stage = list({transform.stage: transform for transform in all_transforms()}.values())
    assert torch.equal(transformed(*one_per_stage)[2], transformed(*reversed(one_per_stage))[2])


@pytest.mark.parametrize("padded", [True, False])
def test_no_transforms_change_nothing(padded: bool) -> None:
    signal, rr, changed, new_rr = transformed(padded=padded)
    assert torch.equal(signal, changed)
    assert torch.equal(rr, new_rr)


@pytest.mark.parametrize("padded", [True, False])
def test_flat_beats_stay_flat_and_finite(padded: bool) -> None:
    signal = torch.zeros(8, 1, N_TIMES)
    changed, _ = make_waveform(*all_transforms(), padded=padded)(signal, torch.zeros(8, 0))
    assert torch.equal(changed, signal)


def test_a_checkpoint_contains_nothing_of_the_transforms() -> None:
    assert not make_waveform(*all_transforms()).state_dict()


def test_noise_keeps_the_range_of_padded_beats() -> None:
    noises = [make_transform(name, snr=5.0) for name in NOISES]
    signal, _, changed, _ = transformed(*noises)
    inside = signal != 0
    for extreme, fill in (("amin", torch.inf), ("amax", -torch.inf)):
        before, after = (getattr(torch.where(inside, x, fill), extreme)(dim=2) for x in (signal, changed))
        torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    _, _, unpadded, _ = transformed(*noises, padded=False)
    assert unpadded.max() > signal.max() + 0.1


def test_a_mask_replaces_a_segment_by_the_mean_of_the_beat() -> None:
    signal, _, changed, _ = transformed(make_transform("mask", duration=0.1), padded=False)
    masked = (changed != signal).any(dim=1)
    assert masked.sum(dim=1).max() == 12
    assert torch.equal(changed[:, 0][masked], signal.mean(dim=2).expand(-1, N_TIMES)[masked])


def test_an_offset_is_limited_in_standard_deviations() -> None:
    signal, _, changed, _ = transformed(make_transform("offset", limit=0.5), padded=False)
    offset = (changed - signal)[:, 0, 0].abs() / signal.std(dim=2, correction=0)[:, 0]
    assert 0.45 < offset.max() < 0.51


def test_a_scale_is_limited_relative_to_the_amplitude() -> None:
    signal, _, changed, _ = transformed(make_transform("scale", limit=0.2), padded=False)
    scale = (changed / signal)[:, 0, PEAK]
    assert 0.79 < scale.min() < 0.82
    assert 1.18 < scale.max() < 1.21
