"""A batch of beats."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """B beats, or in context B sequences of L beats, with a second dimension L in every tensor.

    Attributes:
        signal: (B, C, T) float32.
        rr: (B, R) float32, features of the rhythm and, with `data.features=rhythm_and_shape`, of the shape.
        label: (B,) int64, index into the classes of the split; in context, `NO_LABEL` for beats that have none.
        record: (B,) int64, index into the records of the data module; -1 for beats that a balance method added.
    """

    signal: Tensor
    rr: Tensor
    label: Tensor
    record: Tensor
