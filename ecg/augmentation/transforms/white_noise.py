"""White noise."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.augmentation.transforms.noise import Noise


class WhiteNoise(Noise):
    """Adds Gaussian white noise."""

    def noise(self, signal: Tensor) -> Tensor:
        """See `Noise`."""
        return torch.randn_like(signal[:, :1])
