"""Transforms of the waveform, drawn anew for each beat of each batch, in batched torch.

A beat of the window kaggle is zero behind its end, and where it ends says how long its RR interval was: no transform
writes behind the end, and a change of tempo moves the end with the beat. Such a beat was scaled to its own minimum and
maximum when it was cut, noise and all, so with noise added it is scaled again to the range it had; `scale` and `offset`
alone leave that range. What is added is measured against the beat itself, in dB, because a beat has no millivolts left.

A second channel is the beat minus a median beat, so what is added to the lead is added to both alike.

Random numbers come from torch's global generator, which the training seeds for each batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
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
        hum_hz: Hz of the hum. At half of `sfreq` (60 Hz in beats of the Kaggle set) it alternates from sample to
            sample, and above it appears folded, as in a recording that was thinned without a filter.
        recorded_snr: dB, the same for stretches of `recorded`.
        recorded: (n_leads, n) noise at `sfreq`, longer than a beat.
        scale: largest relative change of the amplitude.
        offset: largest offset, in standard deviations of the beat.
        shift: s, the largest shift.
        warp: largest relative change of the tempo; RR intervals change with it.
        mask: s, length of a stretch that is replaced by the beat's mean.
    """

    recorded: Tensor | None

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
        recorded_snr: float | None = None,
        recorded: Tensor | None = None,
        scale: float = 0.0,
        offset: float = 0.0,
        shift: float = 0.0,
        warp: float = 0.0,
        mask: float = 0.0,
    ) -> None:
        super().__init__()
        self.sfreq, self.padded, self.peak = sfreq, padded, peak
        self.noise_snr, self.wander_snr, self.hum_snr, self.hum_hz = noise_snr, wander_snr, hum_snr, hum_hz
        self.recorded_snr = recorded_snr
        self.register_buffer("recorded", recorded, persistent=False)
        self.scale, self.offset, self.shift, self.warp, self.mask = scale, offset, shift, warp, mask

    @torch.no_grad()
    def forward(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, Tensor]:
        """Signals (B, C, T) and RR features (B, R) -> the same, changed."""
        inside = inside_of(signal, self.padded)  # (B, 1, T)
        if self.warp or self.shift:
            signal, rr, inside = self._resampled(signal, rr, inside)
        spread = _spread(signal[:, :1], inside)  # (B, 1, 1)
        noisy = self._noisy(signal, spread)
        signal = _in_range_of(signal, noisy, inside) if self.padded and noisy is not signal else noisy
        if self.scale:
            signal = signal * (1 + _some(signal, self.scale))
        if self.offset:
            signal = signal + spread * _some(signal, self.offset)
        if self.mask:
            signal = self._masked(signal, inside)
        return (torch.where(inside, signal, 0.0) if self.padded else signal), rr

    def _noisy(self, signal: Tensor, spread: Tensor) -> Tensor:
        """The beats with every noise that is switched on."""
        t = torch.arange(signal.shape[2], device=signal.device) / self.sfreq
        if self.noise_snr is not None:
            signal = signal + torch.randn_like(signal[:, :1]) * spread * _level(signal, self.noise_snr)
        for snr, hertz in ((self.wander_snr, WANDER_HZ), (self.hum_snr, (self.hum_hz, self.hum_hz))):
            if snr is not None:
                signal = signal + _sine(signal, t, hertz) * spread * _level(signal, snr)
        if self.recorded_snr is not None and self.recorded is not None:
            signal = signal + _stretch(signal, self.recorded) * spread * _level(signal, self.recorded_snr)
        return signal

    def _resampled(self, signal: Tensor, rr: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The beat at another tempo, and moved; a shift moves the beat within its window, whose length stays."""
        _, c, n_times = signal.shape
        tempo = 1 + _some(signal, self.warp)[:, 0]  # (B, 1)
        moved = (_some(signal, self.shift) * self.sfreq)[:, 0]  # (B, 1), samples
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

    def _masked(self, signal: Tensor, inside: Tensor) -> Tensor:
        n, _, n_times = signal.shape
        width = min(n_times, max(1, round(self.mask * self.sfreq)))
        drawn = torch.rand(2, n, 1, 1, device=signal.device)
        start = (drawn[0] * (n_times - width + 1)).floor()
        at = torch.arange(n_times, device=signal.device)
        hidden = (at >= start) & (at < start + width) & (drawn[1] < SHARE)  # (B, 1, T)
        mean = (signal * inside).sum(dim=2, keepdim=True) / inside.sum(dim=2, keepdim=True).clamp(min=1)
        return torch.where(hidden, mean, signal)


class Mix(nn.Module):
    """Blends about half of the beats with another beat of the batch; labels and RR features follow the shares.

    mixup  x = (1 - s) x_a + s x_b, s between 0 and `mixup`          (Zhang et al. 2018, ICLR, arXiv:1710.09412)
    cutmix a stretch of x_a is x_b's, s of its length up to `cutmix`    (Yun et al. 2019, ICCV, arXiv:1905.04899)

    With 0.5 the share is drawn as by Beta(1, 1), the larger part being the beat's own. That is why a padded beat keeps
    its own end; where the other one has ended, it keeps its own samples.

    Args:
        n_classes: how many.
        padded: whether beats end in zeros.
        mixup: largest share of the other beat; 0 switches it off.
        cutmix: the same.
    """

    def __init__(self, n_classes: int, *, padded: bool, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        super().__init__()
        self.n_classes, self.padded, self.mixup, self.cutmix = n_classes, padded, mixup, cutmix

    @torch.no_grad()
    def forward(self, signal: Tensor, rr: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Signals (B, C, T), RR features (B, R), labels (B,) -> signals, RR features, shares (B, n_classes)."""
        share, inside = F.one_hot(label, self.n_classes).to(signal.dtype), inside_of(signal, self.padded)
        if self.mixup:
            signal, rr, share = _blended(signal, rr, share, inside, _some(signal, self.mixup).abs())
        if self.cutmix:
            length = inside.sum(dim=2, keepdim=True)  # (B, 1, 1)
            width = (_some(signal, self.cutmix).abs() * length).round()
            start = (torch.rand(len(signal), 1, 1, device=signal.device) * (length - width + 1)).floor()
            at = torch.arange(signal.shape[2], device=signal.device)
            cut = ((at >= start) & (at < start + width)).to(signal.dtype)  # (B, 1, T)
            signal, rr, share = _blended(signal, rr, share, inside, cut)
        return signal, rr, share


def inside_of(signal: Tensor, padded: bool) -> Tensor:
    """(B, 1, T), false behind the end of a padded beat (B, C, T)."""
    if not padded:
        return torch.ones_like(signal[:, :1], dtype=torch.bool)
    return (signal != 0).any(dim=1, keepdim=True).flip(2).cumsum(dim=2).flip(2) > 0


def _blended(
    signal: Tensor, rr: Tensor, share: Tensor, inside: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Beats with `weight` (B, 1, T or 1) of another beat of the batch, where both have not ended."""
    other = torch.randperm(len(signal), device=signal.device)
    weight = weight * (inside & inside[other])  # (B, 1, T)
    part = weight.sum(dim=2) / inside.sum(dim=2).clamp(min=1)  # (B, 1), what really is of the other beat
    signal = signal + weight * (signal[other] - signal)
    return signal, rr + part * (rr[other] - rr), share + part * (share[other] - share)


def _in_range_of(before: Tensor, noisy: Tensor, inside: Tensor) -> Tensor:
    """Noisy beats, scaled to the range they had before; what did not change stays as it is, bit by bit."""
    low, high = _range(before, inside)
    noisy_low, noisy_high = _range(noisy, inside)
    gain = (high - low) / (noisy_high - noisy_low).clamp(min=1e-6)
    changed = (noisy_low != low) | (noisy_high != high)
    return torch.where(changed, (noisy - noisy_low) * gain + low, noisy)


def _range(signal: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum and maximum (B, C, 1) of each beat."""
    low = torch.where(inside, signal, torch.inf).amin(dim=2, keepdim=True)
    return low, torch.where(inside, signal, -torch.inf).amax(dim=2, keepdim=True)


def _spread(signal: Tensor, inside: Tensor) -> Tensor:
    """Standard deviation (B, 1, 1) of each beat (B, 1, T)."""
    n = inside.sum(dim=2, keepdim=True).clamp(min=1)
    mean = (signal * inside).sum(dim=2, keepdim=True) / n
    return (((signal - mean) * inside).square().sum(dim=2, keepdim=True) / n).sqrt()


def _some(signal: Tensor, largest: float) -> Tensor:
    """(B, 1, 1), uniform between -largest and largest for some of the beats, 0 for the others."""
    drawn = torch.rand(2, len(signal), 1, 1, device=signal.device)
    return (2 * drawn[0] - 1) * largest * (drawn[1] < SHARE)


def _level(signal: Tensor, snr: float) -> Tensor:
    """(B, 1, 1), the noise's share of the beat's spread for some of the beats, 0 for the others."""
    drawn = torch.rand(2, len(signal), 1, 1, device=signal.device)
    return 10 ** (-(snr + SNR_SPAN_DB * drawn[0]) / 20) * (drawn[1] < SHARE)


def _sine(signal: Tensor, t: Tensor, hertz: tuple[float, float]) -> Tensor:
    """(B, 1, T), sines of random phase with a root mean square of 1."""
    drawn = torch.rand(2, len(signal), 1, 1, device=signal.device)
    frequency = hertz[0] + (hertz[1] - hertz[0]) * drawn[0]
    return math.sqrt(2) * torch.sin(2 * math.pi * (frequency * t + drawn[1]))


def _stretch(signal: Tensor, recorded: Tensor) -> Tensor:
    """(B, 1, T), a stretch of `recorded` (n_leads, n) for each beat, with mean 0 and root mean square 1."""
    (n_leads, n), n_times = recorded.shape, signal.shape[2]
    start = torch.randint(n - n_times + 1, (len(signal), 1), device=signal.device)
    lead = torch.randint(n_leads, (len(signal), 1), device=signal.device)
    stretch = recorded[lead, start + torch.arange(n_times, device=signal.device)][:, None]  # (B, 1, T)
    stretch = stretch - stretch.mean(dim=2, keepdim=True)
    return stretch / stretch.square().mean(dim=2, keepdim=True).sqrt().clamp(min=1e-6)
