"""Sources of beats: `Source`, and `RecordSource` for sources that consist of recordings."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import platformdirs

from ecg.data import cache
from ecg.data.beats import Beats, Positions
from ecg.data.databases import PublishedSplit
from ecg.data.recording import Recording
from ecg.data.window import Window
from ecg.errors import UserError
from ecg.resources import require_disk, require_memory


def data_root() -> Path:
    """Returns the folder that contains `mitdb/` and so on: `ECG_DATA_DIR`, else a folder in the user's cache."""
    return Path(os.environ.get("ECG_DATA_DIR") or platformdirs.user_cache_path("ecg") / "data")


def exclude_remedy(record: str) -> str:
    """Returns the remedy that ends each message that refuses one record of several."""
    return f"Or add {record} to protocol.exclude; only protocol=kaggle needs all records."


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """A source of beats.

    Attributes:
        name: its option in the group `data`.
    """

    simulated: ClassVar[bool] = False  # whether the beats are simulated

    name: str

    @property
    def published_split(self) -> PublishedSplit | None:
        """The split by records that the literature uses; None without one."""
        return None

    @abstractmethod
    def load_beats(self, window: Window, cache_dir: Path, exclude: Sequence[str] = ()) -> Beats:
        """Returns the beats, from the cache where they were prepared before.

        Args:
            window: cuts the recordings.
            cache_dir: folder of the cache.
            exclude: records to leave out.

        Raises:
            UserError: records are missing, damaged or unknown.
        """

    def kaggle_split(self, beats: Beats) -> tuple[Positions, Positions]:
        """Returns the positions of the training and of the test beats of the Kaggle heartbeat set.

        Raises:
            UserError: the Kaggle heartbeat set was not made from this source.
        """
        raise UserError(
            f"protocol=kaggle is a split of the MIT-BIH Arrhythmia Database and does not apply to data={self.name}. "
            "Use data=mitbih or data=kaggle_csv."
        )


@dataclass(frozen=True, kw_only=True)
class RecordSource(Source):
    """A source that consists of recordings, which a window cuts into beats.

    Attributes:
        records: the records to use; None for all.
        prefix: start of its keys in the configuration, for messages.
    """

    how_to_shrink: ClassVar[str] = "Use fewer data.records, or decrease data.sfreq, data.before or data.after."

    records: Sequence[str] | None
    prefix: str = "data."

    @abstractmethod
    def record_names(self) -> Sequence[str]:
        """Returns the names of all records of the source."""

    @abstractmethod
    def fingerprint(self, record: str, window: Window) -> str:
        """Returns a fingerprint of a record, as `window` uses it."""

    @abstractmethod
    def read(self, record: str, window: Window) -> Recording:
        """Returns a record, as `window` uses it."""

    def download(self, records: Sequence[str]) -> None:
        """Downloads the records that are missing, where the source can be downloaded."""

    def load_beats(self, window: Window, cache_dir: Path, exclude: Sequence[str] = ()) -> Beats:
        """See `Source`."""
        records = self._selected(exclude)
        self.download(records)
        fingerprints = {}
        for record in records:
            with self._excludable(record, records):
                fingerprints[record] = self.fingerprint(record, window)
        key = cache.fingerprint({"window": window.settings(), "records": fingerprints})
        return cache.load_or_make(cache_dir, key, lambda: self._cut(records, window, cache_dir))

    def _selected(self, exclude: Sequence[str]) -> list[str]:
        valid = self.record_names()
        chosen = valid if self.records is None else self.records
        for where, given in ((f"{self.prefix}records", chosen), ("the excluded records", exclude)):
            if unknown := [record for record in given if record not in valid]:
                raise UserError(
                    f"Unknown records in {where}: {', '.join(unknown)}. "
                    f"Valid records of {self.name}: {', '.join(valid)}."
                )
        selected = [record for record in valid if record in chosen and record not in exclude]
        if not selected:
            raise UserError(f"Every record is excluded. Shorten protocol.exclude or extend {self.prefix}records.")
        return selected

    def _cut(self, records: Sequence[str], window: Window, cache_dir: Path) -> Beats:
        def read(record: str) -> Recording:
            with self._excludable(record, records):
                return self.read(record, window)

        def cut(recording: Recording) -> Beats:
            with self._excludable(recording.name, records):
                return window.cut(recording)

        first = read(records[0])
        self._require_space(first, window, len(records), cache_dir)
        # Threads are enough: most of the work is done by NumPy, which releases the GIL.
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            others = pool.map(lambda record: cut(read(record)), records[1:])
            return Beats.concatenate([cut(first), *others])
        finally:
            pool.shutdown(cancel_futures=True)  # after a signal, the remaining records are not read

    @contextmanager
    def _excludable(self, record: str, records: Sequence[str]) -> Iterator[None]:
        """Adds a remedy to a message that refuses one record: exclude it, where the others can be used without it."""
        try:
            yield
        except UserError as error:
            if self.simulated or len(records) == 1:
                raise
            raise UserError(f"{error} {exclude_remedy(record)}") from error

    def _require_space(self, recording: Recording, window: Window, n_records: int, cache_dir: Path) -> None:
        """Refuses beats that do not fit into memory or on the disk if all records are like this one."""
        of_record = recording.sample.size * window.n_channels * window.n_times * np.dtype(np.float32).itemsize
        of_beats = of_record * n_records
        # The beats of each record and their concatenation; and the index and float64 arrays of a thread.
        in_memory = 2 * of_beats + 5 * of_record * min(n_records, os.cpu_count() or 1)
        require_memory(in_memory, f"The beats of {n_records:,} records", self.how_to_shrink)
        require_disk(of_beats, cache_dir, f"The prepared beats of {n_records:,} records", self.how_to_shrink)
