"""Runs `train.py` and `synth.py`: in this process, or in a subprocess where signals and exit codes are tested."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
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
    choices = [override for override in overrides if override.partition("=")[0] in groups]
    cfg = copy.deepcopy(_composed_choices(program, *choices))
    for override in OverridesParser.create().parse_overrides([o for o in overrides if o not in choices]):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    return cfg


def run(program: str, *arguments: str) -> Ended:
    """Runs a program in this process."""
    start = importlib.import_module(f"ecg.programs.{program}").start
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", [f"{program}.py", *arguments]):
        try:
            start()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                err.write(end.code + "\n")
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
    return Ended(code, out.getvalue(), err.getvalue())


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
