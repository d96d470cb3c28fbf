"""The leaderboard on the console, and the command `ecg compare`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from comparison_factories import make_run, make_sweep
from typer.testing import CliRunner

from ecg.cli import app
from ecg.comparison.console import points, print_leaderboard
from ecg.comparison.leaderboard import build_leaderboard
from ecg.comparison.run_records import read_runs
from ecg.comparison.statistics import MeanInterval


@pytest.mark.parametrize(
    ("score", "sign", "expected"),
    [
        (MeanInterval(0.9312, 0.9272, 0.9352, 5), False, "93.1 ± 0.4"),
        (MeanInterval(0.9312, None, None, 1), False, "93.1"),
        (MeanInterval(0.02, None, None, 1), True, "+2.0"),
        (MeanInterval(-0.02, -0.03, -0.01, 5), True, "−2.0 ± 1.0"),
        (MeanInterval(None, None, None, 0), False, "–"),
    ],
)
def test_scores_are_in_percentage_points(score: MeanInterval, sign: bool, expected: str) -> None:
    assert points(score, sign=sign) == expected


@pytest.mark.parametrize(("width", "has_classes"), [(100, False), (160, True)])
def test_a_wide_console_has_columns_for_the_classes(
    width: int, has_classes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_leaderboard(build_leaderboard(read_runs([make_sweep(tmp_path / "sweep", range(1, 3))])))
    output = capsys.readouterr().out
    assert "model=lstm" in output
    assert "baseline" in output
    assert "10_lstm" not in output
    assert "4_lstm: failed. out of memory" in output
    heading = next(line for line in output.splitlines() if "configuration" in line)
    assert (" V " in heading) == has_classes


def test_one_configuration_has_no_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, fold in ((1, 0), (1, 1), (2, 0)):
        make_run(tmp_path / f"{seed}{fold}_x", seed=seed, protocol={"fold": fold})
    print_leaderboard(build_leaderboard(read_runs([tmp_path])))
    output = capsys.readouterr().out
    assert "claim" not in output
    assert "without seeds 2, which lack a fold" in output


def test_compare_prints_and_writes_the_leaderboard(tmp_path: Path) -> None:
    sweep, out = make_sweep(tmp_path / "sweep"), tmp_path / "out"
    ended = CliRunner().invoke(app, ["compare", str(sweep), "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    assert "model._target_: cnn, lstm" in ended.output
    assert pd.read_csv(out / "leaderboard.csv")["configuration"].tolist()[:2] == ["model=lstm", "model=cnn"]
    assert {path.name for path in out.iterdir()} == {"leaderboard.html", "leaderboard.csv", "leaderboard.json"}
    page = (out / "leaderboard.html").read_text()
    for text in ("out of memory", "model=lstm"):
        assert text in page


def test_compare_of_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["compare", str(tmp_path / "nothing")])
    assert ended.exit_code == 1
