"""Reads the run folders of train.py."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ecg.config.stored import CONFIG, read_config
from ecg.errors import UserError
from ecg.evaluation.scores import Metrics, RunMetrics
from ecg.runs import OVERRIDES, PROVENANCE, STATUS, flatten_config, read_status

log = logging.getLogger(__name__)

SEED, FOLD = "seed", "protocol.fold"
# What reading a damaged or incomplete run folder raises. ValueError includes malformed JSON.
UNREADABLE = (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)


@dataclass(frozen=True)
class RunRecord:
    """One run of train.py, as stored in its run folder. Only a finished run has the fields with defaults.

    Attributes:
        folder: the run folder.
        state: finished, failed, interrupted or running; "" for a run without a status.
        reason: why the run failed.
        overrides: overrides of the command line.
        choices: option of each configuration group.
        config: values by dotted key, without the keys that do not influence the result.
        metrics: metrics by subset.
        history: logged values of each epoch.
    """

    folder: Path
    state: str
    reason: str
    overrides: tuple[str, ...]
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: RunMetrics | None = None
    history: Sequence[Mapping[str, float]] = ()

    @property
    def seed(self) -> int:
        """Seed of initialisation and order."""
        return int(self.config[SEED])

    @property
    def fold(self) -> int:
        """Fold of a cross-validation, else 0."""
        return int(self.config.get(FOLD, 0))

    @property
    def state_label(self) -> str:
        """The state in words. The status of a killed run remains "running"."""
        return {"running": "running or killed", "": "not started"}.get(self.state, self.state)

    def subset(self, name: str) -> Metrics:
        """Returns the metrics of one subset of a finished run.

        Args:
            name: "validation", "test", or a part of the test subset.

        Raises:
            ValueError: the run is not finished.
        """
        if self.metrics is None:
            raise ValueError(f"The run in {self.folder} is not finished, so it has no metrics.")
        return self.metrics.subsets[name]


def read_runs(paths: Iterable[Path]) -> list[RunRecord]:
    """Returns the runs in the given folders, in the order of the job numbers of each sweep.

    A run that cannot be read is skipped with a warning if other runs remain.

    Args:
        paths: run folders, and folders that contain run folders.

    Raises:
        UserError: a folder is not a run folder and contains none, or no run can be read.
    """
    folders = {folder.resolve(): folder for path in paths for folder in _run_folders(path)}
    records, problems = [], []
    for folder in folders.values():
        try:
            records.append(_read_run(folder))
        except UNREADABLE as error:
            problems.append(f"Cannot read {folder} as a run of train.py ({_reason(error)}).")
    if not records and problems:
        raise UserError(f"{problems[0]} Repeat the run, or choose another folder.")
    for problem in problems:
        log.warning("%s It is skipped.", problem)
    return records


def _run_folders(path: Path) -> list[Path]:
    if _is_run_folder(path):
        return [path]
    folders = sorted(filter(_is_run_folder, path.glob("*/")), key=_job_number) if path.is_dir() else []
    if not folders:
        raise UserError(f"{path} is not a run folder of train.py and contains none.")
    return folders


def _is_run_folder(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG, STATUS))


def _job_number(folder: Path) -> tuple[int, str]:
    """The number of a job, with which the name of its folder starts; -1 without one."""
    number = folder.name.split("_")[0]
    return (int(number) if number.isdigit() else -1, folder.name)


def _read_run(folder: Path) -> RunRecord:
    status = read_status(folder)
    overrides = tuple(map(str, _read_yaml(folder / OVERRIDES) or []))
    if status.state != "finished":
        return RunRecord(folder, status.state, status.reason, overrides)
    metrics = RunMetrics.from_json(_read_json(folder / "metrics.json"))
    record = RunRecord(
        folder,
        status.state,
        status.reason,
        overrides,
        choices=_read_json(folder / PROVENANCE)["choices"],
        config=flatten_config(read_config(folder)),
        metrics=metrics,
        history=_read_json(folder / "training.json")["history"],
    )
    if SEED not in record.config:
        raise ValueError(f"{CONFIG} has no {SEED}")
    if missing := {"validation", "test"} - metrics.subsets.keys():
        raise ValueError(f"metrics.json has no {' and no '.join(sorted(missing))} subset")
    return record


def _read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{Path(error.filename).name} is missing"
    text = str(error).rstrip(".") if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
