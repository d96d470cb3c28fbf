from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from beats_factories import MITBIH, make_mitbih_beats
from factories import make_beats

from ecg.data.beats import Beats
from ecg.data.kaggle import FILES, KaggleCsv, kaggle_partition, read_csv, write_csv
from ecg.data.physionet import PhysioNet
from ecg.data.window import KaggleWindow
from ecg.errors import UserError

TRAIN = [72471, 2223, 5788, 641, 6431]
TEST = [18118, 556, 1448, 162, 1608]
WINDOW = KaggleWindow("first")
ROW = ",".join(["0.5"] * 187)


def test_csv_round_trip(tmp_path: Path) -> None:
    beats = make_beats(2, {0: 3, 4: 2})
    write_csv(beats, tmp_path / "mitbih_test.csv")
    read = read_csv(tmp_path / "mitbih_test.csv")
    np.testing.assert_array_equal(read.signal, beats.signal)
    np.testing.assert_array_equal(read.label, beats.label)
    assert list(tmp_path.iterdir()) == [tmp_path / "mitbih_test.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROW.removesuffix(",0.5") + ",0\n", "has 187 columns instead of 188"),
        (f"{ROW},1\n{ROW.replace('0.5', 'nan', 1)},1\n", "row 2, column 1: the value (nan|inf) is not a finite number"),
        (f"{ROW},1\n{ROW.removesuffix('0.5')},1\n", "row 2, column 187: the value (nan|inf) is not a finite number"),
        (f"{ROW},1\n{ROW.replace('0.5', 'inf', 1)},1\n", "row 2, column 1: the value (nan|inf) is not a finite number"),
        (f"{ROW},1\n{ROW.replace('0.5', 'high', 1)},1\n", "contains text instead of a number"),
        (
            f"{ROW},1\n{ROW.replace('0.5', '1e30', 1)},1\n",
            "row 2, column 1: the value 1e\\+30 is not between 0 and 1",
        ),
        (f"{ROW},1\n{ROW.replace('0.5', '-0.1', 1)},1\n", "row 2, column 1: the value -0.1 is not between"),
        ("\n" + "0.5," * 1_000_000, "columns instead of 188"),  # pandas needs 15 s for it
        (f"{ROW},5\n", "row 1: the label is 5. Valid labels: 0 to 4"),
        (f"{ROW},1\n{ROW},-1\n", "row 2: the label is -1"),
        (f"{ROW},0.5\n", "row 1: the label is 0.5"),
        (f"{ROW},1\n{ROW},1,7\n", "is not a table of 188 columns"),
        (f"{ROW},1\n{'x' * 100_000},1\n", "contains text instead of a number"),
        ("", "is empty"),
        ("\n" * 100_000, "is empty"),
    ],
)
def test_a_malformed_csv_is_a_user_error_that_names_the_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mitbih_train.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_csv(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_the_files_are_a_source_with_a_kaggle_split(tmp_path: Path) -> None:
    beats = {name: make_beats(1, {0: 3, 1: 2}, seed=seed) for seed, name in enumerate(FILES)}
    for name, part in beats.items():
        write_csv(part, tmp_path / f"{name}.csv")
    source = KaggleCsv(name="kaggle_csv", dir=str(tmp_path))
    loaded = source.load_beats(WINDOW, tmp_path / "cache")
    train, test = source.kaggle_split(loaded)
    np.testing.assert_array_equal(loaded.signal[train], beats["mitbih_train"].signal)
    np.testing.assert_array_equal(loaded.signal[test], beats["mitbih_test"].signal)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    source = KaggleCsv(name="kaggle_csv", dir=str(tmp_path))
    for name in FILES:
        write_csv(make_beats(1, {0: 3}), tmp_path / f"{name}.csv")
    before = source.load_beats(WINDOW, tmp_path / "cache")
    write_csv(make_beats(1, {0: 4}), tmp_path / "mitbih_train.csv")
    assert len(source.load_beats(WINDOW, tmp_path / "cache")) == len(before) + 1


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_csv(make_beats(1, {0: 3}), tmp_path / "mitbih_train.csv")
    with pytest.raises(UserError, match=r"Missing files: .*mitbih_test\.csv\. .*data\.dir"):
        KaggleCsv(name="kaggle_csv", dir=str(tmp_path)).load_beats(WINDOW, tmp_path / "cache")


def test_the_files_have_no_records_to_exclude(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"protocol\.exclude is \[100\]"):
        KaggleCsv(name="kaggle_csv", dir=str(tmp_path)).load_beats(WINDOW, tmp_path, exclude=["100"])


def test_the_kaggle_split_needs_all_records_of_mitbih() -> None:
    beats = make_mitbih_beats()
    with pytest.raises(UserError, match="needs all 48 records of MIT-BIH, but 2 are left out: 100, 103"):
        kaggle_partition(beats.take(np.flatnonzero(~np.isin(beats.record, ["100", "103"]))))


def test_the_kaggle_split_needs_the_annotations_of_mitbih() -> None:
    with pytest.raises(UserError, match="annotations differ from those of MIT-BIH"):
        MITBIH.kaggle_split(make_mitbih_beats())


@pytest.fixture(scope="module")
def mitbih_beats(real_data: Path, cache_dir: Path) -> Beats:
    source = PhysioNet(name="mitbih", records=None, dir=str(real_data / "mitdb"), url=None)
    return source.load_beats(WINDOW, cache_dir)


@pytest.mark.real
@pytest.mark.slow
def test_the_split_of_mitbih_has_the_class_counts_of_the_kaggle_set(mitbih_beats: Beats) -> None:
    train, test = kaggle_partition(mitbih_beats)
    assert np.bincount(mitbih_beats.label[train]).tolist() == TRAIN
    assert np.bincount(mitbih_beats.label[test]).tolist() == TEST
    assert not np.intersect1d(train, test).size


@pytest.mark.real
@pytest.mark.slow
def test_all_rows_of_the_genuine_sample_are_reproduced(mitbih_beats: Beats, real_data: Path) -> None:
    sample = pd.read_csv(real_data / "kaggle_heartbeat" / "mitbih_train_sample.csv", header=None).to_numpy()
    train, _ = kaggle_partition(mitbih_beats)
    ours = mitbih_beats.signal[train, 0]
    # Candidates for a genuine row have the same first samples after rounding. They are then compared in full.
    candidates: dict[bytes, list[int]] = {}
    for i, key in enumerate(np.round(ours[:, :8] * 100).astype(np.int16)):
        candidates.setdefault(key.tobytes(), []).append(i)
    errors = []
    for row in sample:
        same_start = candidates[np.round(row[:8].astype(np.float32) * 100).astype(np.int16).tobytes()]
        same_label = [i for i in same_start if mitbih_beats.label[train[i]] == row[187]]
        errors.append(np.abs(ours[same_label] - row[:187]).max(axis=1).min())
    assert len(errors) == 500
    assert max(errors) < 1e-5
