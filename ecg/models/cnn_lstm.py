"""CNN + LSTM for heartbeats: two residual blocks, then a bidirectional LSTM and the mean of its outputs.

`over="time"` runs the LSTM along the beat: at each of the T // 4 steps it sees all channels. `over="channels"`
is the network as it was first published for the Kaggle heartbeats: there the *channels* of the feature map are
the sequence and its samples the features of a step, 161,541 parameters at 187 samples and five classes.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

from torch import Tensor, nn

from ecg.models.blocks import Head, ResidualBlock, to_image


class CNNLSTM(nn.Module):
    """Two residual blocks and a bidirectional LSTM.

    Args:
        n_channels: leads of a beat, C.
        n_times: samples of a beat, T; at least 4 (kernel_size + 1).
        n_classes: number of classes.
        n_rr: number of RR features; 0 where the window carries none.
        hidden: channels of the blocks and width of the LSTM in each direction.
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
        width = hidden if over == "time" else n_times // 4
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.head = Head(2 * hidden if over == "time" else hidden, n_rr, n_classes, dropout)

    def forward(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T) and RR features (B, R) -> logits (B, n_classes)."""
        x = self.blocks(to_image(signal)).squeeze(2)  # (B, hidden, T//4)
        if self.over == "time":
            outputs, _ = self.lstm(x.transpose(1, 2))  # (B, T//4, 2*hidden)
            return self.head(outputs.mean(dim=1), rr)
        outputs, _ = self.lstm(x)  # (B, hidden, 2*hidden): one step a channel
        return self.head(outputs.mean(dim=2), rr)
