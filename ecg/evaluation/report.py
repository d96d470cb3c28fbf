"""The report of one classifier: how good it is, on which beats, and how to make it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation import page, plots
from ecg.evaluation.predictions import Predictions

Metrics = Mapping[str, Any]

SCORES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "auroc": "AUROC", "auprc": "AUPRC"}
# What the six scores at the head of the report are, in the order of their weight.
HEADLINES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("Macro-F1", ("macro", "f1"), "mean of the classes' F1"),
    ("Macro AUPRC", ("macro", "auprc"), "mean area under precision over recall"),
    ("Macro AUROC", ("macro", "auroc"), "mean area under the ROC curve"),
    ("MCC", ("mcc",), "Matthews correlation; 0 is chance"),
    ("Accuracy", ("accuracy",), "flattered by the many N beats"),
    ("Calibration error", ("ece",), "ECE; lower is better"),
)
EC57_COLUMNS = ("Se", "+P", "FPR")


@dataclass(frozen=True)
class RunReport:
    """Everything a report tells.

    Attributes:
        title: names the run.
        simulated: whether the recordings were simulated; a banner says that the scores then mean nothing.
        facts: what was run, by the name of each fact: model, data, protocol, seed, duration and so on.
        warnings: sentences the reader must not miss.
        metrics: by side, "validation", "test" and further readings of the test beats, what `metrics.evaluate`
            returns.
        predictions: of the n test beats.
        history: lists by "epoch", "train/loss", "val/loss", "val/macro_f1", "lr"; NaN where nothing was
            measured.
        signals: (n, C, T) float32, the test beats, aligned with the predictions.
        sfreq: sampling rate of the signals in Hz.
        overrides: the configuration's overrides, one each.
        command: repeats the run.
    """

    title: str
    simulated: bool
    facts: dict[str, str]
    warnings: list[str]
    metrics: dict[str, dict[str, Any]]
    predictions: Predictions
    history: dict[str, list[float]]
    signals: NDArray[np.float32]
    sfreq: float
    overrides: list[str]
    command: str


def write_report(report: RunReport, path: Path) -> None:
    """Writes the report to `path` as one HTML file, whole or not at all.

    Args:
        report: what to tell.
        path: the file; its folder must exist.

    Raises:
        ValueError: signals and predictions are not of the same beats.
        OSError: the file cannot be written.
    """
    if len(report.signals) != len(report.predictions.label):
        raise ValueError(
            f"{len(report.signals)} signals cannot belong to {len(report.predictions.label)} predictions: "
            "pass the beats the predictions are about, in the same order."
        )
    test = report.metrics["test"]
    size = f"{page.count(test.get('n_beats'))} test beats of {page.count(test.get('n_patients'))} patients"
    page.write(
        path,
        title=report.title,
        kicker="Heartbeat classification report",
        subtitle=size,
        sections=_sections(report),
    )


def _sections(report: RunReport) -> Iterator[str]:
    test = report.metrics["test"]
    yield page.banner(report.simulated)
    yield page.warnings(report.warnings)
    yield _headlines(test)
    yield page.facts(report.facts)
    yield _per_class(test)
    yield _confusion_and_curves(report)
    yield _sides(report.metrics)
    yield _ec57(report.metrics)
    yield _training_and_calibration(report)
    yield _beats(report)
    yield page.repeat(report.command, report.overrides)


def _headlines(test: Metrics) -> str:
    cards = "".join(
        f'<div class="card"><h3>{name}</h3><p class="big">{_value(score := _at(test, *keys))}</p>'
        f'<p class="interval">{_interval(score) or "no interval"}</p><p class="hint">{hint}</p></div>'
        for name, keys, hint in HEADLINES
    )
    return page.section(
        "Scores on the test beats",
        f'<div class="cards">{cards}</div>',
        f"Below each score its interval: {_interval_kind(test)}",
    )


def _per_class(test: Metrics) -> str:
    per_class: Mapping[str, Metrics] = test.get("per_class", {})
    rows = [
        [page.class_cell(name), *_score_cells(scores, scores.get("support"), plots.class_colour(name))]
        for name, scores in per_class.items()
    ]
    total = ["Mean of the classes", *_score_cells(test.get("macro", {}), test.get("n_beats"), plots.INK)]
    head = ["Class", "Beats", *SCORES.values(), "F1 from 0 to 1"]
    return page.section(
        "Class by class",
        page.table(head, rows, foot=[total]),
        "Precision: how many of the beats called so are so. Recall: how many of the class were found. "
        "AUROC and AUPRC judge the probabilities at every threshold; with rare classes AUPRC is the "
        f"stricter. Small figures are 95 % intervals; {page.DASH} stands where a score is not defined, for "
        "instance without any beat of the class.",
    )


def _score_cells(scores: Metrics, n_beats: Any, colour: str) -> list[str]:
    cells = (_cell(scores.get(key)) for key in SCORES)
    return [page.count(n_beats), *cells, _whisker(scores.get("f1"), colour)]


def _confusion_and_curves(report: RunReport) -> str:
    test = report.metrics["test"]
    classes = list(test["classes"])
    matrix = page.picture(
        plots.confusion_matrix(test["confusion_matrix"], classes),
        "Confusion matrix",
        "Confusion matrix of the test beats.",
        "Each row holds the beats of one true class: how many were predicted as what, and the share of the "
        "row. A perfect classifier fills the diagonal alone.",
    )
    curves = page.picture(
        plots.pr_curves(report.predictions),
        "Precision–recall curves",
        "Precision-recall curve of each class on the test beats.",
        "One curve a class, against all others, over every threshold; further up and right is better. AP "
        "is the area below the curve; guessing reaches the share of the class, given as “by chance”.",
    )
    return f'<section class="pair">{matrix}{curves}</section>'


def _sides(metrics: Mapping[str, Metrics]) -> str:
    names = [name for name in ("validation", "test") if name in metrics]
    names += [name for name in metrics if name not in names]
    sides = [metrics[name] for name in names]
    counts = [
        ["Beats", *(page.count(side.get("n_beats")) for side in sides)],
        ["Patients", *(page.count(side.get("n_patients")) for side in sides)],
    ]
    scores = [[title, *(_cell(_at(side, *keys)) for side in sides)] for title, keys, _ in HEADLINES]
    classes = [
        [page.class_cell(name, "F1"), *(_cell(_at(side, "per_class", name, "f1")) for side in sides)]
        for name in metrics["test"].get("per_class", {})
    ]
    head = ["", *(escape(name.capitalize()) for name in names)]
    return page.section(
        "Validation beside test",
        f'<div class="sides">{page.table(head, counts + scores + classes)}</div>',
        "The epoch was chosen by its validation macro-F1, so that column flatters it; the test beats were "
        "read once, at the end. A wide gap between the two means that the validation beats did not stand "
        "for new ones.",
    )


def _ec57(metrics: Mapping[str, Metrics]) -> str:
    test: Mapping[str, Metrics] = metrics["test"].get("ec57") or {}
    if not test:
        return ""
    readings = [(side, m["ec57"]) for side, m in metrics.items() if m.get("ec57") and side != "validation"]
    readings.sort(key=lambda reading: reading[0] != "test")
    rows = [
        [page.class_cell(name) if side == "test" else "", escape(side), *_ec57_cells(ec57[name])]
        for name in test
        for side, ec57 in readings
        if name in ec57
    ]
    head = [
        "Class",
        "Reading",
        *(f"{kind} {column}" for kind in ("Gross", "Mean") for column in EC57_COLUMNS),
    ]
    return page.section(
        "AAMI EC57, in %",
        page.table(head, rows, texts=2) + _per_record(test),
        "Each class against all others, as the literature reports it. Se: sensitivity, the share of the "
        "class that was found. +P: positive predictivity, the share of right ones among the beats called "
        "so. FPR: the share of other beats called so. Gross counts every beat alike; the mean is over "
        "records, each of which counts alike.",
    )


def _ec57_cells(scores: Metrics) -> list[str]:
    return [_percent(_at(scores, kind, column)) for kind in ("gross", "record_mean") for column in EC57_COLUMNS]


def _per_record(ec57: Mapping[str, Metrics]) -> str:
    """A table of every record's own scores, folded away; "" where there are none."""
    classes = [name for name, scores in ec57.items() if scores.get("per_record")]
    records = dict.fromkeys(record for name in classes for record in ec57[name]["per_record"])
    if not records:
        return ""
    rows = [
        [
            escape(str(record)),
            *(cell for name in classes for cell in _record_cells(ec57[name]["per_record"].get(record))),
        ]
        for record in records
    ]
    head = [
        "Record",
        *(f"{escape(name)} {column}" for name in classes for column in ("beats", *EC57_COLUMNS)),
    ]
    return f"<details><summary>Record by record ({len(records)})</summary>{page.table(head, rows)}</details>"


def _record_cells(scores: Metrics | None) -> list[str]:
    scores = scores or {}
    return [page.count(scores.get("n")), *(_percent(scores.get(column)) for column in EC57_COLUMNS)]


def _training_and_calibration(report: RunReport) -> str:
    curves = page.picture(
        plots.learning_curves(report.history),
        "Training",
        "Losses and validation macro-F1 over the epochs.",
        "Where the validation loss rises while the training loss falls, the network learns its beats by "
        "heart. The dashed line is the epoch of the highest macro-F1, whose weights were tested.",
    )
    reliability = page.picture(
        plots.calibration(report.predictions),
        "Calibration",
        "Reliability diagram of the test beats.",
        "Beats in fifteen groups by the probability of the predicted class: the share that was right "
        "should equal that probability, on the dashed line; under the line it is too sure of itself. A "
        "hollow dot stands for fewer than ten beats. Below, how many beats each group holds.",
    )
    if not any(np.isfinite(value).any() for key, value in report.history.items() if key != "epoch"):
        curves = '<figure><h2>Training</h2><p class="explain">No epoch was recorded.</p></figure>'
    return f'<section class="pair">{reliability}{curves}</section>'


def _beats(report: RunReport) -> str:
    figure = plots.beats_right_and_wrong(report.predictions, report.signals, report.sfreq)
    picture = page.picture(
        figure,
        "Beats it got right and wrong",
        "Test beats of each class, right ones on the left, wrong ones on the right.",
        "Above each beat its true class → the predicted one, the probability of the prediction, and the "
        "record. The right ones run from the surest to the least sure. The wrong ones are those it was "
        "surest of: look here for mistaken labels and for shapes that were missing in training.",
    )
    return f'<section class="wide">{picture}</section>'


def _whisker(score: Any, colour: str) -> str:
    """The score as a dot and its interval as a line, on a scale from 0 to 1."""
    value, low, high = (page.number(_at(score, key)) for key in ("value", "low", "high"))
    if value is None:
        return page.DASH

    def place(x: float) -> float:
        return 4 + 92 * min(max(x, 0.0), 1.0)

    span = "" if low is None or high is None else f"M{place(low):.1f} 8H{place(high):.1f}"
    return (
        '<svg class="whisker" width="100" height="16" viewBox="0 0 100 16" aria-hidden="true">'
        f'<path d="M4 8H96" stroke="{plots.GRID}" stroke-width="6" stroke-linecap="round"/>'
        f'<path d="{span}" stroke="{colour}" stroke-width="2.5"/>'
        f'<circle cx="{place(value):.1f}" cy="8" r="4" fill="{colour}"/></svg>'
    )


def _at(metrics: Any, *keys: str) -> Any:
    """What lies under the keys; None where any of them is absent."""
    for key in keys:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    return metrics


def _value(score: Any) -> str:
    return page.fixed(_at(score, "value"))


def _interval(score: Any) -> str:
    low, high = (page.number(_at(score, key)) for key in ("low", "high"))
    return "" if low is None or high is None else f"{page.fixed(low)} {page.DASH} {page.fixed(high)}"


def _cell(score: Any) -> str:
    interval = _interval(score)
    return _value(score) + (f'<span class="interval">{interval}</span>' if interval else "")


def _percent(value: Any) -> str:
    """A share in % with two decimals: of an FPR one would leave nothing."""
    number = page.number(_at(value, "value") if isinstance(value, Mapping) else value)
    return page.DASH if number is None else f"{100 * number:.2f}"


def _interval_kind(test: Metrics) -> str:
    kind = str(test.get("interval") or "none was computed").rstrip(".")
    return escape(kind) + "."
