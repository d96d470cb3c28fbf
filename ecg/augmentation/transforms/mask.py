"""Random masking."""

from __future__ import annotations

from dataclasses import replace

import torch

from ecg.augmentation.transforms.transform import PROBABILITY, Stage, Transform, WaveformBatch


class Mask(Transform):
    """Replaces a segment of a beat by the mean of the beat.

    Args:
        duration: length of the segment in s; 0 switches the transform off.
    """

    stage = Stage.MASK

    def __init__(self, *, duration: float) -> None:
        super().__init__()
        self.duration = duration

    @property
    def active(self) -> bool:
        """Whether the transform changes any beat."""
        return self.duration > 0

    def forward(self, batch: WaveformBatch) -> WaveformBatch:
        """Returns the masked batch."""
        signal, inside = batch.signal, batch.inside
        n, _, n_times = signal.shape
        width = min(n_times, max(1, round(self.duration * self.beat_format.sfreq)))
        uniform = torch.rand(2, n, 1, 1, device=signal.device)
        start = (uniform[0] * (n_times - width + 1)).floor()  # (B, 1, 1)
        time = torch.arange(n_times, device=signal.device)  # (T,)
        masked = (time >= start) & (time < start + width) & (uniform[1] < PROBABILITY)  # (B, 1, T)
        mean = (signal * inside).sum(dim=2, keepdim=True) / inside.sum(dim=2, keepdim=True).clamp(min=1)  # (B, C, 1)
        return replace(batch, signal=torch.where(masked, mean, signal))
