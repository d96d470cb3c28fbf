"""Rectified flow: a network learns the velocity that carries noise to beats in straight lines.

    x_t = (1 - t) noise + t beat,      loss  E |v(x_t, t) - (beat - noise)|^2,      t by a logit-normal

Beats are drawn by Euler steps from t = 0 to 1. A share of the training beats has neither class nor style, so that the
network knows both velocities and the drawing can be guided: v = v_none + guidance (v_condition - v_none).

Sources: Liu et al. 2023, ICLR, "Flow straight and fast", arXiv:2209.03003; the times: Esser et al. 2024, ICML,
arXiv:2403.03206; the guidance: Ho and Salimans 2022, arXiv:2207.12598.

Input: labels (B,), styles (B,). Output: canvases (B, C + E, T).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.blocks import KERNEL, PADDING, PATCH, Condition
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator


class Block(nn.Module):
    """Two convolutions with a skip; the condition sets gain and bias: (B, in, 1, T) -> (B, out, 1, T)."""

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, KERNEL, padding=PADDING)
        self.conv2 = nn.Conv2d(out_channels, out_channels, KERNEL, padding=PADDING)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.style = nn.Linear(width, 2 * out_channels)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """See the class; conditions are (B, width)."""
        gain, bias = self.style(w)[:, :, None, None].chunk(2, dim=1)  # (B, out, 1, 1) each
        h = self.conv1(F.silu(self.norm(x))) * (1 + gain) + bias
        return self.skip(x) + self.conv2(F.silu(h))


class Velocity(nn.Module):
    """A U-Net over a quarter, an eighth and a sixteenth of the sampling rate.

    The last class and the last style stand for "none".
    """

    frequencies: Tensor

    def __init__(self, channels: int, n_times: int, n_classes: int, n_styles: int, hidden: int) -> None:
        super().__init__()
        self.n_times = n_times
        self.padded = -(-n_times // (4 * PATCH)) * 4 * PATCH
        width = 4 * hidden
        self.condition = Condition(n_classes + 1, n_styles + 1, width)
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(8), persistent=False)
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.first = nn.Conv2d(channels * PATCH, hidden, KERNEL, padding=PADDING)
        self.down1, self.down2 = Block(hidden, hidden, width), Block(hidden, 2 * hidden, width)
        self.middle = nn.ModuleList(Block(a * hidden, 4 * hidden, width) for a in (2, 4))
        self.up2, self.up1 = Block(6 * hidden, 2 * hidden, width), Block(3 * hidden, hidden, width)
        self.last = nn.Conv2d(hidden, channels * PATCH, KERNEL, padding=PADDING)
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, t: Tensor, label: Tensor, style: Tensor) -> Tensor:
        """Noisy canvases (B, C+E, T), times (B,), labels (B,), styles (B,) -> velocities (B, C+E, T)."""
        angle = t[:, None] * self.frequencies  # (B, 8)
        w = F.silu(self.time(torch.cat([angle.sin(), angle.cos()], dim=1)) + self.condition(label, style))
        x = F.pad(x, (0, self.padded - self.n_times)).unflatten(2, (-1, PATCH))  # (B, C+E, T/4, 4)
        x = x.transpose(2, 3).flatten(1, 2).unsqueeze(2)  # (B, (C+E) 4, 1, T/4)
        h1 = self.down1(self.first(x.contiguous(memory_format=torch.channels_last)), w)  # (B, h, 1, T/4)
        h2 = self.down2(F.avg_pool2d(h1, (1, 2)), w)  # (B, 2h, 1, T/8)
        h = F.avg_pool2d(h2, (1, 2))
        for block in self.middle:
            h = block(h, w)  # (B, 4h, 1, T/16)
        h = self.up2(torch.cat([_double(h), h2], dim=1), w)  # (B, 2h, 1, T/8)
        h = self.up1(torch.cat([_double(h), h1], dim=1), w)  # (B, h, 1, T/4)
        v = self.last(F.silu(h)).squeeze(2).unflatten(1, (-1, PATCH))  # (B, C+E, 4, T/4)
        return v.transpose(2, 3).flatten(2)[:, :, : self.n_times]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=(1.0, 2.0), mode="nearest")


class RectifiedFlow(Generator):
    """The velocity network, its loss and the drawing.

    Args:
        canvas: what is drawn on.
        n_classes: number of classes.
        n_styles: number of styles.
        hidden: channels at a quarter of the sampling rate.
        steps: Euler steps of a drawing.
        guidance: 1 draws from the condition as it was learnt; more exaggerates it.
        unconditional: share of the training beats without class and style.
    """

    turns = ("velocity",)

    def __init__(
        self,
        canvas: Canvas,
        n_classes: int,
        n_styles: int,
        *,
        hidden: int = 64,
        steps: int = 32,
        guidance: float = 1.0,
        unconditional: float = 0.1,
    ) -> None:
        super().__init__()
        self.canvas, self.n_classes, self.n_styles = canvas, n_classes, n_styles
        self.steps, self.guidance, self.unconditional = steps, guidance, unconditional
        self.velocity = Velocity(canvas.channels, canvas.n_times, n_classes, n_styles, hidden)

    def sample(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) and styles (B,) -> canvases (B, C+E, T)."""
        x = self._noise(label, rng)
        for i in range(self.steps):
            t = torch.full((len(label),), i / self.steps, device=label.device)
            x = x + self._guided(x, t, label, style).float() / self.steps
        return self.canvas.finish(x)

    def loss(self, turn: str, real: Tensor, label: Tensor, style: Tensor, step: int) -> dict[str, Tensor]:
        """The loss on canvases (B, C+E, T)."""
        noise = self._noise(label)
        t = torch.randn(len(real), device=real.device).sigmoid()
        dropped = torch.rand(len(real), device=real.device) < self.unconditional
        label, style = label.masked_fill(dropped, self.n_classes), style.masked_fill(dropped, self.n_styles)
        at = t[:, None, None]
        v = self.velocity((1 - at) * noise + at * real, t, label, style).float()
        return {"loss": (v - (real - noise)).square().mean()}

    def _noise(self, label: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(B, C+E, T); what is one number for the whole beat has one noise."""
        c, n_times = self.canvas.n_channels, self.canvas.n_times
        noise = torch.randn(len(label), c, n_times, generator=rng, device=label.device)
        numbers = torch.randn(len(label), self.canvas.n_numbers, 1, generator=rng, device=label.device)
        return torch.cat([noise, numbers.expand(-1, -1, n_times)], dim=1)

    def _guided(self, x: Tensor, t: Tensor, label: Tensor, style: Tensor) -> Tensor:
        v = self.velocity(x, t, label, style)
        if self.guidance == 1:
            return v
        none = self.velocity(x, t, torch.full_like(label, self.n_classes), torch.full_like(style, self.n_styles))
        return none + self.guidance * (v - none)
