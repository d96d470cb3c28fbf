"""CNN-LSTM with attention: two residual blocks, an LSTM, attention over its outputs, and the head.

There are two queries, the last hidden state and the last cell state of the LSTM. Each gives one context, the weighted
sum of the outputs. The features are the element-wise maximum of the two contexts.

over="time"        the LSTM runs along time: T // 4 steps. The weights are a softmax over the steps.
over="channels"    the network as first published for the Kaggle heartbeats. The LSTM runs along the channels: `hidden`
                   steps. The scores are the features; there is no softmax and no context. 136,965 parameters for 187
                   samples, hidden=64, kernel_size=5.

Source of the attention: Luong et al. 2015, EMNLP, arXiv:1508.04025, "general" score; scaled as in Vaswani et al. 2017,
NeurIPS, arXiv:1706.03762.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecg.models.blocks import LSTM, Head, ResidualBlocks
from ecg.models.network import Network


class CNNLSTMAttention(Network):
    """Residual blocks, an LSTM, and attention over its outputs.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T; at least `min_times`.
        n_classes: number of classes.
        n_rr: number of RR features, R.
        hidden: channels of the blocks and width of the LSTM.
        kernel_size: length of the convolution kernels.
        dropout: dropout probability of the waveform features.
        over: axis that the LSTM runs along, "time" or "channels".
    """

    def __init__(
        self,
        *,
        n_channels: int,
        n_times: int,
        n_classes: int,
        n_rr: int,
        hidden: int,
        kernel_size: int,
        dropout: float,
        over: str,
    ) -> None:
        super().__init__()
        self.over = over
        self.blocks = ResidualBlocks((n_channels, hidden, hidden), kernel_size)
        # At least 1, so that the constructor accepts beats that are too short, and the caller can read `min_times`.
        step_features = hidden if over == "time" else max(1, n_times // 4)
        self.lstm = LSTM(step_features, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.head = Head(n_features=hidden, n_rr=n_rr, n_classes=n_classes, dropout=dropout)

    @property
    def min_times(self) -> int:
        """2 * (kernel_size + 1) samples."""
        return self.blocks.min_times

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), RR features (B, R) -> (B, hidden + R)."""
        return self.head.embed(self._features(signal), rr)

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.head.n_embedded

    def classify(self, embedded: Tensor) -> Tensor:
        """See `Network`."""
        logits: Tensor = self.head(embedded)
        return logits

    def attention(self, signal: Tensor) -> Tensor:
        """Returns the weights (B, 2, steps) of the two queries for signals (B, C, T).

        Over time there are T // 4 steps of 4 samples each, and a row sums to 1. Over channels there are `hidden`
        steps, and the weights are scores without a softmax.
        """
        return self._attend(signal)[1]

    def _features(self, signal: Tensor) -> Tensor:
        outputs, weights = self._attend(signal)
        if self.over == "channels":
            return weights.amax(dim=1)  # (B, 2, hidden) -> (B, hidden)
        context = weights @ outputs  # (B, 2, steps) @ (B, steps, hidden) -> (B, 2, hidden)
        return context.amax(dim=1)  # (B, hidden)

    def _attend(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the outputs (B, steps, hidden) of the LSTM and the attention weights (B, 2, steps)."""
        x: Tensor = self.blocks(signal)  # (B, hidden, T // 4)
        sequence = x.transpose(1, 2) if self.over == "time" else x  # (B, T // 4, hidden) or (B, hidden, T // 4)
        outputs, (h, c) = self.lstm(sequence)  # (B, steps, hidden), each state (1, B, hidden)
        states = torch.cat([h, c]).transpose(0, 1)  # (2, B, hidden) -> (B, 2, hidden)
        query = self.query(states)  # (B, 2, hidden)
        scores = query @ outputs.transpose(1, 2)  # (B, 2, hidden) @ (B, hidden, steps) -> (B, 2, steps)
        if self.over == "channels":
            return outputs, scores
        return outputs, torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1)
