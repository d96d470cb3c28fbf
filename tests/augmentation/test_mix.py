"""Transforms that blend two beats."""

from __future__ import annotations

import math

import pytest
import torch
from augmentation_factories import MIXES, N_TIMES, lengths, make_signals, make_transform

from ecg.augmentation.transforms.mix import Mix

LIMITS = [*({name: 0.5} for name in MIXES), dict.fromkeys(MIXES, 0.3)]
per_limits = pytest.mark.parametrize("limits", LIMITS, ids="+".join)


def make_mix(limits: dict[str, float], *, n_classes: int, padded: bool) -> Mix:
    transforms = [make_transform(name, limit=limit) for name, limit in limits.items()]
    return Mix(transforms, n_classes=n_classes, padded=padded)


@per_limits
def test_a_mixed_beat_keeps_its_end_and_most_of_its_class(limits: dict[str, float]) -> None:
    (signal, rr), label = make_signals(), torch.arange(400) % 3
    signal = signal * (1 + torch.rand(400, 1, 1))
    mixed, new_rr, target = make_mix(limits, n_classes=3, padded=True)(signal, rr, label)
    assert torch.equal(lengths(mixed), lengths(signal))
    torch.testing.assert_close(target.sum(dim=1), torch.ones(400))
    assert target.min() >= 0
    own = target[torch.arange(400), label]
    assert own.min() > math.prod(1 - limit for limit in limits.values()) - 0.02  # a segment is rounded to samples
    assert 0.2 < (own < 1).float().mean() < 1 - 0.5 ** len(limits)
    unchanged = (mixed == signal).flatten(1).all(dim=1)
    assert (own[unchanged] == 1).all()
    assert torch.equal(new_rr[unchanged], rr[unchanged])


@per_limits
def test_targets_and_rr_features_follow_the_fraction_of_the_other_beat(limits: dict[str, float]) -> None:
    # All samples and RR features of class c are c + 1, so that their mean is given by the fractions of the classes.
    label = torch.arange(300) % 3
    signal = (label + 1.0)[:, None, None].expand(-1, 1, N_TIMES)
    mixed, rr, target = make_mix(limits, n_classes=3, padded=False)(signal, signal[:, 0, :2], label)
    expected = target @ torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(rr, expected[:, None].expand(-1, 2))
    torch.testing.assert_close(mixed.mean(dim=(1, 2)), expected)
    assert (target.amax(dim=1) < 1).any()


@pytest.mark.parametrize("padded", [True, False])
@per_limits
def test_flat_beats_stay_finite(limits: dict[str, float], padded: bool) -> None:
    mix = make_mix(limits, n_classes=2, padded=padded)
    mixed = mix(torch.zeros(8, 1, N_TIMES), torch.zeros(8, 0), torch.arange(8) % 2)
    assert all(torch.isfinite(part).all() for part in mixed)


def test_cutmix_replaces_one_segment() -> None:
    label = torch.arange(300) % 2
    signal = (label + 1.0)[:, None, None].expand(-1, 1, N_TIMES)
    mixed, _, _ = make_mix({"cutmix": 0.5}, n_classes=2, padded=False)(signal, torch.zeros(300, 0), label)
    assert set(mixed.unique().tolist()) == {1.0, 2.0}
    assert (mixed.diff(dim=2) != 0).sum(dim=2).max() <= 2
