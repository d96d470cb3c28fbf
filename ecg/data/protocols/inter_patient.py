"""The inter-patient split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecg.data.beats import Beats, Positions
from ecg.data.databases import PublishedSplit
from ecg.data.protocols.protocol import Protocol
from ecg.data.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InterPatient(Protocol):
    """Training and test records of different patients: the published split, such as DS1 and DS2 of MIT-BIH.

    A training record whose patient is also in the test subset is left out: in the published split of MIT-BIH this is
    record 201, the same patient as 202. A source without a published split is divided by patient.

    Attributes:
        train_records: None for the published ones.
        test_records: None for the published ones.
        paced_records: records that are left out, as EC57 requires; None for the published ones.
        test_fraction: fraction of the patients in the test subset, for a source without a published split.
    """

    by_patient = True
    ec57 = True

    train_records: Sequence[str] | None
    test_records: Sequence[str] | None
    paced_records: Sequence[str] | None
    test_fraction: float

    def excluded_records(self, source: Source) -> list[str]:
        """See `Protocol.excluded_records`."""
        return [*self.exclude, *self._records(source).paced]

    def test_subsets(self, source: Source) -> Mapping[str, tuple[str, ...]]:
        """See `Protocol.test_subsets`."""
        records = self._records(source)
        return {name: left_out for name, left_out in records.test_subsets.items() if set(left_out) & set(records.test)}

    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """See `Protocol.partition`."""
        records = self._records(source)
        if not records.train and not records.test:
            return self._split_patients(beats, np.arange(len(beats)), "test_fraction")
        train, test = np.isin(beats.record, records.train), np.isin(beats.record, records.test)
        shared = train & np.isin(beats.patient, beats.patient[test])
        if shared.any():
            names = ", ".join(np.unique(beats.record[shared]))
            log.info("Training records left out, since their patient is in the test subset: %s.", names)
        return np.flatnonzero(train & ~shared), np.flatnonzero(test)

    def _records(self, source: Source) -> PublishedSplit:
        """Returns the published split of the source, with the records that this protocol sets in their place."""
        settings = {"train": self.train_records, "test": self.test_records, "paced": self.paced_records}
        given: dict[str, Any] = {name: tuple(records) for name, records in settings.items() if records is not None}
        published = source.published_split or PublishedSplit(train=(), test=(), paced=(), test_subsets={})
        return replace(published, **given)
