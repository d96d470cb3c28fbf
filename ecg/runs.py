"""The run folder: status, provenance and resuming. Every file is written atomically.

config.yaml        resolved configuration
overrides.yaml     overrides of the command line
provenance.json    command, commit, package versions, seeds, options, sha256 of the beats
status.json        running, finished (with the score), failed (with the reason) or interrupted
checkpoints/       best.ckpt (best epoch by validation), last.ckpt (after every epoch)
metrics.json       scores with intervals; the same command and seed give the same file, on a GPU with
                   trainer.deterministic=true only
training.json      duration, and the training curves
predictions.npz    record, patient, sample, label and probabilities of every validation and test beat
report.html        the report
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ecg.config.job import command, overrides, sweep_name
from ecg.config.stored import CONFIG, read_config
from ecg.errors import UserError
from ecg.files import write_json, write_text

log = logging.getLogger(__name__)

STATUS, PROVENANCE, OVERRIDES = "status.json", "provenance.json", "overrides.yaml"
GROUPS = ("model", "generator", "data", "augmentation", "protocol", "loss")
PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "wandb", "wfdb", "numpy", "scikit-learn")
NO_INFLUENCE = re.compile(r"(name|resume|paths\..*|logger\..*|trainer\.(default_root_dir|enable_progress_bar))$")


@dataclass(frozen=True)
class Status:
    """State of a run.

    Attributes:
        state: running, finished, failed or interrupted; "" for a folder without a status.
        reason: why the run failed.
        result: the score of a finished run; None where it is not finite.
    """

    state: str = ""
    reason: str = ""
    result: float | None = None


@dataclass
class Run:
    """A run and its folder.

    Attributes:
        folder: the run folder.
        choices: option of each group.
        overrides: overrides of the command line.
        sweep: name of the sweep's folder; None outside a sweep.
        provenance: content of provenance.json.
        started: time of the start, in seconds since the epoch.
    """

    folder: Path
    choices: dict[str, str]
    overrides: list[str]
    sweep: str | None
    provenance: dict[str, Any]
    started: float = field(default_factory=time.time)

    @property
    def result(self) -> float | None:
        """Result of a finished run, NaN where it was not finite; None for a run that is not finished."""
        status = read_status(self.folder)
        if status.state != "finished":
            return None
        return float("nan") if status.result is None else status.result

    @property
    def last_checkpoint(self) -> Path | None:
        """Checkpoint from which the run continues; None for a new run."""
        path = self.folder / "checkpoints" / "last.ckpt"
        return path if path.is_file() else None

    @property
    def seconds(self) -> float:
        """Seconds since the start, or since the run was resumed."""
        return time.time() - self.started

    def add_provenance(self, **facts: Any) -> None:
        """Adds facts to provenance.json."""
        self.provenance |= facts
        write_json(self.folder / PROVENANCE, self.provenance)

    def finish(self, result: float) -> None:
        """Marks the run as finished."""
        _write_status(self.folder, Status("finished", result=result if math.isfinite(result) else None))


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[Run]:
    """Opens the run folder of `cfg`, new or existing, and records how the run ends.

    Raises:
        UserError: the folder holds a run with another configuration.
    """
    run = _create_run(cfg)
    _require_same_config(run.folder, cfg)
    if is_main_process():
        _restore(run)
    if run.result is not None:
        log.info("Already finished: %s", run.folder)
        yield run
        return
    try:
        if is_main_process():
            write_text(run.folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True))
            write_text(run.folder / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(run.overrides)))
            write_json(run.folder / PROVENANCE, run.provenance)
            _write_status(run.folder, Status("running"))
        yield run
    except BaseException as error:
        _record_failure(run, error)
        if isinstance(error, SystemExit) and not error.code:  # Lightning exits with 0 after SIGTERM
            raise SystemExit(128 + signal.SIGTERM) from error
        raise


def is_main_process() -> bool:
    """Whether this is the main process of a distributed run; the others write to the run folder only if they fail."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return int(next((rank for rank in ranks if rank is not None), 0)) == 0


def read_status(folder: Path) -> Status:
    """The status of a run folder."""
    try:
        content = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        return Status(content["state"], content.get("reason") or "", content.get("result"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Status()


def record_failed_job(folder: Path, reason: str, given: list[str]) -> None:
    """Writes the status of a job that failed, possibly before its run folder was opened."""
    if read_status(folder).state == "finished":  # a finished run with another configuration
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write_status(folder, Status("failed", reason))
    if not (folder / OVERRIDES).is_file():
        write_text(folder / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(given)))


def flatten_config(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as one value for each dotted key, without the keys that do not influence the result."""
    flat: dict[str, Any] = {}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict) and (node or not path):
            for key, value in node.items():
                visit(value, f"{path}.{key}" if path else str(key))
        elif not NO_INFLUENCE.match(path):
            flat[path] = node

    visit(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True), "")
    return flat


def _create_run(cfg: DictConfig) -> Run:
    folder = Path(cfg.paths.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    options = HydraConfig.get().runtime.choices
    choices = {name: str(options[name]) for name in GROUPS if name in cfg}
    return Run(folder, choices, overrides(), sweep_name(), _provenance(cfg, choices))


def _require_same_config(folder: Path, cfg: DictConfig) -> None:
    if not (folder / CONFIG).is_file():
        return
    here, there = flatten_config(cfg), flatten_config(read_config(folder))
    if differing := sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key)):
        raise UserError(
            f"{folder} holds another run, which differs in {', '.join(differing[:5])}. Choose another folder."
        )


def _restore(run: Run) -> None:
    """Takes provenance, choices and overrides of a resumed run from its folder. It keeps its original overrides."""
    provenance, given = run.folder / PROVENANCE, run.folder / OVERRIDES
    if not (provenance.is_file() and given.is_file()):
        return
    restart = {key: run.provenance[key] for key in ("command", "git_commit", "git_dirty")}
    try:
        stored = json.loads(provenance.read_text(encoding="utf-8"))
        run.provenance = {**stored, "resumed": [*stored.get("resumed", []), restart]}
        run.choices = dict(stored["choices"])
        run.overrides = [str(override) for override in yaml.safe_load(given.read_text(encoding="utf-8")) or []]
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{provenance} or {given.name} is damaged. Start a new run in another folder.") from error


def _provenance(cfg: DictConfig, choices: dict[str, str]) -> dict[str, Any]:
    package = Path(__file__).parent
    commit = _git(package, "rev-parse", "HEAD")
    return {
        "command": command(),
        "git_commit": commit,
        "git_dirty": bool(_git(package, "status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "host": {"system": platform.platform(), "processors": os.cpu_count()},
        "choices": choices,
        "seed": cfg.seed,
        "split_seed": cfg.protocol.split_seed,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    with suppress(OSError, subprocess.SubprocessError):
        call = ["git", "-C", str(folder), *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def _record_failure(run: Run, error: BaseException) -> None:
    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)  # Lightning turns Ctrl-C into an exit
    if interrupted and not is_main_process():
        return
    if interrupted:
        last = run.last_checkpoint
        hint = f"Last checkpoint: {last}. Continue with resume={run.folder}" if last else "No epoch was completed."
        print(f"Interrupted. {hint}", file=sys.stderr)
    # The first process that fails knows the reason. It ends the others, or they find it gone.
    if read_status(run.folder).state == "failed":
        return
    reason = "interrupted" if interrupted else str(error) or type(error).__name__
    with suppress(OSError):  # the disk may be full
        _write_status(run.folder, Status("interrupted" if interrupted else "failed", reason))


def _write_status(folder: Path, status: Status) -> None:
    write_json(folder / STATUS, asdict(status))
