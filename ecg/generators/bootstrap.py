"""A smoothed bootstrap of the scalars of beats.

Source: Silverman and Young 1987, Biometrika 74:469-479.

Input: labels (B,), records (B,). Output: standardised scalars (B, E).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

SIZE = 128  # training beats that are kept for each class and record
SMOOTHING = 0.2  # standard deviation of the added noise, in standard deviations of the class and record


class ScalarBootstrap(nn.Module):
    """Samples the scalars of training beats of the same class and record, plus noise.

    A class that a record does not have has the scalars of all beats of the record.

    The length of a beat is exact in real beats. A network that generates it is imprecise, and classifiers use it. The
    network therefore generates the signal only, given the sampled scalars.

    Args:
        n_scalars: number of scalars, E.
        n_classes: number of classes.
        n_records: number of records.
    """

    samples: Tensor
    noise_std: Tensor

    def __init__(self, *, n_scalars: int, n_classes: int, n_records: int) -> None:
        super().__init__()
        self.register_buffer("samples", torch.zeros(n_classes, n_records, SIZE, n_scalars))
        self.register_buffer("noise_std", torch.zeros(n_classes, n_records, n_scalars))

    def fit(self, scalars: Tensor, label: Tensor, record: Tensor) -> None:
        """Keeps the scalars (n, E) of training beats with the given labels (n,) and records (n,)."""
        if not scalars.shape[1]:
            return
        rng = torch.Generator().manual_seed(0)
        for c, r in itertools.product(range(len(self.samples)), record.unique().tolist()):
            of_record = record == r
            of_pair = of_record & (label == c)
            group = scalars[of_pair if of_pair.any() else of_record]  # (m, E)
            self.samples[c, r] = group[torch.randint(len(group), (SIZE,), generator=rng)]
            self.noise_std[c, r] = SMOOTHING * group.std(dim=0, correction=0)

    def forward(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,), records (B,) -> standardised scalars (B, E)."""
        index = torch.randint(SIZE, label.shape, generator=rng, device=label.device)
        scalars = self.samples[label, record, index]  # (B, E)
        noise = torch.randn(scalars.shape, generator=rng, device=label.device)
        return scalars + self.noise_std[label, record] * noise
