"""The pieces that convolutional generators share.

Convolutions are (1, k) over (B, C, 1, T) in channels-last memory, as those of the classifiers and for the same reason.
No layer normalises: statistics of a batch or of a beat would tie beats together and hide their amplitude.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.canvas import Numbers

KERNEL = (1, 5)
PADDING = (0, 2)
PATCH = 4  # samples


class Condition(nn.Module):
    """What a beat is to be: a class and a style (the record it could have come from), as one vector (B, width)."""

    def __init__(self, n_classes: int, n_styles: int, width: int) -> None:
        super().__init__()
        self.of_class = nn.Embedding(n_classes, width)
        self.of_style = nn.Embedding(n_styles, width)

    def forward(self, label: Tensor, style: Tensor) -> Tensor:
        """Labels (B,) and styles (B,) -> (B, width)."""
        return self.of_class(label) + self.of_style(style)


class UpBlock(nn.Module):
    """Doubles the time axis, then a second convolution; the latent sets gain, bias and texture of a channel.

    The first convolution writes two samples for one, which costs less than to convolve an axis of doubled samples. The
    texture is white noise with a gain for each channel, which depends on the latent: recordings differ in how noisy
    they are (Karras et al. 2019, StyleGAN, arXiv:1812.04948, has one gain for all images).
    """

    def __init__(self, in_channels: int, out_channels: int, latent: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 2 * out_channels, (1, 3), padding=(0, 1))
        self.conv2 = nn.Conv2d(out_channels, out_channels, KERNEL, padding=PADDING)
        self.skip = nn.Conv2d(in_channels, 2 * out_channels, 1, bias=False)
        self.style = nn.Linear(latent, 3 * out_channels)

    def forward(self, x: Tensor, w: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(B, in, 1, T) and latents (B, latent) -> (B, out, 1, 2 T)."""
        gain, bias, texture = self.style(w)[:, :, None, None].chunk(3, dim=1)  # (B, out, 1, 1) each
        h = _spread(self.conv1(F.leaky_relu(x, 0.2)), 2)
        h = torch.addcmul(bias, h, 1 + gain)  # one pass through memory instead of two, as below
        h = self.conv2(F.leaky_relu(h, 0.2, inplace=True))
        return torch.addcmul(_spread(self.skip(x), 2).add_(h), texture, _white(h, rng))


def _spread(x: Tensor, n: int) -> Tensor:
    """(B, n C, 1, T) -> (B, C, 1, n T): channels become samples, without moving anything in channels-last memory."""
    b, channels, _, t = x.shape
    return x.permute(0, 2, 3, 1).reshape(b, 1, n * t, channels // n).permute(0, 3, 1, 2)


def _white(like: Tensor, rng: torch.Generator | None) -> Tensor:
    """One noise for all channels, (B, 1, 1, T)."""
    return torch.randn(len(like), 1, 1, like.shape[3], generator=rng, device=like.device, dtype=like.dtype)


class DownBlock(nn.Module):
    """Two convolutions with a skip, the second with stride 2: (B, in, 1, T) -> (B, out, 1, T / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, KERNEL, padding=PADDING)
        self.conv2 = nn.Conv2d(in_channels, out_channels, (1, 4), stride=(1, 2), padding=(0, 1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        h = self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))
        return (self.skip(F.avg_pool2d(x, (1, 2))) + h) * math.sqrt(0.5)


class Clocks(nn.Module):
    """Adds to each channel a function of time on clocks that the latent sets: (B, channels, 1, T) -> the same.

    A beat's second half moves with its RR interval. A convolution cannot move a shape by an amount that differs from
    beat to beat; clocks that start and tick by the latent can.
    """

    frequencies: Tensor

    def __init__(self, channels: int, latent: int, n_clocks: int = 4, n_frequencies: int = 5) -> None:
        super().__init__()
        self.set = nn.Linear(latent, 2 * n_clocks)
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(n_frequencies), persistent=False)
        self.mix = nn.Conv2d(2 * n_clocks * n_frequencies, channels, 1, bias=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """See the class; latents are (B, latent)."""
        # Bounded: the faster a clock ticks, the larger its gradient, and an unbounded one drowns all others.
        start, rate = self.set(w).float().tanh()[:, :, None].chunk(2, dim=1)  # (B, clocks, 1) each
        at = torch.linspace(0, 1, x.shape[3], device=x.device)
        angle = ((at - start) * 2**rate)[:, :, None] * self.frequencies[:, None]  # (B, clocks, frequencies, T)
        waves = torch.cat([angle.sin(), angle.cos()], dim=1).flatten(1, 2).unsqueeze(2)  # (B, 2 clocks f, 1, T)
        return x + self.mix(waves.contiguous(memory_format=torch.channels_last).to(x.dtype))


class Interference(nn.Module):
    """White noise and sines of random phase whose heights the latent sets: (B, latent) -> (B, channels, T).

    Recordings hold muscle noise, and the hum of the power line and of the tape that they were kept on: thin lines of
    the spectrum, which convolutions cannot draw. The frequencies are 1/48 to 24/48 of the sampling rate; at 120 Hz, 25,
    30, 50 and 60 Hz are among them.
    """

    waves: Tensor

    def __init__(self, channels: int, n_times: int, latent: int, n_frequencies: int = 24) -> None:
        super().__init__()
        self.channels, self.n_times = channels, n_times
        self.heights = nn.Linear(latent, channels * (n_frequencies + 1))  # the last is that of the noise
        with torch.no_grad():
            self.heights.weight *= 0.1
            self.heights.bias.fill_(0.01)
        frequency = torch.arange(1, n_frequencies + 1)[:, None] / (2 * n_frequencies)
        angle = 2 * math.pi * frequency * torch.arange(n_times)  # (frequencies, T)
        self.register_buffer("waves", torch.cat([angle.sin(), angle.cos()]), persistent=False)

    def forward(self, w: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """See the class."""
        heights = self.heights(w).float().unflatten(1, (self.channels, -1))  # (B, channels, frequencies + 1)
        lines, floor = heights[:, :, :-1], heights[:, :, -1:]
        phase = 2 * math.pi * torch.rand(len(w), 1, lines.shape[2], generator=rng, device=w.device)
        hum = torch.cat([lines * phase.cos(), lines * phase.sin()], dim=2) @ self.waves  # (B, channels, T)
        return hum + floor * torch.randn(hum.shape, generator=rng, device=w.device)


class ConvGenerator(nn.Module):
    """Noise, class and style -> what a canvas is finished from; numbers of the whole beat come from `Numbers`.

    Most of the work is done at a quarter of the sampling rate, where a step costs a third; the last two layers
    write four samples at a time and smooth the seams.

    Args:
        channels: channels of the signal, C.
        n_numbers: numbers of the whole beat, E.
        n_times: samples of a beat, T.
        n_classes: number of classes.
        n_styles: number of styles.
        latent: width of the noise.
        hidden: channels at a quarter of the rate; they double twice towards the coarsest level.
    """

    def __init__(
        self,
        channels: int,
        n_numbers: int,
        n_times: int,
        n_classes: int,
        n_styles: int,
        *,
        latent: int = 64,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.n_times, self.latent = n_times, latent
        self.numbers = Numbers(n_numbers, n_classes, n_styles)
        self.first = -(-n_times // (4 * PATCH))  # samples at the coarsest level
        self.condition = Condition(n_classes, n_styles, latent)
        width = 4 * latent
        given = 2 * latent + n_numbers
        self.mapping = nn.Sequential(nn.Linear(given, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.start = nn.Linear(width, 4 * hidden * self.first)
        self.clocks1, self.clocks2 = Clocks(4 * hidden, width), Clocks(2 * hidden, width)
        self.block1 = UpBlock(4 * hidden, 2 * hidden, width)
        self.block2 = UpBlock(2 * hidden, hidden, width)
        self.patch = nn.Conv2d(hidden, 16 * PATCH, KERNEL, padding=PADDING)
        self.texture = nn.Linear(width, 16)
        self.last = nn.Conv2d(16, channels, (1, 9), padding=(0, 4))
        self.interference = Interference(channels, n_times, width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) and styles (B,) -> (B, C + E, T)."""
        z = torch.randn(len(label), self.latent, generator=rng, device=label.device)
        numbers = self.numbers(label, style, rng)  # (B, E)
        w = self.mapping(torch.cat([z, self.condition(label, style), numbers], dim=1))  # (B, 4 latent)
        x = self.start(w).reshape(len(label), 1, self.first, -1).permute(0, 3, 1, 2)
        x = self.block1(self.clocks1(x, w), w, rng)  # (B, 2 hidden, 1, T / 8)
        x = self.block2(self.clocks2(x, w), w, rng)  # (B, hidden, 1, T / 4)
        x = _spread(self.patch(F.leaky_relu(x, 0.2, inplace=True)), PATCH)  # (B, 16, 1, T)
        x = torch.addcmul(x, self.texture(w)[:, :, None, None], _white(x, rng))
        drawn = self.last(F.leaky_relu(x, 0.2, inplace=True))[:, :, 0, : self.n_times]
        signal = drawn.float() + self.interference(w, rng)
        return torch.cat([signal, numbers[:, :, None].expand(-1, -1, self.n_times)], dim=1)


class ConvCritic(nn.Module):
    """Canvas, class and style -> how real it looks, (B,).

    The condition enters as a projection (Miyato and Koyama 2018, ICLR, arXiv:1802.05637).

    Args:
        channels: channels of the canvas.
        n_times: samples of a beat, T.
        n_classes: number of classes.
        n_styles: number of styles.
        hidden: channels at a quarter of the rate; they double twice.
    """

    def __init__(self, channels: int, n_times: int, n_classes: int, n_styles: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.n_times = -(-n_times // (4 * PATCH)) * 4 * PATCH
        self.first = nn.Conv2d(channels, hidden, (1, PATCH), stride=(1, PATCH))
        self.blocks = nn.Sequential(DownBlock(hidden, 2 * hidden), DownBlock(2 * hidden, 4 * hidden))
        width = 4 * hidden
        self.features = nn.Linear(width * (self.n_times // (4 * PATCH)), width)
        self.score = nn.Linear(width, 1)
        self.condition = Condition(n_classes, n_styles, width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, canvas: Tensor, label: Tensor, style: Tensor) -> Tensor:
        """Canvas (B, channels, T), labels (B,), styles (B,) -> (B,)."""
        x = F.pad(canvas, (0, self.n_times - canvas.shape[2]), mode="replicate").unsqueeze(2)
        x = self.blocks(self.first(x.contiguous(memory_format=torch.channels_last)))  # (B, 4 hidden, 1, T / 16)
        h = F.leaky_relu(self.features(F.leaky_relu(x, 0.2).flatten(1)), 0.2)  # (B, 4 hidden)
        by_condition = (h * self.condition(label, style)).sum(dim=1) / math.sqrt(h.shape[1])
        return self.score(h)[:, 0] + by_condition
