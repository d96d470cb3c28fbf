"""Ensembles: the mean of the probabilities of several runs for the same test beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg.comparison.leaderboard import N_BOOTSTRAP, Leaderboard, join
from ecg.comparison.run_records import RunRecord
from ecg.errors import UserError
from ecg.evaluation.metrics import evaluate
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import Metrics


@dataclass(frozen=True)
class Ensemble:
    """An ensemble of runs.

    Attributes:
        name: name of its configuration, or "all configurations".
        n_runs: number of runs of each fold.
        test: metrics of the test beats, all folds together.
    """

    name: str
    n_runs: int
    test: Metrics


def build_ensembles(board: Leaderboard) -> list[Ensemble]:
    """Returns an ensemble of the runs of each configuration with several seeds, and one of all runs.

    Args:
        board: configurations whose runs have predictions.

    Raises:
        UserError: the runs of an ensemble have different test beats.
    """
    groups = {each.name: _complete(each.runs, each.seeds) for each in board.configurations if len(each.seeds) > 1}
    if len(board.configurations) > 1:
        groups["all configurations"] = [
            run for each in board.configurations for run in _complete(each.runs, each.seeds)
        ]
    return [_ensemble(name, runs) for name, runs in groups.items()]


def _complete(runs: Sequence[RunRecord], seeds: Sequence[int]) -> list[RunRecord]:
    return [run for run in runs if run.seed in seeds]


def _ensemble(name: str, runs: Sequence[RunRecord]) -> Ensemble:
    folds = sorted({run.fold for run in runs})
    parts = [mean_predictions([run for run in runs if run.fold == fold]) for fold in folds]
    by_patient = all(run.test.by_patient for run in runs)
    ec57 = all(run.test.ec57 is not None for run in runs)
    test = evaluate(join(parts), by_patient=by_patient, ec57=ec57, n_bootstrap=N_BOOTSTRAP)
    return Ensemble(name, len(runs) // len(folds), test)


def mean_predictions(runs: Sequence[RunRecord]) -> Predictions:
    """Returns the predictions of the test beats with the mean probabilities of some runs.

    Args:
        runs: runs with predictions for the same test beats.

    Raises:
        UserError: their test beats differ.
    """
    parts = [run.predictions for run in runs if run.predictions]
    first = parts[0]
    for run, part in zip(runs, parts, strict=True):
        if part.classes != first.classes or not all(
            np.array_equal(getattr(part, name), getattr(first, name)) for name in ("record", "sample", "label")
        ):
            raise UserError(
                f"The runs {_name(runs[0].folder)} and {_name(run.folder)} have different test beats, so their "
                "predictions cannot be averaged. Compare runs of one protocol and one protocol.split_seed."
            )
    return replace(first, probability=np.mean([part.probability for part in parts], axis=0))


def _name(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])
