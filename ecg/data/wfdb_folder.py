"""A folder of annotated WFDB records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecg.data import wfdb_reader
from ecg.data.recording import Recording
from ecg.data.source import RecordSource
from ecg.data.window import Window


@dataclass(frozen=True, kw_only=True)
class WfdbFolder(RecordSource):
    """A folder of annotated WFDB records.

    Attributes:
        dir: the folder.
        annotator: suffix of the annotation files.
        patients: by record, the patient's name; every other record is a patient with the name of the record.
    """

    dir: str
    annotator: str
    patients: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """The folder of the records."""
        return Path(self.dir).expanduser()

    def record_names(self) -> Sequence[str]:
        """See `RecordSource`."""
        return wfdb_reader.list_records(self.folder)

    def fingerprint(self, record: str, window: Window) -> str:
        """See `RecordSource`."""
        return self.patients.get(record, record) + wfdb_reader.fingerprint(self.folder, record, self.annotator)

    def read(self, record: str, window: Window) -> Recording:
        """See `RecordSource`."""
        patient = self.patients.get(record)
        return wfdb_reader.read_recording(self.folder, record, patient=patient, annotator=self.annotator)
