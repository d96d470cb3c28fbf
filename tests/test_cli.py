"""The command `ecg`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import ecg.comparison.run_records
from ecg.cli import app

TRAIN = [72471, 2223, 5788, 641, 6431]
TEST = [18118, 556, 1448, 162, 1608]


def test_an_unknown_protocol_is_one_message(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["beats", "--protocol", "kagle", "--out", str(tmp_path / "out")])
    assert ended.exit_code == 1
    assert "Unknown protocol kagle. Valid protocols: kaggle, inter_patient" in ended.output
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_data_folder_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = CliRunner().invoke(app, ["beats", "--out", str(tmp_path / "out"), "--data-dir", str(tmp_path / "file")])
    assert ended.exit_code == 1
    assert ended.output.count("Error: ") == 1
    assert not (tmp_path / "out").exists()


def test_compare_without_a_run_is_one_message(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["compare", str(tmp_path / "nothing")])
    assert ended.exit_code == 1
    assert ended.output.count("Error: ") == 1


def test_ctrl_c_exits_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ecg.comparison.run_records, "read_runs", interrupt)
    ended = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert (ended.exit_code, ended.output) == (130, "Interrupted.\n")


@pytest.mark.real
@pytest.mark.slow
def test_the_kaggle_files_of_the_real_records_are_exported(real_data: Path, tmp_path: Path, cache_dir: Path) -> None:
    folders = ["--out", str(tmp_path), "--cache-dir", str(cache_dir), "--data-dir", str(real_data / "mitdb")]
    ended = CliRunner().invoke(app, ["beats", "--protocol", "kaggle", *folders])
    assert ended.exit_code == 0, ended.output
    for name, counts in (("mitbih_train", TRAIN), ("mitbih_test", TEST)):
        table = pd.read_csv(tmp_path / f"{name}.csv", header=None).to_numpy()
        assert table.shape == (sum(counts), 188)
        assert np.bincount(table[:, -1].astype(int)).tolist() == counts
        assert 0 <= table[:, :-1].min() <= table[:, :-1].max() <= 1
    index = pd.read_csv(real_data / "kaggle_heartbeat" / "test_split.csv.gz")
    np.testing.assert_array_equal(table[:, -1], index["label"])


@pytest.mark.parametrize(("command", "extra"), [("push", "hub"), ("export", "onnx"), ("explain", "explain")])
def test_the_help_names_the_extra(command: str, extra: str) -> None:
    # Rich would take an extra in brackets for markup.
    assert f'"ecg-synthesis-classification[{extra}]"' in CliRunner().invoke(app, [command, "--help"]).output
