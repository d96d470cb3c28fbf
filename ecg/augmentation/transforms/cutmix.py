"""CutMix: a segment of a beat is replaced by that of another beat.

Source: Yun et al. 2019, ICCV, arXiv:1905.04899.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecg.augmentation.transforms.transform import MixBatch, MixTransform, random_amount


class Cutmix(MixTransform):
    """x = x_b in a random segment and x_a elsewhere. The segment is up to `limit` times the length of the beat."""

    def weight(self, batch: MixBatch) -> Tensor:
        """See `MixTransform`."""
        signal = batch.signal
        length = batch.inside.sum(dim=2, keepdim=True)  # (B, 1, 1)
        width = (random_amount(signal, self.limit).abs() * length).round()
        start = (torch.rand(len(signal), 1, 1, device=signal.device) * (length - width + 1)).floor()
        time = torch.arange(signal.shape[2], device=signal.device)  # (T,)
        return ((time >= start) & (time < start + width)).to(signal.dtype)  # (B, 1, T)
