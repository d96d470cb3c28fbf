"""The current Hydra job: its sweep, its overrides, and the command that repeats it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from ecg.config.installation import program

# Environment variable: the sweep of a job that runs in a process other than the sweep's.
SWEEP = "ECG_SWEEP"
# A path at the start of a word or value, up to a character that separates values. Not that of an address.
ABSOLUTE_PATH = re.compile(r"(?<![\w.~/:\-])/[^\s,;:'\"()\[\]{}]*[^\s,;:'\"()\[\]{}.]")


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
    words = overrides() if in_sweep() else [word for word in sys.argv[1:] if not word.startswith("hydra.run.dir=")]
    return " ".join([program(HydraConfig.get().job.name), *map(shlex.quote, words)])


def relative_to_folder(path: str, folder: Path) -> str:
    """A path, relative to the run folder; a path in the home folder starts with `~` if the run folder is elsewhere."""
    absolute, home = Path(path).expanduser().absolute(), Path.home()
    if absolute.is_relative_to(home) and not folder.absolute().is_relative_to(home):
        return f"~/{absolute.relative_to(home)}"
    return os.path.relpath(absolute, folder)


def without_absolute_paths(text: str, folder: Path) -> str:
    """Overrides, a command or a message, with paths relative to the run folder in place of absolute paths."""
    return ABSOLUTE_PATH.sub(lambda match: relative_to_folder(match[0], folder), text)
