"""Base classes of the transforms, and the batches that they change.

A transform changes each beat of a batch with a probability of `PROBABILITY`. It takes its random numbers from torch's
global generator, which the training seeds for each batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar

import torch
from torch import Tensor, nn

PROBABILITY = 0.5  # leaves half of the beats as recorded


class Stage(Enum):
    """The stages of the pipeline of `waveform.Waveform`, in order."""

    RESAMPLE = auto()  # changes of the time axis
    NOISE = auto()  # the range of padded beats is restored after this stage
    AMPLITUDE = auto()
    MASK = auto()


@dataclass(frozen=True)
class BeatFormat:
    """Properties of the beats that transforms depend on.

    Attributes:
        sfreq: sampling rate in Hz.
        n_times: samples of a beat, T.
        peak: sample of the R peak.
        padded: whether beats end in zeros.
        highpass_hz: cut-off of the beats' high-pass filter in Hz; None without a filter.
    """

    sfreq: float
    n_times: int
    peak: int
    padded: bool
    highpass_hz: float | None


@dataclass(frozen=True)
class WaveformBatch:
    """A batch of beats in the pipeline of `waveform.Waveform`.

    Attributes:
        signal: (B, C, T).
        rr: (B, R) RR features.
        inside: (B, 1, T) False after the end of a padded beat.
        spread: (B, 1, 1) standard deviation of the first channel before noise is added; NaN in the stage RESAMPLE.
    """

    signal: Tensor
    rr: Tensor
    inside: Tensor
    spread: Tensor = field(default_factory=lambda: torch.tensor(math.nan))


@dataclass(frozen=True)
class MixBatch:
    """A batch of beats in the pipeline of `mix.Mix`.

    Attributes:
        signal: (B, C, T).
        rr: (B, R) RR features.
        target: (B, n_classes) fraction of each class; sums to 1.
        inside: (B, 1, T) False after the end of a padded beat.
    """

    signal: Tensor
    rr: Tensor
    target: Tensor
    inside: Tensor


class Transform(nn.Module, ABC):
    """A random change of single beats."""

    stage: ClassVar[Stage]
    beat_format: BeatFormat

    @property
    @abstractmethod
    def active(self) -> bool:
        """Whether the transform changes any beat."""

    def prepare(self, beat_format: BeatFormat) -> None:
        """Adapts the transform to the beats. Called once, before the first batch."""
        self.beat_format = beat_format

    @abstractmethod
    def forward(self, batch: WaveformBatch) -> WaveformBatch:
        """Returns the changed batch. The pipeline zeroes samples after the end of padded beats."""


class MixTransform(nn.Module, ABC):
    """A random blend of each beat with another beat of the batch.

    Labels and RR features are blended in the same proportion as the samples. A padded beat keeps its end. Samples after
    the end of either beat are not blended.

    Args:
        limit: largest fraction of the other beat, at most 0.5; 0 switches the transform off.
    """

    def __init__(self, *, limit: float) -> None:
        super().__init__()
        self.limit = limit

    @property
    def active(self) -> bool:
        """Whether the transform changes any beat."""
        return self.limit > 0

    @abstractmethod
    def weight(self, batch: MixBatch) -> Tensor:
        """Returns the weight of the other beat at each sample, (B, 1, T) or (B, 1, 1)."""

    def forward(self, batch: MixBatch) -> MixBatch:
        """Returns the blended batch."""
        signal, rr, target, inside = batch.signal, batch.rr, batch.target, batch.inside
        weight = self.weight(batch)
        other = torch.randperm(len(signal), device=signal.device)
        weight = weight * (inside & inside[other])  # (B, 1, T)
        fraction = weight.sum(dim=2) / inside.sum(dim=2).clamp(min=1)  # (B, 1)
        return MixBatch(
            signal + weight * (signal[other] - signal),
            rr + fraction * (rr[other] - rr),
            target + fraction * (target[other] - target),
            inside,
        )


def inside_mask(signal: Tensor, padded: bool) -> Tensor:
    """Returns a mask (B, 1, T) that is False after the last nonzero sample of padded beats (B, C, T), else True."""
    if not padded:
        return torch.ones_like(signal[:, :1], dtype=torch.bool)
    return (signal != 0).any(dim=1, keepdim=True).flip(2).cumsum(dim=2).flip(2) > 0


def random_amount(signal: Tensor, limit: float) -> Tensor:
    """Returns numbers (B, 1, 1), uniform in [-limit, limit] with a probability of `PROBABILITY`, else 0."""
    uniform = torch.rand(2, len(signal), 1, 1, device=signal.device)
    return (2 * uniform[0] - 1) * limit * (uniform[1] < PROBABILITY)
