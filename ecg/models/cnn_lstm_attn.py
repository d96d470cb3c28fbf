"""CNN-LSTM with attention: two stages of residual blocks, a bidirectional LSTM, attention over its outputs, the head.

    signal (B, C, T) --- stages --- (B, hidden, T / 4) --- LSTM --+-- outputs (B, T / 4, 2 hidden) --+
                                                                  |                                  +-- 2 contexts
                                                                  +-- two queries (B, 2, 2 hidden) --+

The two queries are the last hidden state and the last cell state of the LSTM, of both directions. Each gives one
context, the sum of the outputs weighted by a softmax over time. Both contexts are the features.

It has 127,765 parameters with hidden=40 and kernel_size=7, for one channel, five classes and no RR features.

Source of the attention: Luong et al. 2015, EMNLP, arXiv:1508.04025, "general" score; scaled as in Vaswani et al. 2017,
NeurIPS, arXiv:1706.03762.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecg.models.blocks import LSTM, Head, ResidualStages
from ecg.models.network import Network


class CNNLSTMAttention(Network):
    """Residual blocks, a bidirectional LSTM, and attention over its outputs.

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
        self.query = nn.Linear(2 * hidden, 2 * hidden, bias=False)
        self.head = Head(n_features=4 * hidden, n_rr=n_rr, n_classes=n_classes, dropout=dropout)

    @property
    def min_times(self) -> int:
        """8 samples."""
        return self.stages.min_times

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), RR features (B, R) -> (B, 4 hidden + R)."""
        outputs, weights = self._attend(signal)
        contexts = weights @ outputs  # (B, 2, steps) @ (B, steps, 2 hidden) -> (B, 2, 2 hidden)
        return self.head.embed(contexts.flatten(1), rr)

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.head.n_embedded

    def classify(self, embedded: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self.head(embedded)
        return logits

    def attention(self, signal: Tensor) -> Tensor:
        """Returns the weights (B, 2, ceil(T / 4)) of the two queries for signals (B, C, T). A row sums to 1."""
        return self._attend(signal)[1]

    def _attend(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the outputs (B, steps, 2 hidden) of the LSTM and the attention weights (B, 2, steps)."""
        x: Tensor = self.stages(signal)  # (B, hidden, steps)
        outputs, (h, c) = self.lstm(x.transpose(1, 2))  # (B, steps, 2 hidden), each state (2, B, hidden)
        states = torch.stack([h, c])  # (state, direction, B, hidden)
        query = self.query(states.permute(2, 0, 1, 3).flatten(2))  # (B, 2, 2 hidden)
        scores = query @ outputs.transpose(1, 2)  # (B, 2, 2 hidden) @ (B, 2 hidden, steps) -> (B, 2, steps)
        return outputs, torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1)
