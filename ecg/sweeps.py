"""Sweeps: resuming, jobs in a subprocess, and the summary table."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from ecg.config.job import SWEEP, in_sweep, sweep_name
from ecg.config.stored import INPUTS
from ecg.error_reporting import composition_errors
from ecg.errors import UserError
from ecg.files import write_text
from ecg.reading import read_yaml

SWEEP_FILE = "sweep.yaml"  # the overrides of the sweep
MULTIRUN = "multirun.yaml"  # written by Hydra's sweeper; it holds paths of the machine
# Keys of Hydra that a resumed sweep takes from its folder. Others can run programs, such as the setup of a SLURM job.
HYDRA_KEYS = {"hydra/launcher", "hydra/sweeper", "hydra.launcher.n_jobs", "hydra.sweeper.n_trials"}
HYDRA_KEYS |= {"hydra.sweeper.n_jobs", "hydra.sweeper.direction", "hydra.sweeper.sampler.seed"}
HYDRA_KEYS |= {
    f"hydra.launcher.{name}"
    for name in ("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "partition")
}


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
    if not (folder / SWEEP_FILE).is_file():
        raise UserError(f"{folder} is not the folder of a sweep: {SWEEP_FILE} is missing.")
    kept = read_yaml(folder / SWEEP_FILE, list[str], "Repeat the command of the sweep.")
    for override in kept:
        if not _is_harmless(override):
            raise UserError(
                f"{folder / SWEEP_FILE} has {override}, which is not taken from a folder. To continue your own sweep, "
                f"repeat its command with hydra.sweep.dir={folder}."
            )
    sys.argv[1:] = ["-m", *kept, f'hydra.sweep.dir="{folder}"']


def _is_harmless(override: str) -> bool:
    """Whether an override from the folder of a sweep can run no code, and reads no environment or other YAML file."""
    key, _, value = override.lstrip("+~").partition("=")
    if "_target_" in override or "${" in override or override.startswith("-"):
        return False
    if key.startswith("hydra"):
        return key in HYDRA_KEYS or key.startswith("hydra.sweeper.params.")
    # The option of a group is the path of a YAML file.
    return "." in key or key in INPUTS or ("/" not in value and ".." not in value)


def run_in_subprocess(cfg: DictConfig, program: str) -> None:
    """Runs a job of a sweep that uses several devices in a subprocess. The job then finds its run finished.

    Lightning starts the further processes of a run with `sys.argv`. Within a sweep, these would repeat the sweep.

    Args:
        cfg: configuration of the job.
        program: module of the program.

    Raises:
        UserError: the job failed, or Lightning refuses the trainer's arguments.
    """
    from ecg.build import n_devices
    from ecg.runs import read_status

    if not in_sweep() or n_devices(cfg) == 1:
        return
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    modules = os.pathsep.join(filter(None, sys.path))  # `python train.py` in a clone needs no installation
    environment = {**os.environ, SWEEP: str(sweep_name()), "PYTHONPATH": modules}
    command = [sys.executable, "-m", program, *hydra.overrides.task, f'hydra.run.dir="{folder}"']
    if code := subprocess.run(command, cwd=hydra.runtime.cwd, env=environment).returncode:
        raise UserError(read_status(folder).reason or f"The subprocess ended with status {code}.")


class SweepSummary(Callback, ABC):
    """Stores the command of a sweep, which `sweep.resume` reads, and checks that every job finished."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before the first job. Stores the overrides."""
        with composition_errors():
            folder = Path(config.hydra.sweep.dir)
            folder.mkdir(parents=True, exist_ok=True)
            given: Any = OmegaConf.to_container(config.hydra.overrides)  # without resolving what they contain
            own = ("hydra.run.dir=", "hydra.sweep.dir=", "hydra.mode=")
            of_hydra = [override for override in given["hydra"] if not override.startswith(own)]
            write_text(folder / SWEEP_FILE, yaml.safe_dump([*given["task"], *of_hydra]))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before each job, after its sweeper has written multirun.yaml."""
        if in_sweep():
            (Path(config.hydra.sweep.dir) / MULTIRUN).unlink(missing_ok=True)

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

        table = read_fidelity(folder)
        if len(table):
            write_text(folder / "fidelity.csv", table.to_csv(index=False))
            print_fidelity(table)


def _require_finished(folder: Path) -> None:
    from ecg.runs import STATUS, read_status

    states = []
    for path in folder.glob(f"*/{STATUS}"):
        with suppress(UserError):
            states.append(read_status(path.parent).state)
    if left := sum(state != "finished" for state in states):
        raise UserError(
            f"{left} of {len(states)} jobs did not finish. Correct the causes, then continue with sweep.resume={folder}"
        )
