"""Base class of the balance methods: which training beats are removed and which are added, once before the training.

All methods that add beats add the same number for the same `balance_to` and `fraction`, so that they can be compared.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ecg.data.balanced import BalancedBeats
from ecg.data.beats import Beats, Positions
from ecg.data.protocols.protocol import Split
from ecg.data.window import Window
from ecg.resources import require_memory

log = logging.getLogger(__name__)

COPIES = 4  # of the added beats in memory: of the balance method, its result, and the tensors of the data module


@dataclass(frozen=True)
class TrainingBeats:
    """The n training beats of a split and the settings of their augmentation.

    Attributes:
        beats: the beats of all subsets.
        split: their subsets.
        source: name of the data source.
        window: the window that cut them.
        balance_to: class that smaller classes are filled up to; None for the second largest.
        fraction: fraction of the missing beats that is added.
        seed: seed of the random numbers.
        synthetic_set: folder of a synthetic set, or run folder that holds one.
    """

    beats: Beats
    split: Split
    source: str
    window: Window
    balance_to: str | None
    fraction: float
    seed: int
    synthetic_set: Path | None

    @cached_property
    def signal(self) -> NDArray[np.float32]:
        """Signals (n, C, T)."""
        return self.beats.signal[self.split.train]

    @cached_property
    def rr(self) -> NDArray[np.float32]:
        """RR features (n, R)."""
        return self.beats.rr[self.split.train]

    @cached_property
    def record(self) -> NDArray[np.str_]:
        """Names of the records (n,)."""
        return self.beats.record[self.split.train]

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """Labels (n,), indices into the classes of the split."""
        return self.split.labels(self.beats)[self.split.train]

    @property
    def counts(self) -> dict[str, int]:
        """Number of training beats of each class."""
        counts = np.bincount(self.label, minlength=len(self.split.classes))
        return dict(zip(self.split.classes, counts.tolist(), strict=True))

    def missing(self) -> dict[str, int]:
        """Returns the number of beats to add to each class that is too small.

        Raises:
            UserError: these beats do not fit into memory.
        """
        missing = missing_beats(self.counts, self.balance_to, self.fraction)
        n, of_beat = sum(missing.values()), self.beats.signal[0].nbytes
        require_memory(
            COPIES * n * of_beat,
            f"{n:,} beats that the augmentation adds",
            "Decrease augmentation.fraction, or choose a smaller class as augmentation.balance_to.",
        )
        return missing

    def missing_labels(self) -> NDArray[np.int64]:
        """Returns the labels (m,) of the beats to add, in the order of `missing`."""
        missing = self.missing()
        return np.repeat(np.array([self.split.classes.index(name) for name in missing], np.int64), [*missing.values()])

    def target(self) -> int:
        """Returns the number of beats that smaller classes are filled up to."""
        return target_count(self.counts, self.balance_to)

    def positions(self, name: str) -> Positions:
        """Returns the positions of the beats of a class among the training beats."""
        return np.flatnonzero(self.label == self.split.classes.index(name))


class Balance(ABC):
    """A correction of the class imbalance of the training beats.

    Attributes:
        class_power: a class of n training beats is sampled n ** class_power this often: 1 as it is, 0 equally.
        inserts: whether the added beats are waveforms of the leads, which have no features until they are inserted into
            records (`ecg.augmentation.insertion`). In context, the beats of all methods are.
    """

    class_power: ClassVar[float] = 1.0
    inserts: ClassVar[bool] = False

    def __call__(self, training: TrainingBeats) -> BalancedBeats | None:
        """Balances the training beats and logs the number of beats of each class; see `balance`."""
        balanced = self.balance(training)
        if balanced is not None:
            label = np.concatenate([training.label[balanced.kept], balanced.label])
            counts = np.bincount(label, minlength=len(training.split.classes)).tolist()
            numbers = (f"{name} {n:,}" for name, n in zip(training.split.classes, counts, strict=True))
            log.info("Training beats after %s: %s", type(self).__name__, ", ".join(numbers))
        return balanced

    @abstractmethod
    def balance(self, training: TrainingBeats) -> BalancedBeats | None:
        """Returns the training beats that are kept and the beats that are added; None if nothing changes.

        Raises:
            UserError: the method does not apply to these beats.
        """


def missing_beats(counts: Mapping[str, int], balance_to: str | None, fraction: float) -> dict[str, int]:
    """Returns the number of beats to add to each class that is smaller than the target.

    Args:
        counts: number of training beats of each class.
        balance_to: class that smaller classes are filled up to; None for the second largest, because filling up to the
            normal beats multiplies the rare classes by a hundred.
        fraction: fraction of the missing beats that is added.
    """
    target = target_count(counts, balance_to)
    missing = {name: round(fraction * (target - n)) for name, n in counts.items()}
    return {name: n for name, n in missing.items() if n > 0}


def target_count(counts: Mapping[str, int], balance_to: str | None) -> int:
    """Returns the number of beats of the class `balance_to`, or of the second largest class for None."""
    return counts[balance_to] if balance_to else sorted(counts.values())[-2:][0]
