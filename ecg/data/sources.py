"""Where beats come from: simulated recordings, MIT-BIH, the Kaggle files, or a folder of one's own records."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from ecg.data import mitdb
from ecg.data.beats import Beats, cut_centered, cut_kaggle
from ecg.data.cache import fingerprint, load_or_make
from ecg.data.recording import Recording
from ecg.errors import UserError


def data_root() -> Path:
    """The folder that holds `mitdb/` and so on: `ECG_DATA_DIR`, else a folder of the user's cache."""
    return Path(os.environ.get("ECG_DATA_DIR") or platformdirs.user_cache_path("ecg") / "data")


@dataclass(frozen=True)
class Source(ABC):
    """Something that gives beats.

    Attributes:
        name: the option of the group `data`: simulated, mitbih, kaggle_csv or wfdb.
    """

    name: str

    @abstractmethod
    def beats(self, cache_dir: Path, exclude: Sequence[str] = ()) -> Beats:
        """All beats but those of the records in `exclude`, prepared once and cached in `cache_dir`."""


@dataclass(frozen=True)
class RecordSource(Source):
    """Recordings, cut by a window.

    Attributes:
        window: "kaggle" or "centered".
        lead: "first", "auto" or the name of a lead; see `beats.lead_index`.
        before: seconds before the R peak (centered).
        after: seconds from the R peak on (centered).
        sfreq: sampling rate of the beats in Hz (centered).
        difference: whether a second channel holds the beat minus its record's median beat (centered).
    """

    window: str
    lead: str
    before: float
    after: float
    sfreq: float
    difference: bool

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The records."""

    @abstractmethod
    def stamp(self, name: str) -> str:
        """A fingerprint of one record."""

    @abstractmethod
    def read(self, name: str) -> Recording:
        """One record."""

    def fetch(self, names: Sequence[str]) -> None:
        """Brings the records here if they are elsewhere."""

    def beats(self, cache_dir: Path, exclude: Sequence[str] = ()) -> Beats:
        """See `Source.beats`. Records are read and cut in parallel threads: most of the work is numpy's."""
        names = [name for name in self.names() if name not in exclude]
        if not names:
            raise UserError("Every record is excluded: shorten protocol.exclude.")
        self.fetch(names)
        centered = (self.before, self.after, self.sfreq, self.difference) if self.window == "centered" else ()
        cut = (self.window, self.lead, *centered)
        key = fingerprint({"cut": cut, "records": {name: self.stamp(name) for name in names}})
        return load_or_make(cache_dir, key, lambda: self._prepare(names))

    def _prepare(self, names: Sequence[str]) -> Beats:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return Beats.concatenate(list(pool.map(self._cut, names)))

    def _cut(self, name: str) -> Beats:
        if self.window == "kaggle":
            return cut_kaggle(self.read(name), self.lead)
        return cut_centered(self.read(name), self.lead, self.before, self.after, self.sfreq, self.difference)


@dataclass(frozen=True)
class Simulated(RecordSource):
    """Recordings made by a dynamical model, `n_patients` of `minutes` each."""

    n_patients: int
    minutes: float
    seed: int

    def names(self) -> Sequence[str]:
        """See `RecordSource.names`."""
        return [f"sim{patient:02d}" for patient in range(self.n_patients)]

    def stamp(self, name: str) -> str:
        """See `RecordSource.stamp`."""
        return f"{name} {self.minutes} {self.seed}"

    def read(self, name: str) -> Recording:
        """See `RecordSource.read`."""
        from ecg.data.simulated import simulate

        return simulate(int(name.removeprefix("sim")), minutes=self.minutes, seed=self.seed)


@dataclass(frozen=True)
class WfdbFolder(RecordSource):
    """A folder of annotated WFDB records; each record is a patient unless `patients` says otherwise.

    Attributes:
        dir: the folder.
        annotator: ending of the annotation files.
        patients: record -> patient, for people with several records.
    """

    dir: str
    annotator: str
    patients: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the records."""
        return Path(self.dir).expanduser()

    def names(self) -> Sequence[str]:
        """See `RecordSource.names`."""
        from ecg.data.wfdb_records import list_records

        return list_records(self.folder)

    def stamp(self, name: str) -> str:
        """See `RecordSource.stamp`."""
        from ecg.data.wfdb_records import stamp

        return self.patients.get(name, name) + stamp(self.folder, name, self.annotator)

    def read(self, name: str) -> Recording:
        """See `RecordSource.read`."""
        from ecg.data.wfdb_records import read_recording

        patient = self.patients.get(name, name)
        return read_recording(self.folder, name, patient=patient, annotator=self.annotator)


@dataclass(frozen=True)
class MitBih(RecordSource):
    """The MIT-BIH Arrhythmia Database: from `dir`, else `ECG_DATA_DIR`/mitdb, else downloaded there.

    Attributes:
        dir: folder of the records; None for `mitdb` in the data root.
        url: where to download missing records from.
    """

    dir: str | None
    url: str

    @property
    def _folder(self) -> Path:
        return Path(self.dir).expanduser() if self.dir else data_root() / "mitdb"

    def names(self) -> Sequence[str]:
        """See `RecordSource.names`."""
        return mitdb.RECORDS

    def fetch(self, names: Sequence[str]) -> None:
        """See `RecordSource.fetch`."""
        endings = ("hea", "dat", "atr")
        if all((self._folder / f"{name}.{ending}").is_file() for name in names for ending in endings):
            return
        from ecg.data.download import download_records

        extra = (mitdb.OLDER_ANNOTATION,) if "102" in names else ()
        download_records(self._folder, url=self.url, records=names, extra=extra)

    def _annotator(self, name: str) -> str:
        # The Kaggle set was cut with the older annotation of record 102, where one beat sits 34 samples off.
        older = self.window == "kaggle" and name == "102" and (self._folder / mitdb.OLDER_ANNOTATION).is_file()
        return mitdb.OLDER_ANNOTATION if older else "atr"

    def stamp(self, name: str) -> str:
        """See `RecordSource.stamp`."""
        from ecg.data.wfdb_records import stamp

        return stamp(self._folder, name, self._annotator(name))

    def read(self, name: str) -> Recording:
        """See `RecordSource.read`."""
        from ecg.data.wfdb_records import read_recording

        patient = mitdb.PATIENT_OF.get(name, name)
        return read_recording(self._folder, name, patient=patient, annotator=self._annotator(name))


@dataclass(frozen=True)
class KaggleCsv(Source):
    """The Kaggle files `mitbih_train.csv` and `mitbih_test.csv` as they are; the records are unknown.

    Attributes:
        dir: folder of the two files; None for `kaggle_heartbeat` in the data root.
    """

    dir: str | None

    def beats(self, cache_dir: Path, exclude: Sequence[str] = ()) -> Beats:
        """See `Source.beats`. The file stands in for the record, the row for the sample."""
        from ecg.data.kaggle import FILES, read_csv

        folder = Path(self.dir).expanduser() if self.dir else data_root() / "kaggle_heartbeat"
        paths = [folder / f"{name}.csv" for name in FILES]
        for path in paths:
            if not path.is_file():
                raise UserError(
                    f"There is no {path}: put the Kaggle files there, set data.dir=... to their folder, or make "
                    "them from MIT-BIH with 'ecg beats --protocol kaggle --out DIR'."
                )
        stats = {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in paths}
        return load_or_make(
            cache_dir,
            fingerprint({"csv": str(folder.resolve()), "files": stats}),
            lambda: Beats.concatenate([read_csv(path) for path in paths]),
        )
