"""Protocols: which beats train, validate and test.

| protocol      | test                                   | validation, of the training side | shared patients |
|---------------|----------------------------------------|----------------------------------|-----------------|
| kaggle        | the genuine 21,892 rows                | beats, stratified by class       | all             |
| inter_patient | DS2; elsewhere a share of the patients | whole patients                   | none            |
| patient_kfold | one fold of the patients               | whole patients                   | none            |
| random        | a share of the beats                   | beats, stratified by class       | all             |
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from ecg.data.aami import CLASSES
from ecg.data.beats import Beats
from ecg.data.kaggle import kaggle_sides
from ecg.errors import UserError

log = logging.getLogger(__name__)
Positions = NDArray[np.int64]

N_DIVISIONS = 500  # enough that a better one is hard to find; takes 20 ms


@dataclass(frozen=True)
class Split:
    """Positions of the beats of each side.

    Attributes:
        train: (n_train,) positions.
        validation: (n_validation,) positions.
        test: (n_test,) positions.
        classes: the classes that take part; beats of others are on no side.
        by_patient: whether no patient is on two sides.
    """

    train: Positions
    validation: Positions
    test: Positions
    classes: tuple[str, ...]
    by_patient: bool

    def label_of(self, beats: Beats) -> NDArray[np.int64]:
        """(n,) index of each beat's class into `classes`, -1 where it takes no part."""
        index = np.full(len(CLASSES), -1)
        index[[CLASSES.index(name) for name in self.classes]] = range(len(self.classes))
        return index[beats.label]


@dataclass(frozen=True)
class Protocol(ABC):
    """How beats are divided.

    Attributes:
        classes: the classes that take part.
        exclude: records that take no part.
        validation: share of the training side that validates.
        split_seed: governs what is drawn; another thing than the seed of the training.
        keep: of a class, the share of its training beats that is kept; 1 where it is not named.
    """

    classes: Sequence[str]
    exclude: Sequence[str]
    validation: float
    split_seed: int
    keep: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    by_patient = False

    def excluded(self, source: str) -> list[str]:
        """The records of a source (the name of the option of `data`) that need not even be read."""
        return list(self.exclude)

    @abstractmethod
    def sides(self, beats: Beats, source: str) -> tuple[Positions, Positions]:
        """Positions of the training side (validation included) and of the test side."""

    def split(self, beats: Beats, source: str) -> Split:
        """Divides the beats of a source (the name of the option of `data`).

        Raises:
            UserError: a class is absent from the training beats, or the protocol does not fit the source.
        """
        allowed = np.isin(beats.label, [CLASSES.index(name) for name in self.classes])
        training, test = (side[allowed[side]] for side in self.sides(beats, source))
        if self.by_patient:
            train, validation = self._whole_patients(beats, training, self.validation)
        else:
            train, validation = self._stratified(beats, training, self.validation)
        if not len(test):
            raise UserError("No beat is left to test: check protocol.classes and the protocol's records.")
        for name in self.classes:
            if not (beats.label[train] == CLASSES.index(name)).any():
                raise UserError(
                    f"Class {name} has no training beat here: leave it out of protocol.classes, or choose another "
                    "protocol, another protocol.split_seed or more data."
                )
        return Split(self._kept(beats, train), validation, test, tuple(self.classes), self.by_patient)

    def _kept(self, beats: Beats, train: Positions) -> Positions:
        """The training beats that `keep` leaves; of no class fewer than one."""
        rng, parts = np.random.default_rng(self.split_seed), []
        for name in self.classes:
            of_class = train[beats.label[train] == CLASSES.index(name)]
            n = max(1, round(self.keep.get(name, 1.0) * len(of_class)))
            parts.append(rng.permutation(of_class)[:n])
        return np.sort(np.concatenate(parts))

    def _stratified(self, beats: Beats, side: Positions, share: float) -> tuple[Positions, Positions]:
        """Two parts of a side, `share` of each class in the second."""
        try:
            rest, drawn = train_test_split(
                side, test_size=share, stratify=beats.label[side], random_state=self.split_seed
            )
        except ValueError as error:
            raise UserError(f"These {len(side)} beats cannot be divided by class: {error}") from error
        return np.sort(rest), np.sort(drawn)

    def _whole_patients(self, beats: Beats, side: Positions, share: float) -> tuple[Positions, Positions]:
        """Two parts of a side with no patient in common, about `share` of each class in the second."""
        return patient_fold(beats, side, n_folds=max(2, round(1 / share)), fold=0, seed=self.split_seed)


def patient_fold(beats: Beats, side: Positions, n_folds: int, fold: int, seed: int) -> tuple[Positions, Positions]:
    """The beats of a side outside and inside of one fold of whole patients.

    Of many random divisions into folds of equally many patients, the one whose folds are most alike in their
    classes: S and F sit in a few patients each.

    Raises:
        UserError: there are fewer patients than folds.
    """
    names, patient = np.unique(beats.patient[side], return_inverse=True)
    if len(names) < n_folds:
        raise UserError(f"{len(names)} patients cannot make {n_folds} folds: add records or choose fewer folds.")
    counts = np.zeros((len(names), len(CLASSES)))
    np.add.at(counts, (patient, beats.label[side]), 1)
    share = counts / np.maximum(counts.sum(axis=0), 1)  # (patients, classes), of all beats of the class
    rng = np.random.default_rng(seed)
    divisions = [rng.permutation(np.arange(len(names)) % n_folds) for _ in range(N_DIVISIONS)]
    inside = (min(divisions, key=lambda division: _unevenness(share, division, n_folds)) == fold)[patient]
    return side[~inside], side[inside]


def _unevenness(share: NDArray[np.float64], division: NDArray[np.int64], n_folds: int) -> float:
    """How far the classes are from being spread evenly over the folds: 0 where each fold has its part of each."""
    of_fold = np.stack([share[division == fold].sum(axis=0) for fold in range(n_folds)])  # (folds, classes)
    return float(np.abs(of_fold - share.sum(axis=0) / n_folds).sum())


@dataclass(frozen=True)
class Kaggle(Protocol):
    """The genuine split of the Kaggle heartbeat set: 87,554 training and 21,892 test beats of the same patients."""

    def sides(self, beats: Beats, source: str) -> tuple[Positions, Positions]:
        """See `Protocol.sides`."""
        if source == "kaggle_csv":
            test = beats.record == "mitbih_test"
            return np.flatnonzero(~test), np.flatnonzero(test)
        return kaggle_sides(beats)


@dataclass(frozen=True)
class InterPatient(Protocol):
    """DS1 against DS2 for MIT-BIH, elsewhere a seeded share of the patients.

    A training record whose patient is among the test records is left out: of the published halves this is 201,
    the same person as 202.

    Attributes:
        train_records: for MIT-BIH; DS1 by default.
        test_records: for MIT-BIH; DS2 by default.
        paced_records: for MIT-BIH; left out, as EC57 asks.
        test_share: of the patients, for other sources.
    """

    train_records: Sequence[str] = field(default_factory=tuple)
    test_records: Sequence[str] = field(default_factory=tuple)
    paced_records: Sequence[str] = field(default_factory=tuple)
    test_share: float = 0.3

    by_patient = True

    def excluded(self, source: str) -> list[str]:
        """See `Protocol.excluded`. Somebody else's record 102 is not MIT-BIH's."""
        return [*self.exclude, *(self.paced_records if source == "mitbih" else ())]

    def sides(self, beats: Beats, source: str) -> tuple[Positions, Positions]:
        """See `Protocol.sides`."""
        if source != "mitbih":
            return self._whole_patients(beats, np.arange(len(beats)), self.test_share)
        test = np.isin(beats.record, self.test_records)
        train = np.isin(beats.record, self.train_records)
        shared = train & np.isin(beats.patient, beats.patient[test])
        if shared.any():
            names = ", ".join(np.unique(beats.record[shared]))
            log.info("Record %s is left out of the training: its patient is among the test records.", names)
        return np.flatnonzero(train & ~shared), np.flatnonzero(test)


@dataclass(frozen=True)
class PatientKFold(Protocol):
    """One of `n_folds` folds of whole patients is the test side.

    Attributes:
        fold: 0..n_folds-1, the fold that tests.
        n_folds: how many folds the patients are divided into.
    """

    fold: int = 0
    n_folds: int = 5

    by_patient = True

    def sides(self, beats: Beats, source: str) -> tuple[Positions, Positions]:
        """See `Protocol.sides`."""
        return patient_fold(beats, np.arange(len(beats)), self.n_folds, self.fold, self.split_seed)


@dataclass(frozen=True)
class Random(Protocol):
    """A seeded share of the beats of each class is the test side; patients are on both.

    Attributes:
        test_share: of the beats.
    """

    test_share: float = 0.2

    def sides(self, beats: Beats, source: str) -> tuple[Positions, Positions]:
        """See `Protocol.sides`."""
        return self._stratified(beats, np.arange(len(beats)), self.test_share)
