"""Residual CNN: three residual blocks, the mean over time, and the head.

It has 269,061 parameters with hidden=128 and kernel_size=5, for one channel, five classes and no RR features.

Source: He et al. 2016, CVPR, arXiv:1512.03385, in one dimension.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

from torch import Tensor

from ecg.models.blocks import Head, ResidualBlocks
from ecg.models.network import Network


class CNN(Network):
    """Residual CNN.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T; at least `min_times`.
        n_classes: number of classes.
        n_rr: number of RR features, R.
        hidden: channels of the first block; halved from block to block.
        kernel_size: length of the convolution kernels.
        dropout: dropout probability of the waveform features.
    """

    def __init__(
        self, *, n_channels: int, n_times: int, n_classes: int, n_rr: int, hidden: int, kernel_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.blocks = ResidualBlocks((n_channels, hidden, hidden // 2, hidden // 4), kernel_size)
        self.head = Head(n_features=hidden // 4, n_rr=n_rr, n_classes=n_classes, dropout=dropout)

    @property
    def min_times(self) -> int:
        """4 * (kernel_size + 1) samples."""
        return self.blocks.min_times

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), RR features (B, R) -> (B, hidden // 4 + R)."""
        return self.head.embed(self._features(signal), rr)

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.head.n_embedded

    def classify(self, embedded: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self.head(embedded)
        return logits

    def _features(self, signal: Tensor) -> Tensor:
        x: Tensor = self.blocks(signal)  # (B, hidden // 4, T // 8)
        return x.mean(dim=2)  # (B, hidden // 4)
