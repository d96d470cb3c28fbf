"""The base class of protocols, and the split that they return."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from ecg.data.aami import CLASSES
from ecg.data.beats import Beats, Positions
from ecg.data.protocols.patient_folds import patient_fold
from ecg.data.source import Source
from ecg.errors import UserError


@dataclass(frozen=True)
class Split:
    """Positions of the beats of each subset.

    Attributes:
        train: (n_train,) positions.
        validation: (n_validation,) positions; none if the protocol uses all other beats for training.
        test: (n_test,) positions.
        classes: names of the classes. Beats of other classes are in no subset.
        by_patient: whether every patient is in one subset only.
    """

    train: Positions
    validation: Positions
    test: Positions
    classes: tuple[str, ...]
    by_patient: bool

    def labels(self, beats: Beats) -> NDArray[np.int64]:
        """Returns the index of each beat's class in `classes` (n,), -1 for other classes."""
        index = np.full(len(CLASSES), -1)
        index[[CLASSES.index(name) for name in self.classes]] = range(len(self.classes))
        return index[beats.label]


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """Divides beats into training, validation and test subsets.

    Attributes:
        classes: names of the classes that take part.
        exclude: records that are left out.
        validation_fraction: fraction of the training beats or patients that is used for validation; 0 for none.
        split_seed: seed of the split.
        keep: class -> fraction of its training beats to keep; classes that are not listed keep all.
    """

    by_patient: ClassVar[bool] = False  # whether every patient is in one subset only
    ec57: ClassVar[bool] = False  # whether the scores of ANSI/AAMI EC57 are reported

    classes: Sequence[str]
    exclude: Sequence[str]
    validation_fraction: float
    split_seed: int
    keep: Mapping[str, float]

    def excluded_records(self, source: Source) -> list[str]:
        """Returns the records of the source that need not be read."""
        return list(self.exclude)

    def test_subsets(self, source: Source) -> Mapping[str, tuple[str, ...]]:
        """Returns additional evaluations: a name -> the records to leave out of the test subset."""
        return {}

    @abstractmethod
    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """Returns the positions of the training beats, validation included, and of the test beats.

        Args:
            beats: all beats of the source except those of `excluded_records`.
            source: the source of the beats.

        Raises:
            UserError: the protocol does not apply to these beats.
        """

    def split(self, beats: Beats, source: Source) -> Split:
        """Returns the subsets of the beats of a source.

        Args:
            beats: all beats of the source except those of `excluded_records`.
            source: the source of the beats.

        Raises:
            UserError: a subset is empty, the training subset lacks a class, or the protocol does not apply to these
                beats.
        """
        has_class = np.isin(beats.label, [CLASSES.index(name) for name in self.classes])
        training, test = (part[has_class[part]] for part in self.partition(beats, source))
        for subset, positions in (("training", training), ("test", test)):
            if not len(positions):
                raise UserError(
                    f"The {subset} subset is empty. Check protocol.classes, the protocol's records and data.records."
                )
        train, validation = training, training[:0]
        if self.validation_fraction:
            divide = self._split_patients if self.by_patient else self._split_beats
            train, validation = divide(beats, training, "validation_fraction")
        for name in self.classes:
            if not (beats.label[train] == CLASSES.index(name)).any():
                raise UserError(
                    f"Class {name} has no training beat. Remove it from protocol.classes, add records, or choose "
                    "another protocol or protocol.split_seed."
                )
        return Split(self._reduce(beats, train), validation, test, tuple(self.classes), self.by_patient)

    def _reduce(self, beats: Beats, train: Positions) -> Positions:
        """Returns the training beats that remain after `keep`, at least one of each class."""
        rng = np.random.default_rng(self.split_seed)
        parts = []
        for name in self.classes:
            of_class = train[beats.label[train] == CLASSES.index(name)]
            n = max(1, round(self.keep.get(name, 1.0) * len(of_class)))
            parts.append(rng.permutation(of_class)[:n])
        return np.sort(np.concatenate(parts))

    def _split_beats(self, beats: Beats, positions: Positions, key: str) -> tuple[Positions, Positions]:
        """Returns two parts, stratified by class. The setting `key` is the fraction of the beats in the second part."""
        fraction, label = getattr(self, key), beats.label[positions]
        self._require_enough_beats(label, key)
        first, second = train_test_split(positions, test_size=fraction, stratify=label, random_state=self.split_seed)
        return np.sort(first), np.sort(second)

    def _require_enough_beats(self, label: NDArray[np.int64], key: str) -> None:
        """Refuses beats that cannot be divided so that each part has a beat of each class."""
        fraction, counts = getattr(self, key), np.bincount(label, minlength=len(CLASSES))
        n_second, n_classes = math.ceil(fraction * len(label)), np.count_nonzero(counts)
        reason = ""
        if 1 in counts:
            reason = f"class {CLASSES[int(np.argmax(counts == 1))]} has a single beat"
        elif min(n_second, len(label) - n_second) < n_classes:
            reason = f"one part would have fewer beats than the {n_classes} classes"
        if reason:
            raise UserError(
                f"The {len(label):,} beats cannot be split by class with protocol.{key}={fraction:g}: {reason}. "
                f"Add records, remove rare classes from protocol.classes, or change protocol.{key}."
            )

    def _split_patients(self, beats: Beats, positions: Positions, key: str) -> tuple[Positions, Positions]:
        """Returns two parts without a shared patient. The setting `key` is the rough fraction of the second part."""
        fraction = getattr(self, key)
        return patient_fold(
            beats,
            positions,
            n_folds=max(2, round(1 / fraction)),
            fold=0,
            seed=self.split_seed,
            setting=f"protocol.{key}={fraction:g}",
            remedy=f"increase protocol.{key}",
        )
