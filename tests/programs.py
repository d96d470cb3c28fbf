"""`train.py` as a user runs it: a whole program in a process of its own, on small simulated recordings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ["model.hidden=8", "data.n_patients=12", "data.minutes=1", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
TINY += ["trainer.enable_progress_bar=false", "n_bootstrap=20"]


def call(tmp_path: Path, *arguments: str) -> list[str]:
    """The command line; the run goes to `run`, a sweep to `sweep`."""
    folders = [
        f"paths.cache_dir={tmp_path}/cache",
        f"hydra.run.dir={tmp_path}/run",
        f"hydra.sweep.dir={tmp_path}/sweep",
    ]
    return [sys.executable, str(ROOT / "train.py"), *TINY, *folders, *arguments]


def train(tmp_path: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs `call` to its end."""
    return program(call(tmp_path, *arguments), **options)


def program(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, W&B offline."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, capture_output=True, text=True, timeout=300, env=environment, **options
    )


def resume(argument: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Goes on with a run or a sweep, with nothing else said."""
    return program([sys.executable, str(ROOT / "train.py"), argument], **options)


def sentence(ended: subprocess.CompletedProcess[str]) -> str:
    """The one sentence in which a program ended."""
    assert ended.returncode != 0, ended.stdout
    assert "Traceback" not in ended.stderr, ended.stderr
    lines = [line for line in ended.stderr.strip().splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, ended.stderr
    return lines[0]
