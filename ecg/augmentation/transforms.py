"""Transforms of the waveform, drawn anew for each beat of each batch, in batched torch.

A beat of the window kaggle is zero behind its end, and where it ends says how long its RR interval was: no transform
writes behind the end, and a change of tempo moves the end with the beat. What is added is measured against the beat
itself, in dB, because such a beat has no millivolts left.

Random numbers come from torch's global generator, which the training seeds for each batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SHARE = 0.5  # of the beats that each transform changes: the others stay as they were recorded
SNR_SPAN_DB = 20.0  # a beat's ratio of signal to noise is drawn between the given one and this much more
WANDER_HZ = (0.05, 0.5)  # breathing and electrodes
FASTEST = 0.2  # s; no RR interval is warped below


class Waveform(nn.Module):
    """Changes about half of the beats by each transform that is switched on.

    Args:
        sfreq: Hz.
        padded: whether beats end in zeros, as those of the window kaggle.
        peak: sample of the R peak, which a change of tempo leaves in its place.
        noise_snr: dB, lowest ratio of signal to white noise; None switches it off.
        wander_snr: dB, the same for a slow sine, the baseline's wander.
        hum_snr: dB, the same for power-line hum.
        hum_hz: Hz of the hum; above half of `sfreq` it appears folded, as in a recording without a filter.
        scale: largest relative change of the amplitude.
        offset: largest offset, in standard deviations of the beat.
        shift: s, the largest shift.
        warp: largest relative change of the tempo; RR intervals change with it.
        mask: s, length of a stretch that is replaced by the beat's mean.
    """

    def __init__(
        self,
        *,
        sfreq: float,
        padded: bool,
        peak: int,
        noise_snr: float | None = None,
        wander_snr: float | None = None,
        hum_snr: float | None = None,
        hum_hz: float = 50.0,
        scale: float = 0.0,
        offset: float = 0.0,
        shift: float = 0.0,
        warp: float = 0.0,
        mask: float = 0.0,
    ) -> None:
        super().__init__()
        self.sfreq, self.padded, self.peak = sfreq, padded, peak
        self.noise_snr, self.wander_snr, self.hum_snr, self.hum_hz = noise_snr, wander_snr, hum_snr, hum_hz
        self.scale, self.offset, self.shift, self.warp, self.mask = scale, offset, shift, warp, mask

    @torch.no_grad()
    def forward(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, Tensor]:
        """Signals (B, C, T) and RR features (B, R) -> the same, changed."""
        inside = self._inside(signal)  # (B, 1, T)
        if self.warp or self.shift:
            signal, rr, inside = self._resampled(signal, rr, inside)
        spread = self._spread(signal, inside)  # (B, C, 1)
        if self.scale:
            signal = signal * (1 + self._some(signal, self.scale))
        if self.offset:
            signal = signal + spread * self._some(signal, self.offset)
        t = torch.arange(signal.shape[2], device=signal.device) / self.sfreq
        if self.noise_snr is not None:
            signal = signal + torch.randn_like(signal) * spread * self._level(signal, self.noise_snr)
        for snr, hertz in ((self.wander_snr, WANDER_HZ), (self.hum_snr, (self.hum_hz, self.hum_hz))):
            if snr is not None:
                signal = signal + _sine(signal, t, hertz) * spread * self._level(signal, snr)
        if self.mask:
            signal = self._masked(signal, inside)
        return (torch.where(inside, signal, 0.0) if self.padded else signal), rr

    def _inside(self, signal: Tensor) -> Tensor:
        """(B, 1, T), false behind the end of a beat."""
        if not self.padded:
            return torch.ones_like(signal[:, :1], dtype=torch.bool)
        return (signal != 0).any(dim=1, keepdim=True).flip(2).cumsum(dim=2).flip(2) > 0

    def _resampled(self, signal: Tensor, rr: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The beat at another tempo, and moved; a shift moves the beat within its window, whose length stays."""
        _, c, n_times = signal.shape
        tempo = 1 + self._some(signal, self.warp)[:, 0]  # (B, 1)
        moved = (self._some(signal, self.shift) * self.sfreq)[:, 0]  # (B, 1), samples
        length = inside.sum(dim=2).clamp(min=1)  # (B, 1)
        new_length = (length / tempo).round().clamp(1, n_times) if self.padded else length
        # A beat that fills its window has no end in sight: it stays full.
        new_length = torch.where(length == n_times, n_times, new_length)
        at = torch.arange(n_times, device=signal.device)
        source = (self.peak + (at - self.peak) * tempo + moved).clamp(min=0)  # (B, T)
        source = torch.minimum(source, (length - 1).to(source.dtype))
        low = source.floor().long()
        high = torch.minimum(low + 1, length - 1)
        share = (source - low)[:, None]  # (B, 1, T)
        low, high = low[:, None].expand(-1, c, -1), high[:, None].expand(-1, c, -1)
        warped = signal.gather(2, low) * (1 - share) + signal.gather(2, high) * share
        if rr.shape[1]:  # The first two are seconds, the others ratios.
            rr = torch.cat([(rr[:, :2] / tempo).clamp(min=FASTEST), rr[:, 2:]], dim=1)
        return warped, rr, (at < new_length)[:, None]

    def _spread(self, signal: Tensor, inside: Tensor) -> Tensor:
        """Standard deviation (B, C, 1) of each beat."""
        n = inside.sum(dim=2, keepdim=True).clamp(min=1)
        mean = (signal * inside).sum(dim=2, keepdim=True) / n
        return (((signal - mean) * inside).square().sum(dim=2, keepdim=True) / n).sqrt()

    def _some(self, signal: Tensor, largest: float) -> Tensor:
        """(B, 1, 1), uniform between -largest and largest for some of the beats, 0 for the others."""
        drawn = torch.rand(2, len(signal), 1, 1, device=signal.device)
        return (2 * drawn[0] - 1) * largest * (drawn[1] < SHARE)

    def _level(self, signal: Tensor, snr: float) -> Tensor:
        """(B, 1, 1), the noise's share of the beat's spread for some of the beats, 0 for the others."""
        drawn = torch.rand(2, len(signal), 1, 1, device=signal.device)
        return 10 ** (-(snr + SNR_SPAN_DB * drawn[0]) / 20) * (drawn[1] < SHARE)

    def _masked(self, signal: Tensor, inside: Tensor) -> Tensor:
        n, _, n_times = signal.shape
        width = min(n_times, max(1, round(self.mask * self.sfreq)))
        drawn = torch.rand(2, n, 1, 1, device=signal.device)
        start = (drawn[0] * (n_times - width + 1)).floor()
        at = torch.arange(n_times, device=signal.device)
        hidden = (at >= start) & (at < start + width) & (drawn[1] < SHARE)  # (B, 1, T)
        mean = (signal * inside).sum(dim=2, keepdim=True) / inside.sum(dim=2, keepdim=True).clamp(min=1)
        return torch.where(hidden, mean, signal)


def _sine(signal: Tensor, t: Tensor, hertz: tuple[float, float]) -> Tensor:
    """(B, 1, T), sines of random phase with a root mean square of 1."""
    drawn = torch.rand(2, len(signal), 1, 1, device=signal.device)
    frequency = hertz[0] + (hertz[1] - hertz[0]) * drawn[0]
    return math.sqrt(2) * torch.sin(2 * math.pi * (frequency * t + drawn[1]))
