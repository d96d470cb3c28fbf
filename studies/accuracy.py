"""Collects the runs of a result table into one file, and logs every reading of DS2.

    python studies/accuracy.py ds2_cnn "beats in context, cnn" RUN_OR_SWEEP ...

The runs are seeds of one configuration, or of several ones whose ensemble is a row of its own. The file
`results/accuracy/ds2_cnn.json` holds, for each subset of the test beats, the scores of every seed and those of the
ensemble of all runs: F1, calibration error, and the EC57 rates, over all beats and as the mean over records.
`results/ds2_readings.csv` gets a row if the test beats are those of DS2.

For the folds of cross-validations, the file holds the result of `ecg calibrate`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from ecg.comparison.calibration import calibrate
from ecg.comparison.ensembles import mean_predictions
from ecg.comparison.leaderboard import N_BOOTSTRAP, build_leaderboard
from ecg.comparison.run_records import FOLD, RunRecord, read_runs
from ecg.data.databases import DATABASES
from ecg.errors import UserError
from ecg.evaluation.metrics import evaluate, without_records
from ecg.evaluation.scores import Metrics
from ecg.files import write_json
from ecg.reading import read_json
from ecg.runs import PROVENANCE

RESULTS = Path(__file__).parents[1] / "results"
READINGS = RESULTS / "ds2_readings.csv"


def finished_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """Returns the runs in some folders, sorted by seed.

    Raises:
        UserError: a run is not finished.
    """
    runs = read_runs(folders, predictions=True)
    for run in build_leaderboard(runs).unfinished:
        raise UserError(f"{run.folder} is not finished.")
    return sorted(runs, key=lambda run: run.seed)


def collect(title: str, runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Returns the content of the file.

    Raises:
        UserError: the runs have different test beats.
    """
    if len(build_leaderboard(runs).configurations) > 1:
        return {"title": title, "runs": len(runs), "ensemble": _ensemble(runs)}
    training = [read_json(run.folder / "training.json", dict[str, Any], "") for run in runs]
    provenance = read_json(runs[0].folder / PROVENANCE, dict[str, Any], "")
    return {
        "title": title,
        "overrides": _overrides(runs[0]),
        "seeds": [run.seed for run in runs],
        "runs": len(runs),
        "git_commit": provenance["git_commit"],
        "parameters": training[0]["parameters"],
        "minutes": [each["seconds"] / 60 for each in training],
        "microseconds_per_beat": [each["microseconds_per_beat"] for each in training],
        "seeds_of": {
            subset: [_scores(run.subsets[subset]) for run in runs]
            for subset in runs[0].subsets
            if subset != "validation"
        },
        "ensemble": _ensemble(runs) if len(runs) > 1 else None,
    }


def collect_folds(title: str, runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Returns the content of the file for the folds of cross-validations."""
    return {"title": title, "overrides": _overrides(runs[0]), **asdict(calibrate(runs))}


def _overrides(run: RunRecord) -> list[str]:
    """The overrides that all runs of a file have in common and that influence the result."""
    own = (
        "seed=",
        "trainer.accelerator=",
        "protocol.fold=",
        "protocol.split_seed=",
        "checkpoint=",
        "paths.",
        "hydra.",
        "logger=",
    )
    return [override for override in run.overrides if not override.startswith((*own, "trainer.enable", "n_bootstrap="))]


def _ensemble(runs: Sequence[RunRecord]) -> dict[str, Any]:
    mean = mean_predictions(runs)
    parts = {"test": mean}
    split = DATABASES["mitbih"].published_split
    for name, left_out in (split.test_subsets if split else {}).items():
        if name in runs[0].subsets:
            parts[name] = without_records(mean, left_out)
    settings = {"by_patient": runs[0].test.by_patient, "ec57": runs[0].test.ec57 is not None}
    return {name: _scores(evaluate(part, n_bootstrap=N_BOOTSTRAP, **settings)) for name, part in parts.items()}


def _scores(metrics: Metrics) -> dict[str, Any]:
    macro = metrics.macro.f1
    scores: dict[str, Any] = {
        "macro_f1": macro.value,
        "interval": [macro.low, macro.high],
        "accuracy": metrics.accuracy.value,
        "ece": metrics.ece.value,
        "f1": {name: row.f1.value for name, row in metrics.per_class.items()},
    }
    if metrics.ec57:
        scores["ec57"] = {
            name: {
                "gross": {"se": rates.gross.se, "ppv": rates.gross.ppv},
                "record_mean": rates.record_mean and {"se": rates.record_mean.se, "ppv": rates.record_mean.ppv},
            }
            for name, rates in metrics.ec57.items()
        }
    return scores


def log_reading(name: str, runs: Sequence[RunRecord]) -> None:
    """Adds a row to the log of the readings of DS2."""
    provenance = read_json(runs[0].folder / PROVENANCE, dict[str, Any], "")
    seeds = ", ".join(str(run.seed) for run in runs)
    overrides = " ".join(_overrides(runs[0]))
    day = date.fromtimestamp((runs[0].folder / "metrics.json").stat().st_mtime).isoformat()
    with READINGS.open("a", newline="") as file:
        csv.writer(file).writerow([day, provenance["git_commit"][:7], name, overrides, seeds])


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the file of a table row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("title")
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    runs = finished_runs(options.runs)
    folds = FOLD in runs[0].config
    content = collect_folds(options.title, runs) if folds else collect(options.title, runs)
    path = RESULTS / "accuracy" / f"{options.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    if runs[0].choices["data"] == "mitbih" and runs[0].choices["protocol"] == "inter_patient":
        log_reading(options.name, runs)
    print(path)


if __name__ == "__main__":
    main()
