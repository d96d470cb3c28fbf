from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

TRAIN = [72471, 2223, 5788, 641, 6431]
TEST = [18118, 556, 1448, 162, 1608]


def ecg(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from ecg.cli import app; app()", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def test_unknown_protocol_and_absent_records_are_one_sentence(tmp_path: Path) -> None:
    ended = ecg("beats", "--protocol", "kagle", "--out", str(tmp_path))
    assert ended.returncode != 0
    assert "kagle" in ended.stderr
    assert "Traceback" not in ended.stderr
    # A file stands where the folder of the records should be.
    (tmp_path / "file").write_text("")
    ended = ecg("beats", "--out", str(tmp_path / "out"), "--data-dir", str(tmp_path / "file"))
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("Error: ") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.real
def test_kaggle_files_of_the_real_records(real_data: Path, tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
    ended = ecg("beats", "--protocol", "kaggle", *arguments, ECG_DATA_DIR=str(real_data))
    assert ended.returncode == 0, ended.stderr
    for name, counts in (("mitbih_train", TRAIN), ("mitbih_test", TEST)):
        table = pd.read_csv(tmp_path / "out" / f"{name}.csv", header=None).to_numpy()
        assert table.shape == (sum(counts), 188)
        assert np.bincount(table[:, -1].astype(int)).tolist() == counts
        assert 0 <= table[:, :-1].min() <= table[:, :-1].max() <= 1
    index = pd.read_csv(real_data / "kaggle_heartbeat" / "test_split.csv.gz")
    np.testing.assert_array_equal(table[:, -1], index["label"])
