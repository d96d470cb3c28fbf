"""The two pieces that all classifiers share: a residual block of convolutions and the head.

The convolutions are one-dimensional. They are written as `Conv2d` with a (1, k) kernel over (B, C, 1, T) in
channels-last memory, because oneDNN runs a training step in bfloat16 that way 1.4 times as fast as with `Conv1d`
(`benchmarks/step.py` measures it).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_image(signal: Tensor) -> Tensor:
    """(B, C, T) -> (B, C, 1, T) in channels-last memory."""
    return signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class ResidualBlock(nn.Module):
    """Three convolutions with a skip from the first to the third, each with batch norm and SiLU, then pooling.

    The first convolution is not padded, the others are padded on the left (causal), so that T samples become
    T - k + 1; the pooling pads them back before it halves: (B, in, 1, T) -> (B, out, 1, T // 2).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.left = (kernel_size - 1, 0)
        size = (1, kernel_size)
        self.conv1 = nn.Conv2d(in_channels, out_channels, size)
        self.conv2 = nn.Conv2d(out_channels, out_channels, size)
        self.conv3 = nn.Conv2d(out_channels, out_channels, size)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, 1, T) -> (B, out, 1, T // 2)."""
        skip = self.conv1(x)  # (B, out, 1, T-k+1)
        h = F.silu(self.norm1(skip))
        h = F.silu(self.norm2(self.conv2(F.pad(h, self.left))))
        h = F.silu(self.norm3(skip + self.conv3(F.pad(h, self.left))))
        return F.max_pool2d(F.pad(h, self.left), (1, 2))


class Head(nn.Module):
    """Class scores from the features of the waveform and, in a branch of their own, from the RR features.

    The two are added as logits (late fusion): a network that sees RR intervals next to its waveform features
    learns the patients' morphologies and ignores the rhythm. In training, the waveform's share of the logits is
    dropped for a part of the beats, so that the rhythm branch has to be able to stand alone.

    Args:
        n_features: width of the waveform features.
        n_rr: number of RR features; 0 leaves the branch out.
        n_classes: number of classes.
        dropout: probability of zeroing a waveform feature in training.
        rr_only: share of the training beats that are classified from the RR features alone.
    """

    def __init__(self, n_features: int, n_rr: int, n_classes: int, dropout: float = 0.0, rr_only: float = 0.25) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_features, n_classes)
        self.rr_only = rr_only
        self.rhythm: nn.Module | None = None
        if n_rr:
            # Seconds and ratios have different scales: they are standardised by running statistics.
            self.rhythm = nn.Sequential(
                nn.BatchNorm1d(n_rr, affine=False), nn.Linear(n_rr, 32), nn.SiLU(), nn.Linear(32, n_classes)
            )

    def forward(self, features: Tensor, rr: Tensor) -> Tensor:
        """Features (B, n_features) and RR features (B, n_rr) -> logits (B, n_classes)."""
        logits = self.linear(self.dropout(features))
        if self.rhythm is None:
            return logits
        if self.training:
            keep = torch.rand(len(logits), 1, device=logits.device) >= self.rr_only  # (B, 1)
            logits = logits * keep
        return logits + self.rhythm(rr)
