"""The run folder: status, provenance and resuming. Every file is written atomically.

No file holds an absolute path: the folder can be moved and shared. Paths are relative to the run folder.

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
.lock              locked while a program runs in the folder
"""

from __future__ import annotations

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

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ecg.config.installation import IN_WHEEL, package_version
from ecg.config.job import command, overrides, sweep_name, without_absolute_paths
from ecg.config.stored import CONFIG, INPUTS, portable_config, read_config
from ecg.errors import UserError
from ecg.files import write_json, write_text
from ecg.reading import parse, read_json, read_yaml

log = logging.getLogger(__name__)

STATUS, PROVENANCE, OVERRIDES, LOCK = "status.json", "provenance.json", "overrides.yaml", ".lock"
STATES = ("running", "finished", "failed", "interrupted")
ANOTHER_FOLDER = "Start a new run in another folder."
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

    def require_same(self, **facts: Any) -> None:
        """Adds facts to provenance.json, or compares them with those that a resumed run has there.

        Raises:
            UserError: a fact differs from that of the run that is resumed.
        """
        for name, value in facts.items():
            if self.provenance.get(name, value) != value:
                raise UserError(
                    f"The run in {self.folder} began with other data: {name} differs. Resume it with the same data, "
                    "or start a new run in another folder."
                )
        if is_main_process():
            self.add_provenance(**facts)

    def finish(self, result: float) -> None:
        """Marks the run as finished."""
        _write_status(self.folder, Status("finished", result=result if math.isfinite(result) else None))


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[Run]:
    """Opens the run folder of `cfg`, new or existing, and records how the run ends.

    Raises:
        UserError: the folder holds a run with another configuration, is damaged, or is in use by another process.
    """
    run = _create_run(cfg)
    with lock_folder(run.folder):
        if (run.folder / CONFIG).is_file():
            require_same_config(run.folder, cfg)
        if is_main_process():
            restore_description(run)
        if run.result is not None:
            log.info("Already finished: %s", run.folder)
            yield run
            return
        try:
            if is_main_process():
                _write_description(run, cfg)
            yield run
        except BaseException as error:
            _record_failure(run, error)
            if number := _signal_of(error):
                raise SystemExit(128 + number) from error
            raise


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Locks a run folder. The system releases the lock of a killed process.

    Only the main process of a distributed run takes the lock.

    Raises:
        UserError: another process has locked the folder.
    """
    if not is_main_process():
        yield
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"{folder} is in use by another process. Wait for its end, or choose another folder with "
            "hydra.run.dir=FOLDER."
        ) from error
    except NotImplementedError:  # a file system without locks, such as that of some clusters
        log.debug("%s cannot be locked.", folder)
    try:
        yield
    finally:
        lock.release()


def is_main_process() -> bool:
    """Whether this is the main process of a distributed run; the others write to the run folder only if they fail."""
    ranks = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return int(next((rank for rank in ranks if rank is not None), 0)) == 0


def read_status(folder: Path) -> Status:
    """The status of a run folder.

    Raises:
        UserError: the file is damaged.
    """
    path, remedy = folder / STATUS, "Delete this file, and resume the run."
    if not path.is_file():
        return Status()
    status = read_json(path, Status, remedy)
    if status.state not in STATES:
        raise UserError(f"{path} is damaged: the state is {status.state!r}. {remedy}")
    return status


def read_overrides(folder: Path) -> list[str]:
    """The overrides of a run folder; none if the file is missing.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / OVERRIDES
    return read_yaml(path, list[str], ANOTHER_FOLDER) if path.is_file() else []


def record_failed_job(folder: Path, reason: str, given: list[str]) -> None:
    """Writes the status of a job that failed, possibly before its run folder was opened."""
    folder.mkdir(parents=True, exist_ok=True)
    # A folder that another process uses stays as it is, and so does a finished run with another configuration.
    with suppress(UserError), lock_folder(folder):
        with suppress(UserError):  # a damaged status is replaced
            if read_status(folder).state == "finished":
                return
        _write_status(folder, Status("failed", without_absolute_paths(reason, folder)))
        if not (folder / OVERRIDES).is_file():
            _write_overrides(folder, given)


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
    given = [without_absolute_paths(override, folder) for override in overrides()]
    return Run(folder, choices, given, sweep_name(), _provenance(cfg, choices))


def _write_description(run: Run, cfg: DictConfig) -> None:
    write_text(run.folder / CONFIG, OmegaConf.to_yaml(portable_config(cfg, run.folder)))
    _write_overrides(run.folder, run.overrides)
    write_json(run.folder / PROVENANCE, run.provenance)
    _write_status(run.folder, Status("running"))


def _write_overrides(folder: Path, given: list[str]) -> None:
    portable = [without_absolute_paths(override, folder) for override in given]
    write_text(folder / OVERRIDES, OmegaConf.to_yaml(OmegaConf.create(portable)))


def require_same_config(folder: Path, cfg: DictConfig, *, ignored: tuple[str, ...] = ()) -> None:
    """Refuses a configuration that differs from that of a run folder.

    Args:
        folder: the run folder.
        cfg: the configuration.
        ignored: starts of the keys that may differ.

    Raises:
        UserError: names keys that differ, or the folder holds no valid configuration.
    """
    here, there = flatten_config(cfg), flatten_config(read_config(folder))
    # The data may have moved. Whether they are the same is checked when they are loaded.
    differing = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    if differing := [key for key in differing if key not in INPUTS and not key.startswith(ignored)]:
        raise UserError(
            f"{folder} holds another run, which differs in {', '.join(differing[:5])}. Choose another folder."
        )


def restore_description(run: Run) -> None:
    """Takes provenance, choices and overrides of a resumed run from its folder. It keeps its original overrides.

    Raises:
        UserError: a file is damaged.
    """
    path = run.folder / PROVENANCE
    if not (path.is_file() and (run.folder / OVERRIDES).is_file()):
        return
    restart = {key: run.provenance[key] for key in ("command", "git_commit", "git_dirty")}
    stored = read_json(path, dict[str, Any], ANOTHER_FOLDER)
    try:
        choices = parse(dict[str, str], stored.get("choices"), "choices")
        resumed = parse(list[dict[str, Any]], stored.get("resumed", []), "resumed")
        if missing := sorted(run.choices.keys() - choices.keys()):
            raise ValueError(f"choices.{missing[0]} is missing")
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. {ANOTHER_FOLDER}") from error
    run.provenance = {**run.provenance, **stored, "resumed": [*resumed, restart]}
    run.choices, run.overrides = choices, read_overrides(run.folder)


def _provenance(cfg: DictConfig, choices: dict[str, str]) -> dict[str, Any]:
    package = Path(__file__).parent
    # An installed package may lie in a repository of the user.
    commit = None if IN_WHEEL else _git(package, "rev-parse", "HEAD")
    return {
        "command": without_absolute_paths(command(), Path(cfg.paths.run_dir)),
        "version": package_version(),
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


def _signal_of(error: BaseException) -> int:
    """Number of the signal that ended the program; 0 for another end.

    Lightning turns SIGINT into an exit with status 1, and SIGTERM into one with status 0.
    """
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return signal.SIGINT
    return signal.SIGTERM if isinstance(error, SystemExit) and error.code in (None, 0, 128 + signal.SIGTERM) else 0


def _record_failure(run: Run, error: BaseException) -> None:
    interrupted = _signal_of(error) > 0
    if interrupted and not is_main_process():
        return
    if interrupted:
        last = run.last_checkpoint
        found = f"Last checkpoint: {last}." if last else "No epoch was completed."
        resume = f"sweep.resume={run.folder.parent}" if run.sweep else f"resume={run.folder}"
        print(f"Interrupted. {found} Continue with {resume}", file=sys.stderr)
    # The first process that fails knows the reason. It ends the others, or they find it gone.
    if read_status(run.folder).state == "failed":
        return
    reason = "interrupted" if interrupted else str(error) or type(error).__name__
    status = Status("interrupted" if interrupted else "failed", without_absolute_paths(reason, run.folder))
    with suppress(OSError):  # the disk may be full
        _write_status(run.folder, status)


def _write_status(folder: Path, status: Status) -> None:
    write_json(folder / STATUS, asdict(status))
