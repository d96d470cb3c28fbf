"""The one LightningDataModule: beats in memory as tensors, indexed by the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ecg.augmentation.balance import Balanced
from ecg.data.beats import Beats
from ecg.data.splits import Positions, Split


class Batch(NamedTuple):
    """Signals (B, C, T) float32, RR features (B, R) float32, labels (B,) int64, indices of the records (B,) int64."""

    signal: Tensor
    rr: Tensor
    label: Tensor
    record: Tensor


class BeatTensors(Dataset[Batch]):
    """Beats of one side, fetched a whole batch at a time."""

    def __init__(self, tensors: Batch, positions: Positions) -> None:
        self.tensors = tensors
        self.positions = torch.from_numpy(positions)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Tensor) -> Batch:
        at = self.positions[index]
        return Batch(*(column[at] for column in self.tensors))


class BatchSampler(Sampler[Tensor]):
    """Indices of a batch (B,) at a time; every process of a distributed run gets its own part.

    The order of an epoch depends on (seed, epoch) alone, so that a resumed run sees the order it would have seen.
    In training all processes get the same number of full batches, and what is left over waits for another epoch.
    Otherwise every beat comes exactly once, in order.

    Args:
        n: number of beats.
        batch_size: beats a batch.
        shuffle: a new order each epoch, as training wants it.
        seed: of the orders.
        weight: (n,) how often each beat is drawn in training, with repetition; None for once each.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        weight: NDArray[np.float64] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.weight = None if weight is None else weight / weight.sum()
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.shuffle:
            # With fewer beats than one batch a process, the one batch is smaller.
            return max(1, self.n // (self.batch_size * self.world_size))
        return -(-self._own() // self.batch_size)

    def _own(self) -> int:
        return len(range(self.rank, self.n, self.world_size))

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.arange(self.n)
        if self.shuffle:
            rng = np.random.default_rng([self.seed, self.epoch])
            drawn = rng.permutation(self.n) if self.weight is None else rng.choice(self.n, self.n, p=self.weight)
            order = torch.from_numpy(drawn)
        own = order[self.rank :: self.world_size]
        for i in range(len(self)):
            yield own[i * self.batch_size : (i + 1) * self.batch_size]


class BeatDataModule(pl.LightningDataModule):
    """Training, validation and test beats of one split.

    Args:
        beats: the prepared beats.
        split: which of them are on which side.
        batch_size: training beats a step.
        seed: governs the order of the training beats.
        class_power: a class of n training beats is drawn n ** class_power this often; 1 takes beats as they come.
        balanced: which training beats are left out and which are added; None changes nothing.
        eval_batch_size: beats a step in validation and test, where no gradient needs memory.
    """

    def __init__(
        self,
        beats: Beats,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        class_power: float = 1.0,
        balanced: Balanced | None = None,
        eval_batch_size: int = 1024,
    ) -> None:
        super().__init__()
        self.beats, self.split_of = beats, split
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.class_power = seed, class_power
        self.label = split.label_of(beats)  # (n,)
        self.records, record = np.unique(beats.record, return_inverse=True)  # names; (n,) index
        columns = (beats.signal, beats.rr, self.label, record.astype(np.int64))
        self.tensors = Batch(*(torch.from_numpy(column) for column in columns))
        self.train_positions: Positions = split.train  # into `tensors`
        self.balanced = balanced
        if balanced is not None:
            self._take(balanced)

    def _take(self, balanced: Balanced) -> None:
        """Puts added beats behind the real ones; they are of no record."""
        n, m = len(self.tensors.label), len(balanced.label)
        added = (balanced.signal, balanced.rr, balanced.label, np.full(m, -1))
        self.tensors = Batch(
            *(torch.cat([real, torch.from_numpy(new)]) for real, new in zip(self.tensors, added, strict=True))
        )
        self.train_positions = np.concatenate([self.split_of.train[balanced.kept], np.arange(n, n + m)])

    def class_counts(self) -> Tensor:
        """(n_classes,) beats of each class that train, added ones among them."""
        return torch.bincount(self.tensors.label[self.train_positions], minlength=len(self.split_of.classes))

    def _weight(self) -> NDArray[np.float64]:
        """(n_train,) how often each training beat is drawn."""
        counts = self.class_counts().numpy().astype(np.float64)
        label = self.tensors.label[self.train_positions].numpy()
        return (counts**self.class_power / counts.clip(1))[label]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training beats, shuffled."""
        return self._loader(self.train_positions, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation beats, in order."""
        return self._loader(self.split_of.validation, shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test beats, in order."""
        return self._loader(self.split_of.test, shuffle=False)

    def _loader(self, positions: Positions, shuffle: bool) -> DataLoader[Batch]:
        trainer = self.trainer
        sampler = BatchSampler(
            len(positions),
            self.batch_size if shuffle else self.eval_batch_size,
            shuffle=shuffle,
            seed=self.seed,
            weight=self._weight() if shuffle and self.class_power != 1 else None,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        # Workers would copy what is in memory already.
        return DataLoader(BeatTensors(self.tensors, positions), sampler=sampler, batch_size=None)
