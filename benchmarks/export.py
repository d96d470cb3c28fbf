"""Checks the export of the Kaggle set against genuine rows of `mitbih_train.csv`.

    python benchmarks/export.py EXPORT_FOLDER GENUINE_ROWS.csv

EXPORT_FOLDER is what `ecg beats --protocol kaggle --out EXPORT_FOLDER` wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.neighbors import KDTree


def main() -> None:
    """Prints rows and classes of the export, and the largest difference to the genuine rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("genuine", type=Path)
    arguments = parser.parse_args()
    sides = {}
    for name in ("mitbih_train", "mitbih_test"):
        sides[name] = pd.read_csv(arguments.export / f"{name}.csv", header=None).to_numpy()
        print(f"{name}: {sides[name].shape} classes {np.bincount(sides[name][:, -1].astype(int)).tolist()}")
    genuine = pd.read_csv(arguments.genuine, header=None).to_numpy()
    _, nearest = KDTree(sides["mitbih_train"]).query(genuine)
    worst = np.abs(sides["mitbih_train"][nearest[:, 0]] - genuine).max()
    print(f"{len(genuine)} genuine rows, all found with a largest difference of {worst:.1e}")


if __name__ == "__main__":
    main()
