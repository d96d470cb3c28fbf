"""What generators draw on: a beat with everything the window says of it, as one tensor (B, C + E, T).

The first C channels are the signal. Behind them stand E numbers that belong to the whole beat, each as a channel of
one value repeated over time, so that a convolution sees them next to every sample:

kaggle     E = 2: the beat's length, and the logarithm of how many steps of the converter it spans. Behind its length a
           beat is exactly zero, before it it spans exactly [0, 1], in whole steps.
centered   E = 5: the logarithms of the RR intervals from which `beats.RR_FEATURES` follow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.data.beats import RR_FEATURES

RR_ROOTS = ("previous RR in s", "next RR in s", "local mean in s", "record mean in s", "local irregularity")
SHORTEST = 2.0  # samples of a padded beat
STEPS = (16.0, 4096.0)  # fewest and most that a padded beat spans; MIT-BIH's converter has 2048
SHARPNESS = 2.0  # samples; width of the soft edge that carries the gradient of the length
MAGNIFIED = 0.25  # of the usual detail in the eyes of a critic; a beat has 1
SMALLEST = 0.05  # scale, where all training beats are alike
KEPT = 128  # sets of numbers of each class and style
SMOOTHING = 0.2  # of their standard deviation
FLOOR = 1e-3  # of a quantity whose logarithm is taken: irregularity can be 0


class Canvas(nn.Module):
    """Turns beats into canvases and canvases into beats; knows scales and, of padded beats, the length.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T.
        n_rr: RR features, 8 or 0.
        padded: whether beats end in zeros and span [0, 1], as those of the window kaggle.
    """

    offset: Tensor
    scale: Tensor
    grain: Tensor

    def __init__(self, n_channels: int, n_times: int, n_rr: int, padded: bool) -> None:
        super().__init__()
        self.n_channels, self.n_times, self.n_rr, self.padded = n_channels, n_times, n_rr, padded
        self.n_numbers = 2 * int(padded) + (len(RR_ROOTS) if n_rr else 0)
        n = n_channels + self.n_numbers
        self.register_buffer("offset", torch.zeros(n))  # (C+E,)
        self.register_buffer("scale", torch.ones(n))  # (C+E,)
        self.register_buffer("grain", torch.ones(n_channels))  # (C,) size of the detail that `magnified` magnifies

    @property
    def channels(self) -> int:
        """C + E."""
        return self.n_channels + self.n_numbers

    def fit(self, signal: Tensor, rr: Tensor) -> None:
        """Takes offset and scale from training beats: signals (n, C, T), RR features (n, R)."""
        numbers = self._numbers(signal, rr)  # (n, E)
        if self.padded:
            centre, spread = torch.full((self.n_channels,), 0.5), torch.full((self.n_channels,), 0.5)
        else:
            centre, spread = torch.zeros(self.n_channels), signal.std(dim=(0, 2))
        self.offset.copy_(torch.cat([centre, numbers.mean(dim=0)]))
        self.scale.copy_(torch.cat([spread, numbers.std(dim=0)]).clamp_min(SMALLEST))
        some = slice(None, None, 1 + len(signal) // 10_000)
        detail = _detail(self.encode(signal[some], rr[some])[:, : self.n_channels]).abs()  # (m, C, T)
        inside = (signal[some] != 0).any(dim=1) | (not self.padded)  # (m, T)
        grain = [detail[:, c][inside].median() for c in range(self.n_channels)]
        self.grain.copy_(torch.stack(grain).clamp_min(1e-6))

    def encode(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T) and RR features (B, R) -> canvas (B, C+E, T)."""
        numbers = self._numbers(signal, rr)[..., None].expand(-1, -1, self.n_times)  # (B, E, T)
        return (torch.cat([signal, numbers], dim=1) - self.offset[:, None]) / self.scale[:, None]

    def finish(self, drawn: Tensor) -> Tensor:
        """Makes what a network drew (B, C+E, T) obey the window; differentiable.

        Each number becomes constant over time. A padded beat is stretched to [0, 1] up to its length, rounded to steps
        of the converter, and zero behind it; gradients pass the rounding, that of the length through a soft edge.
        """
        drawn = drawn.float()
        signal = drawn[:, : self.n_channels]
        numbers = drawn[:, self.n_channels :].mean(dim=2, keepdim=True)  # (B, E, 1)
        if self.padded:
            own = slice(self.n_channels, self.n_channels + 2)
            offset, scale = self.offset[own, None], self.scale[own, None]
            length, steps = (numbers[:, :2] * scale + offset).split(1, dim=1)  # (B, 1, 1) each
            length = _rounded(length.clamp(SHORTEST, self.n_times))
            steps = _rounded(steps.exp().clamp(*STEPS))
            signal = self._pad(signal, length, steps.detach())
            numbers = torch.cat([(torch.cat([length, steps.log()], dim=1) - offset) / scale, numbers[:, 2:]], dim=1)
        return torch.cat([signal, numbers.expand(-1, -1, self.n_times)], dim=1)

    def magnified(self, canvas: Tensor) -> Tensor:
        """Canvas (B, C+E, T) -> the same with its fine detail as C more channels, for critics.

        Noise and hum are a hundred times smaller than a QRS complex. A critic whose gradient is penalised does not see
        them, and a classifier does.
        """
        return torch.cat([canvas, self.texture(canvas)], dim=1)

    def texture(self, canvas: Tensor) -> Tensor:
        """Canvas (B, C+E, T) -> the fine detail of its signal (B, C, T), in units of what is usual."""
        detail = _detail(canvas[:, : self.n_channels]) / self.grain[:, None]
        return MAGNIFIED * torch.asinh(detail)  # a complex would be far too large without

    def decode(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Finished canvas (B, C+E, T) -> signals (B, C, T) and RR features (B, R)."""
        canvas = canvas * self.scale[:, None] + self.offset[:, None]
        signal = canvas[:, : self.n_channels]
        if self.padded:
            signal = signal.clamp(0, 1)
        roots = canvas[:, self.n_channels + 2 * int(self.padded) :, 0]  # (B, 5) or (B, 0)
        return signal, _features(roots) if self.n_rr else roots

    def _numbers(self, signal: Tensor, rr: Tensor) -> Tensor:
        """(B, E), in natural units."""
        parts = [torch.stack([beat_length(signal), converter_steps(signal).log()], dim=1)] if self.padded else []
        return torch.cat([*parts, _roots(rr)], dim=1) if self.n_rr else torch.cat([*parts, signal[:, 0, :0]], dim=1)

    def _pad(self, signal: Tensor, length: Tensor, steps: Tensor) -> Tensor:
        """Signals (B, C, T) in [-1, 1], whole lengths and steps (B, 1, 1) -> signals that span it, and end in -1."""
        at = torch.arange(self.n_times, device=signal.device)
        inside = at < length  # (B, 1, T)
        low = signal.masked_fill(~inside, torch.inf).amin(dim=2, keepdim=True)
        high = signal.masked_fill(~inside, -torch.inf).amax(dim=2, keepdim=True)
        # A beat that is cut off at the end of the window may have its extremes behind the cut.
        whole = (length < self.n_times) & (high - low > 1e-2)
        stretched = 2 * (signal - low) / torch.where(whole, high - low, 1.0) - 1
        signal = torch.where(whole, stretched, signal.clamp(-1, 1))
        signal = 2 * _rounded((signal + 1) / 2 * steps) / steps - 1
        soft = torch.sigmoid((length - 0.5 - at) / SHARPNESS)  # (B, 1, T)
        mask = inside + soft - soft.detach()  # the value of the hard edge, the gradient of the soft one
        return (signal + 1) * mask - 1


class Numbers(nn.Module):
    """The numbers of whole beats, drawn close to those of training beats of the same class and style.

    A length or an RR interval is known exactly, and a network that has to draw it smears what a classifier reads. So
    it is drawn as a smoothed bootstrap (Silverman and Young 1987, Biometrika 74:469-479), and the network draws the
    signal that belongs to it.
    """

    kept: Tensor
    width: Tensor

    def __init__(self, n_numbers: int, n_classes: int, n_styles: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(n_classes, n_styles, KEPT, n_numbers))
        self.register_buffer("width", torch.zeros(n_classes, n_styles, n_numbers))

    def fit(self, numbers: Tensor, label: Tensor, style: Tensor) -> None:
        """Takes the numbers (n, E) of training beats, their labels (n,) and styles (n,)."""
        rng = torch.Generator().manual_seed(0)
        for c, s in torch.stack([label, style], dim=1).unique(dim=0).tolist():
            own = numbers[(label == c) & (style == s)]
            self.kept[c, s] = own[torch.randint(len(own), (KEPT,), generator=rng)]
            self.width[c, s] = SMOOTHING * own.std(dim=0, correction=0)

    def forward(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) and styles (B,) -> standardised numbers (B, E)."""
        at = torch.randint(KEPT, label.shape, generator=rng, device=label.device)
        drawn = self.kept[label, style, at]
        return drawn + self.width[label, style] * torch.randn(drawn.shape, generator=rng, device=label.device)


def _detail(signal: Tensor) -> Tensor:
    """What a moving average over five samples takes away."""
    return signal - F.avg_pool1d(signal, 5, stride=1, padding=2, count_include_pad=False)


def _rounded(x: Tensor) -> Tensor:
    """Whole numbers forward, the gradient unchanged."""
    return x + (x.round() - x).detach()


def converter_steps(signal: Tensor) -> Tensor:
    """Whole steps of the analogue-to-digital converter that beats (B, C, T) in [0, 1] span, (B,).

    The smallest difference between two values of a beat is one step, since neighbouring samples often differ by one.
    """
    values = signal.flatten(1).sort(dim=1).values
    step = values.diff(dim=1)
    step = step.masked_fill(step < 1 / (2 * STEPS[1]), 1.0).amin(dim=1)
    return (1 / step).round().clamp(*STEPS)


def beat_length(signal: Tensor) -> Tensor:
    """Samples up to the last that is not zero, (B,), of signals (B, C, T)."""
    n_times = signal.shape[2]
    position = torch.arange(1, n_times + 1, device=signal.device)
    return ((signal != 0).any(dim=1) * position).amax(dim=1).to(signal.dtype)


def _roots(rr: Tensor) -> Tensor:
    """RR features (B, 8) -> logarithms of `RR_ROOTS` (B, 5)."""
    previous, following, local, record = rr[:, 0], rr[:, 1], rr[:, 0] / rr[:, 2], rr[:, 0] / rr[:, 4]
    roots = torch.stack([previous, following, local, record, rr[:, RR_FEATURES.index("local irregularity")]], dim=1)
    return roots.clamp_min(FLOOR).log()


def _features(roots: Tensor) -> Tensor:
    """Logarithms of `RR_ROOTS` (B, 5) -> RR features (B, 8), in the order of `RR_FEATURES`."""
    previous, following, local, record, irregularity = roots.exp().unbind(dim=1)
    ratios = [previous / local, following / local, previous / record, following / record, local / record]
    return torch.stack([previous, following, *ratios, irregularity], dim=1)
