"""What W&B shows of a run: curves, summary, tables, figures. One offline run of each kind serves all tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.loggers import CSVLogger, Logger
from tracking_factories import (
    files_of_run,
    isolated_wandb,
    log_epochs,
    make_metrics,
    make_predictions,
    read_records,
    read_summary,
    start,
)

from ecg import tracking
from ecg.evaluation.fidelity import CONTROLS, GATES, MEASURES, Fidelity, MeasureResult, MeasureValue
from ecg.tracking.wandb_logger import SafeWandbLogger


@dataclass(frozen=True)
class TrackedRun:
    """Content of an offline W&B run.

    Attributes:
        folder: folder of the files of W&B.
        summary: state, configuration and summary.
        records: all records.
        artifact: name of the artifact of the run.
    """

    folder: Path
    summary: dict[str, Any]
    records: list[dict[str, Any]]
    artifact: str | None

    @property
    def history(self) -> list[dict[str, Any]]:
        return [record["history"]["item"] for record in self.records if record["type"] == "history"]

    def table(self, name: str) -> dict[str, Any]:
        (path,) = (self.folder / "files" / "media" / "table").rglob(f"{name}_*.json")
        content: dict[str, Any] = json.loads(path.read_text())
        return content


def _plot() -> Figure:
    figure = Figure()
    figure.subplots().plot([1, 2])
    return figure


def _read(folder: Path, artifact: str | None) -> TrackedRun:
    return TrackedRun(files_of_run(folder), read_summary(folder), read_records(folder), artifact)


@pytest.fixture(scope="module")
def classification(tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    """The W&B run of a classifier."""
    folder = tmp_path_factory.mktemp("classification")
    with isolated_wandb(folder / "home"):
        logger = start(folder / "run")
        assert logger is not None
        log_epochs(logger)
        tracking.log_figure(logger, "gallery", _plot())
        tracking.log_classification(
            logger,
            metrics=make_metrics(),
            predictions=make_predictions(),
            figures=lambda: {"a figure": _plot()},
            synthetic_set={"sha256": "abc"},
        )
        tracking.use_synthetic_set(logger, "ecg/beats-x:latest")
        tracking.finish_all(exit_code=0)
        assert not logger.failed
    return _read(folder / "run", None)


@pytest.fixture(scope="module")
def synthesis(tmp_path_factory: pytest.TempPathFactory) -> TrackedRun:
    """The W&B run of a generator."""
    folder = tmp_path_factory.mktemp("synthesis")
    (folder / "synthetic").mkdir()
    (folder / "synthetic" / "beats.npz").write_bytes(b"beats")
    with isolated_wandb(folder / "home"):
        logger = start(folder / "run", job_type="synth")
        assert logger is not None
        tracking.log_fidelity(logger, {"validation": _fidelity(), "test": _fidelity()})
        tracking.log_synthetic_set(logger, folder / "synthetic", {"generator": "wgan_gp"})
        artifact = tracking.artifact_name(logger)
        tracking.finish_all(exit_code=0)
        assert not logger.failed
    return _read(folder / "run", artifact)


def _fidelity() -> Fidelity:
    value, missing = MeasureValue(0.75, 0.5, dict.fromkeys(CONTROLS)), MeasureValue(None, None, dict.fromkeys(CONTROLS))
    measures = {
        key: MeasureResult(m.title, m.description, m.better, value, {"S": value, "F": missing})
        for key, m in MEASURES.items()
    }
    gates = tuple(result for gate in GATES if (result := gate.evaluate(measures)))
    return Fidelity(("S", "F"), {}, measures, gates, passed=False)


# -- classification -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_run_is_described(classification: TrackedRun) -> None:
    summary = classification.summary
    assert (summary["state"], summary["exit_code"], summary["name"]) == ("finished", 0, "cnn")
    assert summary["tags"] == ["cnn", "none"]
    assert summary["config"] == {"seed": 0, "model": {"width": 32}, "later": 1, "synthetic_set": {"sha256": "abc"}}
    run = next(record["run"] for record in classification.records if record["type"] == "run")
    assert (run["run_group"], run["job_type"], run["project"]) == ("sweep", "train", "ecg")


@pytest.mark.slow
def test_the_summary_has_the_best_and_the_last_value_of_a_metric(classification: TrackedRun) -> None:
    summary = classification.summary["summary"]
    assert summary["val/macro_f1"] == {"max": 0.8, "last": 0.7}
    assert summary["val/loss"] == {"min": 0.4, "last": 0.5}
    assert summary["train/loss"] == {"min": 0.4, "last": 0.5}
    assert summary["lr-AdamW"] == 0.1


@pytest.mark.slow
def test_the_summary_has_the_test_scores(classification: TrackedRun) -> None:
    summary = classification.summary["summary"]
    assert summary["test/accuracy"] == 0.75
    assert (summary["test/macro_f1"], summary["test/macro_f1_low"], summary["test/macro_f1_high"]) == (0.5, 0.4, 0.6)
    assert summary["test/n_beats"] == 20_000
    assert summary["test/N/f1"] == 0.5
    assert summary["test/F/support"] == 0
    assert "test/F/f1" not in summary  # undefined
    assert "test/mcc_low" not in summary


@pytest.mark.slow
def test_the_curves_have_the_global_step_as_x_axis(classification: TrackedRun) -> None:
    metrics = [record["metric"] for record in classification.records if record["type"] == "metric"]
    steps = {metric["name"]: metric.get("step_metric") for metric in metrics}
    assert steps["val/macro_f1"] == steps["train/loss"] == steps["lr-AdamW"] == "trainer/global_step"
    rows = classification.history[:3]
    assert [row["val/macro_f1"] for row in rows] == [0.3, 0.8, 0.7]
    assert [row["trainer/global_step"] for row in rows] == [0, 10, 20]


@pytest.mark.slow
def test_figures_are_stored_and_the_run_is_small(classification: TrackedRun) -> None:
    for name in ("gallery", "a_figure"):
        assert list(classification.folder.glob(f"files/media/images/figures/{name}*.png"))
    size = sum(path.stat().st_size for path in classification.folder.rglob("*") if path.is_file())
    assert size < 500_000


@pytest.mark.slow
def test_the_table_of_classes_has_a_row_for_each_class(classification: TrackedRun) -> None:
    table = classification.table("per_class")
    assert table["columns"] == ["class", "support", "precision", "recall", "f1", "auroc", "auprc"]
    assert table["data"][0] == ["N", 5000, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert table["data"][3] == ["F", 0, None, None, None, None, None]


@pytest.mark.slow
def test_the_confusion_matrix_counts_the_predictions(classification: TrackedRun) -> None:
    predictions = make_predictions()
    predicted = predictions.probability.argmax(axis=1)
    counts = {(row[0], row[1]): row[2] for row in classification.table("confusion_matrix_table")["data"]}
    assert counts["V", "N"] == np.sum((predictions.label == 2) & (predicted == 0))
    assert sum(counts.values()) == len(predicted)


@pytest.mark.slow
def test_precision_recall_curves_belong_to_their_classes(classification: TrackedRun) -> None:
    curves = classification.table("pr_curves_table")["data"]
    assert {row[0] for row in curves} == {"N", "S", "V", "Q"}
    # All classes are predicted equally well, so the curve of Q, which follows the absent class F, equals that of N.
    middle = {row[0]: row[1] for row in curves if row[2] == 0.5}
    assert middle["Q"] == pytest.approx(middle["N"], abs=0.05)
    assert middle["Q"] > 0.9


# -- synthesis ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_summary_has_the_fidelity(synthesis: TrackedRun) -> None:
    summary = synthesis.summary["summary"]
    for subset in ("validation", "test"):
        assert summary[f"fidelity/{subset}/passed"] is False
        assert summary[f"fidelity/{subset}/frechet"] == 0.75
        assert summary[f"fidelity/{subset}/frechet_reference"] == 0.5
        assert summary[f"fidelity/{subset}/frechet/S"] == 0.75
        assert f"fidelity/{subset}/frechet/F" not in summary


@pytest.mark.slow
def test_the_table_of_gates_has_a_row_for_each_gate_and_subset(synthesis: TrackedRun) -> None:
    table = synthesis.table("gates")
    assert table["columns"] == ["subset", "measure", "class", "reached", "required", "passed"]
    rows = [["validation", gate.measure, gate.class_name or "all"] for gate in _fidelity().gates]
    assert [row[:3] for row in table["data"][: len(rows)]] == rows
    assert len(table["data"]) == 2 * len(rows)


@pytest.mark.slow
def test_the_synthetic_set_is_an_artifact(synthesis: TrackedRun) -> None:
    artifacts = [record["artifact"] for record in synthesis.records if record["type"] == "artifact"]
    (name,) = [artifact["name"] for artifact in artifacts if artifact["type"] == "synthetic-beats"]
    assert synthesis.artifact == f"ecg/{name}:latest"


# -- failures and other loggers -----------------------------------------------------------------------------------


class BrokenRun:
    """A W&B run of which every call fails."""

    id = name = project = dir = "broken"
    offline = False

    class settings:
        root_dir = "."

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        raise OSError("No space left on device")


def _log_everything(logger: Logger | None, folder: Path, drawn: list[str]) -> None:
    def figures() -> dict[str, Figure]:
        drawn.append("figure")
        return {"figure": _plot()}

    tracking.log_figure(logger, "figure", _plot())
    tracking.log_classification(
        logger, metrics=make_metrics(), predictions=make_predictions(100), figures=figures, synthetic_set={"a": 1}
    )
    tracking.log_fidelity(logger, {"test": _fidelity()})
    tracking.log_synthetic_set(logger, folder, {})
    tracking.use_synthetic_set(logger, "ecg/beats-x:latest")


@pytest.mark.slow
def test_a_broken_run_gives_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, drawn = BrokenRun(), list[str]()
    _log_everything(SafeWandbLogger(cast(wandb.Run, run)), tmp_path, drawn)
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "No space left on device" in warning.getMessage()
    assert run.calls == 1
    assert not drawn


@pytest.mark.slow
def test_a_synthetic_set_that_the_server_lacks_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    logger = SafeWandbLogger(cast(wandb.Run, BrokenRun()))
    with caplog.at_level("INFO"):
        tracking.use_synthetic_set(logger, "ecg/beats-x:latest")
    assert "W&B has no artifact ecg/beats-x:latest" in caplog.text
    assert not logger.failed


@pytest.mark.slow
def test_other_loggers_are_left_alone(tmp_path: Path) -> None:
    drawn: list[str] = []
    for logger in (None, CSVLogger(tmp_path / "csv")):
        _log_everything(logger, tmp_path, drawn)
        assert tracking.artifact_name(logger) is None
    assert not drawn
    assert not (tmp_path / "csv").exists()
