"""The PhysioNet databases that can be used as a source of beats.

A new database needs an entry in `DATABASES` and a file `conf/data/NAME.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ecg.data import mitbih


@dataclass(frozen=True)
class PublishedSplit:
    """The split of a database by records that the literature uses.

    Attributes:
        train: training records.
        test: test records.
        paced: records that are excluded because their beats are paced.
        test_subsets: by name, further evaluations of the test subset, each with the records that it leaves out.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    paced: tuple[str, ...]
    test_subsets: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Database:
    """An annotated database of PhysioNet.

    Attributes:
        slug: its name in PhysioNet's addresses, and of its folder in ECG_DATA_DIR.
        version: its version on PhysioNet.
        title: its full name.
        records: names of all records.
        preferred_lead: the lead that `data.lead=auto` selects where a record has it.
        annotator: suffix of the reference annotation files.
        patients: by record, the patient's name; every other record is a patient with the name of the record.
        published_split: the split of the literature; None without one.
        has_kaggle_split: whether the Kaggle heartbeat set was made from this database.
        older_annotations: by record, an annotation file that windows with `older_annotations` use where it is present.
    """

    slug: str
    version: str
    title: str
    records: tuple[str, ...]
    preferred_lead: str
    annotator: str = "atr"
    patients: Mapping[str, str] = field(default_factory=dict)
    published_split: PublishedSplit | None = None
    has_kaggle_split: bool = False
    older_annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of the files."""
        return f"https://physionet.org/files/{self.slug}/{self.version}"


DATABASES: dict[str, Database] = {
    "mitbih": Database(
        slug="mitdb",
        version="1.0.0",
        title="MIT-BIH Arrhythmia Database",
        records=mitbih.RECORDS,
        preferred_lead=mitbih.PREFERRED_LEAD,
        patients=mitbih.PATIENTS,
        published_split=PublishedSplit(mitbih.DS1, mitbih.DS2, mitbih.PACED, mitbih.TEST_SUBSETS),
        has_kaggle_split=True,
        older_annotations=mitbih.OLDER_ANNOTATIONS,
    ),
    # Greenwald, "Improved detection and classification of arrhythmias in noise-corrupted electrocardiograms using
    # contextual information", PhD thesis, Harvard-MIT Division of Health Sciences and Technology, 1990.
    "svdb": Database(
        slug="svdb",
        version="1.0.0",
        title="MIT-BIH Supraventricular Arrhythmia Database",
        records=tuple(str(n) for n in (*range(800, 813), *range(820, 830), *range(840, 895))),
        preferred_lead="ECG1",
    ),
}
