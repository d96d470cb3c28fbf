"""Residual CNN: three stages of residual blocks, the mean and the maximum over time, and the head.

    signal (B, C, T) --- stages --- (B, 2 hidden, T / 8) --- mean, maximum --- (B, 4 hidden) --- head --- logits

It has 210,061 parameters with hidden=32 and kernel_size=7, for one channel, five classes and no RR features.

Source: He et al. 2016, CVPR, arXiv:1512.03385, in one dimension.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.models.blocks import Head, ResidualStages
from ecg.models.network import Network


class CNN(Network):
    """Residual CNN.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T; at least `min_times`.
        n_classes: number of classes.
        n_rr: number of RR features, R.
        hidden: channels of the first stage; the second has 1.5 times as many, the third twice as many.
        kernel_size: length of the convolution kernels, odd.
        dropout: dropout probability of the waveform features.
    """

    def __init__(
        self, *, n_channels: int, n_times: int, n_classes: int, n_rr: int, hidden: int, kernel_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.stages = ResidualStages(n_channels, (hidden, hidden * 3 // 2, hidden * 2), kernel_size)
        self.head = Head(n_features=4 * hidden, n_rr=n_rr, n_classes=n_classes, dropout=dropout)

    @property
    def min_times(self) -> int:
        """16 samples."""
        return self.stages.min_times

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), RR features (B, R) -> (B, 4 hidden + R)."""
        x: Tensor = self.stages(signal)  # (B, 2 hidden, T / 8)
        return self.head.embed(torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1), rr)

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.head.n_embedded

    def classify(self, embedded: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self.head(embedded)
        return logits
