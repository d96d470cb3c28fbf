"""Study: how well are beats classified if the R peaks are detected instead of annotated?

    ECG_DATA_DIR=... python studies/end_to_end.py NAME RUN ...

The runs are seeds of one configuration, or the folds of a cross-validation. Each run classifies the beats of its test
records twice, with annotated and with detected R peaks. A detection is a beat if it is within 150 ms of an annotated
one. Missed beats and false detections count as mistakes of the class. The result is results/NAME.json: the sensitivity
and the positive predictive value of the detections, and macro-F1 and F1 of each class for both kinds of peaks. A
reading of DS2 is logged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import log_reading

from ecg import build
from ecg.comparison.run_records import FOLD, RunRecord, read_runs
from ecg.config.schema import TrainConfig, register
from ecg.config.stored import load_config
from ecg.data.aami import labels_from_symbols
from ecg.data.source import RecordSource
from ecg.evaluation.beat_matching import Comparison
from ecg.files import write_json
from ecg.prediction import compare_with_annotations, load_classifier

ROOT = Path(__file__).parents[1]
KINDS = ("annotated", "detected")


def compare_run(run: RunRecord) -> dict[str, Comparison]:
    """Returns the comparison of predicted with annotated beats over the test records, by kind of R peaks.

    Raises:
        ValueError: the run does not consist of recordings.
    """
    cfg, classifier = load_config(run.folder, TrainConfig), load_classifier(run.folder)
    source = build.source(cfg)
    if not isinstance(source, RecordSource) or run.predictions is None:
        raise ValueError(f"{run.folder} has no recordings or no predictions.")
    parts: dict[str, list[Comparison]] = {kind: [] for kind in KINDS}
    for name in np.unique(run.predictions.record).tolist():
        recording = source.read(name, classifier.window)
        beats = recording.sample[labels_from_symbols(recording.symbol) >= 0]
        for kind, peaks in zip(KINDS, (np.unique(beats), None), strict=True):
            table = classifier.predict_recording(recording, r_peaks=peaks)
            parts[kind].append(compare_with_annotations(table, recording, classifier.classes))
    return {kind: sum(each[1:], each[0]) for kind, each in parts.items()}


def scores(comparison: Comparison) -> dict[str, Any]:
    """Returns the rates of the detections, and macro-F1 and F1 by class, missed and false beats included."""
    counts, right = comparison.counts, comparison.counts.diagonal()[:-1]
    f1 = 2 * right / (counts.sum(axis=0) + counts.sum(axis=1))[:-1]
    return {
        "se": comparison.sensitivity,
        "ppv": comparison.positive_predictive_value,
        "macro_f1": float(f1.mean()),
        "f1": dict(zip(comparison.classes, f1.tolist(), strict=True)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares annotated with detected R peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    register()
    runs = read_runs(options.runs, predictions=True)
    compared = [compare_run(run) for run in runs]
    if FOLD in runs[0].config:  # each beat is a test beat of one fold
        compared = [{kind: sum((each[kind] for each in compared[1:]), compared[0][kind]) for kind in KINDS}]
    rows = {kind: [scores(each[kind]) for each in compared] for kind in KINDS}
    path = ROOT / "results" / f"{options.name}.json"
    write_json(path, {"overrides": runs[0].overrides, "rows": rows})
    if runs[0].choices["data"] == "mitbih" and runs[0].choices["protocol"] == "inter_patient":
        log_reading(options.name, runs)
    print(path)


if __name__ == "__main__":
    main()
