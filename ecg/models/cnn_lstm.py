"""CNN-LSTM: two stages of residual blocks, a bidirectional LSTM along time, mean and maximum of its outputs, the head.

    signal (B, C, T) --- stages --- (B, hidden, T / 4) --- LSTM --- mean, maximum --- (B, 4 hidden) --- head --- logits

It has 121,365 parameters with hidden=40 and kernel_size=7, for one channel, five classes and no RR features.

Source: Hochreiter and Schmidhuber 1997, Neural Computation 9:1735-1780 (LSTM).

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.models.blocks import LSTM, Head, ResidualStages
from ecg.models.network import Network


class CNNLSTM(Network):
    """Residual blocks and a bidirectional LSTM.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T; at least `min_times`.
        n_classes: number of classes.
        n_rr: number of RR features, R.
        hidden: channels of the blocks and width of the LSTM in each direction.
        kernel_size: length of the convolution kernels, odd.
        dropout: dropout probability of the waveform features.
    """

    def __init__(
        self, *, n_channels: int, n_times: int, n_classes: int, n_rr: int, hidden: int, kernel_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.stages = ResidualStages(n_channels, (hidden, hidden), kernel_size)
        self.lstm = LSTM(hidden, hidden, batch_first=True, bidirectional=True)
        self.head = Head(n_features=4 * hidden, n_rr=n_rr, n_classes=n_classes, dropout=dropout)

    @property
    def min_times(self) -> int:
        """8 samples."""
        return self.stages.min_times

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), RR features (B, R) -> (B, 4 hidden + R)."""
        x: Tensor = self.stages(signal)  # (B, hidden, T / 4)
        outputs: Tensor = self.lstm(x.transpose(1, 2))[0]  # (B, T / 4, hidden) -> (B, T / 4, 2 hidden)
        return self.head.embed(torch.cat([outputs.mean(dim=1), outputs.amax(dim=1)], dim=1), rr)

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.head.n_embedded

    def classify(self, embedded: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self.head(embedded)
        return logits
