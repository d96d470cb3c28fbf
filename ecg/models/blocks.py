"""The parts that the networks share: residual blocks, the LSTM and the head.

The convolutions are one-dimensional. They are `Conv2d` with (1, k) kernels on (B, C, 1, T) tensors in channels-last
memory format: oneDNN trains them in bfloat16 1.4 times as fast as `Conv1d` (measured by `benchmarks/step.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RR_HIDDEN = 32  # width of the hidden layer of the RR branch
RR_ONLY = 0.25  # fraction of the training beats that are classified by the RR features only


class ResidualBlock(nn.Module):
    """Three convolutions with batch norm and SiLU, a skip connection from the first to the third, and max pooling.

    Time axis, for kernel size k:

        input                T
        first convolution    T - k + 1    no padding
        second and third     T - k + 1    padded by k - 1 on the left (causal)
        pooling              T // 2       padded by k - 1 on the left, then halved

    Source: He et al. 2016, CVPR, arXiv:1512.03385.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: length of the kernels, k.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.padding = (kernel_size - 1, 0)
        size = (1, kernel_size)
        self.conv1 = nn.Conv2d(in_channels, out_channels, size)
        self.conv2 = nn.Conv2d(out_channels, out_channels, size)
        self.conv3 = nn.Conv2d(out_channels, out_channels, size)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, 1, T) -> (B, out_channels, 1, T // 2)."""
        skip = self.conv1(x)  # (B, out, 1, T-k+1)
        h = F.silu(self.norm1(skip))
        h = F.silu(self.norm2(self.conv2(F.pad(h, self.padding))))
        h = F.silu(self.norm3(skip + self.conv3(F.pad(h, self.padding))))
        return F.max_pool2d(F.pad(h, self.padding), (1, 2))


class ResidualBlocks(nn.Sequential):
    """A stack of residual blocks.

    Attributes:
        min_times: shortest input in samples. The last block then receives kernel_size + 1 samples. With fewer, its
            pooling can drop the only sample that is not padding.

    Args:
        channels: channels of the input, then of the output of each block.
        kernel_size: length of the kernels.
    """

    def __init__(self, channels: Sequence[int], kernel_size: int) -> None:
        super().__init__(*(ResidualBlock(n_in, n_out, kernel_size) for n_in, n_out in itertools.pairwise(channels)))
        self.min_times: int = 2 ** (len(self) - 1) * (kernel_size + 1)

    def forward(self, signal: Tensor) -> Tensor:
        """(B, C, T) -> (B, channels[-1], T // 2**n_blocks)."""
        x = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
        for block in self:
            x = block(x)  # (B, in, 1, T) -> (B, out, 1, T // 2)
        return x.squeeze(2)  # (B, channels[-1], T // 2**n_blocks)


class LSTM(nn.LSTM):
    """An LSTM that a CUDA device computes in float32, also under autocast.

    Autocast computes the LSTM of cuDNN in float16, whatever its dtype. Without a scaled loss, small gradients would
    become zero.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """Sequences (B, steps, input_size) -> outputs (B, steps, D hidden_size), last states h and c.

        D is 2 for a bidirectional LSTM, else 1. The states are (D num_layers, B, hidden_size) each.
        """
        if x.device.type != "cuda":
            outputs, states = super().forward(x)
        else:
            with torch.autocast("cuda", enabled=False):
                outputs, states = super().forward(x.float())
        return outputs, states


class Head(nn.Module):
    """Logits of the waveform features plus logits of the RR features (late fusion).

    A network that concatenates both kinds of features fits the morphology of the training patients and ignores the
    rhythm. In training, the waveform logits of a random fraction `RR_ONLY` of the beats are therefore set to zero.

    Args:
        n_features: number of waveform features.
        n_rr: number of RR features; with 0 the head has no RR branch.
        n_classes: number of classes.
        dropout: probability of setting a waveform feature to zero in training.
    """

    def __init__(self, *, n_features: int, n_rr: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.n_features, self.n_embedded = n_features, n_features + n_rr
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_features, n_classes)
        # RR intervals in seconds and their ratios have different scales.
        self.rr_norm = nn.BatchNorm1d(n_rr, affine=False) if n_rr else None
        self.rr_branch = (
            nn.Sequential(nn.Linear(n_rr, RR_HIDDEN), nn.SiLU(), nn.Linear(RR_HIDDEN, n_classes)) if n_rr else None
        )

    def embed(self, features: Tensor, rr: Tensor) -> Tensor:
        """Waveform features (B, n_features), RR features (B, n_rr) -> (B, n_features + n_rr), RR standardised."""
        return features if self.rr_norm is None else torch.cat([features, self.rr_norm(rr)], dim=1)

    def forward(self, embedded: Tensor) -> Tensor:
        """Features (B, n_features + n_rr) that `embed` returns -> logits (B, n_classes)."""
        logits: Tensor = self.linear(self.dropout(embedded[:, : self.n_features]))
        if self.rr_branch is None:
            return logits
        if self.training:
            keep = torch.rand(len(logits), 1, device=logits.device) >= RR_ONLY  # (B, 1)
            logits = logits * keep
        rr_logits: Tensor = self.rr_branch(embedded[:, self.n_features :])
        return logits + rr_logits
