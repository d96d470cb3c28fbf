"""Mixup: a weighted mean of two beats.

Source: Zhang et al. 2018, ICLR, arXiv:1710.09412.
"""

from __future__ import annotations

from torch import Tensor

from ecg.augmentation.transforms.transform import MixBatch, MixTransform, random_amount


class Mixup(MixTransform):
    """x = (1 - w) x_a + w x_b, with w uniform between 0 and `limit`.

    With a limit of 0.5, w is distributed as the smaller of the two weights that Beta(1, 1) gives.
    """

    def weight(self, batch: MixBatch) -> Tensor:
        """See `MixTransform`."""
        return random_amount(batch.signal, self.limit).abs()
