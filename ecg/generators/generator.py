"""What all generators have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ecg.generators.canvas import Canvas, Numbers


class Generator(nn.Module, ABC):
    """One or two players that take turns; each is an attribute of the name that `turns` gives it.

    Attributes:
        turns: names of the players, in the order of their steps, from the start again after the last.
        canvas: what is drawn on.
    """

    turns: tuple[str, ...]
    canvas: Canvas

    def prepare(self, signal: Tensor, rr: Tensor, label: Tensor, style: Tensor) -> None:
        """Takes from the training beats what is counted and not learnt: signals (n, C, T), RR features (n, R)."""
        self.canvas.fit(signal, rr)
        numbers = self.canvas.encode(signal, rr)[:, self.canvas.n_channels :, 0]  # (n, E)
        for module in self.modules():
            if isinstance(module, Numbers):
                module.fit(numbers, label, style)

    @abstractmethod
    def sample(self, label: Tensor, style: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Labels (B,) and styles (B,) -> canvases (B, C+E, T)."""

    @abstractmethod
    def loss(self, turn: str, real: Tensor, label: Tensor, style: Tensor, step: int) -> dict[str, Tensor]:
        """The "loss" of the player whose turn it is, and what else is worth watching, on canvases (B, C+E, T)."""
