"""Ensembles of runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comparison_factories import make_run, make_sweep
from typer.testing import CliRunner

from ecg.cli import app
from ecg.comparison.ensembles import build_ensembles, mean_predictions
from ecg.comparison.leaderboard import build_leaderboard
from ecg.comparison.run_records import read_runs
from ecg.errors import UserError


def test_an_ensemble_has_the_mean_probabilities(tmp_path: Path) -> None:
    first = make_run(tmp_path / "0_x", seed=1, error=0.5)
    second = make_run(tmp_path / "1_x", seed=2, error=0.5)
    runs = read_runs([first, second], predictions=True)
    mean = mean_predictions(runs)
    expected = np.mean([run.predictions.probability for run in runs], axis=0)  # type: ignore[union-attr]
    np.testing.assert_allclose(mean.probability, expected)
    (ensemble,) = build_ensembles(build_leaderboard(runs))
    accuracy = (expected.argmax(axis=1) == mean.label).mean()
    assert ensemble.test.accuracy.value == pytest.approx(accuracy)
    assert ensemble.n_runs == 2


def test_the_folds_of_an_ensemble_are_evaluated_together(tmp_path: Path) -> None:
    for fold in range(2):
        for seed in (1, 2):
            make_run(tmp_path / f"{seed}{fold}_x", seed=seed, protocol={"fold": fold})
    (ensemble,) = build_ensembles(build_leaderboard(read_runs([tmp_path])))
    assert ensemble.n_runs == 2
    assert ensemble.test.n_beats == 240


def test_runs_with_other_test_beats_have_no_ensemble(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"{seed}_x", seed=seed) for seed in (1, 2)]
    arrays = dict(np.load(runs[1] / "predictions.npz"))
    np.savez(runs[1] / "predictions.npz", **{**arrays, "sample": arrays["sample"] + 1})
    with pytest.raises(UserError, match=r"1_x and .*2_x have different test beats"):
        build_ensembles(build_leaderboard(read_runs(runs, predictions=True)))


def test_the_command_prints_and_writes_ensembles(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep", seeds=range(1, 3))
    result = CliRunner().invoke(app, ["compare", str(sweep), "--ensemble", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "all configurations" in result.output
    content = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert [each["n_runs"] for each in content["ensembles"]] == [2, 2, 4]
    assert "Ensembles" in (tmp_path / "out" / "leaderboard.html").read_text()
