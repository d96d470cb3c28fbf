"""Canvases: beats as tensors (B, C + E, T), the output of generators and the input of critics.

The first C channels are the signal. The other E channels are scalars of the beat, repeated along time, so that a
convolution has them at each sample. A padded beat has two: its length, and the logarithm of the number of ADC steps
that it spans. From its length on, it is zero. Before that, it spans [0, 1] in equal steps, those of the
analogue-to-digital converter (ADC). Other beats have no scalars.

All channels are standardised with the offset and scale of the training beats.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_SCALARS = 2  # of a padded beat
MIN_LENGTH = 2.0  # samples of a padded beat
ADC_STEPS = (16.0, 4096.0)  # fewest and most steps of a padded beat; the ADC of MIT-BIH has 2048
LENGTH_SOFTNESS = 2.0  # samples; width of the sigmoid through which the length receives its gradient
TEXTURE_GAIN = 0.25  # of texture of the usual size; a beat has size 1
MIN_SCALE = 0.05  # lower limit of the scale, for quantities that are the same in all training beats
TEXTURE_BEATS = 10_000  # largest number of beats that the scale of the texture is estimated from


class Canvas(nn.Module):
    """Converts beats to canvases and canvases to beats.

    Args:
        n_channels: channels of a beat, C.
        n_times: samples of a beat, T.
        padded: whether beats are padded with zeros and span [0, 1], as in the window kaggle.
    """

    offset: Tensor
    scale: Tensor
    texture_scale: Tensor

    def __init__(self, n_channels: int, n_times: int, padded: bool) -> None:
        super().__init__()
        self.n_channels, self.n_times, self.padded = n_channels, n_times, padded
        self.n_scalars = N_SCALARS * int(padded)
        self.register_buffer("offset", torch.zeros(self.n_total))  # (C+E,)
        self.register_buffer("scale", torch.ones(self.n_total))  # (C+E,)
        self.register_buffer("texture_scale", torch.ones(n_channels))  # (C,)

    @property
    def n_total(self) -> int:
        """Number of channels of a canvas, C + E."""
        return self.n_channels + self.n_scalars

    def fit(self, signal: Tensor) -> None:
        """Estimates offset and scale from the signals (n, C, T) of training beats."""
        scalars = self._scalars(signal)  # (n, E)
        if self.padded:
            offset, scale = torch.full((self.n_channels,), 0.5), torch.full((self.n_channels,), 0.5)
        else:
            offset, scale = torch.zeros(self.n_channels), signal.std(dim=(0, 2))
        self.offset.copy_(torch.cat([offset, scalars.mean(dim=0)]))
        self.scale.copy_(
            torch.cat([scale, (scalars - scalars.mean(dim=0)).square().mean(dim=0).sqrt()]).clamp_min(MIN_SCALE)
        )
        subset = slice(None, None, 1 + len(signal) // TEXTURE_BEATS)
        detail = _detail(self.encode(signal[subset])[:, : self.n_channels]).abs()  # (m, C, T)
        inside = (signal[subset] != 0).any(dim=1) | (not self.padded)  # (m, T)
        medians = [detail[:, c][inside].median() for c in range(self.n_channels)]
        self.texture_scale.copy_(torch.stack(medians).clamp_min(1e-6))

    def encode(self, signal: Tensor) -> Tensor:
        """Signals (B, C, T) -> canvases (B, C+E, T)."""
        scalars = self._scalars(signal)[..., None].expand(-1, -1, self.n_times)  # (B, E) -> (B, E, T)
        return (torch.cat([signal, scalars], dim=1) - self.offset[:, None]) / self.scale[:, None]

    def decode(self, canvas: Tensor) -> Tensor:
        """Canvases (B, C+E, T) that meet the constraints -> signals (B, C, T)."""
        c = slice(self.n_channels)
        signal = canvas[:, c] * self.scale[c, None] + self.offset[c, None]
        return signal.clamp(0, 1) if self.padded else signal

    def constrain(self, raw: Tensor) -> Tensor:
        """Applies the constraints of the window to the output of a network, (B, C+E, T) -> (B, C+E, T).

        Scalars become constant along time. A padded beat is scaled to [0, 1] before its length, rounded to ADC steps,
        and zero from its length on. The operation is differentiable: the gradient passes the rounding unchanged, and
        reaches the length through a sigmoid.
        """
        raw = raw.float()
        signal = raw[:, : self.n_channels]
        scalars = raw[:, self.n_channels :].mean(dim=2, keepdim=True)  # (B, E, 1)
        if self.padded:
            offset, scale = self.offset[self.n_channels :, None], self.scale[self.n_channels :, None]
            length, steps = (scalars * scale + offset).split(1, dim=1)  # each (B, 1, 1)
            length = _round(length.clamp(MIN_LENGTH, self.n_times))
            steps = _round(steps.exp().clamp(*ADC_STEPS))
            signal = self._pad(signal, length, steps.detach())
            scalars = (torch.cat([length, steps.log()], dim=1) - offset) / scale
        return torch.cat([signal, scalars.expand(-1, -1, self.n_times)], dim=1)  # (B, E, 1) -> (B, E, T)

    def texture(self, canvas: Tensor) -> Tensor:
        """Returns the fine detail of the signal, amplified: canvases (B, C+E, T) -> (B, C, T).

        Noise and hum are a hundred times smaller than a QRS complex. A critic with a gradient penalty does not react
        to them, but a classifier does.
        """
        detail = _detail(canvas[:, : self.n_channels]) / self.texture_scale[:, None]
        return TEXTURE_GAIN * torch.asinh(detail)  # asinh limits the values at a QRS complex

    def with_texture(self, canvas: Tensor) -> Tensor:
        """Appends the texture: canvases (B, C+E, T) -> (B, C+E+C, T)."""
        return torch.cat([canvas, self.texture(canvas)], dim=1)

    def _scalars(self, signal: Tensor) -> Tensor:
        """Signals (B, C, T) -> scalars (B, E), not standardised."""
        if not self.padded:
            return signal[:, 0, :0]
        return torch.stack([beat_length(signal), adc_steps(signal).log()], dim=1)

    def _pad(self, signal: Tensor, length: Tensor, steps: Tensor) -> Tensor:
        """Returns signals (B, C, T) that span [-1, 1] in equal steps before their length, and are -1 from it on.

        Args:
            signal: (B, C, T).
            length: (B, 1, 1) length in samples, an integer.
            steps: (B, 1, 1) number of steps, an integer.
        """
        time = torch.arange(self.n_times, device=signal.device)
        inside = time < length  # (B, 1, T)
        low = signal.masked_fill(~inside, torch.inf).amin(dim=2, keepdim=True)  # (B, C, 1)
        high = signal.masked_fill(~inside, -torch.inf).amax(dim=2, keepdim=True)  # (B, C, 1)
        # The extremes of a beat that the end of the window cuts off may lie outside the window.
        complete = (length < self.n_times) & (high - low > 1e-2)
        scaled = 2 * (signal - low) / torch.where(complete, high - low, 1.0) - 1
        signal = torch.where(complete, scaled, signal.clamp(-1, 1))
        signal = 2 * _round((signal + 1) / 2 * steps) / steps - 1
        soft = torch.sigmoid((length - 0.5 - time) / LENGTH_SOFTNESS)  # (B, 1, T)
        mask = inside + soft - soft.detach()  # the value of the step function, the gradient of the sigmoid
        return (signal + 1) * mask - 1


def beat_length(signal: Tensor) -> Tensor:
    """Returns the number of samples up to the last that is not zero: signals (B, C, T) -> (B,)."""
    position = torch.arange(1, signal.shape[2] + 1, device=signal.device)
    return ((signal != 0).any(dim=1) * position).amax(dim=1).to(signal.dtype)


def adc_steps(signal: Tensor) -> Tensor:
    """Returns the number of ADC steps that each beat spans: signals (B, C, T) in [0, 1] -> (B,).

    The smallest difference between two values of a beat is taken for one step, since successive samples often differ
    by one step.
    """
    values = signal.flatten(1).sort(dim=1).values  # (B, C, T) -> (B, C T)
    step = values.diff(dim=1)
    step = step.masked_fill(step < 1 / (2 * ADC_STEPS[1]), 1.0).amin(dim=1)
    return (1 / step).round().clamp(*ADC_STEPS)


def _detail(signal: Tensor) -> Tensor:
    """Returns the signal minus its moving average over five samples."""
    return signal - F.avg_pool1d(signal, 5, stride=1, padding=2, count_include_pad=False)


def _round(x: Tensor) -> Tensor:
    """Rounds; the gradient is that of the identity (straight-through estimator)."""
    return x + (x.round() - x).detach()
