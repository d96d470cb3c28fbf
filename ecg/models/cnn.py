"""Residual CNN for heartbeats: three blocks of three convolutions with a skip, then the mean over time.

The widths halve from block to block: 128, 64, 32 by default, 269,061 parameters on one channel and five classes.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

from torch import Tensor, nn

from ecg.models.blocks import Head, ResidualBlock, to_image


class CNN(nn.Module):
    """Three residual blocks, global average pooling, a linear head.

    Args:
        n_channels: leads of a beat, C.
        n_times: samples of a beat, T; at least 4 (kernel_size + 1).
        n_classes: number of classes.
        n_rr: number of RR features; 0 where the window carries none.
        hidden: channels of the first block; a multiple of 4.
        kernel_size: taps of every convolution.
        dropout: on the features before the head.
    """

    def __init__(
        self,
        n_channels: int,
        n_times: int,
        n_classes: int,
        n_rr: int = 0,
        hidden: int = 128,
        kernel_size: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(n_channels, hidden, kernel_size),
            ResidualBlock(hidden, hidden // 2, kernel_size),
            ResidualBlock(hidden // 2, hidden // 4, kernel_size),
        )
        self.head = Head(hidden // 4, n_rr, n_classes, dropout)

    def forward(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T) and RR features (B, R) -> logits (B, n_classes)."""
        features = self.blocks(to_image(signal))  # (B, hidden/4, 1, T//8)
        return self.head(features.mean(dim=(2, 3)), rr)
