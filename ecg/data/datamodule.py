"""The LightningDataModule of beats: tensors in memory, indexed one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ecg.data.balanced import BalancedBeats, RecordCopies
from ecg.data.batch import Batch
from ecg.data.beats import Beats, Positions
from ecg.data.protocols.protocol import Protocol, Split
from ecg.data.sequences import Rhythms, TrainingSequences, WholeRecords
from ecg.data.source import Source
from ecg.data.window import Window

DEVICE_FRACTION = 0.25  # of the free memory of a GPU that the beats may take


class BeatTensors(Dataset[Batch]):
    """The beats at some positions, indexed by the indices of a batch.

    Args:
        tensors: all beats.
        positions: (n,) the beats of this dataset.
    """

    def __init__(self, tensors: Batch, positions: Positions) -> None:
        self.tensors = tensors
        self.positions = torch.from_numpy(positions).to(tensors.label.device)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Tensor) -> Batch:
        positions = self.positions[index]  # (B,)
        return Batch(*(tensor[positions] for tensor in self.tensors))


class BatchSampler(Sampler[Tensor]):
    """Yields the indices of one batch (B,) at a time; each process of a distributed run gets its own beats.

    The order of an epoch depends on `seed` and the epoch only, so a resumed run continues with the same orders. When
    shuffled, every process gets the same number of full batches, and the remaining beats are left out of the epoch.
    Otherwise every beat is yielded once, in order.

    A shuffled epoch with 2 processes and batches of 3 beats:

        process   0 1 0 1 0 1   0 1 0 1 0 1   . . . .
                 |- batch 0 --|- batch 1 --|left out|

    Args:
        n: number of beats.
        batch_size: beats per batch.
        shuffle: whether each epoch has a new order.
        seed: seed of the orders.
        weight: (n,) relative frequency of each beat, sampled with replacement; None for once each. Needs `shuffle`.
        rank: index of this process.
        world_size: number of processes.
        device: device of the indices.
        n_used: items of an epoch, the first of its order; None for all.
        group: (n,) group of each beat, 0 or larger. The second half of a batch is then replaced by random beats of the
            groups of the first half, in the same order. None for no groups. Needs `shuffle` and an even `batch_size`.
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
        device: torch.device | None = None,
        n_used: int | None = None,
        group: NDArray[np.int64] | None = None,
    ) -> None:
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.n_used = n if n_used is None else n_used
        self.weight = None if weight is None else weight / weight.sum()
        self.rank, self.world_size, self.device, self.group = rank, world_size, device, group
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch. Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.shuffle:
            # If the beats do not fill one batch for each process, the only batch is smaller.
            return max(1, self.n_used // (self.batch_size * self.world_size))
        n_own = len(range(self.rank, self.n_used, self.world_size))
        return -(-n_own // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.arange(self.n)
        if self.shuffle:
            rng = np.random.default_rng([self.seed, self.epoch])
            sampled = rng.permutation(self.n) if self.weight is None else rng.choice(self.n, self.n, p=self.weight)
            order = torch.from_numpy(sampled)
        own = order[: self.n_used][self.rank :: self.world_size]
        if self.group is not None:
            own = self._paired(own, self.group, rng)
        own = own.to(self.device)  # once an epoch, not once a batch
        for i in range(len(self)):
            yield own[i * self.batch_size : (i + 1) * self.batch_size]

    def _paired(self, own: Tensor, group: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Replaces the second half of each batch, see `group`; a batch with an odd number of beats loses one."""
        batches = own.numpy()[: len(self) * self.batch_size].reshape(len(self), -1)  # (n_batches, B)
        first = batches[:, : batches.shape[1] // 2]
        by_group, counts = np.argsort(group, kind="stable"), np.bincount(group)
        start = counts.cumsum() - counts  # of each group in `by_group`
        chosen = start[group[first]] + rng.integers(counts[group[first]])
        return torch.from_numpy(np.concatenate([first, by_group[chosen]], axis=1).ravel())


class BeatDataModule(pl.LightningDataModule):
    """Training, validation and test beats of one split.

    Args:
        beats: all beats of the source.
        split: the subsets.
        source: the source of the beats.
        window: the window that cut them.
        protocol: the protocol that split them.
        batch_size: training beats per step.
        seed: seed of the order of the training beats.
        class_power: a class with n training beats is sampled in proportion to n ** class_power; 1 uses each beat once.
        balanced: result of a balance method; None for the training beats as they are.
        copies: copies of training records that contain the beats added by the balance method. Needs context. The
            sequences of a record are then from the recorded beats and from each copy equally often.
        context: beats before and after each beat that the network receives; 0 for single beats. See
            `ecg.data.sequences`. A batch then has as many sequences as fill `batch_size` beats, at least one.
        rhythms: simulated rhythms of the training records and their copies; None for none. Needs context.
        eval_batch_size: validation and test beats per step.
        paired: whether the second half of a training batch has beats of the same classes and records as the first.

    Attributes:
        labels: (n,) int64, index of each beat's class in the classes of the split, -1 for other classes.
        records: names of the records.
        tensors: all beats, followed by the beats that the balance method added or by the copies.
        train_positions: positions of the training beats in `tensors`.
    """

    def __init__(
        self,
        beats: Beats,
        split: Split,
        *,
        source: Source,
        window: Window,
        protocol: Protocol,
        batch_size: int,
        seed: int,
        class_power: float = 1.0,
        balanced: BalancedBeats | None = None,
        copies: RecordCopies | None = None,
        context: int = 0,
        rhythms: Rhythms | None = None,
        eval_batch_size: int = 1024,
        paired: bool = False,
    ) -> None:
        super().__init__()
        self.beats, self.split = beats, split
        self.source, self.window, self.protocol = source, window, protocol
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.class_power, self.context, self.rhythms = seed, class_power, context, rhythms
        self.paired = paired
        self.labels = split.labels(beats)
        self.records, record = np.unique(beats.record, return_inverse=True)
        arrays = (beats.signal, beats.rr, self.labels, record.astype(np.int64))
        self.tensors = Batch(*(torch.from_numpy(array) for array in arrays))
        self._on_gpu: Batch | None = None
        self.train_positions = split.train
        self.balanced = balanced
        self._record_weight: NDArray[np.float64] | None = None
        if copies is not None:
            self._append_copies(copies)
        elif balanced is not None:
            self._apply(balanced)

    def _apply(self, balanced: BalancedBeats) -> None:
        """Appends the added beats to the tensors and replaces the training positions."""
        n, n_added = len(self.tensors.label), len(balanced.label)
        self._append(balanced.signal, balanced.rr, balanced.label, np.full(n_added, -1))
        self.train_positions = np.concatenate([self.split.train[balanced.kept], np.arange(n, n + n_added)])

    def _append_copies(self, copies: RecordCopies) -> None:
        """Appends the copies to the tensors and the training positions."""
        n, beats = len(self.tensors.label), copies.beats
        names, copy = np.unique(beats.record, return_inverse=True)
        self._append(beats.signal, beats.rr, self.split.labels(beats), len(self.records) + copy)
        self.train_positions = np.concatenate([self.split.train, n + copies.training])
        source = np.searchsorted(self.records, [copies.source[name] for name in names])
        versions = 1 + np.bincount(source, minlength=len(self.records))
        self._record_weight = 1 / np.append(versions, versions[source])

    def _append(self, *arrays: NDArray[Any]) -> None:
        added = [torch.from_numpy(array) for array in arrays]
        self.tensors = Batch(*(torch.cat(pair) for pair in zip(self.tensors, added, strict=True)))

    def class_counts(self) -> Tensor:
        """Returns the number of training beats of each class (n_classes,), added beats included."""
        return torch.bincount(self.tensors.label[self.train_positions], minlength=len(self.split.classes))

    def _weight(self) -> NDArray[np.float64]:
        """Returns the relative frequency of each training beat (n_train,)."""
        counts = self.class_counts().numpy().astype(np.float64)
        label = self.tensors.label[self.train_positions].numpy()
        weight: NDArray[np.float64] = (counts**self.class_power / counts.clip(1))[label]
        return weight

    def _pair(self) -> NDArray[np.int64]:
        """Returns the index of the class and record of each training beat (n_train,)."""
        label, record = (column[self.train_positions] for column in (self.tensors.label, self.tensors.record))
        pair: NDArray[np.int64] = (label * len(self.records) + record).numpy()
        return pair

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns the training beats, in a new order each epoch."""
        if self.context:
            return self._sequence_loader()
        return self._loader(self.train_positions, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Returns the validation beats, in order; in context, the records that contain them."""
        return self._evaluation_loader(self.split.validation)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the test beats, in order; in context, the records that contain them."""
        return self._evaluation_loader(self.split.test)

    def _loader(self, positions: Positions, shuffle: bool) -> DataLoader[Batch]:
        dataset = BeatTensors(self._tensors(), positions)
        sampler = self._sampler(
            len(dataset),
            self.batch_size if shuffle else self.eval_batch_size,
            shuffle=shuffle,
            weight=self._weight() if shuffle and self.class_power != 1 else None,
            group=self._pair() if shuffle and self.paired else None,
        )
        return self._batches(dataset, sampler)

    def _sequence_loader(self) -> DataLoader[Batch]:
        """Returns random training sequences, in an epoch as many as fill the training beats."""
        length = 2 * self.context + 1
        dataset = TrainingSequences(self._tensors(), self.train_positions, length, self.rhythms, self._record_weight)
        n_used = max(1, min(len(dataset), len(self.split.train) // length))
        batch_size = max(1, self.batch_size // length)
        sampler = self._sampler(len(dataset), batch_size, shuffle=True, n_used=n_used, weight=dataset.weight)
        return self._batches(dataset, sampler)

    def _evaluation_loader(self, positions: Positions) -> DataLoader[Batch]:
        """Returns the beats at `positions`; in context, the whole records that contain them."""
        if self.context:
            return self._batches(WholeRecords(self._tensors(), positions), None)
        return self._loader(positions, shuffle=False)

    def _sampler(self, n: int, batch_size: int, **settings: Any) -> BatchSampler:
        trainer = self.trainer
        return BatchSampler(
            n,
            batch_size,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            device=self._tensors().label.device,
            **settings,
        )

    def _batches(self, dataset: Dataset[Batch], sampler: BatchSampler | None) -> DataLoader[Batch]:
        # Pinned memory is copied faster to a GPU, batch by batch.
        copied = self._device().type == "cuda" and self._tensors() is self.tensors
        # Without worker processes, which would copy beats that are in memory already.
        return DataLoader(dataset, sampler=sampler, batch_size=None, pin_memory=copied)

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _tensors(self) -> Batch:
        """Returns all beats, on the GPU if its memory suffices, else in the memory of the host."""
        device = self._device()
        if device.type != "cuda":
            return self.tensors
        if self._on_gpu is None or self._on_gpu.label.device != device:
            if sum(tensor.nbytes for tensor in self.tensors) > DEVICE_FRACTION * torch.cuda.mem_get_info(device)[0]:
                return self.tensors
            self._on_gpu = Batch(*(tensor.to(device) for tensor in self.tensors))
        return self._on_gpu
