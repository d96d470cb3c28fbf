"""Configurations, paired differences and their claims, names, and the exported tables."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from comparison_factories import make_run, make_sweep
from scipy import stats

from ecg.comparison.leaderboard import (
    Leaderboard,
    build_leaderboard,
    configuration_names,
    differences,
    differing_keys,
    to_frame,
    to_json,
)
from ecg.comparison.run_records import RunRecord, read_runs
from ecg.comparison.statistics import mean_interval
from ecg.errors import UserError


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    """The leaderboard of five seeds of two models and a failed run."""
    return build_leaderboard(read_runs([make_sweep(tmp_path_factory.mktemp("comparison") / "sweep")]))


def _board(*folders: Path) -> Leaderboard:
    return build_leaderboard(read_runs(folders))


def test_runs_that_differ_in_the_seed_only_are_one_configuration(board: Leaderboard) -> None:
    assert [each.name for each in board.configurations] == ["model=cnn", "model=lstm"]
    assert [each.seeds for each in board.configurations] == [(1, 2, 3, 4, 5)] * 2
    assert [run.reason for run in board.unfinished] == ["out of memory"]


def test_configurations_are_ranked_by_validation(board: Leaderboard) -> None:
    assert [each.name for each in board.ranked] == ["model=lstm", "model=cnn"]


def test_scores_have_one_value_for_each_seed(board: Leaderboard) -> None:
    macro_f1 = [run.test.macro.f1.value for run in board.baseline.runs]
    np.testing.assert_array_equal(board.baseline.scores["test"]["macro_f1"], macro_f1)
    assert board.baseline.scores["test"].keys() == {"macro_f1", "accuracy", *board.classes}


def test_differences_are_paired_by_seed(board: Leaderboard) -> None:
    first, second = (each.scores["test"]["macro_f1"] for each in board.configurations)
    difference = differences(board)["model=lstm"]["test"]
    assert difference.mean == pytest.approx((second - first).mean())
    assert difference.p == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert (difference.n, difference.claim, difference.significant) == (5, "better", True)


def test_p_values_are_corrected_for_the_number_of_configurations(tmp_path: Path) -> None:
    for number, (model, error) in enumerate((("a", 0.4), ("b", 0.35), ("c", 0.1))):
        for seed in range(1, 6):
            make_run(tmp_path / f"{10 * number + seed}_{model}", seed=seed, error=error, model=model)
    board = _board(tmp_path)
    baseline, _, best = (each.scores["test"]["macro_f1"] for each in board.configurations)
    p = differences(board)["model=c"]["test"].p
    assert p == pytest.approx(2 * stats.ttest_rel(best, baseline).pvalue)


def test_too_few_seeds_give_no_claim(tmp_path: Path) -> None:
    difference = differences(_board(make_sweep(tmp_path / "sweep", range(1, 5))))["model=lstm"]["test"]
    assert difference.claim == "too few seeds: 4 of 5"
    assert not difference.significant


def test_equal_predictions_are_not_significantly_different(tmp_path: Path) -> None:
    for seed in range(1, 6):
        make_run(tmp_path / f"{seed}_a", seed=seed, model="a")
        make_run(tmp_path / f"{seed + 5}_b", seed=seed, model="b")
    assert differences(_board(tmp_path))["model=b"]["test"].claim == "not significant"


def test_differences_use_the_seeds_of_both_configurations(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path / f"{seed}_a", seed=seed, model="a")
    for seed in (3, 4):
        make_run(tmp_path / f"{seed + 5}_b", seed=seed, model="b", error=0.1)
    a, b = (each.scores["validation"]["accuracy"] for each in _board(tmp_path).configurations)
    difference = differences(_board(tmp_path), "accuracy")["model=b"]["validation"]
    assert difference.mean == pytest.approx(b[0] - a[2])
    assert (difference.n, difference.low, difference.p) == (1, None, None)


# -- folds --------------------------------------------------------------------------------------------------------


def test_the_test_beats_of_all_folds_are_evaluated_as_one_set(tmp_path: Path) -> None:
    for fold in range(3):
        make_run(tmp_path / f"{fold}_x", seed=1, protocol={"fold": fold})
    (configuration,) = _board(tmp_path).configurations
    assert (configuration.seeds, configuration.n_folds) == ((1,), 3)
    (test,) = configuration.test
    singles = [run.test for run in configuration.runs]
    assert test.n_beats == sum(single.n_beats for single in singles)
    assert test.n_patients == 12
    np.testing.assert_array_equal(test.confusion_matrix, sum(np.array(single.confusion_matrix) for single in singles))
    validation = [run.subsets["validation"].macro.f1.value for run in configuration.runs]
    assert configuration.scores["validation"]["macro_f1"][0] == pytest.approx(np.mean(validation))  # type: ignore[arg-type]


def test_a_run_without_validation_beats_is_ranked_last(tmp_path: Path) -> None:
    for name, seed, error in (("0_x", 1, 0.0), ("1_y", 1, 0.5)):
        make_run(tmp_path / name, seed=seed, error=error, model=name)
    metrics = json.loads((tmp_path / "0_x" / "metrics.json").read_text())
    del metrics["subsets"]["validation"]
    (tmp_path / "0_x" / "metrics.json").write_text(json.dumps(metrics))
    board = _board(tmp_path)
    assert [each.name for each in board.ranked] == ["model=1_y", "model=0_x"]
    assert board.ranked[1].scores["test"]["macro_f1"][0] == 1
    assert to_json(board)["configurations"][1]["validation"]["macro_f1"]["mean"] is None


def test_a_seed_without_all_folds_is_left_out(tmp_path: Path) -> None:
    for seed, fold in ((1, 0), (1, 1), (2, 0)):
        make_run(tmp_path / f"{seed}{fold}_x", seed=seed, protocol={"fold": fold})
    (configuration,) = _board(tmp_path).configurations
    assert (configuration.seeds, configuration.incomplete_seeds) == ((1,), (2,))


def test_a_configuration_without_a_complete_seed_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for seed in (1, 2):
        make_run(tmp_path / f"{seed}_x", seed=seed, model="a", protocol={"fold": seed})
    with pytest.raises(UserError, match="No seed has all folds"):
        _board(tmp_path)
    make_run(tmp_path / "3_x", seed=1, model="b")
    with caplog.at_level(logging.WARNING):
        assert [each.name for each in _board(tmp_path).configurations] == ["model=b"]
    assert "model=a is left out" in caplog.text


# -- names --------------------------------------------------------------------------------------------------------


def test_names_consist_of_options_and_of_keys_where_options_are_equal(tmp_path: Path) -> None:
    make_run(tmp_path / "0", seed=1, model="cnn", optimizer={"lr": 0.1})
    make_run(tmp_path / "1", seed=1, model="cnn", optimizer={"lr": 0.2})
    make_run(tmp_path / "2", seed=1, model="lstm", optimizer={"lr": 0.1})
    board = _board(tmp_path)
    names = ["model=cnn lr=0.1", "model=cnn lr=0.2", "model=lstm"]
    assert [each.name for each in board.configurations] == names
    assert differing_keys(board)["optimizer.lr"] == dict(zip(names, (0.1, 0.2, 0.1), strict=True))
    assert not {"seed", "paths.run_dir", "name"} & differing_keys(board).keys()


def _record(folder: str, config: dict[str, object]) -> RunRecord:
    choices = {"model": "cnn", "augmentation": "none"}
    return RunRecord(Path(folder), "finished", "", (), choices=choices, config={"seed": 1, **config})


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([{}], ["model=cnn augmentation=none"]),
        ([{"a.lr": 1e-3}, {"a.lr": 1.00001e-3}], ["lr=0.001 (0)", "lr=0.001 (1)"]),
        ([{"a.n": 1, "b.n": 1}, {"a.n": 2, "b.n": 2}], ["a.n=1 b.n=1", "a.n=2 b.n=2"]),
        ([{"a.n": None}, {"a.n": 2}], ["n=null", "n=2"]),
        (
            [{"balance._target_": "ecg.x.NoBalance"}, {"balance._target_": "ecg.x.Smote", "balance.neighbours": 5}],
            ["balance=NoBalance", "balance=Smote neighbours=5"],
        ),
        ([{}, {"a.n": 1}], ["(0)", "n=1"]),
    ],
)
def test_names_are_short_and_unique(configs: list[dict[str, object]], expected: list[str]) -> None:
    assert configuration_names([_record(str(i), config) for i, config in enumerate(configs)]) == expected


# -- errors -------------------------------------------------------------------------------------------------------


def test_runs_that_are_not_finished_cannot_be_compared(tmp_path: Path) -> None:
    failed = make_run(tmp_path / "0", seed=1, state="failed")
    with pytest.raises(UserError, match=r"None of the 1 runs is finished \(0: out of memory\)"):
        _board(failed)


def test_runs_with_different_classes_cannot_be_compared(tmp_path: Path) -> None:
    make_run(tmp_path / "0", seed=1)
    make_run(tmp_path / "1", seed=1, classes=("N", "S", "F"))
    with pytest.raises(UserError, match=r"different classes \(N, S, F and N, S, V\)"):
        _board(tmp_path)


# -- export -------------------------------------------------------------------------------------------------------


def test_the_frame_has_a_row_for_each_configuration_and_each_unfinished_run(board: Leaderboard) -> None:
    frame = to_frame(board)
    assert frame["configuration"].tolist() == ["model=lstm", "model=cnn", "model=lstm seed=99"]
    assert frame["state"].tolist() == ["finished", "finished", "failed"]
    assert frame["reason"][2] == "out of memory"
    mean = mean_interval(board.ranked[0].scores["test"]["macro_f1"])
    row = frame.iloc[0]
    assert (row["test macro_f1"], row["test macro_f1 low"]) == pytest.approx((mean.mean, mean.low))
    assert row["test difference claim"] == "better"
    assert frame.to_csv(index=False).splitlines()[1].startswith("1,model=lstm,5,finished,0.")
    assert pd.isna(frame["test difference p"][1])  # the baseline


def test_the_json_names_the_baseline_and_the_runs(board: Leaderboard) -> None:
    content = json.loads(json.dumps(to_json(board), allow_nan=False))
    assert content["baseline"] == "model=cnn"
    best, baseline = content["configurations"]
    assert best["runs"] == [f"sweep/{number}_lstm" for number in range(5, 10)]
    scores = best["test"]["macro_f1"]
    assert scores["mean"] == pytest.approx(np.mean(scores["values"]))
    assert best["difference"]["test"]["claim"] == "better"
    assert baseline["difference"] is None
    assert content["unfinished"][0]["overrides"] == ["model=lstm", "seed=99"]
    assert content["differing_keys"] == {"model._target_": {"model=cnn": "cnn", "model=lstm": "lstm"}}


def test_runs_of_different_sweeps_are_compared(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a" / "0_x", seed=1, model="cnn")
    make_run(tmp_path / "b" / "0_x", seed=1, model="lstm")
    assert [each.name for each in _board(first, tmp_path / "b").configurations] == ["model=cnn", "model=lstm"]
    content = to_json(_board(first, tmp_path / "b"))
    assert [each["runs"] for each in content["configurations"]] in ([["a/0_x"], ["b/0_x"]], [["b/0_x"], ["a/0_x"]])


def test_an_undefined_score_has_no_value_in_the_json(tmp_path: Path) -> None:
    run = make_run(tmp_path / "0", seed=1)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["subsets"]["test"]["per_class"]["V"]["f1"]["value"] = None
    (run / "metrics.json").write_text(json.dumps(metrics))
    (configuration,) = to_json(_board(run))["configurations"]
    assert configuration["test"]["V"] == {"mean": None, "low": None, "high": None, "n": 0, "values": [None]}


def test_a_setting_without_influence_does_not_separate_configurations(tmp_path: Path) -> None:
    for seed, project in ((1, "a"), (2, "b")):
        run = make_run(tmp_path / str(seed), seed=seed)
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "logger": {"project": project}}))
    (configuration,) = _board(tmp_path).configurations
    assert configuration.seeds == (1, 2)
