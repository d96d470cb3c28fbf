"""The current Hydra job: its sweep, its overrides, and the command that repeats it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

# Environment variable: the sweep of a job that runs in a process other than the sweep's.
SWEEP = "ECG_SWEEP"


def in_sweep() -> bool:
    """Whether this process runs a Hydra sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def sweep_name() -> str | None:
    """Name of the folder of the sweep that this job belongs to; None outside a sweep."""
    return Path(HydraConfig.get().sweep.dir).name if in_sweep() else os.environ.get(SWEEP)


def overrides() -> list[str]:
    """The overrides of this job, as given on the command line."""
    return list(HydraConfig.get().overrides.task)


def command() -> str:
    """The command that repeats this run; for a job of a sweep, the command of this one job."""
    if in_sweep():
        return " ".join(["python", f"{HydraConfig.get().job.name}.py", *map(shlex.quote, overrides())])
    return " ".join(["python", Path(sys.argv[0]).name, *map(shlex.quote, sys.argv[1:])])
