"""Reads the run folders of train.py."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ecg.config.stored import CONFIG, read_config
from ecg.data.npz import read_arrays
from ecg.errors import UserError
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import Metrics, RunMetrics
from ecg.reading import one_line, parse, read_json
from ecg.runs import PROVENANCE, STATUS, flatten_config, read_overrides, read_status

log = logging.getLogger(__name__)

SEED, FOLD = "seed", "protocol.fold"
CHECKPOINT = "checkpoint"  # a fit with the same configuration
# Arrays of predictions.npz, with the kind of their type: text, integer or float.
COLUMNS = {"label": "i", "probability": "f", "record": "U", "patient": "U", "sample": "i"}
REPEAT = "Repeat the run, or leave it out."


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
        predictions: for the test beats; None if they were not read.
    """

    folder: Path
    state: str
    reason: str
    overrides: tuple[str, ...]
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: RunMetrics | None = None
    history: Sequence[Mapping[str, float]] = ()
    predictions: Predictions | None = None

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

    @property
    def test(self) -> Metrics:
        """Metrics of the test subset of a finished run.

        Raises:
            ValueError: the run is not finished.
        """
        return self.subsets["test"]

    @property
    def subsets(self) -> Mapping[str, Metrics]:
        """Metrics of a finished run by subset: "test", "validation" if there is one, and parts of the test subset.

        Raises:
            ValueError: the run is not finished.
        """
        if self.metrics is None:
            raise ValueError(f"The run in {self.folder} is not finished, so it has no metrics.")
        return self.metrics.subsets


def read_runs(paths: Iterable[Path], *, predictions: bool = False) -> list[RunRecord]:
    """Returns the runs in the given folders, in the order of the job numbers of each sweep.

    A run that cannot be read is skipped with a warning if other runs remain.

    Args:
        paths: run folders, and folders that contain run folders.
        predictions: read the predictions of all runs, not only of the folds of cross-validations.

    Raises:
        UserError: a folder is not a run folder and contains none, or no run can be read.
    """
    folders = {folder.resolve(): folder for path in paths for folder in _run_folders(path)}
    records, problems = [], []
    for folder in folders.values():
        try:
            records.append(_read_run(folder, predictions))
        except UserError as error:
            problems.append(f"{folder} cannot be read as a run of train.py: {error}")
    if not records and problems:
        raise UserError(problems[0])
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


def _read_run(folder: Path, predictions: bool) -> RunRecord:
    status, overrides = read_status(folder), tuple(read_overrides(folder))
    if status.state != "finished":
        return RunRecord(folder, status.state, status.reason, overrides)
    provenance = read_json(folder / PROVENANCE, dict[str, Any], REPEAT)
    training = read_json(folder / "training.json", dict[str, Any], REPEAT)
    metrics = read_json(folder / "metrics.json", RunMetrics, REPEAT)
    config = flatten_config(read_config(folder))
    try:
        for key in (SEED, FOLD):
            parse(int, config.get(key, 0 if key == FOLD else None), key)
        record = RunRecord(
            folder,
            status.state,
            status.reason,
            overrides,
            choices=parse(dict[str, str], provenance.get("choices"), "choices"),
            config=config,
            metrics=metrics,
            history=parse(list[dict[str, float]], training.get("history"), "history"),
        )
        _require_consistent(metrics)
    except ValueError as error:
        raise UserError(f"{folder} is damaged: {error}. {REPEAT}") from error
    if predictions or FOLD in config:
        return replace(record, predictions=read_predictions(folder, metrics))
    return record


def _require_consistent(metrics: RunMetrics) -> None:
    if "test" not in metrics.subsets:
        raise ValueError("metrics.json has no test subset")
    classes = metrics.subsets["test"].classes
    for name, subset in metrics.subsets.items():
        sizes = {len(subset.confusion_matrix), *map(len, subset.confusion_matrix)}
        if not classes or subset.classes != classes or set(subset.per_class) != set(classes) or sizes != {len(classes)}:
            raise ValueError(f"metrics.json has other classes in {name} than in test")


def read_predictions(folder: Path, metrics: RunMetrics) -> Predictions:
    """The predictions for the test beats of a run.

    Args:
        folder: the run folder.
        metrics: metrics of the run.

    Raises:
        UserError: the file is missing or damaged, or does not match the metrics.
    """
    path, test = folder / "predictions.npz", metrics.subsets["test"]
    try:
        arrays = read_arrays(path, (*COLUMNS, "subset", "classes"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. {REPEAT}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {one_line(error)}. {REPEAT}") from error
    classes = tuple(arrays["classes"].tolist())
    of_test = arrays["subset"] == "test"
    n = len(arrays["subset"])
    shapes = {name: (n, len(classes)) if name == "probability" else (n,) for name in COLUMNS}
    if (
        classes != test.classes
        or of_test.sum() != test.n_beats
        or any(arrays[name].dtype.kind != kind or arrays[name].shape != shapes[name] for name, kind in COLUMNS.items())
        or not ((arrays["label"] >= 0) & (arrays["label"] < len(classes))).all()
        or not ((arrays["probability"] >= 0) & (arrays["probability"] <= 1.001)).all()
    ):
        raise UserError(f"{path} is damaged: its arrays do not match metrics.json. {REPEAT}")
    return Predictions(**{name: arrays[name][of_test] for name in COLUMNS}, classes=classes)
