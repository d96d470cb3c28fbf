"""CNN + LSTM with attention for heartbeats: the LSTM's last states attend over its outputs.

Two residual blocks, a unidirectional LSTM, and two queries, its last hidden and its last cell state. Each query
weighs the outputs of all steps; the larger of the two contexts goes to the head, unit by unit.

`over="time"` runs the LSTM along the beat, scales the scores and takes their softmax, so that the weights say
where in the beat the network looked. `over="channels"` is the network as it was first published for the Kaggle
heartbeats: the channels of the feature map are the sequence, the raw scores themselves are the features, 136,965
parameters at 187 samples and five classes.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecg.models.blocks import Head, ResidualBlock, to_image


class CNNLSTMAttention(nn.Module):
    """Two residual blocks, an LSTM, and attention of its last states over its outputs.

    Args:
        n_channels: leads of a beat, C.
        n_times: samples of a beat, T; at least 4 (kernel_size + 1).
        n_classes: number of classes.
        n_rr: number of RR features; 0 where the window carries none.
        hidden: channels of the blocks and width of the LSTM.
        kernel_size: taps of every convolution.
        dropout: on the features before the head.
        over: "time" or "channels", what the LSTM runs along.
    """

    def __init__(
        self,
        n_channels: int,
        n_times: int,
        n_classes: int,
        n_rr: int = 0,
        hidden: int = 64,
        kernel_size: int = 5,
        dropout: float = 0.0,
        over: str = "time",
    ) -> None:
        super().__init__()
        self.over = over
        self.blocks = nn.Sequential(
            ResidualBlock(n_channels, hidden, kernel_size), ResidualBlock(hidden, hidden, kernel_size)
        )
        self.lstm = nn.LSTM(hidden if over == "time" else n_times // 4, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.head = Head(hidden, n_rr, n_classes, dropout)

    def forward(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T) and RR features (B, R) -> logits (B, n_classes)."""
        outputs, weights = self._attend(signal)
        if self.over == "channels":
            return self.head(weights.amax(dim=1), rr)  # the scores (B, hidden) are the features
        context = weights @ outputs  # (B, 2, steps) @ (B, steps, hidden) -> (B, 2, hidden)
        return self.head(context.amax(dim=1), rr)

    def attention(self, signal: Tensor) -> Tensor:
        """Weights (B, 2, steps) of the hidden and of the cell state's query for signals (B, C, T).

        Over time there are T // 4 steps, each 4 samples of the beat, and a row sums to 1; over channels there
        are `hidden` steps and the weights are raw scores.
        """
        return self._attend(signal)[1]

    def _attend(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(to_image(signal)).squeeze(2)  # (B, hidden, T//4)
        sequence = x.transpose(1, 2) if self.over == "time" else x  # (B, steps, width)
        outputs, (h, c) = self.lstm(sequence)  # (B, steps, hidden), 2 x (1, B, hidden)
        query = self.query(torch.cat([h, c]).transpose(0, 1))  # (B, 2, hidden)
        scores = query @ outputs.transpose(1, 2)  # (B, 2, hidden) @ (B, hidden, steps) -> (B, 2, steps)
        if self.over == "channels":
            return outputs, scores
        return outputs, torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1)
