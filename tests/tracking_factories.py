"""Offline W&B runs for tests, and W&B's own reader of their files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import CLASS_SCORES, ClassScores, MacroScores, Metrics, Score
from ecg.tracking.wandb_logger import SafeWandbLogger, start_logger
from ecg.tracking.wandb_mode import Mode

KEY = "0123456789abcdef" * 2 + "deadbeef"  # well-formed, but of no account
CLASSES = ("N", "S", "V", "F", "Q")


@contextmanager
def isolated_wandb(home: Path) -> Iterator[None]:
    """Hides the credentials and the W&B settings of the user, and leaves no W&B process behind."""
    import wandb

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_") or name == "NETRC"]:
            patch.delenv(name)
        home.mkdir(parents=True, exist_ok=True)
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(home))
        for name in ("CONFIG", "CACHE", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(home / name.lower()))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.chdir(home)
        wandb.teardown()
        yield
        wandb.teardown()


def start(folder: Path, mode: Mode = "offline", **changes: Any) -> SafeWandbLogger | None:
    """Starts a W&B run with the given run folder."""
    arguments: dict[str, Any] = {
        "project": "ecg",
        "name": "cnn",
        "group": "sweep",
        "job_type": "train",
        "tags": ["cnn", "none", "none"],
        "config": {"seed": 0, "model": {"width": 32}},
    }
    return start_logger(folder, mode=mode, **(arguments | changes))


def log_epochs(logger: SafeWandbLogger) -> None:
    """Logs three epochs, the second of which is the best."""
    for epoch, (loss, f1) in enumerate([(0.9, 0.3), (0.4, 0.8), (0.5, 0.7)]):
        row = {"train/loss": loss, "val/loss": loss, "val/macro_f1": f1, "lr-AdamW": 0.1, "epoch": epoch}
        logger.log_metrics(row, step=10 * epoch)
    logger.log_hyperparams({"later": 1})
    logger.finalize("success")


def make_predictions(n: int = 20_000) -> Predictions:
    """Predictions for beats of all classes but F."""
    rng = np.random.default_rng(0)
    label = rng.choice([c for c, name in enumerate(CLASSES) if name != "F"], n)
    logits = rng.normal(size=(n, len(CLASSES))) + 3 * np.eye(len(CLASSES))[label]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    record = np.full(n, "100")
    return Predictions(label, probability.astype(np.float32), record, record, np.arange(n), CLASSES)


def make_metrics() -> Metrics:
    """Metrics with an accuracy of 0.75 and class scores of 0.5, undefined for class F."""
    half, undefined = Score(0.5, 0.4, 0.6), Score(None)
    present = ClassScores(5000, *[half] * len(CLASS_SCORES))
    absent = ClassScores(0, *[undefined] * len(CLASS_SCORES))
    return Metrics(
        n_beats=20_000,
        n_patients=1,
        interval="95 %",
        accuracy=Score(0.75, 0.65, 0.85),
        mcc=Score(0.5),
        ece=Score(0.25, 0.15, 0.35),
        macro=MacroScores(*[half] * len(CLASS_SCORES)),
        per_class={name: absent if name == "F" else present for name in CLASSES},
        confusion_matrix=[[1]],
        classes=CLASSES,
        ec57=None,
    )


def files_of_run(run_folder: Path) -> Path:
    """The folder of the only W&B run in a run folder."""
    (folder,) = (run_folder / "wandb").glob("*run-*-*")
    return folder


def read_summary(run_folder: Path) -> dict[str, Any]:
    """State, configuration and summary of the W&B run in a run folder."""
    content: dict[str, Any] = json.loads(_inspect(run_folder, "--summary"))
    return content


def read_records(run_folder: Path) -> list[dict[str, Any]]:
    """All records of the W&B run in a run folder."""
    return [json.loads(line) for line in _inspect(run_folder).splitlines()]


def read_history(run_folder: Path) -> list[dict[str, Any]]:
    """The logged rows of the W&B run in a run folder."""
    return [record["history"]["item"] for record in read_records(run_folder) if record["type"] == "history"]


def _inspect(run_folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(files_of_run(run_folder))]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
