"""The pipeline of the transforms of single beats.

A beat of the window kaggle is padded with zeros, and its end marks its RR interval. The pipeline therefore zeroes all
samples after the end, and a transform that stretches a beat moves its end.

Such a beat is scaled to [0, 1], including the noise of its recording. The pipeline therefore scales a beat with added
noise to the range that it had before. Transforms of the amplitude may leave that range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ecg.augmentation.transforms.transform import BeatFormat, Stage, Transform, WaveformBatch, inside_mask


class Waveform(nn.Module):
    """Applies transforms stage by stage; within a stage, in the given order.

    Args:
        transforms: the active transforms.
        beat_format: properties of the beats.

    Raises:
        UserError: files that a transform needs are missing, damaged or too short.
    """

    def __init__(self, transforms: Sequence[Transform], beat_format: BeatFormat) -> None:
        super().__init__()
        for transform in transforms:
            transform.prepare(beat_format)
        self.transforms = nn.ModuleList(transforms)
        self.padded = beat_format.padded

    @torch.no_grad()
    def forward(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, Tensor]:
        """Signals (B, C, T) and RR features (B, R) -> transformed signals and RR features."""
        batch = WaveformBatch(signal, rr, inside_mask(signal, self.padded))
        batch = self._run(Stage.RESAMPLE, batch)
        batch = replace(batch, spread=_spread(batch.signal, batch.inside))
        noisy = self._run(Stage.NOISE, batch)
        if self.padded and noisy is not batch:
            noisy = replace(noisy, signal=_restore_range(batch.signal, noisy.signal, batch.inside))
        batch = self._run(Stage.MASK, self._run(Stage.AMPLITUDE, noisy))
        return torch.where(batch.inside, batch.signal, 0.0) if self.padded else batch.signal, batch.rr

    def _run(self, stage: Stage, batch: WaveformBatch) -> WaveformBatch:
        for transform in self.transforms:
            if transform.stage == stage:
                batch = transform(batch)
        return batch


def _restore_range(clean: Tensor, noisy: Tensor, inside: Tensor) -> Tensor:
    """Returns the noisy beats (B, C, T), scaled to the range of the clean ones. An unchanged range changes no bit."""
    low, high = _range(clean, inside)
    noisy_low, noisy_high = _range(noisy, inside)
    gain = (high - low) / (noisy_high - noisy_low).clamp(min=1e-6)
    changed = (noisy_low != low) | (noisy_high != high)
    return torch.where(changed, (noisy - noisy_low) * gain + low, noisy)


def _range(signal: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the minimum and the maximum of each beat and channel, (B, C, 1) each."""
    low = torch.where(inside, signal, torch.inf).amin(dim=2, keepdim=True)
    return low, torch.where(inside, signal, -torch.inf).amax(dim=2, keepdim=True)


def _spread(signal: Tensor, inside: Tensor) -> Tensor:
    """Returns the standard deviation (B, 1, 1) of the first channel of each beat."""
    signal, n = signal[:, :1], inside.sum(dim=2, keepdim=True).clamp(min=1)
    mean = (signal * inside).sum(dim=2, keepdim=True) / n
    return (((signal - mean) * inside).square().sum(dim=2, keepdim=True) / n).sqrt()
