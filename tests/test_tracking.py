"""Tests of ecg.tracking: offline runs are read back with the reader that ships with W&B."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import LearningRateMonitor

from ecg.errors import UserError
from ecg.evaluation.predictions import Predictions
from ecg.tracking import (
    Mode,
    SafeWandbLogger,
    finish,
    finish_all,
    log_results,
    wandb_logger,
    wandb_mode,
)

KEY = "0123456789abcdef" * 2 + "deadbeef"  # well-formed, nobody's
CLASSES = ("N", "S", "V", "F", "Q")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Neither the user's credentials nor another test's W&B process; none is left behind."""
    for name in [name for name in os.environ if name.startswith("WANDB_") or name == "NETRC"]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.parametrize(
    ("explicit", "environ", "expected"),
    [
        (None, {}, "offline"),
        (None, {"WANDB_API_KEY": KEY}, "online"),
        (None, {"WANDB_API_KEY": ""}, "offline"),
        (None, {"WANDB_IDENTITY_TOKEN_FILE": "token"}, "online"),
        ("offline", {"WANDB_API_KEY": KEY}, "offline"),
        ("online", {}, "online"),
        ("online", {"WANDB_MODE": "disabled", "WANDB_DISABLED": "true"}, "online"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
        (None, {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "offline"),
        (None, {"WANDB_MODE": "online"}, "online"),
        (None, {"WANDB_MODE": "disabled"}, "disabled"),
        (None, {"WANDB_MODE": "dryrun", "WANDB_API_KEY": KEY}, "offline"),
        (None, {"WANDB_MODE": "run"}, "online"),
        (None, {"WANDB_MODE": ""}, "offline"),
        (None, {"WANDB_MODE": "offline", "WANDB_DISABLED": "true"}, "offline"),
        (None, {"WANDB_DISABLED": "true", "WANDB_API_KEY": KEY}, "disabled"),
        (None, {"WANDB_DISABLED": "false", "WANDB_API_KEY": KEY}, "online"),
    ],
)
def test_mode_by_environment(explicit: str | None, environ: dict[str, str], expected: str, tmp_path: Path) -> None:
    assert wandb_mode(explicit, {"HOME": str(tmp_path / "home"), **environ}) == expected


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (f"machine api.wandb.ai\n  login user\n  password {KEY}\n", {}, "online"),
        (f"default login user password {KEY}\n", {}, "online"),
        (f"machine github.com\n  login user\n  password {KEY}\n", {}, "offline"),
        (
            f"machine github.com\n  login user\n  password {KEY}\n",
            {"WANDB_BASE_URL": "https://w.org"},
            "offline",
        ),
        (f"machine w.org:80 login user password {KEY}\n", {"WANDB_BASE_URL": "http://w.org:80"}, "online"),
        ("machine api.wandb.ai\n  login user\n", {}, "offline"),
        ("what is this\n", {}, "offline"),
        ("", {}, "offline"),
    ],
)
@pytest.mark.parametrize("place", [".netrc", "_netrc", "elsewhere"])
def test_mode_by_netrc(place: str, text: str, environ: dict[str, str], expected: str, tmp_path: Path) -> None:
    path = tmp_path / "home" / place
    path.write_text(text)
    path.chmod(0o600)
    environ = environ | ({"NETRC": str(path)} if place == "elsewhere" else {})
    assert wandb_mode(None, {"HOME": str(tmp_path / "home"), **environ}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"[default]\napi_key = {KEY}\n", "online"),
        (f"[default]\nmode = offline\napi_key = {KEY}\n", "offline"),
        ("[default]\nmode = disabled\n", "disabled"),
        ("[default]\nbase_url = https://w.org\n", "online"),
        ("no section\n", "offline"),
    ],
)
def test_mode_by_settings_file(text: str, expected: str, tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".config" / "wandb"
    folder.mkdir(parents=True)
    (folder / "settings").write_text(text)
    (tmp_path / "home" / ".netrc").write_text(f"machine w.org login user password {KEY}\n")
    assert wandb_mode(None, {"HOME": str(tmp_path / "home")}) == expected


@pytest.mark.parametrize(
    ("explicit", "environ"), [("ofline", {}), ("", {}), ("shared", {}), (None, {"WANDB_MODE": "on"})]
)
def test_an_unknown_mode_names_the_valid_ones(explicit: str | None, environ: dict[str, str]) -> None:
    with pytest.raises(UserError, match="online, offline, disabled") as error:
        wandb_mode(explicit, environ)
    assert repr(explicit if explicit is not None else environ["WANDB_MODE"]) in str(error.value)


def _started(folder: Path, mode: Mode = "offline", **changes: Any) -> SafeWandbLogger | None:
    arguments = {
        "project": "ecg",
        "name": "cnn",
        "group": "sweep",
        "job_type": "train",
        "tags": ["cnn", "none", "none"],
        "config": {"seed": 0, "model": {"width": 32}},
    }
    return wandb_logger(run_dir=folder, mode=mode, **(arguments | changes))


def _fit(logger: SafeWandbLogger) -> None:
    for epoch, (loss, f1) in enumerate([(0.9, 0.3), (0.4, 0.8), (0.5, 0.7)]):
        row = {"train/loss": loss, "val/loss": loss, "val/macro_f1": f1, "lr-AdamW": 0.1, "epoch": epoch}
        logger.log_metrics(row, step=10 * epoch)
    logger.log_hyperparams({"later": 1})
    logger.finalize("success")


def _predictions(n: int = 20_000, missing: int = 3) -> Predictions:
    rng = np.random.default_rng(0)
    label = rng.choice([c for c in range(len(CLASSES)) if c != missing], n)
    logits = rng.normal(size=(n, len(CLASSES))) + 3 * np.eye(len(CLASSES))[label]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    text = np.full(n, "100")
    return Predictions(label, probability.astype(np.float32), text, text, np.arange(n), CLASSES)


def _score(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": value and value - 0.1, "high": value and value + 0.1}


def _metrics() -> dict[str, Any]:
    columns = ("precision", "recall", "f1", "auroc", "auprc")
    none = {"support": 0} | {column: _score(None) for column in columns}
    row = {"support": 5000} | {column: _score(0.5) for column in columns}
    return {
        "n_beats": 20_000,
        "interval": "95 %",
        "accuracy": _score(0.75),
        "ece": _score(0.25),
        "macro": {column: _score(0.5) for column in columns},
        "per_class": {name: none if name == "F" else row for name in CLASSES},
        "confusion_matrix": [[1]],
        "classes": list(CLASSES),
    }


def _inspect(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _run_folder(run_dir: Path) -> Path:
    (folder,) = (run_dir / "wandb").glob("*run-*-*")
    return folder


def test_an_offline_run_holds_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    run_dir = tmp_path / "run"
    environment = dict(os.environ)
    logger = _started(run_dir)
    assert logger is not None
    assert {name for name in os.environ if os.environ[name] != environment.get(name)} == {"WANDB_SERVICE"}
    settings = logger.experiment.settings
    assert (settings.save_code, settings.console, settings.mode) == (False, "off", "offline")
    _fit(logger)
    figure = Figure()
    figure.subplots().plot([1, 2])
    log_results(logger, metrics=_metrics(), predictions=_predictions(), figures={"a figure": figure})
    start = time.perf_counter()
    finish(logger, exit_code=0)
    assert time.perf_counter() - start < 5

    folder = _run_folder(run_dir)
    assert [record.getMessage() for record in caplog.records if record.name == "ecg.tracking"] == [
        f"W&B, offline: {folder}"
    ]
    assert capfd.readouterr() == ("", "")

    summary = json.loads(_inspect(folder, "--summary"))
    assert summary["state"] == "finished"
    assert summary["exit_code"] == 0
    assert summary["name"] == "cnn"
    assert summary["tags"] == ["cnn", "none"]
    assert summary["config"] == {"seed": 0, "model": {"width": 32}, "later": 1}
    found = summary["summary"]
    assert found["val/macro_f1"] == {"max": 0.8, "last": 0.7}
    assert found["val/loss"] == {"min": 0.4, "last": 0.5}
    assert found["train/loss"] == {"min": 0.4, "last": 0.5}
    assert found["lr-AdamW"] == 0.1
    assert found["test/accuracy"] == 0.75
    assert found["test/macro_f1"] == 0.5
    assert (found["test/macro_f1_low"], found["test/macro_f1_high"]) == (0.4, 0.6)
    assert found["test/N/f1"] == 0.5
    assert found["test/F/support"] == 0
    assert "test/F/f1" not in found
    assert "test/interval" not in found

    records = [json.loads(line) for line in _inspect(folder).splitlines()]
    run = next(record["run"] for record in records if record["type"] == "run")
    assert (run["run_group"], run["job_type"], run["project"]) == ("sweep", "train", "ecg")
    steps = {r["metric"]["name"]: r["metric"].get("step_metric") for r in records if r["type"] == "metric"}
    assert steps["val/macro_f1"] == steps["train/loss"] == steps["lr-AdamW"] == "trainer/global_step"
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert [row["val/macro_f1"] for row in rows[:3]] == [0.3, 0.8, 0.7]
    assert [row["trainer/global_step"] for row in rows[:3]] == [0, 10, 20]

    assert list(folder.glob("files/media/images/figures/a_figure*.png"))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 500_000


def test_the_tables_are_right(tmp_path: Path) -> None:
    logger = _started(tmp_path / "run")
    assert logger is not None
    predictions = _predictions(missing=3)
    log_results(logger, metrics=_metrics(), predictions=predictions, figures={})
    finish(logger, exit_code=0)
    assert not logger.failed
    media = _run_folder(tmp_path / "run") / "files" / "media" / "table"
    tables = {path.name.split("_0_")[0]: json.loads(path.read_text()) for path in media.rglob("*.json")}
    per_class = tables["per_class"]
    assert per_class["columns"] == ["class", "support", "precision", "recall", "f1", "auroc", "auprc"]
    assert per_class["data"][0] == ["N", 5000, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert per_class["data"][3] == ["F", 0, None, None, None, None, None]
    counts = {(row[0], row[1]): row[2] for row in tables["confusion_matrix_table"]["data"]}
    guess = predictions.probability.argmax(axis=1)
    assert counts["V", "N"] == np.sum((predictions.label == 2) & (guess == 0))
    assert sum(counts.values()) == len(guess)
    curves = tables["pr_curves_table"]["data"]
    assert {row[0] for row in curves} == {"N", "S", "V", "Q"}
    # The classes are alike here: the curve of the class after the missing one is as good as that of the
    # first.
    middle = {row[0]: row[1] for row in curves if row[2] == 0.5}
    assert middle["Q"] == pytest.approx(middle["N"], abs=0.05)
    assert middle["Q"] > 0.9


def test_a_failed_run_is_marked_and_jobs_of_one_process_get_their_own(tmp_path: Path) -> None:
    for job in ("0", "1"):
        logger = _started(tmp_path / job, name=job)
        assert logger is not None
        _fit(logger)
        finish_all(exit_code=1)
        finish_all(exit_code=1)
    left_open = _started(tmp_path / "2", name="2")
    assert left_open is not None
    last = _started(tmp_path / "3", name="3")
    finish(last, exit_code=0)
    for job in ("0", "1", "2", "3"):
        summary = json.loads(_inspect(_run_folder(tmp_path / job), "--summary"))
        assert summary["name"] == job
        assert summary["exit_code"] == (1 if job in "01" else 0)


class _Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("val/macro_f1", 1.0 / (1 + self.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_writes_through_it(tmp_path: Path) -> None:
    logger = _started(tmp_path / "run")
    assert logger is not None
    beats = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 2)), batch_size=2)
    trainer = pl.Trainer(
        max_epochs=2,
        logger=logger,
        callbacks=[LearningRateMonitor("step")],
        accelerator="cpu",
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(_Line(), beats, beats)
    finish(trainer.logger, exit_code=0)
    assert not logger.failed
    lines = _inspect(_run_folder(tmp_path / "run")).splitlines()
    rows = [record["history"]["item"] for record in map(json.loads, lines) if record["type"] == "history"]
    f1 = [(row["trainer/global_step"], row["val/macro_f1"]) for row in rows if "val/macro_f1" in row]
    assert f1 == [(3, 1.0), (7, 0.5)]
    assert [row["trainer/global_step"] for row in rows if "lr-SGD" in row] == list(range(8))
    assert sum("train/loss" in row for row in rows) == 2


def test_disabled_starts_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _started(tmp_path / "run", "disabled") is None
    assert not (tmp_path / "run").exists()
    assert not caplog.records
    finish(None, exit_code=0)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = [record for record in caplog.records if record.name == "ecg.tracking"]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_folder_that_cannot_be_written(
    mode: Mode, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "file").write_text("")
    assert _started(tmp_path / "file" / "run", mode) is None
    (warning,) = _warnings(caplog)
    assert "does not start" in warning


def test_a_project_name_that_wandb_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _started(tmp_path / "run", project="a/b") is None
    (warning,) = _warnings(caplog)
    assert "a/b" in warning


def test_online_without_credentials_does_not_ask(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr("wandb.errors.term.terminput", lambda *_, **__: pytest.fail("asked"))
    logger = _started(tmp_path / "run", "online")
    assert logger is not None
    finish(logger, exit_code=0)
    (warning,) = _warnings(caplog)
    assert "wandb login" in warning
    assert _run_folder(tmp_path / "run").name.startswith("offline-run-")


def test_a_server_that_is_not_there(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    start = time.perf_counter()
    logger = _started(tmp_path / "run", wandb_mode(None))
    assert time.perf_counter() - start < 16
    assert logger is not None
    _fit(logger)
    finish(logger, exit_code=0)
    (warning,) = _warnings(caplog)
    folder = _run_folder(tmp_path / "run")  # alone: what the attempt to go online wrote is gone
    assert f"wandb sync {folder}" in warning
    assert folder.name.startswith("offline-run-")
    assert json.loads(_inspect(folder, "--summary"))["summary"]["val/macro_f1"]["max"] == 0.8
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    assert KEY not in caplog.text
    assert capfd.readouterr() == ("", "")


class _Broken:
    """A run whose every call fails."""

    id = name = project = dir = "broken"

    class settings:
        root_dir = "."

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        raise OSError("No space left on device")


def test_a_run_that_breaks_ends_the_logging_alone(caplog: pytest.LogCaptureFixture) -> None:
    broken = _Broken()
    logger = SafeWandbLogger(cast(wandb.Run, broken))
    _fit(logger)
    log_results(logger, metrics=_metrics(), predictions=_predictions(100), figures={})
    (warning,) = _warnings(caplog)
    assert "No space left on device" in warning
    assert broken.calls == 1
    finish(logger, exit_code=0)
    assert len(_warnings(caplog)) == 1
