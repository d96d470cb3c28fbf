"""The interface of the classifier networks.

Input: signals (B, C, T), RR features (B, R). Output: logits (B, n_classes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Base class of the classifier networks.

    A constructor takes `n_channels`, `n_times`, `n_classes`, `n_rr` and the keys of its configuration schema, all as
    keyword arguments.
    """

    @property
    @abstractmethod
    def min_times(self) -> int:
        """Length in samples of the shortest beat that the network accepts."""

    @abstractmethod
    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Returns the features (B, D) before the head: those of the waveform, then the standardised RR features.

        Args:
            signal: (B, C, T), T at least `min_times`.
            rr: (B, R) RR features; R may be 0.
        """

    @property
    @abstractmethod
    def n_embedded(self) -> int:
        """Number of these features, D."""

    @abstractmethod
    def classify(self, embedded: Tensor) -> Tensor:
        """Returns the logits (B, n_classes) of the features (B, D) that `embed` returns."""

    def forward(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Returns the logits (B, n_classes).

        Args:
            signal: (B, C, T), T at least `min_times`.
            rr: (B, R) RR features; R may be 0.
        """
        return self.classify(self.embed(signal, rr))

    def training_logits(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, ...]:
        """Returns the logits, then those of auxiliary outputs, which are used in training only."""
        return (self(signal, rr),)
