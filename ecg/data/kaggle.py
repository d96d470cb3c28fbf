"""The Kaggle heartbeat set: its split of MIT-BIH, its two CSV files, and the source that reads them.

The package contains the split as an index, `kaggle_test_split.csv.gz`: record, annotation and label of each of the
21,892 rows of `mitbih_test.csv`. The other 87,554 beats are the training rows.

Source: https://www.kaggle.com/datasets/shayanfazeli/heartbeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg.data.aami import CLASSES
from ecg.data.beats import Beats, Positions
from ecg.data.cache import fingerprint, load_or_make
from ecg.data.source import Source, data_root
from ecg.data.window import KAGGLE_SFREQ, KAGGLE_TIMES, Window
from ecg.errors import UserError
from ecg.files import atomic_write

TRAIN, TEST = FILES = ("mitbih_train", "mitbih_test")
_LONGEST_ROW = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class KaggleCsv(Source):
    """The files `mitbih_train.csv` and `mitbih_test.csv`. They name neither records nor patients.

    Attributes:
        dir: folder of the two files; None for `kaggle_heartbeat/` in the data root.
    """

    dir: str | None

    def load_beats(self, window: Window, cache_dir: Path, exclude: Sequence[str] = ()) -> Beats:
        """See `Source.load_beats`. The window must be `KaggleWindow`. `record` is the file, `sample` the row.

        Raises:
            UserError: a file is missing or malformed, or `exclude` is not empty.
        """
        if exclude:
            raise UserError(
                f"protocol.exclude is [{', '.join(exclude)}], but the files of data={self.name} do not name the record "
                "of a beat. Remove protocol.exclude or use data=mitbih."
            )
        folder = Path(self.dir).expanduser() if self.dir else data_root() / "kaggle_heartbeat"
        paths = [folder / f"{name}.csv" for name in FILES]
        if missing := [str(path) for path in paths if not path.is_file()]:
            raise UserError(
                f"Missing files: {', '.join(missing)}. Put the Kaggle files there, set data.dir to their folder, or "
                "create them from MIT-BIH with 'ecg beats --protocol kaggle --out FOLDER'."
            )
        versions = {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}
        key = fingerprint({"csv": str(folder.resolve()), "files": versions})
        return load_or_make(cache_dir, key, lambda: Beats.concatenate([read_csv(path) for path in paths]))

    def kaggle_split(self, beats: Beats) -> tuple[Positions, Positions]:
        """See `Source.kaggle_split`."""
        return np.flatnonzero(beats.record == TRAIN), np.flatnonzero(beats.record == TEST)


def kaggle_partition(beats: Beats) -> tuple[Positions, Positions]:
    """Returns the positions of the training beats, and of the test beats in the order of `mitbih_test.csv`.

    The last annotation of each record is in neither. A test beat whose annotation has moved since the set was made (one
    beat of record 102) is matched with the nearest beat of its record.

    Args:
        beats: the beats of the 48 records of MIT-BIH.

    Raises:
        UserError: a record is missing, or the labels differ from those of MIT-BIH.
    """
    rows = pd.read_csv(str(files("ecg.data") / "kaggle_test_split.csv.gz"), dtype={"record": str})
    if missing := sorted(set(rows["record"]) - set(beats.record)):
        raise UserError(
            f"protocol=kaggle needs all 48 records of MIT-BIH, but {len(missing)} are left out: {', '.join(missing)}. "
            "Remove data.records and protocol.exclude, or choose another protocol."
        )
    test = np.empty(len(rows), np.int64)
    for record, group in rows.groupby("record"):
        of_record = np.flatnonzero(beats.record == record)
        distance = np.abs(beats.sample[of_record][:, None] - group["sample"].to_numpy())  # (beats, rows)
        test[group.index] = of_record[distance.argmin(axis=0)]
    if len(np.unique(test)) != len(test) or not np.array_equal(beats.label[test], rows["label"]):
        raise UserError(
            "The annotations differ from those of MIT-BIH 1.0.0, so its Kaggle split does not apply. "
            "Download the records again, or choose another protocol."
        )
    train = np.setdiff1d(np.flatnonzero(~beats.last), test)
    return train, test


def read_csv(path: Path) -> Beats:
    """Returns the beats of one Kaggle file.

    Args:
        path: CSV file without a header; each row holds 187 samples and the label.

    Raises:
        UserError: the number of columns is wrong, a value is not a number from 0 to 1, or a label is not 0 to 4.
    """
    values = _read_table(path).to_numpy(np.float64)
    _refuse_first(path, ~np.isfinite(values), values, "is not a finite number")
    signal = values[:, :-1]
    _refuse_first(path, (signal < 0) | (signal > 1), values, "is not between 0 and 1")
    label = values[:, -1]
    if (invalid := np.flatnonzero(~np.isin(label, range(len(CLASSES))))).size:
        raise UserError(f"{path}, row {invalid[0] + 1}: the label is {label[invalid[0]]:g}. Valid labels: 0 to 4.")
    n = len(values)
    return Beats(
        signal=signal[:, None].astype(np.float32),
        rr=np.zeros((n, 0), np.float32),
        label=label.astype(np.int64),
        record=np.full(n, path.stem),
        patient=np.full(n, "unknown"),
        sample=np.arange(n),
        time=np.full(n, np.nan),
        last=np.zeros(n, bool),
        sfreq=KAGGLE_SFREQ,
    )


def _refuse_first(path: Path, invalid: NDArray[np.bool_], values: NDArray[np.float64], problem: str) -> None:
    """Refuses a file for its first invalid value, if any."""
    if invalid.any():
        row, column = np.unravel_index(invalid.argmax(), invalid.shape)
        raise UserError(f"{path}, row {row + 1}, column {column + 1}: the value {values[row, column]:g} {problem}.")


def _read_table(path: Path) -> pd.DataFrame:
    _check_columns(path, _count_columns(path))
    try:
        table = pd.read_csv(path, header=None, dtype=np.float64)
    except pd.errors.ParserError as error:
        raise UserError(f"{path} is not a table of {KAGGLE_TIMES + 1} columns ({_reason(error)}).") from error
    except ValueError as error:
        raise UserError(
            f"{path} contains text instead of a number ({_reason(error)}). The files have no header."
        ) from error
    _check_columns(path, table.shape[1])
    return table


def _reason(error: Exception) -> str:
    """Returns the start of a message in one line. pandas repeats the text of a value, which can be long."""
    return " ".join(str(error)[:200].split())


def _count_columns(path: Path) -> int:
    """Returns the number of columns of the first row. pandas needs minutes for a row of a million columns."""
    with path.open("rb") as file:
        start = file.read(_LONGEST_ROW).lstrip()
    if not start:
        raise UserError(f"{path} is empty.")
    return start.splitlines()[0].count(b",") + 1


def _check_columns(path: Path, n: int) -> None:
    if n != KAGGLE_TIMES + 1:
        raise UserError(f"{path} has {n} columns instead of {KAGGLE_TIMES + 1}: {KAGGLE_TIMES} samples and the label.")


def write_csv(beats: Beats, path: Path) -> None:
    """Writes beats of the window `kaggle` atomically, in the format of the Kaggle files."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        write_rows(file, beats.signal, beats.label)


def write_rows(file: TextIO, signal: NDArray[np.float32], label: NDArray[np.int64]) -> None:
    """Writes beats to an open Kaggle file: 187 samples and the label in each row.

    Args:
        file: the file.
        signal: (n, 1, 187).
        label: (n,).
    """
    # Four times as fast as DataFrame.to_csv.
    np.savetxt(file, np.column_stack([signal[:, 0], label]), fmt="%.18e", delimiter=",")
