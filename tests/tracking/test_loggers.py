"""The options of the group `logger`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf
from pytorch_lightning.loggers import Logger
from tracking_factories import read_summary

from ecg.config.schema import SCHEMAS
from ecg.tracking import finish_all
from ecg.tracking.loggers import RunDescription, csv_logger, wandb_logger


@pytest.fixture
def run(tmp_path: Path) -> RunDescription:
    """A run in a sweep."""
    return RunDescription(tmp_path / "run", "cnn_seed1", "sweep", "train", ["cnn", "mitbih"], {"seed": 1})


@pytest.mark.parametrize(
    "option", [pytest.param(name, marks=pytest.mark.slow if name == "mlflow" else ()) for name in SCHEMAS["logger"]]
)
def test_every_option_returns_a_logger_or_none(option: str, run: RunDescription) -> None:
    run.folder.mkdir()
    schema: Any = OmegaConf.to_container(OmegaConf.structured(SCHEMAS["logger"][option]))
    made = instantiate({**schema, "_partial_": True})(run)
    assert made is None or isinstance(made, Logger)
    finish_all(exit_code=0)


@pytest.mark.parametrize("option", SCHEMAS["logger"])
def test_every_key_of_an_option_is_an_argument_without_a_default(option: str) -> None:
    schema: Any = OmegaConf.to_container(OmegaConf.structured(SCHEMAS["logger"][option]))
    parameters = inspect.signature(get_method(schema.pop("_target_"))).parameters
    assert parameters.keys() == {"run", *schema}
    assert all(parameter.default is inspect.Parameter.empty for parameter in parameters.values())


def test_the_csv_logger_writes_to_the_run_folder(run: RunDescription) -> None:
    logger = csv_logger(run)
    logger.log_metrics({"val/macro_f1": 0.5}, step=3)
    logger.save()
    assert (run.folder / "metrics.csv").read_text().splitlines() == ["step,val/macro_f1", "3,0.5"]


def test_the_wandb_logger_stores_the_description(run: RunDescription) -> None:
    logger = wandb_logger(run, mode=None, project="hearts", group=None, tags=["mine"])
    assert logger is not None
    assert (logger.experiment.group, logger.experiment.job_type) == ("sweep", "train")
    finish_all(exit_code=0)
    summary = read_summary(run.folder)
    assert (summary["project"], summary["name"]) == ("hearts", "cnn_seed1")
    assert summary["tags"] == ["cnn", "mitbih", "mine"]
    assert summary["config"] == {"seed": 1}


def test_a_given_group_replaces_the_sweep(run: RunDescription) -> None:
    logger = wandb_logger(run, mode="offline", project="ecg", group="mine", tags=[])
    assert logger is not None
    assert logger.experiment.group == "mine"


def test_a_disabled_wandb_logger_is_none(run: RunDescription) -> None:
    assert wandb_logger(run, mode="disabled", project="ecg", group=None, tags=[]) is None
