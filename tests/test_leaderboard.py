"""Comparison of runs: cells, intervals, differences paired by seed, and what may be claimed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from ecg.cli import app
from ecg.errors import UserError
from ecg.evaluation import leaderboard as lb
from ecg.evaluation.metrics import evaluate
from ecg.evaluation.predictions import Predictions

CLASSES = ("N", "S", "V")


def predictions(seed: int, error: float, n: int = 120, patients: str = "p") -> Predictions:
    """Of beats of which a share `error` is called something."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 3
    called = np.where(rng.random(n) < error, rng.integers(3, size=n), label)
    return Predictions(
        label=label.astype(np.int64),
        probability=np.eye(3, dtype=np.float32)[called],
        record=np.array([f"{patients}{i % 4}" for i in range(n)]),
        patient=np.array([f"{patients}{i % 4}" for i in range(n)]),
        sample=np.arange(n),
        classes=CLASSES,
    )


def make_run(
    folder: Path, *, seed: int, error: float = 0.2, model: str = "cnn", state: str = "finished", **config: object
) -> Path:
    """A run folder with what `train.py` leaves in it."""
    folder.mkdir(parents=True)
    keys = {"name": "x", "seed": seed, "model": {"_target_": model}, "paths": {"run_dir": str(folder)}, **config}
    (folder / "config.yaml").write_text(yaml.safe_dump(keys))
    (folder / "overrides.yaml").write_text(yaml.safe_dump([f"model={model}", f"seed={seed}"]))
    (folder / "status.json").write_text(json.dumps({"state": state, "result": 0.5, "why": "it broke"}))
    if state != "finished":
        return folder
    fold = int(config.get("protocol", {}).get("fold", 0))  # type: ignore[attr-defined]
    sides = {
        "validation": predictions(100 * seed + fold, error),
        "test": predictions(1000 * seed + fold, error, patients=f"fold{fold}-"),
    }
    metrics = {name: evaluate(side, by_patient=True, n_bootstrap=0) for name, side in sides.items()}
    (folder / "metrics.json").write_text(json.dumps({"simulated": True, **metrics}))
    history = [{"epoch": e, "train/loss": 1 / (e + 1), "val/macro_f1": 0.5 + 0.1 * e} for e in range(3)]
    (folder / "training.json").write_text(json.dumps({"history": history}))
    (folder / "provenance.json").write_text(json.dumps({"choices": {"model": model, "augmentation": "none"}}))
    columns = {
        name: np.concatenate([getattr(side, name) for side in sides.values()])
        for name in ("record", "patient", "sample", "label", "probability")
    }
    side = np.repeat(list(sides), [len(s.label) for s in sides.values()])
    np.savez(folder / "predictions.npz", **columns, side=side, classes=np.array(CLASSES))
    return folder


def make_sweep(folder: Path, seeds: range = range(1, 6)) -> Path:
    """The cnn is worse than the lstm on every seed; one job has failed."""
    at = 0
    for model, error in (("cnn", 0.4), ("lstm", 0.1)):
        for seed in seeds:
            make_run(folder / f"{at}_{model}", seed=seed, error=error, model=model)
            at += 1
    make_run(folder / f"{at}_lstm", seed=99, model="lstm", state="failed")
    return folder


def test_cells_are_runs_that_differ_in_the_seed_alone(tmp_path: Path) -> None:
    board = lb.leaderboard(lb.read([make_sweep(tmp_path / "sweep")]))
    assert [cell.name for cell in board.cells] == ["model=cnn", "model=lstm"]
    assert [cell.seeds for cell in board.cells] == [(1, 2, 3, 4, 5)] * 2
    assert [cell.name for cell in board.ranked] == ["model=lstm", "model=cnn"]
    assert [trial.why for trial in board.unfinished] == ["it broke"]
    found = lb.interval(board.cells[0].scores["test"]["macro_f1"])
    read = [json.loads((tmp_path / "sweep" / f"{i}_cnn" / "metrics.json").read_text())["test"] for i in range(5)]
    values = [side["macro"]["f1"]["value"] for side in read]
    assert found["mean"] == pytest.approx(np.mean(values))
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found["low"], found["high"]) == pytest.approx((low, high))


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    board = lb.leaderboard(lb.read([make_sweep(tmp_path / "sweep")]))
    first, second = (cell.scores["test"]["macro_f1"] for cell in board.cells)
    found = lb.differences(board)["model=lstm"]["test"]
    assert found["mean"] == pytest.approx((second - first).mean())
    assert found["p"] == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert found["claim"] == "better"


def test_few_seeds_claim_nothing(tmp_path: Path) -> None:
    board = lb.leaderboard(lb.read([make_sweep(tmp_path / "sweep", range(1, 5))]))
    assert lb.differences(board)["model=lstm"]["test"]["claim"] == "none: 4 of 5 seeds"


def test_the_same_beats_show_no_difference(tmp_path: Path) -> None:
    for seed in range(1, 6):
        make_run(tmp_path / f"{seed}_a", seed=seed, model="a")
        make_run(tmp_path / f"{seed + 5}_b", seed=seed, model="b")
    board = lb.leaderboard(lb.read([tmp_path]))
    assert lb.differences(board)["model=b"]["test"]["claim"] == "no difference shown"


def test_folds_are_read_together(tmp_path: Path) -> None:
    folds = [make_run(tmp_path / f"{k}_x", seed=1, protocol={"fold": k}) for k in range(3)]
    board = lb.leaderboard(lb.read([tmp_path]))
    (cell,) = board.cells
    assert cell.seeds == (1,)
    (test,) = cell.test
    singles = [json.loads((fold / "metrics.json").read_text()) for fold in folds]
    assert test["n_beats"] == sum(single["test"]["n_beats"] for single in singles)
    assert test["n_patients"] == 12
    np.testing.assert_array_equal(
        test["confusion_matrix"], sum(np.array(single["test"]["confusion_matrix"]) for single in singles)
    )
    of_folds = [single["validation"]["macro"]["f1"]["value"] for single in singles]
    assert cell.scores["validation"]["macro_f1"][0] == pytest.approx(np.mean(of_folds))


def test_a_seed_that_lacks_a_fold_is_left_out(tmp_path: Path) -> None:
    for seed, fold in ((1, 0), (1, 1), (2, 0)):
        make_run(tmp_path / f"{seed}{fold}_x", seed=seed, protocol={"fold": fold})
    (cell,) = lb.leaderboard(lb.read([tmp_path])).cells
    assert (cell.seeds, cell.left_out) == ((1,), (2,))


def test_names_tell_options_first_and_keys_where_they_do_not(tmp_path: Path) -> None:
    make_run(tmp_path / "0", seed=1, model="cnn", lr=0.1)
    make_run(tmp_path / "1", seed=1, model="cnn", lr=0.2)
    make_run(tmp_path / "2", seed=1, model="lstm", lr=0.1)
    board = lb.leaderboard(lb.read([tmp_path]))
    assert [cell.name for cell in board.cells] == ["model=cnn lr=0.1", "model=cnn lr=0.2", "model=lstm"]
    assert lb.differing(board)["lr"] == {"model=cnn lr=0.1": 0.1, "model=cnn lr=0.2": 0.2, "model=lstm": 0.1}
    assert "seed" not in lb.differing(board)
    assert "paths.run_dir" not in lb.differing(board)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm(p: list[float]) -> None:
    corrected = lb.holm(p)
    assert all(c is not None and min(1.0, a) <= c <= 1 for a, c in zip(p, corrected, strict=True))
    assert min(c for c in corrected if c is not None) == pytest.approx(min(1.0, len(p) * min(p)))
    order = np.argsort(p, kind="stable")
    ordered = [corrected[i] for i in order]
    assert ordered == sorted(ordered)  # type: ignore[type-var]


def test_files_and_command(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep")
    ended = CliRunner().invoke(app, ["compare", str(sweep), "--out", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    assert "model._target_: cnn, lstm" in ended.output
    rows = list(csv.DictReader((tmp_path / "out" / "leaderboard.csv").open()))
    assert [row["cell"] for row in rows] == ["model=lstm", "model=cnn", "model=lstm seed=99"]
    assert rows[2]["why"] == "it broke"
    found = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert found["compared_with"] == "model=cnn"
    assert float(rows[0]["test macro_f1"]) == pytest.approx(found["cells"][0]["test"]["macro_f1"]["mean"])
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    for words in ("Simulated recordings", "it broke", "model=lstm", "Learning curves", "Confusion matrices", "better"):
        assert words in page


def test_runs_of_different_sweeps(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a" / "0_x", seed=1, model="cnn")
    make_run(tmp_path / "b" / "0_x", seed=1, model="lstm")
    board = lb.leaderboard(lb.read([a, tmp_path / "b"]))
    assert [cell.name for cell in board.cells] == ["model=cnn", "model=lstm"]
    assert len(lb.read([a, tmp_path / "a"])) == 1


def test_nothing_to_compare_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        lb.read([tmp_path])
    failed = make_run(tmp_path / "0", seed=1, state="failed")
    with pytest.raises(UserError, match=r"None of the 1 runs is finished .*it broke"):
        lb.leaderboard(lb.read([failed]))
    ended = CliRunner().invoke(app, ["compare", str(tmp_path / "nothing")])
    assert ended.exit_code == 1
