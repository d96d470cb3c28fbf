"""Runs a program: its help, a resumed sweep, or its main function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ecg.config.help_text import print_help
from ecg.error_reporting import composition_errors
from ecg.sweeps import expand_resumed_sweep


def run_program(main: Callable[[], object], root: type, main_yaml: Path) -> None:
    """Runs `main`, or answers `--help` and `sweep.resume=DIR`.

    Args:
        main: the function decorated by `hydra.main`.
        root: schema of its configuration.
        main_yaml: its main YAML file.
    """
    with composition_errors():
        print_help(root, main_yaml)
        expand_resumed_sweep()
        main()
