"""Runs with logger=tensorboard, read with TensorBoard's own reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from programs import TINY_DATA, TINY_SYNTH, TINY_TRAIN, folders, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from ecg.tracking.loggers import RunDescription, tensorboard_logger


def read_events(run_folder: Path) -> Any:
    """The events of a run."""
    return EventAccumulator(str(run_folder / "tensorboard")).Reload()


def scalar(events: Any, name: str) -> list[float]:
    """The logged values of a scalar."""
    return [event.value for event in events.Scalars(name)]


@pytest.mark.slow
def test_a_training_logs_epochs_final_scores_figures_and_configuration(tmp_path: Path, cache_dir: Path) -> None:
    ended = run("train", *TINY_TRAIN, "logger=tensorboard", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    events = read_events(tmp_path / "run")
    training = json.loads((tmp_path / "run" / "training.json").read_text())
    logged = [epoch["val/macro_f1"] for epoch in training["history"]]
    assert scalar(events, "val/macro_f1") == pytest.approx(logged)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["subsets"]["test"]
    (macro_f1,) = events.Scalars("test/macro_f1")
    assert macro_f1.value == pytest.approx(metrics["macro"]["f1"]["value"])
    assert macro_f1.step == training["steps"] - 1
    assert set(events.Tags()["images"]) == {"figures/confusion matrix", "figures/correct and wrong beats"}
    content = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    hparams = content.session_start_info.hparams
    assert hparams["model/hidden"].number_value == 8
    assert hparams["choices/model"].string_value == "cnn"
    assert str(tmp_path) not in str(hparams)


@pytest.mark.slow
def test_a_generator_logs_epochs_and_fidelity(tmp_path: Path, cache_dir: Path) -> None:
    few = ["trainer.max_epochs=2", "synth.per_class={N: 4}"]
    ended = run("synth", *TINY_SYNTH, *TINY_DATA, *few, "logger=tensorboard", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    events = read_events(tmp_path / "run")
    assert len(scalar(events, "val/frechet")) == 2
    assert [event.step for event in events.Images("figures/gallery")] == sorted(
        {event.step for event in events.Images("figures/gallery")}
    )
    subsets = json.loads((tmp_path / "run" / "fidelity.json").read_text())["subsets"]
    assert scalar(events, "fidelity/test/passed") == [float(subsets["test"]["passed"])]


def test_a_failure_gives_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tensorboard").write_text("a file in place of the folder")
    logger = tensorboard_logger(RunDescription(tmp_path, "cnn", None, "train", [], {"seed": 1}))
    for step in range(3):
        logger.log_metrics({"train/loss": 1.0}, step)
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("ecg.")]
    assert len(warnings) == 1
    assert warnings[0].startswith("TensorBoard failed (")
