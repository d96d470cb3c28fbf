"""The interface of the generators.

Input: labels (B,), records (B,). Output: canvases (B, C + E, T), see `ecg.generators.canvas`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ecg.generators.bootstrap import ScalarBootstrap
from ecg.generators.canvas import Canvas
from ecg.generators.normal_beats import NormalBeats


class Generator(nn.Module, ABC):
    """Base class of the generators.

    A generator has one or more players, such as "generator" and "critic". Each player is a submodule of that name with
    its own optimizer, and each step updates one player. A beat is conditioned on its class and on a record, because
    recordings differ in morphology and noise.

    A constructor takes `canvas`, `n_classes`, `n_records` and the keys of its configuration schema, all as keyword
    arguments.

    Attributes:
        canvas: converts beats to canvases and back.
        update_order: the player that each step updates; repeated from the start after the last.
    """

    canvas: Canvas
    update_order: tuple[str, ...]

    @property
    def players(self) -> list[str]:
        """Names of the players, in the order of their first update."""
        return list(dict.fromkeys(self.update_order))

    @staticmethod
    def beat_size(canvas: Canvas, embedding: str) -> int | None:
        """Returns the argument `beat_size` of `Condition` for an embedding of the records."""
        return canvas.n_channels * canvas.n_times if embedding == "normal_beats" else None

    def prepare(self, signal: Tensor, label: Tensor, record: Tensor) -> None:
        """Computes the statistics of the training beats that the generator needs before its first update.

        Args:
            signal: (n, C, T) signals.
            label: (n,) classes.
            record: (n,) indices of the records.
        """
        self.canvas.fit(signal)
        scalars = self.canvas.encode(signal)[:, self.canvas.n_channels :, 0]  # (n, E)
        for module in self.modules():
            if isinstance(module, ScalarBootstrap):
                module.fit(scalars, label, record)

    def embed_records(self, signal: Tensor, record: Tensor) -> None:
        """Makes records known that are embedded by their normal beats.

        Args:
            signal: (n, C, T) signals of normal beats.
            record: (n,) indices of their records.
        """
        for module in self.modules():
            if isinstance(module, NormalBeats):
                module.fit(signal, record)

    @property
    def known_records(self) -> Tensor | None:
        """(n_records,) whether beats of any class can be drawn for a record; None if only known pairs can be drawn."""
        return next((module.known for module in self.modules() if isinstance(module, NormalBeats)), None)

    @abstractmethod
    def sample(self, label: Tensor, record: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Generates beats: labels (B,), records (B,) -> canvases (B, C+E, T)."""

    @abstractmethod
    def loss(self, player: str, real: Tensor, label: Tensor, record: Tensor, step: int) -> dict[str, Tensor]:
        """Returns the loss of a player as "loss", and further scalars to log.

        Args:
            player: the player that this step updates.
            real: (B, C+E, T) canvases of training beats.
            label: (B,) their classes.
            record: (B,) indices of their records.
            step: number of updates so far, of all players together.
        """
