"""Runs a program: its help, a resumed sweep, or its main function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ecg.config.help_text import print_help
from ecg.config.stored import CONFIG
from ecg.error_reporting import composition_errors, signals_as_exits
from ecg.sweeps import expand_resumed_sweep


def run_program(main: Callable[[], object], root: type, main_yaml: Path) -> None:
    """Runs `main`, or answers `--help` and `sweep.resume=DIR`.

    Args:
        main: the function decorated by `hydra.main`.
        root: schema of its configuration.
        main_yaml: its main YAML file.
    """
    with signals_as_exits(), composition_errors():
        print_help(root, main_yaml)
        expand_resumed_sweep()
        _use_folder_of_resumed_run()
        main()


def _use_folder_of_resumed_run() -> None:
    """Adds the run folder of `resume=DIR` to the command line; Hydra would create a new one."""
    folders = [argument.partition("=")[2] for argument in sys.argv[1:] if argument.startswith("resume=")]
    if folders and (Path(folders[-1]) / CONFIG).is_file():
        sys.argv[1:] = [word for word in sys.argv[1:] if not word.startswith("hydra.run.dir=")]
        sys.argv.append(f'hydra.run.dir="{Path(folders[-1]).resolve()}"')
