"""Annotated databases of PhysioNet (Goldberger et al., Circulation 101(23):e215-e220, 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecg.data import wfdb_reader
from ecg.data.beats import Beats, Positions
from ecg.data.databases import DATABASES, Database, PublishedSplit
from ecg.data.download import download_records, missing_records
from ecg.data.kaggle import kaggle_partition
from ecg.data.recording import Recording
from ecg.data.source import RecordSource, data_root
from ecg.data.window import Window
from ecg.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PhysioNet(RecordSource):
    """A database of PhysioNet. Missing records are downloaded.

    Attributes:
        name: its key in `databases.DATABASES`.
        dir: folder of the records; None for the database's folder in the data root.
        url: address to download from; None for PhysioNet's.
    """

    dir: str | None
    url: str | None

    @property
    def database(self) -> Database:
        """The facts about the database.

        Raises:
            UserError: there is no database of this name.
        """
        if self.name not in DATABASES:
            raise UserError(f"data.name is {self.name}. Valid databases: {', '.join(DATABASES)}.")
        return DATABASES[self.name]

    @property
    def folder(self) -> Path:
        """The folder of the records."""
        return Path(self.dir).expanduser() if self.dir else data_root() / self.database.slug

    @property
    def published_split(self) -> PublishedSplit | None:
        """See `Source`."""
        return self.database.published_split

    def kaggle_split(self, beats: Beats) -> tuple[Positions, Positions]:
        """See `Source`."""
        return kaggle_partition(beats) if self.database.has_kaggle_split else super().kaggle_split(beats)

    def record_names(self) -> Sequence[str]:
        """See `RecordSource`."""
        return self.database.records

    def fingerprint(self, record: str, window: Window) -> str:
        """See `RecordSource`."""
        return wfdb_reader.fingerprint(self.folder, record, self._annotator(record, window))

    def read(self, record: str, window: Window) -> Recording:
        """See `RecordSource`."""
        return wfdb_reader.read_recording(
            self.folder,
            record,
            patient=self.database.patients.get(record),
            annotator=self._annotator(record, window),
            preferred_lead=self.database.preferred_lead,
        )

    def download(self, records: Sequence[str]) -> None:
        """See `RecordSource`.

        Raises:
            UserError: names the missing records, the reason and the remedies.
        """
        suffixes = ("hea", "dat", self.database.annotator)
        older = [name for record, name in self.database.older_annotations.items() if record in records]
        url = self.url or self.database.url
        try:
            download_records(self.folder, url=url, records=records, suffixes=suffixes, extra=older)
        except UserError as error:
            missing = missing_records(self.folder, records, suffixes)
            raise UserError(self._missing_message(records, missing, str(error))) from error

    def _missing_message(self, records: Sequence[str], missing: Sequence[str], reason: str) -> str:
        names = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        remedies = [
            f"set ECG_DATA_DIR to a folder that contains {self.database.slug}/",
            f"set {self.prefix}dir to their folder",
        ]
        if present := ",".join(record for record in records if record not in missing):
            remedies.append(f"select the present records with '{self.prefix}records=[{present}]'")
        return (
            f"{len(missing)} of {len(records)} records of data={self.name} are missing in {self.folder}: {names}. "
            f"The download failed: {reason} Go online, {', '.join(remedies[:-1])}, or {remedies[-1]}."
        )

    def _annotator(self, record: str, window: Window) -> str:
        older = self.database.older_annotations.get(record) if window.older_annotations else None
        return older if older and (self.folder / older).is_file() else self.database.annotator
