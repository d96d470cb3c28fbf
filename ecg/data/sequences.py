"""Sequences of consecutive beats of a record, for networks that classify a beat in its context.

    beats of a record   0   1   2   3   4   5   6   7   8   9
    training sequence               |-- context=2: 5 beats --|
    evaluation          |---------- the whole record --------|

A training sequence has 2 context + 1 beats, and the loss includes all of them. Only the middle beat has its full
context on both sides. In evaluation, a sequence is a whole record, so every beat has the whole record as context.

Beats of other subsets and of other classes are part of the context. Their labels are replaced by `NO_LABEL`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ecg.data.batch import Batch
from ecg.data.beats import Positions

NO_LABEL = -100  # ignored by the losses


@dataclass(frozen=True)
class Rhythms:
    """Simulated rhythms of n beats, see `ecg.augmentation.rhythm`.

    Attributes:
        features: (V, n, P) float32, features of rhythm and P waves in each of V simulated rhythms.
        label: (V, n) int64, labels in these rhythms, `NO_LABEL` for beats that have none.
        fraction: fraction of the training sequences that have a simulated rhythm.
    """

    features: NDArray[np.float32]
    label: NDArray[np.int64]
    fraction: float


class TrainingSequences(Dataset[Batch]):
    """All sequences of `length` beats that contain a beat of some positions, indexed by the indices of a batch.

    A record with fewer beats than `length` gives one sequence, whose end repeats the last beat without a label.

    With V simulated rhythms there are 1 + V times as many sequences: those of the recorded rhythm are first.

    Args:
        tensors: all beats, those of a record one after the other.
        positions: (n,) the beats that have a label.
        length: beats of a sequence, L.
        rhythms: simulated rhythms; their features replace the first ones of the beats.
        record_weight: (n_records,) relative frequency of the sequences of each record; None if equally frequent.

    Attributes:
        weight: (len(self),) relative frequency of each sequence; None if all are equally frequent.
    """

    def __init__(
        self,
        tensors: Batch,
        positions: Positions,
        length: int,
        rhythms: Rhythms | None = None,
        record_weight: NDArray[np.float64] | None = None,
    ) -> None:
        runs = record_runs(tensors.record.cpu().numpy())
        starts = np.concatenate([_starts(run, length) for run in runs])
        last = np.concatenate([np.full(len(_starts(run, length)), run.stop - 1) for run in runs])  # beat of the record
        self.tensors = tensors._replace(label=mask_labels(tensors.label, positions))
        n_before = np.append(0, np.cumsum(self.tensors.label.cpu().numpy() != NO_LABEL))  # labels before each beat
        has_label = n_before[np.minimum(starts + length, last + 1)] > n_before[starts]
        device = tensors.label.device
        self.starts = torch.from_numpy(starts[has_label]).to(device)
        self.last = torch.from_numpy(last[has_label]).to(device)
        self.steps = torch.arange(length, device=device)
        self.weight: NDArray[np.float64] | None = None
        if record_weight is not None:
            self.weight = record_weight[tensors.record.cpu().numpy()[starts[has_label]]]
        self.n_rhythms = 1
        if rhythms is not None:
            simulated = len(rhythms.features)
            self.n_rhythms = 1 + simulated
            fractions = [1 - rhythms.fraction, *[rhythms.fraction / simulated] * simulated]
            weight = np.ones(len(self.starts)) if self.weight is None else self.weight
            self.weight = np.outer(fractions, weight).ravel()
            self.features = torch.from_numpy(rhythms.features).to(device)
            self.label = torch.from_numpy(rhythms.label).to(device)

    def __len__(self) -> int:
        return self.n_rhythms * len(self.starts)

    def __getitem__(self, index: Tensor) -> Batch:
        start = index % len(self.starts)
        positions = self.starts[start, None] + self.steps  # (B, L)
        last = self.last[start, None]  # (B, 1)
        beats = torch.minimum(positions, last)
        batch = Batch(*(tensor[beats] for tensor in self.tensors))
        if self.n_rhythms > 1:
            batch = self._with_rhythm(batch, beats, index // len(self.starts))
        return batch._replace(label=batch.label.masked_fill(positions > last, NO_LABEL))

    def _with_rhythm(self, batch: Batch, beats: Tensor, rhythm: Tensor) -> Batch:
        """Returns the batch with the rhythms (B,), of which 0 is the recorded one, at the positions `beats` (B, L)."""
        simulated = rhythm > 0
        rows = (rhythm[simulated, None] - 1, beats[simulated])
        features, label = batch.rr.clone(), batch.label.clone()
        features[simulated, :, : self.features.shape[2]] = self.features[rows]
        label[simulated] = self.label[rows]
        return batch._replace(rr=features, label=label)


class WholeRecords(Dataset[Batch]):
    """The records that contain a beat of some positions, one at a time: a batch (1, n, ...) of its n beats.

    Args:
        tensors: all beats, those of a record one after the other.
        positions: (n,) the beats that have a label.
    """

    def __init__(self, tensors: Batch, positions: Positions) -> None:
        self.tensors = tensors._replace(label=mask_labels(tensors.label, positions))
        wanted = np.zeros(len(tensors.label), bool)
        wanted[positions] = True
        self.runs = [run for run in record_runs(tensors.record.cpu().numpy()) if wanted[run].any()]

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(tensor[None, self.runs[index]] for tensor in self.tensors))

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))


def mask_labels(label: Tensor, positions: Positions) -> Tensor:
    """Returns the labels (n,) at `positions`, and `NO_LABEL` elsewhere and for beats of no class."""
    masked = torch.full_like(label, NO_LABEL)
    at = torch.from_numpy(positions).to(label.device)
    masked[at] = label[at]
    return masked.masked_fill(masked < 0, NO_LABEL)


def record_runs(record: NDArray[Any]) -> list[slice]:
    """Returns the beats of each record, given the record (n,) of each beat."""
    bounds = [0, *(np.flatnonzero(record[1:] != record[:-1]) + 1).tolist(), len(record)]
    return [slice(first, end) for first, end in itertools.pairwise(bounds)]


def _starts(run: slice, length: int) -> NDArray[np.int64]:
    """Returns the first beat of each sequence in the beats of a record; one if they are fewer than `length`."""
    return np.arange(run.start, max(run.start, run.stop - length) + 1)
