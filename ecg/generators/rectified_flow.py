"""Rectified flow: a network estimates the velocity that moves noise to beats along straight lines.

    x_t = (1 - t) noise + t beat,    loss  E |v(x_t, t) - (beat - noise)|^2,    t from a logit-normal distribution

Beats are sampled with Euler steps from t = 0 to 1. A fraction of the training beats has neither class nor record, for
classifier-free guidance: v = v_none + guidance (v_condition - v_none).

Source: Liu et al. 2023, ICLR, "Flow straight and fast", arXiv:2209.03003.
Source of the distribution of t: Esser et al. 2024, ICML, arXiv:2403.03206.
Source of the guidance: Ho and Salimans 2022, arXiv:2207.12598.

Input: labels (B,), records (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.blocks import COARSEST, KERNEL, PADDING, PATCH, Condition
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator

N_FREQUENCIES = 8  # of the Fourier features of t


class Block(nn.Module):
    """Two convolutions with a skip connection; the condition sets gain and bias of each channel."""

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(8, in_channels), in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, KERNEL, padding=PADDING)
        self.conv2 = nn.Conv2d(out_channels, out_channels, KERNEL, padding=PADDING)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.modulation = nn.Linear(width, 2 * out_channels)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, in_channels, 1, T), conditions (B, width) -> (B, out_channels, 1, T)."""
        gain, bias = self.modulation(w)[:, :, None, None].chunk(2, dim=1)  # each (B, out, 1, 1)
        h = self.conv1(F.silu(self.norm(x))) * (1 + gain) + bias
        y: Tensor = self.skip(x) + self.conv2(F.silu(h))
        return y


class VelocityNet(nn.Module):
    """A U-Net at a half, a quarter, an eighth and a sixteenth of the sampling rate.

    Label `n_classes` and record `n_records` mean "none".
    """

    frequencies: Tensor

    def __init__(
        self, *, n_channels: int, n_times: int, n_classes: int, n_records: int, hidden: int, beat_size: int | None
    ) -> None:
        super().__init__()
        self.n_times = n_times
        self.padded_times = -(-n_times // COARSEST) * COARSEST
        width = 4 * hidden
        self.condition = Condition(n_classes + 1, n_records + 1, width, beat_size)
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(N_FREQUENCIES), persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * N_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        half = hidden // 2
        self.first = nn.Conv2d(n_channels * PATCH, half, KERNEL, padding=PADDING)
        self.down = nn.ModuleList(
            [Block(half, half, width), Block(half, hidden, width), Block(hidden, 2 * hidden, width)]
        )
        self.middle = nn.ModuleList(Block(a * hidden, 4 * hidden, width) for a in (2, 4))
        self.up = nn.ModuleList(
            [Block(6 * hidden, 2 * hidden, width), Block(3 * hidden, hidden, width), Block(3 * half, half, width)]
        )
        self.last = nn.Conv2d(half, n_channels * PATCH, KERNEL, padding=PADDING)
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, t: Tensor, label: Tensor, record: Tensor) -> Tensor:
        """Noisy canvases (B, C+E, T), times t (B,), labels (B,), records (B,) -> velocities (B, C+E, T)."""
        angle = t[:, None] * self.frequencies  # (B, 8)
        w = F.silu(self.time(torch.cat([angle.sin(), angle.cos()], dim=1)) + self.condition(label, record))
        x = F.pad(x, (0, self.padded_times - self.n_times)).unflatten(2, (-1, PATCH))  # (B, C+E, T/2, 2)
        x = x.transpose(2, 3).flatten(1, 2).unsqueeze(2)  # (B, 2 (C+E), 1, T/2)
        h = self.first(x.contiguous(memory_format=torch.channels_last))  # (B, h/2, 1, T/2)
        skips = []  # (B, h/2, 1, T/2), (B, h, 1, T/4), (B, 2h, 1, T/8)
        for block in self.down:
            skips.append(block(h, w))
            h = F.avg_pool2d(skips[-1], (1, 2))
        for block in self.middle:
            h = block(h, w)  # (B, 4h, 1, T/16)
        for block in self.up:
            h = block(torch.cat([_upsample(h), skips.pop()], dim=1), w)  # (B, 2h, 1, T/8), ..., (B, h/2, 1, T/2)
        v: Tensor = self.last(F.silu(h)).squeeze(2).unflatten(1, (-1, PATCH))  # (B, C+E, 2, T/2)
        return v.transpose(2, 3).flatten(2)[:, :, : self.n_times]  # (B, C+E, T/2, 2) -> (B, C+E, T)


def _upsample(x: Tensor) -> Tensor:
    """(B, C, 1, T) -> (B, C, 1, 2 T)."""
    return F.interpolate(x, scale_factor=(1.0, 2.0), mode="nearest")


class RectifiedFlow(Generator):
    """Rectified flow with a U-Net.

    Args:
        canvas: converts beats to canvases and back.
        n_classes: number of classes.
        n_records: number of records.
        embedding: of the records: "record", a learned one, or "normal_beats".
        hidden: channels at a quarter of the sampling rate.
        steps: Euler steps of a sample.
        guidance: strength of the guidance; 1 means none.
        unconditional: fraction of the training beats without class and record.
    """

    update_order = ("velocity",)

    def __init__(
        self,
        *,
        canvas: Canvas,
        n_classes: int,
        n_records: int,
        embedding: str,
        hidden: int,
        steps: int,
        guidance: float,
        unconditional: float,
    ) -> None:
        super().__init__()
        self.canvas, self.n_classes, self.n_records = canvas, n_classes, n_records
        self.steps, self.guidance, self.unconditional = steps, guidance, unconditional
        self.velocity = VelocityNet(
            n_channels=canvas.n_total,
            n_times=canvas.n_times,
            n_classes=n_classes,
            n_records=n_records,
            hidden=hidden,
            beat_size=self.beat_size(canvas, embedding),
        )

    def sample(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,), records (B,) -> canvases (B, C+E, T)."""
        x = self._noise(label, rng)
        for i in range(self.steps):
            t = torch.full((len(label),), i / self.steps, device=label.device)
            x = x + self._guided_velocity(x, t, label, record).float() / self.steps
        return self.canvas.constrain(x)

    def loss(self, player: str, real: Tensor, label: Tensor, record: Tensor, step: int) -> dict[str, Tensor]:
        """Returns the mean squared error of the velocity."""
        noise = self._noise(label)
        t = torch.randn(len(real), device=real.device).sigmoid()
        dropped = torch.rand(len(real), device=real.device) < self.unconditional
        label, record = label.masked_fill(dropped, self.n_classes), record.masked_fill(dropped, self.n_records)
        weight = t[:, None, None]  # (B,) -> (B, 1, 1)
        v = self.velocity((1 - weight) * noise + weight * real, t, label, record).float()
        return {"loss": (v - (real - noise)).square().mean()}

    def _noise(self, label: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Returns noise (B, C+E, T); that of a scalar is constant along time."""
        c, n_times = self.canvas.n_channels, self.canvas.n_times
        signal = torch.randn(len(label), c, n_times, generator=rng, device=label.device)
        scalars = torch.randn(len(label), self.canvas.n_scalars, 1, generator=rng, device=label.device)
        return torch.cat([signal, scalars.expand(-1, -1, n_times)], dim=1)  # (B, E, 1) -> (B, E, T)

    def _guided_velocity(self, x: Tensor, t: Tensor, label: Tensor, record: Tensor) -> Tensor:
        v: Tensor = self.velocity(x, t, label, record)
        if self.guidance == 1:
            return v
        v_none: Tensor = self.velocity(
            x, t, torch.full_like(label, self.n_classes), torch.full_like(record, self.n_records)
        )
        return v_none + self.guidance * (v - v_none)
