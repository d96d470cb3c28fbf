"""Random tempo and random shift."""

from __future__ import annotations

import torch
from augmentation_factories import N_TIMES, SFREQ, lengths, make_transform, transformed


def test_a_warp_moves_waves_ends_and_rr_intervals_by_the_same_factor() -> None:
    signal, rr, changed, new_rr = transformed(make_transform("resample", warp=0.1))
    factor = new_rr[:, 0] / rr[:, 0]
    wave = changed[:, 0, 10:40].argmax(dim=1) + 10
    assert (wave - 20 * factor).abs().max() <= 1
    before, after = lengths(signal), lengths(changed)
    ends_inside = (before < N_TIMES) & (after < N_TIMES)
    assert (after - before * factor)[ends_inside].abs().max() <= 1
    ratio = (after / before)[ends_inside]
    assert (ratio - 1).abs().max() < 0.13
    assert (ratio != 1).any()
    assert torch.equal(new_rr[:, 2:], rr[:, 2:])


def test_a_warp_keeps_the_r_peak_in_place() -> None:
    _, _, changed, _ = transformed(make_transform("resample", warp=0.2), padded=False)
    assert (changed[:, 0, 10:40].argmax(dim=1) == 10).all()


def test_a_shift_moves_the_r_peak_in_both_directions() -> None:
    _, _, changed, _ = transformed(make_transform("resample", shift=0.05), padded=False)
    moved = changed[:, 0, 10:40].argmax(dim=1) - 10
    assert moved.min() < 0
    assert moved.max() > 0
    assert moved.abs().max() <= 0.05 * SFREQ + 1


def test_a_shift_keeps_the_end_of_padded_beats_and_the_rr_intervals() -> None:
    signal, rr, changed, new_rr = transformed(make_transform("resample", shift=0.05))
    assert torch.equal(lengths(changed), lengths(signal))
    assert torch.equal(new_rr, rr)
