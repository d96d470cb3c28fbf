"""Power-line hum."""

from __future__ import annotations

from torch import Tensor

from ecg.augmentation.transforms.noise import Noise, random_sine


class Hum(Noise):
    """Adds a sine of the power-line frequency.

    A frequency above half of the sampling rate is aliased, as in a recording that was decimated without a filter. At
    half of the sampling rate (60 Hz in beats of the Kaggle set) the hum alternates from sample to sample.

    Args:
        snr: lowest signal-to-noise ratio in dB; None switches the transform off.
        frequency: Hz.
    """

    def __init__(self, *, snr: float | None, frequency: float) -> None:
        super().__init__(snr=snr)
        self.frequency = frequency

    def noise(self, signal: Tensor) -> Tensor:
        """See `Noise`."""
        return random_sine(signal, self.beat_format.sfreq, self.frequency, self.frequency)
