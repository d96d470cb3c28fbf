"""Sweeps: resuming, jobs in a subprocess, and the summary table."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from ecg.config.job import SWEEP, in_sweep, sweep_name
from ecg.error_reporting import composition_errors
from ecg.errors import UserError

MULTIRUN = "multirun.yaml"


def expand_resumed_sweep() -> None:
    """Replaces `sweep.resume=DIR` on the command line by the command of the sweep in DIR.

    Finished jobs are not repeated, and interrupted jobs continue from their last checkpoint.

    Raises:
        UserError: DIR is not the folder of a sweep, or other overrides are given.
    """
    resume = [argument for argument in sys.argv[1:] if argument.startswith("sweep.resume=")]
    if not resume:
        return
    if others := [argument for argument in sys.argv[1:] if argument not in (*resume, "-m", "--multirun")]:
        raise UserError(f"A resumed sweep keeps its original overrides. Leave out: {' '.join(others)}.")
    folder = Path(resume[-1].partition("=")[2]).resolve()
    if not (folder / MULTIRUN).is_file():
        raise UserError(f"{folder} is not the folder of a sweep: {MULTIRUN} is missing.")
    original = OmegaConf.load(folder / MULTIRUN).hydra.overrides
    kept = [str(o) for o in original.hydra if not str(o).startswith(("hydra.sweep.dir=", "hydra.mode="))]
    sys.argv[1:] = ["-m", *(str(o) for o in original.task), *kept, f"hydra.sweep.dir={folder}"]


def run_in_subprocess(cfg: DictConfig, program: str) -> None:
    """Runs a job of a sweep that uses several devices in a subprocess. The job then finds its run finished.

    Lightning starts the further processes of a run with `sys.argv`. Within a sweep, these would repeat the sweep.

    Args:
        cfg: configuration of the job.
        program: path of the program.

    Raises:
        UserError: the job failed, or Lightning refuses the trainer's arguments.
    """
    from ecg.build import n_devices
    from ecg.runs import read_status

    if not in_sweep() or n_devices(cfg) == 1:
        return
    hydra = HydraConfig.get()
    folder, environment = Path(hydra.runtime.output_dir), {**os.environ, SWEEP: str(sweep_name())}
    command = [sys.executable, str(Path(program).resolve()), *hydra.overrides.task, f'hydra.run.dir="{folder}"']
    if code := subprocess.run(command, cwd=hydra.runtime.cwd, env=environment).returncode:
        raise UserError(read_status(folder).reason or f"The subprocess ended with status {code}.")


class SweepSummary(Callback, ABC):
    """Stores the command of a sweep, which `sweep.resume` reads, and checks that every job finished."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before the first job. Not every sweeper of Hydra writes multirun.yaml."""
        with composition_errors():
            folder = Path(config.hydra.sweep.dir)
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, folder / MULTIRUN)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra after the last job; exits with an error if a job did not finish."""
        with composition_errors():
            folder = Path(config.hydra.sweep.dir)
            self.summarise(folder)
            _require_finished(folder)

    @abstractmethod
    def summarise(self, folder: Path) -> None:
        """Prints and writes the summary table of the sweep."""


class LeaderboardSummary(SweepSummary):
    """Compares the classifiers of a sweep, on the console and in `leaderboard.*`."""

    def summarise(self, folder: Path) -> None:
        """See the base class."""
        from ecg.comparison.console import print_leaderboard
        from ecg.comparison.leaderboard import build_leaderboard
        from ecg.comparison.run_records import read_runs
        from ecg.reports.leaderboard_report import write_leaderboard

        board = build_leaderboard(read_runs([folder]))
        print_leaderboard(board)
        print(f"Leaderboard: {write_leaderboard(board, folder)[0]}")


class FidelitySummary(SweepSummary):
    """Compares the generators of a sweep, on the console and in `fidelity.csv`."""

    def summarise(self, folder: Path) -> None:
        """See the base class."""
        from ecg.comparison.generators import print_fidelity, read_fidelity
        from ecg.files import write_text

        table = read_fidelity(folder)
        if len(table):
            write_text(folder / "fidelity.csv", table.to_csv(index=False))
            print_fidelity(table)


def _require_finished(folder: Path) -> None:
    from ecg.runs import STATUS, read_status

    states = [read_status(path.parent).state for path in folder.glob(f"*/{STATUS}")]
    if left := sum(state != "finished" for state in states):
        raise UserError(
            f"{left} of {len(states)} jobs did not finish. Correct the causes, then continue with sweep.resume={folder}"
        )
