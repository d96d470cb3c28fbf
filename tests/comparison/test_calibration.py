"""Shifts and temperature that are chosen on the test beats of a cross-validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparison_factories import make_run

from ecg.comparison.calibration import calibrate
from ecg.comparison.run_records import read_runs
from ecg.errors import UserError


def test_calibration_uses_the_test_beats_of_all_folds(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / f"{fold}_x", seed=1, error=0.3, protocol={"fold": fold, "n_folds": 3}) for fold in range(3)
    ]
    result = calibrate(read_runs(runs))
    n_test = sum((np.load(run / "predictions.npz")["subset"] == "test").sum() for run in runs)
    assert (result.n_beats, result.n_runs) == (n_test, 3)
    assert np.mean(list(result.after.values())) >= np.mean(list(result.before.values()))
    assert next(iter(result.shifts.values())) == 0
    assert result.overrides[1] == f"prediction.temperature={result.temperature:.3g}"


def test_only_the_given_classes_are_shifted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "0_x", seed=1, error=0.6, protocol={"fold": 0, "n_folds": 1})
    *others, last = calibrate(read_runs([run])).shifts
    result = calibrate(read_runs([run]), [last])
    assert all(result.shifts[name] == 0 for name in others)
    with pytest.raises(UserError, match=f"Unknown classes: X. Valid classes: .*{last}"):
        calibrate(read_runs([run]), ["X"])


def test_the_test_beats_of_a_single_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no fold of a cross-validation"):
        calibrate(read_runs([make_run(tmp_path / "run", seed=1)]))


@pytest.mark.parametrize("prediction", [{"shifts": {"V": 1.0}}, {"temperature": 2.0}])
def test_a_fold_that_was_shifted_already_is_refused(prediction: dict[str, object], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", seed=1, protocol={"fold": 0, "n_folds": 1}, prediction=prediction)
    with pytest.raises(UserError, match=r"with prediction\.shifts or prediction\.temperature already"):
        calibrate(read_runs([run]))


def test_a_missing_fold_is_refused(tmp_path: Path) -> None:
    for seed, fold in ((1, 0), (1, 1), (2, 1)):
        make_run(tmp_path / f"{seed}{fold}_x", seed=seed, protocol={"fold": fold, "n_folds": 2})
    with pytest.raises(UserError, match="seed 2 lacks the folds 0 of 2"):
        calibrate(read_runs([tmp_path]))


def test_an_unfinished_fold_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "0_x", seed=1, protocol={"fold": 0, "n_folds": 1})
    make_run(tmp_path / "1_x", seed=1, protocol={"fold": 1}, state="failed")
    with pytest.raises(UserError, match="1_x is not finished: failed"):
        calibrate(read_runs([tmp_path]))
