"""Compares the export of the Kaggle set with original rows of `mitbih_train.csv`.

    python studies/kaggle_export.py EXPORT_FOLDER ORIGINAL_ROWS.csv

EXPORT_FOLDER is the output of `ecg beats --protocol kaggle --out EXPORT_FOLDER`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.neighbors import KDTree


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints rows and classes of the export, and the largest difference from the original rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("original", type=Path)
    options = parser.parse_args(arguments)
    tables = {}
    for name in ("mitbih_train", "mitbih_test"):
        tables[name] = pd.read_csv(options.export / f"{name}.csv", header=None).to_numpy()
        print(f"{name}: {tables[name].shape} classes {np.bincount(tables[name][:, -1].astype(int)).tolist()}")
    original = pd.read_csv(options.original, header=None).to_numpy()
    _, nearest = KDTree(tables["mitbih_train"]).query(original)
    difference = np.abs(tables["mitbih_train"][nearest[:, 0]] - original).max()
    print(f"{len(original)} original rows, largest difference from the nearest exported row: {difference:.1e}")


if __name__ == "__main__":
    main()
