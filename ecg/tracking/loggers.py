"""The options of the group `logger`. Each is a function that returns the Lightning logger of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from ecg.tracking.mlflow_logger import SafeMLFlowLogger, start_mlflow
from ecg.tracking.tensorboard_logger import SafeTensorBoardLogger
from ecg.tracking.wandb_logger import SafeWandbLogger, start_logger
from ecg.tracking.wandb_mode import resolve_mode


@dataclass(frozen=True)
class RunDescription:
    """What a logger stores about a run.

    Attributes:
        folder: the run folder.
        name: name of the run.
        sweep: name of the sweep; None outside a sweep.
        job_type: train or synth.
        tags: options of the run.
        config: resolved configuration.
    """

    folder: Path
    name: str
    sweep: str | None
    job_type: str
    tags: Sequence[str]
    config: Mapping[str, Any]


def wandb_logger(
    run: RunDescription, *, mode: str | None, project: str, group: str | None, tags: Sequence[str]
) -> SafeWandbLogger | None:
    """Returns the logger of a new W&B run; None if W&B is disabled or does not start.

    Args:
        run: the run.
        mode: online, offline, disabled, or None for the mode of the environment.
        project: W&B project.
        group: W&B group; None for the sweep.
        tags: tags in addition to the options of the run.

    Raises:
        UserError: the mode is unknown.
    """
    return start_logger(
        run.folder,
        mode=resolve_mode(mode),
        project=project,
        name=run.name,
        group=group or run.sweep,
        job_type=run.job_type,
        tags=[*run.tags, *tags],
        config=run.config,
    )


def csv_logger(run: RunDescription) -> CSVLogger:
    """Returns a logger that writes metrics.csv to the run folder."""
    return CSVLogger(run.folder, name="", version="")


def tensorboard_logger(run: RunDescription) -> SafeTensorBoardLogger:
    """Returns a logger that writes to the sub-folder tensorboard of the run folder."""
    logger = SafeTensorBoardLogger(run.folder / "tensorboard", name="", version="", default_hp_metric=False)
    logger.log_hyperparams(dict(run.config))
    return logger


def mlflow_logger(run: RunDescription, *, experiment: str) -> SafeMLFlowLogger | None:
    """Returns the logger of a new MLflow run; None if MLflow does not start.

    Args:
        run: the run.
        experiment: MLflow experiment.
    """
    tags = {"job_type": run.job_type, **({"sweep": run.sweep} if run.sweep else {})}
    return start_mlflow(run.folder, experiment=experiment, name=run.name, tags=tags, config=run.config)


def no_logger(run: RunDescription) -> None:
    """Returns no logger."""
