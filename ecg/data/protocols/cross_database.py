"""Training on one database, test on another one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ecg.data.beats import Beats, Positions
from ecg.data.protocols.protocol import Protocol
from ecg.data.source import RecordSource, Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CrossDatabase(Protocol):
    """All records of one source are for training and validation, all records of another one for the test.

    The beats of both are cut by the same window, at the same sampling rate, and their symbols are mapped to the same
    classes. Training records whose name or patient is also in the test source are left out, and so are paced records,
    as EC57 requires.

    Attributes:
        test: the source of the test beats.
    """

    by_patient = True
    ec57 = True

    test: RecordSource

    def excluded_records(self, source: Source) -> list[str]:
        """See `Protocol.excluded_records`."""
        if not isinstance(source, RecordSource):
            return []
        names, published = source.record_names(), source.published_split
        excluded = {*self.exclude, *(published.paced if published else ())}
        if source is not self.test:
            same = set(names) & set(self.test.record_names())
            if same:
                log.info("Training records left out, since the test source has them too: %s.", ", ".join(sorted(same)))
            excluded |= same
        return [name for name in names if name in excluded]

    def partition(self, beats: Beats, source: Source) -> tuple[Positions, Positions]:
        """See `Protocol.partition`."""
        test = np.isin(beats.record, self.test.record_names())
        shared = ~test & np.isin(beats.patient, beats.patient[test])
        if shared.any():
            names = ", ".join(np.unique(beats.record[shared]))
            log.info("Training records left out, since their patient is in the test source: %s.", names)
        return np.flatnonzero(~test & ~shared), np.flatnonzero(test)
