"""The W&B logger. A failure of W&B gives one warning and never ends a run: the run folder holds every result.

wandb takes a second to import, so it is imported when a run starts.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import WandbLogger

from ecg.tracking.safe_logger import SafeLogger, summarise_error
from ecg.tracking.wandb_mode import Mode, has_credentials

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

STEP = "trainer/global_step"  # the x axis of Lightning's WandbLogger
LOWER_IS_BETTER = {"loss", "ece", "brier", "distance", "frechet", "error"}
MAX_TAG = 64  # characters; W&B refuses longer tags

# A WANDB_<NAME> of the user has precedence. By default W&B waits 90 s for a server that does not answer, and forever
# for the upload at the end. Nothing is lost after a time-out: `wandb sync` uploads the files later. Its capture of the
# console would store every update of the progress bar.
SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "init_timeout": 10.0,
    "finish_timeout": 120.0,
    "finish_timeout_raises": True,
}


class SafeWandbLogger(SafeLogger, WandbLogger):
    """Lightning's WandbLogger for a run that has started. Its first failure gives a warning and ends the logging.

    Args:
        run: the W&B run.
    """

    tool = "W&B"

    def __init__(self, run: wandb.Run) -> None:
        root = run.settings.root_dir
        super().__init__(experiment=run, project=run.project, name=run.name, id=run.id, save_dir=root)
        self._defined = {STEP, "epoch"}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs one row."""
        self.attempt(self._define_metrics, metrics)
        super().log_metrics(metrics, step)

    def _define_metrics(self, metrics: Mapping[str, float]) -> None:
        # By full names, because W&B matches names with globs in random order: "*", which Lightning defines, and
        # "val/*" together would have a random effect.
        for name in metrics.keys() - self._defined:
            self.experiment.define_metric(name, step_metric=STEP, summary=_summary(name))
            self._defined.add(name)


def _summary(name: str) -> str | None:
    """The values of a metric in the table of runs: best and last, or W&B's default, the last."""
    if LOWER_IS_BETTER & set(re.split(r"[/_-]", name)):
        return "min,last"
    return "max,last" if name.startswith("val/") else None


def start_logger(
    folder: Path,
    *,
    mode: Mode,
    project: str,
    name: str,
    group: str | None,
    job_type: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
) -> SafeWandbLogger | None:
    """Starts a W&B run in the main process and returns its logger.

    Where an online run cannot start, an offline run is started. Where that fails too, the result is None. Both give one
    warning.

    Args:
        folder: the run folder. The files of W&B are written to its sub-folder wandb.
        mode: with "disabled" the result is None.
        project: W&B project.
        name: name of the run.
        group: sweep or experiment of the run.
        job_type: train or synth.
        tags: options of the run; repeated tags are dropped.
        config: resolved configuration, without secrets.
    """
    if mode == "disabled":
        return None
    unique_tags = [tag[:MAX_TAG] for tag in dict.fromkeys(tags) if tag]
    arguments = {"project": project, "name": name, "group": group, "job_type": job_type, "tags": unique_tags}
    modes: tuple[Mode, ...] = ("online", "offline") if mode == "online" else ("offline",)
    problem: str | None = None
    for attempted in modes:
        try:
            run = _start(folder.resolve(), attempted, {**arguments, "config": dict(config)})
        except Exception as error:
            problem = problem or summarise_error(error)
            continue
        _log_location(run, attempted, problem)
        return SafeWandbLogger(run)
    log.warning("W&B does not start (%s). The run continues without it.", problem)
    return None


def _start(folder: Path, mode: Mode, arguments: dict[str, Any]) -> wandb.Run:
    import wandb

    # Where the run folder is not writable, W&B would silently write to the system's temporary folder.
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    if mode == "online" and not has_credentials():  # W&B would prompt for a key
        raise RuntimeError("no credentials; `wandb login` stores them")
    settings = wandb.Settings(**{k: v for k, v in SETTINGS.items() if f"WANDB_{k.upper()}" not in os.environ})
    resumed = _last_id(folder)
    with _remove_files_of_failure(folder):
        wandb.setup(settings=settings)
        run = wandb.init(
            mode=mode,
            dir=folder,
            id=resumed,
            resume="allow" if resumed and mode == "online" else None,
            save_code=False,  # a server could otherwise request the code and its uncommitted changes
            reinit="finish_previous",  # by default W&B returns the open run of another job of this process
            settings=settings,
            **arguments,
        )
        run.define_metric(STEP)
    return run


@contextmanager
def _remove_files_of_failure(folder: Path) -> Iterator[None]:
    """Removes the empty run that a failed start leaves in the run folder."""
    before = set(folder.glob("wandb/run-*"))
    try:
        yield
    except Exception:
        _stop_service()  # the background process would write the files again
        for path in set(folder.glob("wandb/run-*")) - before:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _last_id(folder: Path) -> str | None:
    """ID of the run that is resumed; None for a new run."""
    paths = sorted(folder.glob("wandb/*run-*/run-*.wandb"), key=lambda path: path.parent.name.split("run-")[-1])
    return paths[-1].stem.removeprefix("run-") if paths else None


def _log_location(run: wandb.Run, mode: Mode, problem: str | None) -> None:
    if mode == "online":
        log.info("W&B: %s", run.url)
    elif problem is None:
        log.info("W&B, offline: %s", _files(run))
    else:
        log.warning("W&B is offline (%s). Upload the run later with: wandb sync %s", problem, _files(run))


def finish_all(exit_code: int) -> None:
    """Finishes the open W&B run of this process, if there is one. Waits for its upload up to `finish_timeout`.

    Args:
        exit_code: 0 for success; another value marks the run as failed.
    """
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None:
        return
    folder = _files(run)
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        log.warning("The upload to W&B is not complete. Upload the rest with: wandb sync %s", folder)
    except Exception as error:
        log.info(
            "W&B does not finish its run (%s).", summarise_error(error)
        )  # a warning was given at the first failure
        _stop_service()


@contextmanager
def finish_on_exit() -> Iterator[None]:
    """Finishes the open W&B run at the end of the block. An exception marks the run as failed."""
    try:
        yield
    except BaseException:
        finish_all(exit_code=1)
        raise
    finish_all(exit_code=0)


def _stop_service() -> None:
    """Stops the background process of W&B, which may be broken, so that the next run starts a new one."""
    with suppress(Exception, SystemExit):
        sys.modules["wandb"].teardown()


def _files(run: wandb.Run) -> Path:
    return Path(run.dir).parent  # `run.dir` is its sub-folder files
