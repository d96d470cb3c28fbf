"""The parts that the networks share: residual blocks, the LSTM and the head.

The convolutions are one-dimensional. They are `Conv2d` with (1, k) kernels on (B, C, 1, T) tensors in channels-last
memory format: oneDNN trains `cnn` in bfloat16 1.2 to 1.3 times as fast as with `Conv1d` (`benchmarks/step.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RR_HIDDEN = 32  # width of the hidden layer of the RR branch
RR_ONLY = 0.25  # fraction of the training beats that are classified by the RR features only


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor from 0 to 1 that depends on the means of all channels.

    Source: Hu et al. 2018, CVPR, arXiv:1709.01507.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // 4)
        self.scale = nn.Sequential(
            nn.Linear(channels, squeezed), nn.SiLU(), nn.Linear(squeezed, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, 1, T) -> the same shape."""
        scale: Tensor = self.scale(x.mean(dim=(2, 3)))  # (B, channels)
        return x * scale[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, squeeze and excitation, and a skip connection.

    The skip connection averages `stride` samples and adapts the number of channels, where they differ.

    Source: He et al. 2016, CVPR, arXiv:1512.03385.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: length of the kernels, odd.
        stride: of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels, kernel_size, stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels, kernel_size)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.excitation = SqueezeExcitation(out_channels)
        self.skip = nn.Sequential()
        if stride > 1:
            self.skip.append(nn.AvgPool2d((1, stride), ceil_mode=True))
        if in_channels != out_channels:
            self.skip.append(_convolution(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, 1, T) -> (B, out_channels, 1, ceil(T / stride))."""
        h = F.silu(self.norm1(self.conv1(x)))
        h = self.excitation(self.norm2(self.conv2(h)))
        return F.silu(h + self.skip(x))


class ResidualStages(nn.Sequential):
    """A convolution and stages of two residual blocks. The convolution and each stage after the first halve the time.

        beat           T samples
        convolution    ceil(T / 2)
        stage 1        ceil(T / 2)
        stage i        ceil(T / 2**i)

    Attributes:
        min_times: shortest input in samples, which leaves two to the last stage, so that an LSTM has two steps.

    Args:
        n_channels: channels of the input, C.
        widths: channels of each stage.
        kernel_size: length of the kernels, k; odd. That of the first convolution is 2k + 1.
    """

    def __init__(self, n_channels: int, widths: Sequence[int], kernel_size: int) -> None:
        first = widths[0]
        modules: list[nn.Module] = [
            _convolution(n_channels, first, 2 * kernel_size + 1, stride=2),
            nn.BatchNorm2d(first),
            nn.SiLU(),
        ]
        for n_in, n_out in itertools.pairwise((first, *widths)):
            stride = 1 if len(modules) == 3 else 2  # the first stage follows the convolution
            modules.append(ResidualBlock(n_in, n_out, kernel_size, stride))
            modules.append(ResidualBlock(n_out, n_out, kernel_size, stride=1))
        super().__init__(*modules)
        self.min_times: int = 2 ** (len(widths) + 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, signal: Tensor) -> Tensor:
        """(B, C, T) -> (B, widths[-1], ceil(T / 2**n_stages))."""
        x = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
        for module in self:
            x = module(x)
        return x.squeeze(2)


def _convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution along time that keeps the length, or divides it by the stride. Batch norm follows, so no bias."""
    return nn.Conv2d(
        in_channels, out_channels, (1, kernel_size), (1, stride), padding=(0, kernel_size // 2), bias=False
    )


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
