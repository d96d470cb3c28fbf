"""Random tempo and random shift, in one resampling step."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ecg.augmentation.transforms.transform import Stage, Transform, WaveformBatch, random_amount

MIN_RR = 0.2  # s, lower limit of a warped RR interval


class Resample(Transform):
    """Stretches the time axis around the R peak and shifts the beat within its window.

    A stretch by a factor f multiplies the RR intervals by f and moves the end of a padded beat. A shift leaves both
    unchanged.

    Args:
        warp: largest relative change of the tempo.
        shift: largest shift in s.
    """

    stage = Stage.RESAMPLE

    def __init__(self, *, warp: float, shift: float) -> None:
        super().__init__()
        self.warp, self.shift = warp, shift

    @property
    def active(self) -> bool:
        """Whether the transform changes any beat."""
        return self.warp > 0 or self.shift > 0

    def forward(self, batch: WaveformBatch) -> WaveformBatch:
        """Returns the resampled batch."""
        tempo = 1 + random_amount(batch.signal, self.warp)[:, 0]  # (B, 1)
        shift = (random_amount(batch.signal, self.shift) * self.beat_format.sfreq)[:, 0]  # (B, 1), samples
        length = batch.inside.sum(dim=2).clamp(min=1)  # (B, 1)
        time = torch.arange(batch.signal.shape[2], device=batch.signal.device)  # (T,)
        peak = self.beat_format.peak
        source = (peak + (time - peak) * tempo + shift).clamp(min=0)  # (B, T)
        signal = _interpolate(batch.signal, torch.minimum(source, (length - 1).to(source.dtype)), length)
        inside = (time < self._new_length(length, tempo))[:, None]  # (B, 1, T)
        return replace(batch, signal=signal, rr=_warp_rr(batch.rr, tempo), inside=inside)

    def _new_length(self, length: Tensor, tempo: Tensor) -> Tensor:
        """Returns the samples of each beat (B, 1). A beat that fills its window still fills it: its end is unknown."""
        if not self.beat_format.padded:
            return length
        n_times = self.beat_format.n_times
        return torch.where(length == n_times, n_times, (length / tempo).round().clamp(1, n_times))


def _interpolate(signal: Tensor, source: Tensor, length: Tensor) -> Tensor:
    """Returns beats (B, C, T) of `length` (B, 1), linearly interpolated at the positions `source` (B, T)."""
    low = source.floor().long()
    high = torch.minimum(low + 1, length - 1)
    fraction = (source - low)[:, None]  # (B, 1, T)
    low, high = (index[:, None].expand(-1, signal.shape[1], -1) for index in (low, high))  # (B, C, T)
    return signal.gather(2, low) * (1 - fraction) + signal.gather(2, high) * fraction


def _warp_rr(rr: Tensor, tempo: Tensor) -> Tensor:
    """Returns RR features (B, R) at another tempo. The first two are in seconds, the others are ratios."""
    return torch.cat([(rr[:, :2] / tempo).clamp(min=MIN_RR), rr[:, 2:]], dim=1) if rr.shape[1] else rr
