"""The pipeline of the transforms that blend beats of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.augmentation.transforms.transform import MixBatch, MixTransform, inside_mask


class Mix(nn.Module):
    """Applies transforms that blend beats, in the given order.

    Args:
        transforms: the active transforms.
        n_classes: number of classes.
        padded: whether beats end in zeros.
    """

    def __init__(self, transforms: Sequence[MixTransform], *, n_classes: int, padded: bool) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)
        self.n_classes, self.padded = n_classes, padded

    @torch.no_grad()
    def forward(self, signal: Tensor, rr: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Signals (B, C, T), RR features (B, R), labels (B,) -> signals, RR features, targets (B, n_classes)."""
        target = F.one_hot(label, self.n_classes).to(signal.dtype)
        batch = MixBatch(signal, rr, target, inside_mask(signal, self.padded))
        for transform in self.transforms:
            batch = transform(batch)
        return batch.signal, batch.rr, batch.target
