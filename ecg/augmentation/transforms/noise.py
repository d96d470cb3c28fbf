"""Base class of the transforms that add noise."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from ecg.augmentation.transforms.transform import PROBABILITY, Stage, Transform, WaveformBatch

SNR_RANGE_DB = 20.0  # the signal-to-noise ratio is uniform between `snr` and `snr + SNR_RANGE_DB`


class Noise(Transform):
    """Adds the same noise to all channels of a beat.

    The noise is scaled to the beat's standard deviation, because beats are not in millivolts. The second channel of a
    beat is the first one minus a median beat, so that noise in the recording is in both.

    Args:
        snr: lowest signal-to-noise ratio in dB; None switches the transform off.
    """

    stage = Stage.NOISE

    def __init__(self, *, snr: float | None) -> None:
        super().__init__()
        self.snr = math.inf if snr is None else snr

    @property
    def active(self) -> bool:
        """Whether the transform changes any beat."""
        return self.snr < math.inf

    @abstractmethod
    def noise(self, signal: Tensor) -> Tensor:
        """Returns noise (B, 1, T) with a root mean square of 1 for beats (B, C, T)."""

    def forward(self, batch: WaveformBatch) -> WaveformBatch:
        """Returns the batch with noise."""
        noise = self.noise(batch.signal) * batch.spread * self._level(batch.signal)  # (B, 1, T)
        return replace(batch, signal=batch.signal + noise)

    def _level(self, signal: Tensor) -> Tensor:
        """Returns the ratio of noise to signal (B, 1, 1) with a probability of `PROBABILITY`, else 0."""
        uniform = torch.rand(2, len(signal), 1, 1, device=signal.device)
        return 10 ** (-(self.snr + SNR_RANGE_DB * uniform[0]) / 20) * (uniform[1] < PROBABILITY)


def random_sine(signal: Tensor, sfreq: float, low_hz: float, high_hz: float) -> Tensor:
    """Returns sines (B, 1, T) of random frequency and phase with a root mean square of 1, for beats (B, C, T)."""
    time = torch.arange(signal.shape[2], device=signal.device) / sfreq  # (T,)
    uniform = torch.rand(2, len(signal), 1, 1, device=signal.device)
    frequency = low_hz + (high_hz - low_hz) * uniform[0]  # (B, 1, 1)
    return math.sqrt(2) * torch.sin(2 * math.pi * (frequency * time + uniform[1]))
