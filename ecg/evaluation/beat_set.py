"""A set of heartbeats that the measures of fidelity compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class BeatSet:
    """Signals and labels of n beats.

    Attributes:
        signal: (n, C, T) float32.
        label: (n,) int64, index into the classes.
    """

    signal: NDArray[np.float32]
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, positions: NDArray[np.int64]) -> BeatSet:
        """Returns the beats at `positions`."""
        return BeatSet(self.signal[positions], self.label[positions])

    def of_class(self, c: int) -> BeatSet:
        """Returns the beats of class c."""
        return self.take(np.flatnonzero(self.label == c))

    def sample(self, n: int, rng: np.random.Generator) -> BeatSet:
        """Returns at most n beats in random order, drawn without replacement."""
        return self.take(rng.permutation(len(self))[:n])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Returns signals and labels as tensors that share memory with the arrays."""
        return torch.from_numpy(self.signal), torch.from_numpy(self.label)

    @staticmethod
    def concatenate(*parts: BeatSet) -> BeatSet:
        """Returns the beats of several sets, in order."""
        return BeatSet(
            signal=np.concatenate([part.signal for part in parts]),
            label=np.concatenate([part.label for part in parts]),
        )
