"""The report of a comparison of configurations, and its tables as CSV and JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecg.comparison.ensembles import Ensemble
from ecg.comparison.leaderboard import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Configuration,
    Leaderboard,
    differences,
    differing_keys,
    to_frame,
    to_json,
)
from ecg.comparison.run_records import RunRecord
from ecg.comparison.statistics import mean_interval
from ecg.evaluation.scores import Score
from ecg.files import write_json, write_text
from ecg.reports import leaderboard_plots, plots
from ecg.reports.colours import series_colour
from ecg.reports.notices import SHARED_PATIENTS
from ecg.reports.page import write_page

MAX_MATRICES = 8


@dataclass(frozen=True)
class RankingRow:
    """A configuration in the ranking, with the F1 of each class on the test beats."""

    name: str
    n_seeds: int
    validation: Score
    test: Score
    accuracy: Score
    classes: list[Score]


def write_leaderboard(board: Leaderboard, folder: Path, ensembles: Sequence[Ensemble] = ()) -> list[Path]:
    """Writes leaderboard.html, leaderboard.csv and leaderboard.json, each atomically, and returns their paths.

    Args:
        board: the leaderboard.
        folder: an existing folder.
        ensembles: ensembles of its runs.

    Raises:
        OSError: a file cannot be written.
    """
    page, table, content = (folder / f"leaderboard.{suffix}" for suffix in ("html", "csv", "json"))
    write_leaderboard_page(board, page, ensembles)
    write_text(table, to_frame(board).to_csv(index=False))
    write_json(content, {**to_json(board), "ensembles": [asdict(ensemble) for ensemble in ensembles]})
    return [page, table, content]


def write_leaderboard_page(board: Leaderboard, path: Path, ensembles: Sequence[Ensemble] = ()) -> None:
    """Writes the report as one HTML file, atomically.

    Args:
        board: the leaderboard.
        path: the file; its folder must exist.
        ensembles: ensembles of its runs.

    Raises:
        OSError: the file cannot be written.
    """
    folder = path.resolve().parent
    runs = [run for configuration in board.configurations for run in configuration.runs]
    write_page(
        path,
        "leaderboard.html",
        title=folder.name,
        simulated=all(run.metrics.simulated for run in runs if run.metrics),
        board=board,
        runs=runs,
        links={run.folder: _report_link(run, folder) for run in runs},
        warnings=_warnings(board),
        colours={each.name: series_colour(index) for index, each in enumerate(board.configurations)},
        ranking=[_ranking_row(board, each) for each in board.ranked],
        ensembles=ensembles,
        differences=differences(board),
        differing=differing_keys(board),
        min_seeds=MIN_SEEDS,
        significance=SIGNIFICANCE,
        figures=draw_figures(board),
        matrices={each.name: draw_confusion_matrix(each) for each in board.ranked[:MAX_MATRICES]},
    )


def draw_figures(board: Leaderboard) -> dict[str, Figure]:
    """Returns the figures of the report by name, without the confusion matrices."""
    histories = {each.name: [run.history for run in each.runs] for each in board.configurations}
    figures = {}
    if any(map(any, histories.values())):
        figures["training_curves"] = leaderboard_plots.training_curves(histories)
    if results := differences(board):
        test = {name: difference["test"] for name, difference in results.items()}
        figures["differences"] = leaderboard_plots.differences(test)
    return figures


def draw_confusion_matrix(configuration: Configuration) -> Figure:
    """Returns the confusion matrix of the test beats of all seeds."""
    counts = np.sum([test.confusion_matrix for test in configuration.test], axis=0)
    return plots.confusion_matrix(counts, configuration.test[0].classes)


def _ranking_row(board: Leaderboard, configuration: Configuration) -> RankingRow:
    validation, test = configuration.scores["validation"], configuration.scores["test"]
    one_seed = len(configuration.seeds) == 1
    return RankingRow(
        name=configuration.name,
        n_seeds=len(configuration.seeds),
        validation=_mean_score(validation["macro_f1"]),
        test=configuration.test[0].macro.f1 if one_seed else _mean_score(test["macro_f1"]),
        accuracy=_mean_score(test["accuracy"]),
        classes=[_mean_score(test[name]) for name in board.classes],
    )


def _mean_score(values: NDArray[np.float64]) -> Score:
    """Returns the mean over seeds with its interval, which is limited to the range of a score."""
    mean = mean_interval(values)
    low, high = (None if end is None else min(max(end, 0.0), 1.0) for end in (mean.low, mean.high))
    return Score(mean.mean, low, high)


def _warnings(board: Leaderboard) -> list[str]:
    warnings = []
    fewest = min(len(each.seeds) for each in board.configurations)
    if fewest < MIN_SEEDS and len(board.configurations) > 1:
        warnings.append(
            f"At least one configuration has only {fewest} seed{'s' if fewest > 1 else ''}. "
            f"A claim requires at least {MIN_SEEDS} seeds of both configurations."
        )
    warnings += [
        f"{each.name}: seeds {', '.join(map(str, each.incomplete_seeds))} are left out, because they lack a fold."
        for each in board.configurations
        if each.incomplete_seeds
    ]
    if board.unfinished:
        warnings.append(f"Unfinished runs, listed below: {len(board.unfinished)}.")
    if any(not test.by_patient for each in board.configurations for test in each.test):
        warnings.append(SHARED_PATIENTS)
    return warnings


def _report_link(run: RunRecord, folder: Path) -> str:
    """Returns the path of the report of a run relative to the page, or "" if it has none."""
    report = run.folder.resolve() / "report.html"
    return Path(os.path.relpath(report, folder)).as_posix() if report.is_file() else ""
