"""The report of one classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import Metrics, Score
from ecg.reports import plots
from ecg.reports.page import write_page


@dataclass(frozen=True)
class ClassificationReport:
    """Content of the report.

    Attributes:
        title: name of the run.
        simulated: whether the recordings are simulated; the report then starts with a notice.
        details: what was run, by heading: model, data, protocol, seeds, duration and so on.
        warnings: sentences for the top of the report.
        metrics: by subset: "test", usually "validation", and further subsets of the test beats.
        predictions: predictions of the n test beats.
        history: values of each epoch by "epoch", "train/loss", "val/loss" and "val/macro_f1"; NaN where not measured.
        signals: (n, C, T) float32 test beats, aligned with the predictions.
        sfreq: sampling rate of the signals in Hz.
        overrides: configuration overrides.
        command: command that repeats the run.
    """

    title: str
    simulated: bool
    details: Mapping[str, str]
    warnings: Sequence[str]
    metrics: Mapping[str, Metrics]
    predictions: Predictions
    history: Mapping[str, Sequence[float]]
    signals: NDArray[np.float32]
    sfreq: float
    overrides: Sequence[str]
    command: str


def write_classification_report(report: ClassificationReport, path: Path) -> None:
    """Writes the report as one HTML file, atomically.

    Args:
        report: content of the report.
        path: the file; its folder must exist.

    Raises:
        ValueError: the numbers of signals and predictions differ.
        OSError: the file cannot be written.
    """
    if len(report.signals) != len(report.predictions.label):
        raise ValueError(
            f"The report has {len(report.signals)} signals but {len(report.predictions.label)} predictions. "
            "Pass the signals of the predicted beats, in the same order."
        )
    test = report.metrics["test"]
    test_subsets = ["test", *(name for name in report.metrics if name not in ("validation", "test"))]
    subsets = [name for name in ("validation", *test_subsets) if name in report.metrics]
    ec57 = test.ec57 or {}
    write_page(
        path,
        "classification.html",
        title=report.title,
        simulated=report.simulated,
        report=report,
        test=test,
        subsets={name: report.metrics[name] for name in subsets},
        headlines={name: headline_scores(report.metrics[name]) for name in subsets},
        ec57={name: rates for name in test_subsets if (rates := report.metrics[name].ec57)},
        record_rates={name: rates.per_record for name, rates in ec57.items() if rates.per_record},
        records=sorted({record for rates in ec57.values() for record in rates.per_record}),
        has_history=any(np.isfinite(values).any() for key, values in report.history.items() if key != "epoch"),
        figures=draw_figures(report),
    )


def headline_scores(metrics: Metrics) -> dict[str, Score]:
    """Returns the scores that summarise a subset, by title, the most important one first."""
    return {
        "Macro-F1": metrics.macro.f1,
        "Macro AUPRC": metrics.macro.auprc,
        "Macro AUROC": metrics.macro.auroc,
        "MCC": metrics.mcc,
        "Accuracy": metrics.accuracy,
        "Calibration error": metrics.ece,
    }


def draw_figures(report: ClassificationReport) -> dict[str, Figure]:
    """Returns the figures of the report by name."""
    test = report.metrics["test"]
    return {
        "confusion_matrix": plots.confusion_matrix(test.confusion_matrix, test.classes),
        "pr_curves": plots.pr_curves(report.predictions),
        "calibration": plots.calibration(report.predictions),
        "training_curves": plots.training_curves(report.history),
        "correct_and_wrong_beats": plots.correct_and_wrong_beats(report.predictions, report.signals, report.sfreq),
    }
