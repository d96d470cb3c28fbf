"""CNN-LSTM: two residual blocks, a bidirectional LSTM, the mean of its outputs, and the head.

over="time"        the LSTM runs along time: T // 4 steps with `hidden` features each.
over="channels"    the network as first published for the Kaggle heartbeats. The LSTM runs along the channels: `hidden`
                   steps with T // 4 features each. 161,541 parameters for 187 samples, hidden=64, kernel_size=5.

Source: Hochreiter and Schmidhuber 1997, Neural Computation 9:1735-1780 (LSTM).

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

from torch import Tensor

from ecg.models.blocks import LSTM, Head, ResidualBlocks
from ecg.models.network import Network


class CNNLSTM(Network):
    """Residual blocks and a bidirectional LSTM.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T; at least `min_times`.
        n_classes: number of classes.
        n_rr: number of RR features, R.
        hidden: channels of the blocks and width of the LSTM in each direction.
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
        self.lstm = LSTM(step_features, hidden, batch_first=True, bidirectional=True)
        n_features = 2 * hidden if over == "time" else hidden
        self.head = Head(n_features=n_features, n_rr=n_rr, n_classes=n_classes, dropout=dropout)

    @property
    def min_times(self) -> int:
        """2 * (kernel_size + 1) samples."""
        return self.blocks.min_times

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), RR features (B, R) -> (B, 2 * hidden + R), or (B, hidden + R) over channels."""
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
        x: Tensor = self.blocks(signal)  # (B, hidden, T // 4)
        if self.over == "time":
            outputs: Tensor = self.lstm(x.transpose(1, 2))[0]  # (B, T // 4, hidden) -> (B, T // 4, 2 * hidden)
            return outputs.mean(dim=1)  # (B, 2 * hidden)
        outputs = self.lstm(x)[0]  # (B, hidden, T // 4) -> (B, hidden, 2 * hidden)
        return outputs.mean(dim=2)  # (B, hidden)
