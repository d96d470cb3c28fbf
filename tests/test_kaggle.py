from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_beats

from ecg.data import mitdb
from ecg.data.beats import Beats
from ecg.data.kaggle import kaggle_sides, read_csv, write_csv
from ecg.data.sources import MitBih
from ecg.errors import UserError

TRAIN = [72471, 2223, 5788, 641, 6431]
TEST = [18118, 556, 1448, 162, 1608]


def test_csv_round_trip(tmp_path: Path) -> None:
    beats = make_beats(2, {0: 3, 4: 2})
    write_csv(beats, tmp_path / "mitbih_test.csv")
    read = read_csv(tmp_path / "mitbih_test.csv")
    np.testing.assert_array_equal(read.signal, beats.signal)
    np.testing.assert_array_equal(read.label, beats.label)
    assert list(tmp_path.iterdir()) == [tmp_path / "mitbih_test.csv"]


ROW = ",".join(["0.5"] * 187)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROW.removesuffix(",0.5") + ",0\n", "has 187 columns, not 188"),
        (f"{ROW},1\n{ROW.replace('0.5', 'nan', 1)},1\n", "row 2, column 1 is not a finite number"),
        (f"{ROW},1\n{ROW.removesuffix('0.5')},1\n", "row 2, column 187 is not a finite number"),
        (f"{ROW},1\n{ROW.replace('0.5', 'inf', 1)},1\n", "row 2, column 1 is not a finite number"),
        (f"{ROW},1\n{ROW.replace('0.5', 'high', 1)},1\n", "holds text where numbers belong"),
        (f"{ROW},5\n", "row 1 has the label 5: labels are 0 to 4"),
        (f"{ROW},1\n{ROW},-1\n", "row 2 has the label -1"),
        (f"{ROW},0.5\n", "row 1 has the label 0.5"),
        (f"{ROW},1\n{ROW},1,7\n", "is not a table of 188 columns"),
        ("", "is empty"),
    ],
)
def test_bad_csv_is_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mitbih_train.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_csv(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_records_have_no_kaggle_split() -> None:
    with pytest.raises(UserError, match="needs all 48 records"):
        kaggle_sides(make_beats(3, {0: 5}))


@pytest.fixture(scope="module")
def mitbih_beats(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Beats:
    source = MitBih("mitbih", "kaggle", "first", 0.7, 0.9, 120.0, True, str(real_data / "mitdb"), mitdb.URL)
    return source.beats(tmp_path_factory.mktemp("cache"))


@pytest.mark.real
def test_split_has_the_genuine_counts(mitbih_beats: Beats) -> None:
    train, test = kaggle_sides(mitbih_beats)
    assert np.bincount(mitbih_beats.label[train]).tolist() == TRAIN
    assert np.bincount(mitbih_beats.label[test]).tolist() == TEST
    assert not np.intersect1d(train, test).size


@pytest.mark.real
def test_all_rows_of_the_genuine_sample_are_made_again(mitbih_beats: Beats, real_data: Path) -> None:
    sample = pd.read_csv(real_data / "kaggle_heartbeat" / "mitbih_train_sample.csv", header=None).to_numpy()
    train, _ = kaggle_sides(mitbih_beats)
    # A genuine row is found by its length and a coarse rounding, then compared in full.
    ours = mitbih_beats.signal[train, 0]
    keys: dict[bytes, list[int]] = {}
    for i, key in enumerate(np.round(ours[:, :8] * 100).astype(np.int16)):
        keys.setdefault(key.tobytes(), []).append(i)
    worst = []
    for row in sample:
        candidates = keys[np.round(row[:8].astype(np.float32) * 100).astype(np.int16).tobytes()]
        candidates = [i for i in candidates if mitbih_beats.label[train[i]] == row[187]]
        worst.append(np.abs(ours[candidates] - row[:187]).max(axis=1).min())
    assert len(worst) == 500
    assert max(worst) < 1e-5
