"""Reading run folders."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from comparison_factories import make_run, make_sweep

from ecg.comparison.run_records import read_runs
from ecg.errors import UserError


def test_a_finished_run_has_its_results(tmp_path: Path) -> None:
    (record,) = read_runs([make_run(tmp_path / "run", seed=3, protocol={"fold": 2})])
    assert (record.state, record.seed, record.fold) == ("finished", 3, 2)
    assert record.overrides == ("model=cnn", "seed=3")
    assert record.choices == {"model": "cnn", "augmentation": "none"}
    assert record.config["protocol.fold"] == 2
    assert "paths.run_dir" not in record.config
    assert record.test.n_beats == 120
    assert [epoch["epoch"] for epoch in record.history] == [0, 1, 2]


@pytest.mark.parametrize(
    ("state", "label"), [("failed", "failed"), ("interrupted", "interrupted"), ("running", "running or killed")]
)
def test_an_unfinished_run_has_a_state_and_no_metrics(state: str, label: str, tmp_path: Path) -> None:
    (record,) = read_runs([make_run(tmp_path / "run", seed=1, state=state)])
    assert (record.state_label, record.reason) == (label, "out of memory")
    assert record.metrics is None
    with pytest.raises(ValueError, match="not finished"):
        _ = record.test


def test_a_run_without_a_status_has_not_started(tmp_path: Path) -> None:
    (make_run(tmp_path / "run", seed=1) / "status.json").unlink()
    (record,) = read_runs([tmp_path])
    assert record.state_label == "not started"


def test_the_runs_of_a_sweep_are_in_the_order_of_their_jobs(tmp_path: Path) -> None:
    records = read_runs([make_sweep(tmp_path / "sweep")])
    assert [int(record.folder.name.split("_")[0]) for record in records] == list(range(11))


def test_a_run_that_is_given_twice_is_read_once(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a" / "0_x", seed=1)
    make_run(tmp_path / "b" / "0_x", seed=2)
    assert [record.seed for record in read_runs([first, tmp_path / "a", tmp_path / "b"])] == [1, 2]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_runs_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name} is not a run folder of train.py and contains none"):
        read_runs([make_run(tmp_path / "run", seed=1), tmp_path / name])


def _without_metrics(run: Path) -> None:  # as a run of synth.py
    (run / "metrics.json").unlink()


def _with_earlier_format(run: Path) -> None:
    (run / "metrics.json").write_text(json.dumps({"simulated": True, "test": {}}))


def _without_test_subset(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["subsets"]["test"]
    (run / "metrics.json").write_text(json.dumps(metrics))


def _with_malformed_config(run: Path) -> None:
    (run / "config.yaml").write_text("a: [")


def _with_empty_config(run: Path) -> None:
    (run / "config.yaml").write_text("")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_metrics, "metrics.json is missing"),
        (_with_earlier_format, "logit_shift|subsets"),
        (_without_test_subset, "metrics.json has no test subset"),
        (_with_malformed_config, "config.yaml"),
        (_with_empty_config, "config.yaml is damaged: it holds no keys"),
    ],
)
def test_a_run_that_cannot_be_read_is_skipped_if_others_remain(
    damage: Callable[[Path], None], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, other = make_run(tmp_path / "0_x", seed=1), make_run(tmp_path / "1_x", seed=2)
    damage(damaged)
    with caplog.at_level(logging.WARNING):
        assert [record.folder for record in read_runs([tmp_path])] == [other]
    (warning,) = caplog.messages
    assert str(damaged) in warning
    with pytest.raises(UserError, match=message) as error:
        read_runs([damaged])
    assert str(damaged) in str(error.value)
