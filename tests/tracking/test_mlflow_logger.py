"""Runs with logger=mlflow, read with MLflow's own client."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from programs import TINY_TRAIN, folders, run

from ecg.tracking.loggers import RunDescription, mlflow_logger


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, with MLflow's default store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)
    yield tmp_path
    mlflow.set_tracking_uri(None)


@pytest.fixture
def description(working_folder: Path) -> RunDescription:
    """A run in a sweep."""
    (working_folder / "run").mkdir()
    return RunDescription(working_folder / "run", "cnn_seed1", "sweep", "train", ["cnn"], {"model": {"hidden": 8}})


@pytest.mark.slow
def test_a_training_logs_epochs_final_scores_figures_and_configuration(working_folder: Path, cache_dir: Path) -> None:
    ended = run("train", *TINY_TRAIN, "logger=mlflow", *folders(working_folder, cache_dir))
    assert ended.returncode == 0, ended.stderr
    client = mlflow.MlflowClient(f"sqlite:///{working_folder}/mlflow.db")
    experiment = client.get_experiment_by_name("ecg")
    assert experiment is not None
    (stored,) = client.search_runs([experiment.experiment_id])
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "cnn_none_simulated_patient_kfold_seed1"
    assert stored.data.params["model/hidden"] == "8"
    assert not any(str(working_folder) in value for value in stored.data.params.values())
    training = json.loads(Path("run/training.json").read_text())
    logged = [metric.value for metric in client.get_metric_history(stored.info.run_id, "val/macro_f1")]
    assert logged == pytest.approx([epoch["val/macro_f1"] for epoch in training["history"]])
    metrics = json.loads(Path("run/metrics.json").read_text())["subsets"]["test"]
    assert stored.data.metrics["test/macro_f1"] == metrics["macro"]["f1"]["value"]
    figures = [file.path for file in client.list_artifacts(stored.info.run_id, "figures")]
    assert figures == ["figures/confusion_matrix.png", "figures/correct_and_wrong_beats.png"]


@pytest.mark.slow
def test_a_resumed_run_continues_its_mlflow_run(description: RunDescription) -> None:
    first = mlflow_logger(description, experiment="hearts")
    assert first is not None
    first.log_metrics({"val/macro_f1": 0.25}, 1)
    first.finalize("failed")
    second = mlflow_logger(description, experiment="hearts")
    assert second is not None
    second.log_metrics({"val/macro_f1": 0.5}, 2)
    client = mlflow.MlflowClient(f"sqlite:///{description.folder.parent}/mlflow.db")
    stored = client.get_run(str(first.run_id))
    assert stored.info.status == "RUNNING"
    assert stored.data.tags["sweep"] == "sweep"
    assert [m.value for m in client.get_metric_history(stored.info.run_id, "val/macro_f1")] == [0.25, 0.5]


@pytest.mark.slow
def test_a_run_that_the_store_lacks_is_a_new_one(description: RunDescription) -> None:
    (description.folder / "mlflow.json").write_text('{"run_id": "0123456789abcdef"}')
    logger = mlflow_logger(description, experiment="hearts")
    assert logger is not None
    assert json.loads((description.folder / "mlflow.json").read_text()) == {"run_id": logger.run_id}


def test_a_server_that_does_not_answer_gives_one_warning(
    description: RunDescription, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    assert mlflow_logger(description, experiment="ecg") is None
    (message,) = warnings()
    assert message.startswith("MLflow does not start (")
    assert not Path("mlflow.db").exists()
