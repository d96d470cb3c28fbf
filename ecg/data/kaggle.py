"""The Kaggle heartbeat set: its genuine split of MIT-BIH, and its two CSV files read and written.

The split is an index shipped with the package, `kaggle_test_split.csv.gz`: which beat of which record each of
the 21,892 rows of `mitbih_test.csv` is. The other 87,554 beats are the training rows.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg.data.aami import CLASSES
from ecg.data.beats import KAGGLE_TIMES, Beats
from ecg.errors import UserError
from ecg.files import whole

FILES = ("mitbih_train", "mitbih_test")
KAGGLE_SFREQ = 120.0  # every third sample of 360 Hz, whatever the set's description says


def kaggle_sides(beats: Beats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the training beats, and of the test beats in the order of `mitbih_test.csv`.

    The very last annotation of a record is in neither. A test beat whose annotation was moved since the set was
    made (one of record 102) is matched by the nearest beat of its record.

    Raises:
        UserError: the beats are not those of the 48 MIT-BIH records.
    """
    rows = pd.read_csv(str(files("ecg.data") / "kaggle_test_split.csv.gz"), dtype={"record": str})
    test = np.empty(len(rows), np.int64)
    for record, group in rows.groupby("record"):
        here = np.flatnonzero(beats.record == record)
        if here.size == 0:
            raise UserError(f"protocol=kaggle needs all 48 records of MIT-BIH, and record {record} is missing.")
        distance = np.abs(beats.sample[here][:, None] - group["sample"].to_numpy())  # (beats, rows)
        test[group.index] = here[distance.argmin(axis=0)]
    if len(np.unique(test)) != len(test) or not np.array_equal(beats.label[test], rows["label"]):
        raise UserError("The annotations here are not those of MIT-BIH 1.0.0, so its Kaggle split does not apply.")
    train = np.setdiff1d(np.flatnonzero(~beats.last), test)
    return train, test


def read_csv(path: Path) -> Beats:
    """The beats of one Kaggle file: 187 samples and the label in each row, no header.

    Raises:
        UserError: a column is missing, a value is not a number, or a label is outside 0..4.
    """
    table = _read_table(path)
    values = table.to_numpy(np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise UserError(f"{path}, row {row + 1}, column {column + 1} is not a finite number.")
    label = values[:, -1]
    if (bad := np.flatnonzero(~np.isin(label, range(len(CLASSES))))).size:
        raise UserError(f"{path}, row {bad[0] + 1} has the label {label[bad[0]]:g}: labels are 0 to 4.")
    n = len(values)
    return Beats(
        signal=values[:, None, :-1].astype(np.float32),
        rr=np.zeros((n, 0), np.float32),
        label=label.astype(np.int64),
        record=np.full(n, path.stem),
        patient=np.full(n, "unknown"),
        sample=np.arange(n),
        last=np.zeros(n, bool),
        sfreq=KAGGLE_SFREQ,
    )


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, header=None, dtype=np.float64)
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty.") from error
    except pd.errors.ParserError as error:
        raise UserError(f"{path} is not a table of {KAGGLE_TIMES + 1} columns: {error}.".replace("\n", " ")) from error
    except ValueError as error:
        raise UserError(f"{path} holds text where numbers belong: {error} (the files have no header).") from error
    if table.shape[1] != KAGGLE_TIMES + 1:
        raise UserError(
            f"{path} has {table.shape[1]} columns, not {KAGGLE_TIMES + 1}: {KAGGLE_TIMES} samples and the label."
        )
    return table


def write_csv(beats: Beats, path: Path) -> None:
    """Beats cut by the `kaggle` window, one a row: 187 samples and the label, no header, whole or not at all."""
    table = np.column_stack([beats.signal[:, 0], beats.label])
    with whole(path) as temporary:
        np.savetxt(temporary, table, fmt="%.18e", delimiter=",")
