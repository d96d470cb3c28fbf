"""Which of several configurations is better: runs that differ in nothing but the seed are one cell of a table.

A cell has a value for each seed. Cells are ranked by the mean of their validation macro-F1; the test scores stand
beside it. Each cell is compared with the first one, seed by seed, since runs of one seed start alike: the 95 % interval
of the mean difference is Student's, and the p-values of all cells are corrected together (Holm 1979, Scand J Stat
6:65-70). With fewer than `ENOUGH` seeds nothing is claimed.

Folds of a cross-validation are no cells either: the test beats of a seed's folds are read together, as one test set.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from scipy import stats

from ecg.errors import UserError
from ecg.evaluation.metrics import evaluate
from ecg.evaluation.predictions import Predictions
from ecg.files import write_json, write_text
from ecg.runs import flat, status

ENOUGH = 5  # seeds from which on a difference is claimed
LEVEL = 0.05
ROOMY = 130  # characters of a console that has room for the classes
SEED, FOLD = "seed", "protocol.fold"
# Choices with keys of their own: where two cells differ in the choice, its name says it.
GROUPS = ("model", "augmentation", "loss", "data", "protocol")


@dataclass(frozen=True)
class Trial:
    """One run, as its folder tells of it.

    Attributes:
        folder: of the run.
        state: finished, failed, interrupted, running (or killed); "" where nothing was written.
        why: of a run that failed.
        overrides: what was said on the command line.
        choices: the options chosen, by group.
        config: values by dotted key; empty for a run that never began.
        metrics: of a finished run, `metrics.json`.
        history: what was measured in each epoch.
    """

    folder: Path
    state: str
    why: str
    overrides: tuple[str, ...]
    choices: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()

    @property
    def seed(self) -> int:
        """Of initialisation and order."""
        return int(self.config[SEED])


@dataclass(frozen=True)
class Cell:
    """Runs that differ in the seed alone, and in the fold.

    Attributes:
        name: in what it differs from the other cells.
        trials: its finished runs.
        seeds: those of which all folds are there.
        scores: by side ("validation", "test") and score ("macro_f1", "accuracy", a class), a value for each seed.
        test: what `metrics.evaluate` says of the test beats of each seed, its folds together.
        left_out: seeds of which a fold is missing.
    """

    name: str
    trials: tuple[Trial, ...]
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]]
    test: tuple[Mapping[str, Any], ...]
    left_out: tuple[int, ...]


@dataclass(frozen=True)
class Leaderboard:
    """All cells, in the order in which their first runs were begun, and what is not in them."""

    cells: tuple[Cell, ...]
    unfinished: tuple[Trial, ...]

    @property
    def ranked(self) -> list[Cell]:
        """The best first, by validation."""
        return sorted(self.cells, key=lambda cell: -np.nan_to_num(cell.scores["validation"]["macro_f1"].mean(), nan=-1))


def read(paths: Iterable[Path]) -> list[Trial]:
    """The runs in the given folders, each of which is a run or holds runs.

    Raises:
        UserError: a folder holds none, or what is in it cannot be read.
    """
    trials: dict[Path, Trial] = {}
    for path in paths:
        inside = sorted((p for p in path.glob("*/") if _is_run(p)), key=_number) if path.is_dir() else []
        folders = [path] if _is_run(path) else inside
        if not folders:
            raise UserError(f"{path} holds no run of train.py, nor folders of such runs.")
        trials |= {folder.resolve(): _trial(folder) for folder in folders}
    return list(trials.values())


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.yaml", "status.json"))


def _number(folder: Path) -> tuple[int, str]:
    head = folder.name.split("_")[0]
    return (int(head) if head.isdigit() else -1, folder.name)


def _trial(folder: Path) -> Trial:
    found = status(folder)
    overrides = _yaml(folder / "overrides.yaml") or []
    state, why = found.get("state", ""), found.get("why", "")
    trial = Trial(folder, state, why, tuple(str(override) for override in overrides))
    # Runs of before there was a status have scores, but none.
    if state not in ("finished", "") or not (folder / "metrics.json").is_file():
        return trial
    try:
        choices = json.loads((folder / "provenance.json").read_text(encoding="utf-8")).get("choices", {})
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The run in {folder} cannot be read: {error}.") from error
    config = flat(OmegaConf.load(folder / "config.yaml"))
    return Trial(folder, "finished", "", trial.overrides, choices, config, metrics, training["history"])


def _yaml(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else None


def leaderboard(trials: Sequence[Trial]) -> Leaderboard:
    """Groups runs by everything but the seed and the fold.

    Raises:
        UserError: none of the runs is finished, or they do not have the same classes.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    if not finished:
        reasons = "; ".join(f"{trial.folder.name}: {trial.why or trial.state or 'nothing'}" for trial in trials[:3])
        raise UserError(f"None of the {len(trials)} runs is finished ({reasons}).")
    if len({tuple(trial.metrics["test"]["classes"]) for trial in finished}) > 1:
        raise UserError("The runs have different classes, so their scores cannot be compared.")
    groups: dict[str, list[Trial]] = {}
    for trial in finished:
        groups.setdefault(json.dumps(_settings(trial), sort_keys=True, default=str), []).append(trial)
    names = cell_names([group[0] for group in groups.values()])
    cells = tuple(_cell(name, group) for name, group in zip(names, groups.values(), strict=True))
    return Leaderboard(
        tuple(cell for cell in cells if cell.seeds), tuple(trial for trial in trials if trial.state != "finished")
    )


def _settings(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in trial.config.items() if key not in (SEED, FOLD)}


def cell_names(trials: Sequence[Trial]) -> list[str]:
    """What tells each run from the others, such as "model=cnn augmentation=gan".

    Options first; keys only where options do not tell.
    """
    shown = [group for group in GROUPS if len({trial.choices.get(group) for trial in trials}) > 1]
    if len(trials) == 1:
        shown = ["model", "augmentation"]
    names = [" ".join(f"{group}={trial.choices.get(group, '?')}" for group in shown) for trial in trials]
    settings = [_settings(trial) for trial in trials]
    told = []
    for name, own in zip(names, settings, strict=True):
        alike = [other for other, its in zip(settings, names, strict=True) if its == name]
        keys = sorted({key for other in alike for key in other.keys() | own.keys() if other.get(key) != own.get(key)})
        told.append(
            " ".join([*([name] if name else []), *(f"{_last(key, keys)}={_short(own.get(key))}" for key in keys)])
        )
    # Where three digits do not tell them apart, the number of the run does.
    return [
        name if told.count(name) == 1 else f"{name} ({t.folder.name})" for name, t in zip(told, trials, strict=True)
    ]


def _last(key: str, keys: Sequence[str]) -> str:
    """`lr` of `optimizer.lr`, unless another key ends alike."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "null" if value is None else str(value)


def _cell(name: str, trials: Sequence[Trial]) -> Cell:
    folds = sorted({trial.config.get(FOLD, 0) for trial in trials})
    by_seed: dict[int, dict[int, Trial]] = {}
    for trial in trials:
        by_seed.setdefault(trial.seed, {})[trial.config.get(FOLD, 0)] = trial
    seeds = tuple(sorted(seed for seed, own in by_seed.items() if len(own) == len(folds)))
    test = tuple(_test([by_seed[seed][fold] for fold in folds]) for seed in seeds)
    validation = [[by_seed[seed][fold].metrics["validation"] for fold in folds] for seed in seeds]
    scores = {
        # Validation beats of two folds may be the same, so folds are averaged and not read together.
        "validation": _stacked([[_scores(side) for side in sides] for sides in validation]),
        "test": _stacked([[_scores(side)] for side in test]),
    }
    return Cell(name, tuple(trials), seeds, scores, test, tuple(sorted(by_seed.keys() - set(seeds))))


def _scores(side: Mapping[str, Any]) -> dict[str, float]:
    found = {"macro_f1": side["macro"]["f1"]["value"], "accuracy": side["accuracy"]["value"]}
    found |= {name: row["f1"]["value"] for name, row in side["per_class"].items()}
    return {name: float("nan") if value is None else float(value) for name, value in found.items()}


def _stacked(by_seed: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, NDArray[np.float64]]:
    """The mean over folds, for each seed."""
    names = by_seed[0][0] if by_seed else ()
    return {name: np.array([np.mean([fold[name] for fold in folds]) for folds in by_seed]) for name in names}


def _test(folds: Sequence[Trial]) -> Mapping[str, Any]:
    """The test beats of all folds as one set."""
    if len(folds) == 1:
        return folds[0].metrics["test"]
    parts = []
    for trial in folds:
        with np.load(trial.folder / "predictions.npz", allow_pickle=False) as file:
            here, classes = file["side"] == "test", tuple(file["classes"].tolist())
            parts.append({name: file[name][here] for name in ("label", "probability", "record", "patient", "sample")})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return evaluate(Predictions(**joined, classes=classes), by_patient=True)


def interval(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mean and 95 % interval of Student's t over seeds; no interval of a single one."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"mean": None, "low": None, "high": None, "n": 0}
    mean, low, high = float(known.mean()), None, None
    if len(known) > 1:
        half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
        low, high = mean - half, mean + half
    return {"mean": mean, "low": low, "high": high, "n": len(known)}


def differences(board: Leaderboard, score: str = "macro_f1") -> dict[str, dict[str, Any]]:
    """Of each cell to the first, by side: mean and interval paired by seed, corrected p-value, what may be claimed."""
    first = board.cells[0]
    found: dict[str, dict[str, Any]] = {}
    for side in ("validation", "test"):
        rows: dict[str, dict[str, Any]] = {}
        for cell in board.cells[1:]:
            seeds = sorted(set(first.seeds) & set(cell.seeds))
            a, b = (
                np.array([own.scores[side][score][own.seeds.index(seed)] for seed in seeds]) for own in (first, cell)
            )
            rows[cell.name] = {**interval(b - a), "p": _p(b - a)}
        for (name, row), p in zip(rows.items(), holm([row["p"] for row in rows.values()]), strict=True):
            found.setdefault(name, {})[side] = {**row, "p": p, "claim": _claim(row, p)}
    return found


def _p(d: NDArray[np.float64]) -> float | None:
    if len(d) < 2 or not np.isfinite(d).all():
        return None
    if not d.std():
        return 1.0 if not d.any() else 0.0
    return float(stats.ttest_1samp(d, 0.0).pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """P-values of several tests, corrected so that one wrong claim among all stays as rare as among one."""
    known = sorted((value, at) for at, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, at) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - rank)))
        corrected[at] = largest
    return corrected


def _claim(row: Mapping[str, Any], p: float | None) -> str:
    if row["n"] < ENOUGH:
        return f"none: {row['n']} of {ENOUGH} seeds"
    if p is None or p >= LEVEL:
        return "no difference shown"
    return "better" if row["mean"] > 0 else "worse"


def as_dict(board: Leaderboard) -> dict[str, Any]:
    """Everything, ready for JSON."""
    against = differences(board)
    cells = [
        {
            "rank": rank,
            "name": cell.name,
            "seeds": list(cell.seeds),
            "folds": len({trial.config.get(FOLD, 0) for trial in cell.trials}),
            "runs": [_place(trial) for trial in cell.trials],
            **{
                side: {name: {**interval(v), "values": _finite(v)} for name, v in scores.items()}
                for side, scores in cell.scores.items()
            },
            "difference": against.get(cell.name),
            "left_out_seeds": list(cell.left_out),
        }
        for rank, cell in enumerate(board.ranked, start=1)
    ]
    return {
        "ranked_by": "mean validation macro-F1 over seeds",
        "compared_with": board.cells[0].name,
        "interval": "95 %, Student's t over seeds",
        "cells": cells,
        "unfinished": [
            {"run": _place(t), "state": state_of(t), "why": t.why, "overrides": list(t.overrides)}
            for t in board.unfinished
        ],
        "differs": differing(board),
    }


def _place(trial: Trial) -> str:
    """The run's folder, and the one that it is in, which tells sweeps apart."""
    return "/".join(trial.folder.resolve().parts[-2:])


def _finite(values: NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def state_of(trial: Trial) -> str:
    """What a reader takes from a run that did not finish."""
    return {"running": "running, or killed", "": "not begun"}.get(trial.state, trial.state)


def differing(board: Leaderboard) -> dict[str, dict[str, Any]]:
    """The keys in which the cells' configurations differ: by key, the value of each cell."""
    settings = {cell.name: _settings(cell.trials[0]) for cell in board.cells}
    keys = sorted({key for own in settings.values() for key in own})
    values = {key: {name: own.get(key) for name, own in settings.items()} for key in keys}
    return {key: row for key, row in values.items() if len({json.dumps(v, default=str) for v in row.values()}) > 1}


def write(board: Leaderboard, folder: Path) -> list[Path]:
    """Writes leaderboard.csv, leaderboard.json and leaderboard.html."""
    from ecg.evaluation.leaderboard_report import write_leaderboard

    paths = [folder / f"leaderboard.{kind}" for kind in ("html", "csv", "json")]
    write_leaderboard(board, paths[0])
    write_text(paths[1], _csv(board))
    write_json(paths[2], as_dict(board))
    return paths


def _csv(board: Leaderboard) -> str:
    """A line a cell, then a line for each run that did not finish."""
    rows: list[dict[str, Any]] = []
    for cell in as_dict(board)["cells"]:
        row = {"rank": cell["rank"], "cell": cell["name"], "seeds": len(cell["seeds"]), "state": "finished"}
        for side in ("validation", "test"):
            for name, score in cell[side].items():
                row |= {f"{side} {name}{part}": score[key] for part, key in _PARTS.items()}
            row |= {f"{side} difference {key}": (cell["difference"] or {}).get(side, {}).get(key) for key in _COMPARED}
        rows.append(row)
    for trial in board.unfinished:
        rows.append({"cell": " ".join(trial.overrides), "state": state_of(trial), "why": trial.why})
    names, text = list(dict.fromkeys(name for row in rows for name in row)), io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_PARTS = {"": "mean", " low": "low", " high": "high"}
_COMPARED = ("mean", "low", "high", "p", "claim")


def show(board: Leaderboard) -> None:
    """On the console."""
    classes = [name for name in board.cells[0].scores["test"] if name not in ("macro_f1", "accuracy")]
    against = differences(board)
    table = Table(
        title="Macro-F1 in %, mean ± half of the 95 % interval over seeds; the best on validation first",
        caption="against the first cell: on the test beats, paired by seed" if against else None,
    )
    console = Console()
    classes = classes if console.width >= ROOMY else []
    columns = ["cell", "seeds", "validation", "test", *classes]
    for name in [*columns, *(["against first", "claim"] if against else [])]:
        words = name in ("cell", "claim")
        table.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=not words,
            min_width=22 if name == "cell" else None,
            overflow="fold",
        )
    for cell in board.ranked:
        sides = [points(interval(cell.scores[side]["macro_f1"])) for side in ("validation", "test")]
        of_class = [points({**interval(cell.scores["test"][name]), "low": None}) for name in classes]
        row = [cell.name, str(len(cell.seeds)), *sides, *of_class]
        if against:
            own = against.get(cell.name, {}).get("test")
            row += [points(own, sign=True), own["claim"]] if own else ["", "the first"]
        table.add_row(*row)
    console.print(table)
    for cell in board.cells:
        if cell.left_out:
            console.print(f"{cell.name}: seeds {', '.join(map(str, cell.left_out))} lack a fold and are left out.")
    for trial in board.unfinished:
        console.print(f"{trial.folder.name}: {state_of(trial)}. {trial.why}", style="red", soft_wrap=True)


def points(score: Mapping[str, Any], sign: bool = False) -> str:
    """In points, "93.1 ± 0.4"."""
    if score["mean"] is None:
        return "–"
    mean = f"{100 * score['mean']:{'+' if sign else ''}.1f}".replace("-", "−")
    return mean if score["low"] is None else f"{mean} ± {50 * (score['high'] - score['low']):.1f}"
