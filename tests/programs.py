"""Runs `train.py` and `synth.py`.

`run` runs a program in this process. `start` runs it in a process that can be killed: a fork of a server that has
imported PyTorch, which takes seconds. `run_subprocess` starts Python anew.
"""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from ecg.config.installation import CONF
from ecg.config.schema import register

ROOT = Path(__file__).parents[1]
# Small recordings, small networks, no progress bars.
TINY_DATA = ["data.n_patients=12", "data.minutes=1"]
TINY_TRAIN = [*TINY_DATA, "model.hidden=8", "trainer.max_epochs=2", "trainer.accelerator=cpu", "n_bootstrap=20"]
TINY_TRAIN += ["trainer.enable_progress_bar=false"]
TINY_SYNTH = ["generator.hidden=8", "fit.evaluation_steps=2", "fit.n_compared=20", "fit.n_evaluated=40"]
TINY_SYNTH += ["trainer.precision=32-true", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
TINY_SYNTH += ["trainer.limit_train_batches=6"]
register()


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def message(self) -> str:
        """The one message of a program that ended with an error."""
        assert self.returncode != 0, self.stdout
        assert "Traceback" not in self.stderr, self.stderr
        lines = [line for line in self.stderr.strip().splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, self.stderr
        return lines[0]


def composed(program: str, *overrides: str) -> DictConfig:
    """The configuration of a program, without its run folder."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(program, ["name=test", "paths.run_dir=unused", *overrides])


@functools.cache
def _composed_choices(program: str, *choices: str) -> DictConfig:
    return composed(program, *choices)


def with_values(program: str, *overrides: str) -> DictConfig:
    """As `composed`, but composes each combination of options once. The other overrides are applied to a copy."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    choices = [override for override in overrides if re.split("[=/]", override)[0] in groups]
    cfg = copy.deepcopy(_composed_choices(program, *choices))
    for override in OverridesParser.create().parse_overrides([o for o in overrides if o not in choices]):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    return cfg


@contextmanager
def blank_figures() -> Iterator[None]:
    """Replaces the figures of all reports. Drawing them takes longer than a small run."""

    def blank(_: object) -> defaultdict[str, Figure]:
        return defaultdict(Figure)

    reports = "ecg.reports"
    with (
        patch(f"{reports}.classification_report.draw_figures", blank),
        patch(f"{reports}.synthesis_report.draw_figures", blank),
        patch(f"{reports}.leaderboard_report.draw_figures", blank),
        patch(f"{reports}.leaderboard_report.draw_confusion_matrix", lambda _: Figure()),
    ):
        yield


def run(program: str, *arguments: str, figures: bool = False) -> Ended:
    """Runs a program in this process; the figures of its reports are blank without `figures`."""
    program_start = importlib.import_module(f"ecg.programs.{program}").start
    out, err, code = io.StringIO(), io.StringIO(), 0
    replaced = nullcontext() if figures else blank_figures()
    streams = redirect_stdout(out), redirect_stderr(err)
    with replaced, streams[0], streams[1], patch.object(sys, "argv", [f"{program}.py", *arguments]):
        try:
            program_start()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                err.write(end.code + "\n")
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
    return Ended(code, out.getvalue(), err.getvalue())


SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["programs", "ecg.programs.train", "ecg.programs.synth", "ecg.classification", "ecg.synthesis"]
)


class Started:
    """A program in a process of its own."""

    def __init__(self, process: BaseProcess | subprocess.Popen[str], streams: Path) -> None:
        self._process, self._streams = process, streams

    def returncode(self) -> int | None:
        """The exit status; None while the process runs."""
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, timeout: float = 60) -> Ended:
        """Waits until the process has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.returncode()) is None:
            assert time.monotonic() < deadline, "the program does not end"
            time.sleep(0.01)
        return Ended(code, *((self._streams / name).read_text() for name in ("stdout", "stderr")))


def start(program: str, *arguments: str, python: bool = False) -> Started:
    """Starts a program without figures in a fork; with `python`, as a user does it."""
    streams = Path(tempfile.mkdtemp())
    process: BaseProcess | subprocess.Popen[str]
    if python:
        with (streams / "stdout").open("w") as out, (streams / "stderr").open("w") as err:
            call = command(program, *arguments)
            process = subprocess.Popen(call, stdout=out, stderr=err, text=True, preexec_fn=_accept_interrupts)
    else:
        process = SERVER.Process(target=_run_forked, args=(program, arguments, streams), daemon=True)
        process.start()
    return Started(process, streams)


def _accept_interrupts() -> None:
    # A background job of a shell ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run_forked(program: str, arguments: tuple[str, ...], streams: Path) -> None:
    """The work of a fork."""
    for name in ("stdout", "stderr"):
        with (streams / name).open("w") as file:
            os.dup2(file.fileno(), getattr(sys, name).fileno())
    _accept_interrupts()
    sys.argv = [f"{program}.py", *arguments]
    with blank_figures():
        importlib.import_module(f"ecg.programs.{program}").start()


def command(program: str, *arguments: str) -> list[str]:
    """The command line of a subprocess."""
    return [sys.executable, str(ROOT / f"{program}.py"), *arguments]


def run_subprocess(program: str, *arguments: str, **options: object) -> Ended:
    """Runs a program in a subprocess."""
    ended = subprocess.run(  # type: ignore[call-overload]
        command(program, *arguments), capture_output=True, text=True, timeout=300, env={**os.environ}, **options
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def folders(tmp_path: Path, cache_dir: Path) -> list[str]:
    """Overrides for the folders of a test: the run in `run`, a sweep in `sweep`."""
    return [f"paths.cache_dir={cache_dir}", f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep"]


def load_module(path: Path) -> ModuleType:
    """The module of a file outside the package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
