"""Baseline wander."""

from __future__ import annotations

from torch import Tensor

from ecg.augmentation.transforms.noise import Noise, random_sine

WANDER_HZ = (0.05, 0.5)  # respiration and motion of the electrodes


class Wander(Noise):
    """Adds a slow sine."""

    def noise(self, signal: Tensor) -> Tensor:
        """See `Noise`."""
        return random_sine(signal, self.beat_format.sfreq, *WANDER_HZ)
