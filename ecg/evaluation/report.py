"""The report of one run: a single HTML file that needs nothing else, to read, to print and to send on.

Figures travel inside the file as images, so neither a network nor a script is needed to see them.
"""

from __future__ import annotations

import io
import os
import uuid
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecg.data.aami import CLASS_NAMES
from ecg.evaluation import plots
from ecg.evaluation.predictions import Predictions

Metrics = Mapping[str, Any]

DASH = "–"
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
# An SVG of many long beats outgrows its picture.
MAX_SVG_BYTES = 350_000
PNG_DPI = 150


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
    page = _page(report).encode()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(page)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _page(report: RunReport) -> str:
    title = escape(report.title)
    sections = "\n".join(section for section in _sections(report) if section)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Heartbeat classification report</p>
<h1>{title}</h1>
{_subtitle(report.metrics["test"])}
</header>
{sections}
</main>
</body>
</html>
"""


def _sections(report: RunReport) -> Iterator[str]:
    test = report.metrics["test"]
    yield _banner(report.simulated)
    yield _warnings(report.warnings)
    yield _headlines(test)
    yield _facts(report.facts)
    yield _per_class(test)
    yield _confusion_and_curves(report)
    yield _sides(report.metrics)
    yield _ec57(report.metrics)
    yield _training_and_calibration(report)
    yield _beats(report)
    yield _repeat(report)


def _subtitle(test: Metrics) -> str:
    size = f"{_count(test.get('n_beats'))} test beats of {_count(test.get('n_patients'))} patients"
    return f'<p class="subtitle">{size}</p>'


def _banner(simulated: bool) -> str:
    if not simulated:
        return ""
    return (
        '<p class="banner" role="alert"><strong>Simulated recordings:</strong> '
        "these scores say nothing about real ECGs.</p>"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'<section class="warnings"><h2>Warnings</h2><ul>{items}</ul></section>'


def _headlines(test: Metrics) -> str:
    cards = "".join(
        f'<div class="card"><h3>{name}</h3><p class="big">{_value(score := _at(test, *keys))}</p>'
        f'<p class="interval">{_interval(score) or "no interval"}</p><p class="hint">{hint}</p></div>'
        for name, keys, hint in HEADLINES
    )
    return _section(
        "Scores on the test beats",
        f'<div class="cards">{cards}</div>',
        f"Below each score its interval: {_interval_kind(test)}",
    )


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items())
    return f"<section><h2>What was run</h2><dl>{rows}</dl></section>" if rows else ""


def _per_class(test: Metrics) -> str:
    per_class: Mapping[str, Metrics] = test.get("per_class", {})
    rows = [
        [_class_cell(name), *_score_cells(scores, scores.get("support"), plots.class_colour(name))]
        for name, scores in per_class.items()
    ]
    total = ["Mean of the classes", *_score_cells(test.get("macro", {}), test.get("n_beats"), plots.INK)]
    head = ["Class", "Beats", *SCORES.values(), "F1 from 0 to 1"]
    return _section(
        "Class by class",
        _table(head, rows, foot=[total]),
        "Precision: how many of the beats called so are so. Recall: how many of the class were found. "
        "AUROC and AUPRC judge the probabilities at every threshold; with rare classes AUPRC is the "
        f"stricter. Small figures are 95 % intervals; {DASH} stands where a score is not defined, for "
        "instance without any beat of the class.",
    )


def _score_cells(scores: Metrics, n_beats: Any, colour: str) -> list[str]:
    cells = (_cell(scores.get(key)) for key in SCORES)
    return [_count(n_beats), *cells, _whisker(scores.get("f1"), colour)]


def _confusion_and_curves(report: RunReport) -> str:
    test = report.metrics["test"]
    classes = list(test["classes"])
    matrix = _picture(
        plots.confusion_matrix(test["confusion_matrix"], classes),
        "Confusion matrix",
        "Confusion matrix of the test beats.",
        "Each row holds the beats of one true class: how many were predicted as what, and the share of the "
        "row. A perfect classifier fills the diagonal alone.",
    )
    curves = _picture(
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
        ["Beats", *(_count(side.get("n_beats")) for side in sides)],
        ["Patients", *(_count(side.get("n_patients")) for side in sides)],
    ]
    scores = [[title, *(_cell(_at(side, *keys)) for side in sides)] for title, keys, _ in HEADLINES]
    classes = [
        [_class_cell(name, "F1"), *(_cell(_at(side, "per_class", name, "f1")) for side in sides)]
        for name in metrics["test"].get("per_class", {})
    ]
    head = ["", *(escape(name.capitalize()) for name in names)]
    return _section(
        "Validation beside test",
        f'<div class="sides">{_table(head, counts + scores + classes)}</div>',
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
        [_class_cell(name) if side == "test" else "", escape(side), *_ec57_cells(ec57[name])]
        for name in test
        for side, ec57 in readings
        if name in ec57
    ]
    head = [
        "Class",
        "Reading",
        *(f"{kind} {column}" for kind in ("Gross", "Mean") for column in EC57_COLUMNS),
    ]
    return _section(
        "AAMI EC57, in %",
        _table(head, rows, texts=2) + _per_record(test),
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
    return f"<details><summary>Record by record ({len(records)})</summary>{_table(head, rows)}</details>"


def _record_cells(scores: Metrics | None) -> list[str]:
    scores = scores or {}
    return [_count(scores.get("n")), *(_percent(scores.get(column)) for column in EC57_COLUMNS)]


def _training_and_calibration(report: RunReport) -> str:
    curves = _picture(
        plots.learning_curves(report.history),
        "Training",
        "Losses and validation macro-F1 over the epochs.",
        "Where the validation loss rises while the training loss falls, the network learns its beats by "
        "heart. The dashed line is the epoch of the highest macro-F1, whose weights were tested.",
    )
    reliability = _picture(
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
    picture = _picture(
        figure,
        "Beats it got right and wrong",
        "Test beats of each class, right ones on the left, wrong ones on the right.",
        "Above each beat its true class → the predicted one, the probability of the prediction, and the "
        "record. The right ones run from the surest to the least sure. The wrong ones are those it was "
        "surest of: look here for mistaken labels and for shapes that were missing in training.",
    )
    return f'<section class="wide">{picture}</section>'


def _repeat(report: RunReport) -> str:
    overrides = escape("\n".join(report.overrides)) or "none: every choice is the default"
    return f"""<section>
<h2>To repeat the run</h2>
<pre>{escape(report.command)}</pre>
<h3>Choices that differ from the defaults</h3>
<pre>{overrides}</pre>
</section>"""


def _section(title: str, body: str, explanation: str) -> str:
    return f'<section><h2>{title}</h2>{body}<p class="explain">{explanation}</p></section>'


def _picture(figure: Figure, title: str, alt: str, explanation: str) -> str:
    return (
        f'<figure><h2>{title}</h2><img src="{_data_uri(figure)}" alt="{escape(alt)}">'
        f'<figcaption class="explain">{explanation}</figcaption></figure>'
    )


def _data_uri(figure: Figure) -> str:
    """The figure as an image inside the page: sharp at any size, or as pixels where that would be too long.

    An image and not an inline <svg>, because the names inside of two figures would clash.
    """
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    if svg.tell() <= MAX_SVG_BYTES:
        return f"data:image/svg+xml;base64,{b64encode(svg.getvalue()).decode()}"
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=PNG_DPI)
    return f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], foot: Iterable[Sequence[str]] = (), texts: int = 1
) -> str:
    """A table whose first `texts` columns are text and whose others are figures. All cells are HTML."""

    def line(cells: Sequence[str], heading: bool) -> str:
        first = f'<th scope="{"col" if heading else "row"}">{cells[0]}</th>'
        tag = 'th scope="col"' if heading else "td"
        others = (
            f"<{tag}{'' if i < texts else ' class=number'}>{cell}</{tag.split()[0]}>"
            for i, cell in enumerate(cells[1:], start=1)
        )
        return f"<tr>{first}{''.join(others)}</tr>"

    body, total = "".join(line(row, False) for row in rows), "".join(line(row, False) for row in foot)
    return (
        f'<div class="scroll"><table><thead>{line(head, True)}</thead><tbody>{body}</tbody>'
        f"{f'<tfoot>{total}</tfoot>' if total else ''}</table></div>"
    )


def _class_cell(name: str, score: str = "") -> str:
    """A class with its colour, its full name where it is known, and which of its scores is meant."""
    full = ", ".join(part for part in (CLASS_NAMES.get(name), score) if part)
    return (
        f'<span class="chip" style="background:{plots.class_colour(name)}"></span><b>{escape(name)}</b>'
        f' <span class="soft">{full}</span>'
    )


def _whisker(score: Any, colour: str) -> str:
    """The score as a dot and its interval as a line, on a scale from 0 to 1."""
    value, low, high = (_number(_at(score, key)) for key in ("value", "low", "high"))
    if value is None:
        return DASH

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


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _fixed(value: Any) -> str:
    number = _number(value)
    return DASH if number is None else f"{number:.3f}".replace("-", "−")


def _value(score: Any) -> str:
    return _fixed(_at(score, "value"))


def _interval(score: Any) -> str:
    low, high = (_number(_at(score, key)) for key in ("low", "high"))
    return "" if low is None or high is None else f"{_fixed(low)} {DASH} {_fixed(high)}"


def _cell(score: Any) -> str:
    interval = _interval(score)
    return _value(score) + (f'<span class="interval">{interval}</span>' if interval else "")


def _percent(value: Any) -> str:
    """A share in % with two decimals: of an FPR one would leave nothing."""
    number = _number(_at(value, "value") if isinstance(value, Mapping) else value)
    return DASH if number is None else f"{100 * number:.2f}"


def _count(n: Any) -> str:
    return DASH if n is None else f"{int(n):,}"


def _interval_kind(test: Metrics) -> str:
    kind = str(test.get("interval") or "none was computed").rstrip(".")
    return escape(kind) + "."


STYLE = """
:root { --ink: #1f2933; --muted: #5b6770; --line: #dde3e8; --soft: #f5f7f9; --accent: #12507f; }
* { box-sizing: border-box; }
body { margin: 0; background: #eef1f4; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 14px; font-size: 18px; line-height: 1.3; }
h3 { margin: 20px 0 6px; font-size: 14px; }
.kicker { margin: 0 0 4px; color: var(--accent); font-size: 12px; font-weight: 600; letter-spacing: .08em;
  text-transform: uppercase; }
.subtitle { margin: 6px 0 0; color: var(--muted); overflow-wrap: anywhere; }
section, .pair > figure { margin: 20px 0 0; padding: 22px 24px; background: #fff;
  border: 1px solid var(--line); border-radius: 10px; }
.pair { display: grid; grid-template-columns: 42fr 58fr; gap: 20px; padding: 0; background: none; border: 0; }
.pair > figure { margin: 0; min-width: 0; }
.wide > figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
.explain { max-width: 100ch; margin: 12px 0 0; color: var(--muted); font-size: 13px; }
.banner { margin: 20px 0 0; padding: 16px 24px; background: #8f1d4b; color: #fff;
  border-radius: 10px; font-size: 18px; }
.warnings { background: #fff8e6; border-color: #e8c766; }
.warnings h2 { margin-bottom: 6px; }
.warnings ul { margin: 0; padding-left: 20px; }
.cards { display: grid; grid-template-columns: repeat(6, 1fr); gap: 12px; }
.card { padding: 12px 14px; background: var(--soft); border-radius: 8px; }
.card:first-child { background: var(--accent); color: #fff; }
.card:first-child .interval, .card:first-child .hint { color: #d6e4ef; }
.card h3 { margin: 0; font-size: 13px; font-weight: 600; }
.card p { margin: 0; }
.big { font-size: 28px; font-weight: 650; line-height: 1.3; letter-spacing: -.01em; }
.interval { color: var(--muted); font-size: 12px; white-space: nowrap; }
.card .hint { margin-top: 4px; color: var(--muted); font-size: 12px; line-height: 1.35; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 7px 8px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-size: 12.5px; font-weight: 600; vertical-align: bottom;
  border-bottom: 2px solid var(--line); }
tbody th, tfoot th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
tbody:last-child tr:last-child > * { border-bottom: 0; }
.number { text-align: right; }
td .interval { display: block; font-weight: 400; }
.sides table { table-layout: fixed; }
.sides th:first-child { width: 25%; }
.sides th, .sides td { padding-top: 5px; padding-bottom: 5px; }
.sides .interval { display: inline-block; width: 92px; margin-left: 6px; }
.chip { display: inline-block; width: 11px; height: 11px; margin-right: 8px; border-radius: 3px; }
.soft { color: var(--muted); }
.whisker { vertical-align: -3px; }
details { margin-top: 14px; }
summary { cursor: pointer; color: var(--accent); font-weight: 600; font-size: 14px; }
details table { margin-top: 8px; font-size: 13px; }
details th, details td { padding: 4px 8px; }
dl { display: grid; grid-template-columns: repeat(2, 1fr); gap: 0 32px; margin: 0; }
dl div { display: grid; grid-template-columns: 128px 1fr; padding: 6px 0;
  border-bottom: 1px solid var(--line); }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: 0; padding: 12px 14px; background: var(--soft); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
@media screen and (max-width: 900px) {
  .pair, dl { grid-template-columns: 1fr; }
  .cards { grid-template-columns: repeat(2, 1fr); }
}
@media screen and (min-width: 901px) { tbody th { white-space: nowrap; } }
@page { size: A4; margin: 14mm; }
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { background: #fff; font-size: 10.5px; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 22px; }
  h2 { margin-bottom: 8px; font-size: 14px; break-after: avoid; }
  .banner { margin-top: 12px; padding: 9px 14px; font-size: 14px; }
  section, .pair > figure { margin-top: 12px; padding: 12px 14px; }
  .pair { gap: 12px; padding: 0; }
  .cards { gap: 8px; }
  .card { padding: 8px; }
  .card h3, .explain, .interval, .card .hint, thead th, pre { font-size: 9px; }
  .big { font-size: 20px; }
  th, td { padding: 3px 6px; }
  td .interval { line-height: 1.2; }
  section, figure, tr, .card, .pair, .banner, .warnings, dl div, pre { break-inside: avoid; }
  section:has(details) { break-inside: auto; }
  .wide img { width: 82%; }
  .scroll { overflow: visible; }
  .whisker { width: 70px; height: 11px; }
  details::details-content { content-visibility: visible; display: block; }
  details table { font-size: 9.5px; }
  details th, details td { padding: 2px 4px; }
  dl { grid-template-columns: repeat(2, 1fr); }
  dl div { grid-template-columns: 90px 1fr; padding: 3px 0; }
  .sides .interval { width: 74px; }
}
"""
