"""The parts that the convolutional generators share.

The convolutions have (1, k) kernels on (B, C, 1, T) tensors in channels-last memory format, for the reason given in
`ecg.models.blocks`. There are no normalisation layers: statistics of a batch make its beats depend on one another, and
statistics of a beat remove its amplitude.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.generators.bootstrap import ScalarBootstrap
from ecg.generators.canvas import Canvas
from ecg.generators.normal_beats import NormalBeats

KERNEL = (1, 5)
PADDING = (0, 2)
PATCH = 2  # samples that the outermost layers process at once
COARSEST = 8 * PATCH  # samples for each position at the coarsest level, after three further halvings
SHIFT_TAPS = 8  # samples that a shifted sample depends on, next to its own
OUTPUT_CHANNELS = 16  # of the generator at the full sampling rate


class Condition(nn.Module):
    """Embeds class and record of a beat: labels (B,), records (B,) -> (B, width).

    Args:
        n_classes: number of classes.
        n_records: number of records.
        width: width of the embedding.
        beat_size: values of a beat, C T, to embed a record by its normal beats; None to learn an embedding of each.
    """

    def __init__(self, n_classes: int, n_records: int, width: int, beat_size: int | None = None) -> None:
        super().__init__()
        self.class_embedding = nn.Embedding(n_classes, width)
        self.record_embedding: nn.Module = nn.Embedding(n_records, width)
        if beat_size is not None:
            self.record_embedding = NormalBeats(n_records, beat_size, width)

    def forward(self, label: Tensor, record: Tensor) -> Tensor:
        """Labels (B,), records (B,) -> (B, width)."""
        embedding: Tensor = self.class_embedding(label) + self.record_embedding(record)
        return embedding


class UpBlock(nn.Module):
    """Doubles the sampling rate, with a skip connection; the latent vector modulates the channels.

    The first convolution computes two output samples for each input sample, which is faster than a convolution at the
    doubled rate. The modulation sets a gain, a bias and the gain of added white noise for each channel. The noise gain
    depends on the latent vector, because recordings differ in noise; in StyleGAN it is constant.

    Source of the modulation and the noise: Karras et al. 2019, CVPR, arXiv:1812.04948.
    """

    def __init__(self, in_channels: int, out_channels: int, latent: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 2 * out_channels, (1, 3), padding=(0, 1))
        self.conv2 = nn.Conv2d(out_channels, out_channels, KERNEL, padding=PADDING)
        self.skip = nn.Conv2d(in_channels, 2 * out_channels, 1, bias=False)
        self.modulation = nn.Linear(latent, 3 * out_channels)

    def forward(self, x: Tensor, w: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """(B, in_channels, 1, T), latent vectors (B, latent) -> (B, out_channels, 1, 2 T)."""
        gain, bias, noise_gain = self.modulation(w)[:, :, None, None].chunk(3, dim=1)  # each (B, out, 1, 1)
        h = channels_to_time(self.conv1(F.leaky_relu(x, 0.2)), 2)  # (B, 2 out, 1, T) -> (B, out, 1, 2 T)
        h = torch.addcmul(bias, h, 1 + gain)  # addcmul reads memory once instead of twice
        h = self.conv2(F.leaky_relu(h, 0.2, inplace=True))
        skip = channels_to_time(self.skip(x), 2)  # (B, 2 out, 1, T) -> (B, out, 1, 2 T)
        return torch.addcmul(skip.add_(h), noise_gain, shared_noise(h, rng))


class DownBlock(nn.Module):
    """Halves the sampling rate with two convolutions and a skip connection."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, KERNEL, padding=PADDING)
        self.conv2 = nn.Conv2d(in_channels, out_channels, (1, 4), stride=(1, 2), padding=(0, 1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, 1, T) -> (B, out_channels, 1, T / 2)."""
        h = self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))
        y: Tensor = (self.skip(F.avg_pool2d(x, (1, 2))) + h) * math.sqrt(0.5)
        return y


class FourierFeatures(nn.Module):
    """Adds Fourier features of time to the channels; the latent vector sets the offset and rate of each time axis.

    The T wave moves with the RR interval. A convolution cannot shift a waveform by an amount that differs from beat to
    beat. Time axes that depend on the latent vector make such shifts possible.

    Source of the features: Tancik et al. 2020, NeurIPS, arXiv:2006.10739.
    """

    frequencies: Tensor

    def __init__(self, channels: int, latent: int, n_axes: int = 4, n_frequencies: int = 5) -> None:
        super().__init__()
        self.axes = nn.Linear(latent, 2 * n_axes)
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(n_frequencies), persistent=False)
        self.mix = nn.Conv2d(2 * n_axes * n_frequencies, channels, 1, bias=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, channels, 1, T), latent vectors (B, latent) -> (B, channels, 1, T)."""
        # tanh limits the rate: the gradient grows with it, and a large one would dominate all others.
        offset, rate = self.axes(w).float().tanh()[:, :, None].chunk(2, dim=1)  # each (B, axes, 1)
        time = torch.linspace(0, 1, x.shape[3], device=x.device)  # (T,)
        angle = ((time - offset) * 2**rate)[:, :, None] * self.frequencies[:, None]  # (B, axes, frequencies, T)
        waves = torch.cat([angle.sin(), angle.cos()], dim=1)  # (B, 2 axes, frequencies, T)
        waves = waves.flatten(1, 2).unsqueeze(2)  # (B, 2 axes frequencies, 1, T)
        y: Tensor = x + self.mix(waves.contiguous(memory_format=torch.channels_last).to(x.dtype))
        return y


class Interference(nn.Module):
    """White noise and sines of random phase; the latent vector sets their amplitudes.

    Recordings contain muscle noise, power-line hum and the hum of the tape recorder. Convolutions cannot generate such
    narrow spectral lines. The frequencies are 1/48 to 24/48 of the sampling rate. At 120 Hz they include 25, 30, 50 and
    60 Hz.
    """

    sines: Tensor

    def __init__(self, channels: int, n_times: int, latent: int, n_frequencies: int = 24) -> None:
        super().__init__()
        self.channels, self.n_times = channels, n_times
        self.amplitudes = nn.Linear(latent, channels * (n_frequencies + 1))  # of each channel, the last is the noise's
        with torch.no_grad():
            self.amplitudes.weight *= 0.1
            self.amplitudes.bias.fill_(0.01)
        frequency = torch.arange(1, n_frequencies + 1)[:, None] / (2 * n_frequencies)
        angle = 2 * math.pi * frequency * torch.arange(n_times)  # (frequencies, T)
        self.register_buffer("sines", torch.cat([angle.sin(), angle.cos()]), persistent=False)  # (2 frequencies, T)

    def forward(self, w: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Latent vectors (B, latent) -> (B, channels, T)."""
        amplitudes = self.amplitudes(w).float().unflatten(1, (self.channels, -1))  # (B, channels, frequencies + 1)
        hum_amplitude, noise_amplitude = amplitudes[:, :, :-1], amplitudes[:, :, -1:]
        phase = 2 * math.pi * torch.rand(len(w), 1, hum_amplitude.shape[2], generator=rng, device=w.device)
        weights = torch.cat([hum_amplitude * phase.cos(), hum_amplitude * phase.sin()], dim=2)
        hum: Tensor = weights @ self.sines  # (B, channels, 2 frequencies) @ (2 frequencies, T) -> (B, channels, T)
        noise: Tensor = noise_amplitude * torch.randn(hum.shape, generator=rng, device=w.device)
        return hum + noise


class ConvGenerator(nn.Module):
    """Generates the signal of a beat with convolutions, given its scalars.

    Most layers work at half of the sampling rate or less, where a step takes less time. The last two layers compute
    pairs of samples and smooth the transitions between them. Then the signal is shifted by a random fraction of a
    sample: the R peak of a real beat lies between two samples, and the steep samples next to it vary accordingly.

    Args:
        canvas: gives the shape of the beats.
        n_classes: number of classes.
        n_records: number of records.
        latent: width of the noise.
        hidden: channels at a quarter of the sampling rate; halved at a half, and doubled at an eighth and a sixteenth.
        beat_size: see `Condition`.
    """

    def __init__(
        self, *, canvas: Canvas, n_classes: int, n_records: int, latent: int, hidden: int, beat_size: int | None
    ) -> None:
        super().__init__()
        self.n_times, self.latent = canvas.n_times, latent
        self.scalars = ScalarBootstrap(n_scalars=canvas.n_scalars, n_classes=n_classes, n_records=n_records)
        self.n_coarse = -(-canvas.n_times // COARSEST)  # samples at the coarsest level
        self.condition = Condition(n_classes, n_records, latent, beat_size)
        width = 4 * latent
        n_inputs = 2 * latent + canvas.n_scalars + 1
        self.mapping = nn.Sequential(nn.Linear(n_inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.start = nn.Linear(width, 4 * hidden * self.n_coarse)
        self.time1, self.time2 = FourierFeatures(4 * hidden, width), FourierFeatures(2 * hidden, width)
        self.block1 = UpBlock(4 * hidden, 2 * hidden, width)
        self.block2 = UpBlock(2 * hidden, hidden, width)
        self.block3 = UpBlock(hidden, hidden // 2, width)
        self.patch = nn.Conv2d(hidden // 2, OUTPUT_CHANNELS * PATCH, KERNEL, padding=PADDING)
        self.noise_gain = nn.Linear(width, OUTPUT_CHANNELS)
        self.last = nn.Conv2d(OUTPUT_CHANNELS, canvas.n_channels, (1, 9), padding=(0, 4))
        self.shift = nn.Linear(width, 1)
        self.interference = Interference(canvas.n_channels, canvas.n_times, width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,), records (B,) -> canvases (B, C+E, T) that need not meet the constraints of the window."""
        z = torch.randn(len(label), self.latent, generator=rng, device=label.device)
        scalars = self.scalars(label, record, rng)  # (B, E)
        phase = torch.rand(len(label), 1, generator=rng, device=label.device) - 0.5  # (B, 1) of a sample
        w = self.mapping(torch.cat([z, self.condition(label, record), scalars, phase], dim=1))  # (B, 4 latent)
        x = self.start(w).reshape(len(label), 1, self.n_coarse, -1)  # (B, 1, T / 16, 4 hidden)
        x = x.permute(0, 3, 1, 2)  # (B, 4 hidden, 1, T / 16)
        x = self.block1(self.time1(x, w), w, rng)  # (B, 2 hidden, 1, T / 8)
        x = self.block2(self.time2(x, w), w, rng)  # (B, hidden, 1, T / 4)
        x = self.block3(x, w, rng)  # (B, hidden / 2, 1, T / 2)
        x = channels_to_time(self.patch(F.leaky_relu(x, 0.2, inplace=True)), PATCH)  # (B, 16, 1, T)
        x = torch.addcmul(x, self.noise_gain(w)[:, :, None, None], shared_noise(x, rng))
        waveform = self.last(F.leaky_relu(x, 0.2, inplace=True))[:, :, 0].float()  # (B, C, T'), T' >= T
        shift = phase + self.shift(w).float().tanh() / 2  # (B, 1) in [-1, 1]
        signal = shifted(waveform, shift, self.n_times) + self.interference(w, rng)
        return torch.cat([signal, scalars[:, :, None].expand(-1, -1, self.n_times)], dim=1)  # (B, E) -> (B, E, T)


def shifted(x: Tensor, shift: Tensor, n_times: int) -> Tensor:
    """Interpolates signals with a windowed sinc: (B, C, T'), shifts (B, 1) in [-1, 1] samples -> (B, C, n_times).

    Sample i of the result is the signal at i + SHIFT_TAPS / 2 + shift. The last sample of the signal is repeated as
    often as needed.
    """
    taps = torch.arange(SHIFT_TAPS + 1, device=x.device)
    distance = taps - SHIFT_TAPS / 2 - shift  # (B, SHIFT_TAPS + 1)
    window = torch.cos(math.pi * distance / (SHIFT_TAPS + 4)).square()  # near 0 at the outermost taps
    kernel = torch.sinc(distance) * window
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # a constant signal stays the same
    x = F.pad(x, (0, max(0, n_times + SHIFT_TAPS - x.shape[2])), mode="replicate")
    neighbours = x[:, :, : n_times + SHIFT_TAPS].unfold(2, SHIFT_TAPS + 1, 1)  # (B, C, n_times, SHIFT_TAPS + 1)
    return torch.einsum("bctk,bk->bct", neighbours, kernel)


class ConvCritic(nn.Module):
    """Scores canvases with convolutions; real ones should score higher. Class and record enter by projection.

    Source of the projection: Miyato and Koyama 2018, ICLR, arXiv:1802.05637.

    Args:
        in_channels: channels of the canvases.
        n_times: samples of a beat, T.
        n_classes: number of classes.
        n_records: number of records.
        hidden: channels at a quarter of the sampling rate; halved at a half, and doubled at an eighth and a sixteenth.
        beat_size: see `Condition`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        n_times: int,
        n_classes: int,
        n_records: int,
        hidden: int,
        beat_size: int | None,
    ) -> None:
        super().__init__()
        n_coarse = -(-n_times // COARSEST)  # samples at the coarsest level
        self.padded_times = n_coarse * COARSEST
        self.first = nn.Conv2d(in_channels, hidden // 2, (1, 6), stride=(1, PATCH), padding=(0, 2))
        self.blocks = nn.Sequential(
            DownBlock(hidden // 2, hidden), DownBlock(hidden, 2 * hidden), DownBlock(2 * hidden, 4 * hidden)
        )
        width = 4 * hidden
        self.features = nn.Linear(width * n_coarse, width)
        self.score = nn.Linear(width, 1)
        self.condition = Condition(n_classes, n_records, width, beat_size)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, canvas: Tensor, label: Tensor, record: Tensor) -> Tensor:
        """Canvases (B, in_channels, T), labels (B,), records (B,) -> scores (B,)."""
        x = F.pad(canvas, (0, self.padded_times - canvas.shape[2]), mode="replicate")
        x = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, in_channels, 1, T)
        x = self.blocks(self.first(x))  # (B, 4 hidden, 1, T / 16)
        x = F.leaky_relu(x, 0.2).flatten(1)  # (B, 4 hidden T / 16)
        h = F.leaky_relu(self.features(x), 0.2)  # (B, 4 hidden)
        projection = (h * self.condition(label, record)).sum(dim=1) / math.sqrt(h.shape[1])  # (B,)
        score: Tensor = self.score(h)[:, 0] + projection
        return score


def channels_to_time(x: Tensor, n: int) -> Tensor:
    """Moves channels to the time axis (1D pixel shuffle): (B, n C, 1, T) -> (B, C, 1, n T).

    In channels-last memory format no data is copied.
    """
    b, channels, _, n_times = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, 1, n * n_times, channels // n)  # (B, 1, T, n C) -> (B, 1, n T, C)
    return x.permute(0, 3, 1, 2)  # (B, C, 1, n T)


def shared_noise(like: Tensor, rng: torch.Generator | None) -> Tensor:
    """Returns white noise (B, 1, 1, T) for all channels of a tensor (B, C, 1, T)."""
    return torch.randn(len(like), 1, 1, like.shape[3], generator=rng, device=like.device, dtype=like.dtype)
