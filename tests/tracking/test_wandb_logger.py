"""Starting and finishing W&B runs, and failures of W&B. Offline runs are read with W&B's own reader."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.callbacks import LearningRateMonitor
from tracking_factories import KEY, files_of_run, log_epochs, read_history, read_summary, start

from ecg.tracking import finish_all, finish_on_exit
from ecg.tracking.wandb_logger import SafeWandbLogger
from ecg.tracking.wandb_mode import Mode, resolve_mode

Warnings = Callable[[], list[str]]


# -- start and finish ---------------------------------------------------------------------------------------------


def test_a_start_changes_no_environment_variable_and_prints_only_the_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = dict(os.environ)
    with caplog.at_level(logging.INFO):
        logger = start(tmp_path / "run")
    assert logger is not None
    # wandb passes the address of its background process to child processes in WANDB_SERVICE.
    assert {name for name in os.environ if os.environ[name] != environment.get(name)} == {"WANDB_SERVICE"}
    settings = logger.experiment.settings
    assert (settings.save_code, settings.console, settings.mode) == (False, "off", "offline")
    began = time.perf_counter()
    finish_all(exit_code=0)
    assert time.perf_counter() - began < 5
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("ecg.")]
    assert messages == [f"W&B, offline: {files_of_run(tmp_path / 'run')}"]
    assert capfd.readouterr() == ("", "")


def test_disabled_starts_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert start(tmp_path / "run", "disabled") is None
    assert not (tmp_path / "run").exists()
    assert not caplog.records
    finish_all(exit_code=0)


@pytest.mark.slow
def test_each_job_of_a_process_has_its_own_run_with_its_exit_code(tmp_path: Path) -> None:
    assert start(tmp_path / "failed", name="failed") is not None
    finish_all(exit_code=1)
    finish_all(exit_code=1)  # without an open run it has no effect
    left_open = start(tmp_path / "left open", name="left open")
    last = start(tmp_path / "last", name="last")
    assert left_open is not None
    assert last is not None
    assert last.version != left_open.version
    finish_all(exit_code=0)
    for name, exit_code in (("failed", 1), ("left open", 0)):
        summary = read_summary(tmp_path / name)
        assert (summary["name"], summary["exit_code"]) == (name, exit_code)


@pytest.mark.parametrize(("error", "exit_code"), [(None, 0), (RuntimeError, 1), (KeyboardInterrupt, 1)])
def test_the_open_run_is_finished_at_the_end_of_a_block(
    error: type[BaseException] | None, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []

    class Run:
        dir = "wandb/run/files"

        def finish(self, exit_code: int) -> None:
            codes.append(exit_code)

    monkeypatch.setattr(wandb, "run", Run())
    if error is None:
        with finish_on_exit():
            pass
    else:
        with pytest.raises(error), finish_on_exit():
            raise error
    assert codes == [exit_code]


def test_an_upload_that_times_out_names_the_remedy(monkeypatch: pytest.MonkeyPatch, warnings: Warnings) -> None:
    class Run:
        dir = "wandb/run-1/files"

        def finish(self, exit_code: int) -> None:
            raise TimeoutError

    monkeypatch.setattr(wandb, "run", Run())
    finish_all(exit_code=0)
    assert warnings() == ["The upload to W&B is not complete. Upload the rest with: wandb sync wandb/run-1"]


class _Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("val/macro_f1", 1.0 / (1 + self.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_logs_a_fit_with_its_steps(tmp_path: Path) -> None:
    logger = start(tmp_path / "run")
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
    finish_all(exit_code=0)
    assert not logger.failed
    rows = read_history(tmp_path / "run")
    f1 = [(row["trainer/global_step"], row["val/macro_f1"]) for row in rows if "val/macro_f1" in row]
    assert f1 == [(3, 1.0), (7, 0.5)]
    assert [row["trainer/global_step"] for row in rows if "lr-SGD" in row] == list(range(8))
    assert sum("train/loss" in row for row in rows) == 2


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_folder_that_is_not_writable_gives_one_warning(
    mode: Mode, tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "file").write_text("")
    assert start(tmp_path / "file" / "run", mode) is None
    (warning,) = warnings()
    assert "W&B does not start" in warning


def test_an_invalid_project_name_gives_one_warning(tmp_path: Path, warnings: Warnings) -> None:
    assert start(tmp_path / "run", project="a/b") is None
    (warning,) = warnings()
    assert "a/b" in warning


def test_online_without_credentials_runs_offline_without_a_prompt(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("prompted"))
    monkeypatch.setattr("wandb.errors.term.terminput", lambda *_, **__: pytest.fail("prompted"))
    assert start(tmp_path / "run", "online") is not None
    finish_all(exit_code=0)
    (warning,) = warnings()
    assert "wandb login" in warning
    assert files_of_run(tmp_path / "run").name.startswith("offline-run-")


@pytest.mark.slow
def test_a_server_that_does_not_answer_gives_an_offline_run(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    warnings: Warnings,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")  # a variable of the user has precedence over our 10 s
    began = time.perf_counter()
    logger = start(tmp_path / "run", resolve_mode(None))
    assert time.perf_counter() - began < 6
    assert logger is not None
    log_epochs(logger)
    finish_all(exit_code=0)
    (warning,) = warnings()
    folder = files_of_run(tmp_path / "run")  # the only one: the files of the online run are removed
    assert f"wandb sync {folder}" in warning
    assert folder.name.startswith("offline-run-")
    assert read_summary(tmp_path / "run")["summary"]["val/macro_f1"]["max"] == 0.8
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    assert KEY not in caplog.text
    assert capfd.readouterr() == ("", "")


class BrokenRun:
    """A W&B run of which every call fails."""

    id = name = project = dir = "broken"

    class settings:
        root_dir = "."

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        raise OSError("No space left on device")


def test_a_failure_during_a_run_gives_one_warning_and_ends_the_logging(
    warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = BrokenRun()
    logger = SafeWandbLogger(cast(wandb.Run, run))
    log_epochs(logger)
    (warning,) = warnings()
    assert "No space left on device" in warning
    assert run.calls == 1
    monkeypatch.setattr(wandb, "run", run)
    finish_all(exit_code=0)
    assert len(warnings()) == 1


def test_a_resumed_offline_run_keeps_its_id(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        logger = start(tmp_path / "run")
        assert logger is not None
        ids.append(logger.version)
        finish_all(exit_code=0)
    assert ids[0] == ids[1]
