"""The report of one generator: whether to trust its beats, and what they look like beside real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ecg.evaluation import fidelity_plots as plots
from ecg.evaluation import page
from ecg.evaluation.judges import Cohort, features
from ecg.models.cnn import CNN

CEILINGS = {
    "copy": "copy of training beats",
    "noise": "noise",
    "flat": "flat line",
    "amplitude x5": "amplitude × 5",
    "one beat": "one beat repeated",
}


@dataclass(frozen=True)
class FidelityReport:
    """Everything the report tells.

    Attributes:
        title: names the run.
        simulated: whether the real recordings were simulated.
        facts: what was run, by the name of each fact.
        warnings: sentences the reader must not miss.
        judged: by side, "validation" and "test", what `fidelity.judge` returns.
        synthetic: the beats on trial.
        train: the beats that the generator was fitted on.
        held_out: the test beats.
        classifier: fitted on `train`, for the map of its features.
        classes: names of the classes.
        sfreq: Hz.
        fitted_in: s, from the start of the run to the end of the fit.
        history: lists by name, a value an epoch.
        best_epoch: whose weights were kept; None where none was better than another.
        gallery: epochs, and signals (n_classes, k, T) of the same noise.
        overrides: the configuration's overrides, one each.
        command: repeats the run.
    """

    title: str
    simulated: bool
    facts: dict[str, str]
    warnings: list[str]
    judged: Mapping[str, Mapping[str, Any]]
    synthetic: Cohort
    train: Cohort
    held_out: Cohort
    classifier: CNN
    classes: tuple[str, ...]
    sfreq: float
    fitted_in: float
    history: Mapping[str, list[float]]
    best_epoch: int | None
    gallery: plots.Gallery
    overrides: list[str]
    command: str


def write_fidelity_report(report: FidelityReport, path: Path) -> None:
    """Writes the report to `path` as one HTML file, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    n = report.judged["test"]["n"]
    told = ", ".join(f"{name} {page.count(m)}" for name, m in n["train"].items())
    page.write(
        path,
        title=report.title,
        kicker="Synthetic heartbeats: fidelity report",
        subtitle=f"learnt from {told} real training beats",
        sections=_sections(report),
    )


def _sections(report: FidelityReport) -> Iterator[str]:
    yield page.banner(report.simulated)
    yield _verdict(report.judged["test"])
    yield page.warnings(report.warnings)
    yield _gates(report.judged)
    yield _wide(
        plots.side_by_side(report.synthetic, report.train, report.classes),
        "Real beats, synthetic beats",
        "Beats taken at random, those of a class to one scale; of several channels, each below the one before. The "
        "thick grey line under each synthetic beat is the nearest of all training beats of its class: "
        "where both are the same line, the generator has learnt a beat by heart.",
    )
    yield _wide(
        plots.mean_and_spread(report.synthetic, report.held_out, report.classes, report.sfreq),
        "Mean, spread and spectrum",
        "Above, the median and the band from 5 to 95 % of the beats, a row a channel; below, the mean spectrum of the "
        "first channel. Grey and dashed: real test beats; coloured: synthetic ones. Both should cover each other.",
    )
    yield _wide(
        _map(report),
        "Map of the beats",
        "The two main components of what a classifier of real beats sees. Grey dots: real test beats; coloured "
        "crosses: synthetic ones. Crosses away from all dots are beats that do not exist; dots without crosses are "
        "beats that the generator does not know. What lies far out is drawn on the edge.",
    )
    yield _measures(report.judged["test"])
    yield _by_class(report.judged["test"])
    if report.history:
        yield _wide(
            plots.course(report.history, report.best_epoch),
            "How the fit went",
            "The weights are those of the epoch with the lowest Fréchet distance to the validation beats, mean of the "
            "classes.",
        )
    if report.gallery:
        yield _wide(
            plots.gallery(report.gallery, report.classes),
            "The same noise, epoch by epoch",
            "From top to bottom, how the beats of the same random numbers came about.",
        )
    yield page.facts(report.facts)
    yield page.repeat(report.command, report.overrides)


def _verdict(judged: Mapping[str, Any]) -> str:
    missed = [gate for gate in judged["gates"] if not gate["passed"]]
    if judged["trusted"]:
        words = f"✓ These beats passed all {len(judged['gates'])} gates on the test beats."
    elif missed:
        words = f"✗ These beats missed {len(missed)} of {len(judged['gates'])} gates on the test beats."
    else:
        words = "✗ No gate could be read: every class has too few real or synthetic beats."
    hint = (
        "They can stand in for real ones as far as these measures see."
        if judged["trusted"]
        else "Somebody who relies on them should know where they differ from real ones: see below."
    )
    kind = "yes" if judged["trusted"] else "no"
    items = "".join(f"<li>{escape(gate['sentence'])}</li>" for gate in missed)
    listed = f"<ul>{items}</ul>" if items else ""
    return f'<section class="verdict {kind}"><p><strong>{words}</strong></p><p>{hint}</p>{listed}</section>'


def _gates(judged: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    on_validation = {(g["measure"], g["class"]): g for g in judged.get("validation", {}).get("gates", [])}
    for gate in judged["test"]["gates"]:
        measure = judged["test"]["measures"][gate["measure"]]
        beside = on_validation.get((gate["measure"], gate["class"]))
        rows.append(
            [
                f'{escape(measure["title"])} <span class="soft">{escape(gate["class"] or "all classes")}</span>',
                escape(gate["bound"]),
                _figure(gate["reached"]),
                _outcome(gate),
                _figure(beside["reached"]) if beside else page.DASH,
            ]
        )
    return page.section(
        "Gates",
        page.table(["Gate", "Needed", "Reached on test", "", "On validation"], rows, texts=2),
        "“Of the floor” means the ratio to what real training beats reach in the same place. The epoch was chosen on "
        "the validation beats; the test beats were read once, at the end. A gate is "
        "blind where beats that nobody should trust would pass it too.",
    )


def _measures(judged: Mapping[str, Any]) -> str:
    rows = [
        [
            f'<b>{escape(measure["title"])}</b><br><span class="soft">{escape(measure["what"])}</span>',
            "↑" if measure["better"] == "higher" else "↓",
            f"<strong>{_figure(measure['overall']['value'])}</strong>",
            _figure(measure["overall"]["floor"]),
            *(_figure(measure["overall"]["ceilings"].get(name)) for name in CEILINGS),
        ]
        for measure in judged["measures"].values()
    ]
    head = ["Measure, mean of the classes", "Better", "These beats", "Floor", *CEILINGS.values()]
    return page.section(
        "Every measure between its floor and its ceilings",
        f'<div class="wrapped">{page.table(head, rows)}</div>',
        "Floor: real training beats against real test beats, the best that can be asked for. The other columns are "
        "beats that nobody should trust: a measure is worth as much as it tells these beats from the floor. A copy "
        "passes all but the measures of memorisation.",
    )


def _by_class(judged: Mapping[str, Any]) -> str:
    classes = judged["classes"]
    rows = [
        [escape(measure["title"]), *(_pair(measure["per_class"][name]) for name in classes)]
        for measure in judged["measures"].values()
    ]
    counts = [
        [f"Beats, {kind.replace('_', '-')}", *(page.count(n[name]) for name in classes)]
        for kind, n in judged["n"].items()
    ]
    return page.section(
        "Class by class",
        page.table(["", *(page.class_cell(name) for name in classes)], counts + rows),
        f"Below each figure its floor. {page.DASH} stands where a class has too few real or synthetic beats.",
    )


def _map(report: FidelityReport) -> Figure:
    real, fake = report.held_out, report.synthetic
    clouds = features(report.classifier, real), features(report.classifier, fake)
    return plots.maps(clouds[0], clouds[1], real.label, fake.label, report.classes)


def _wide(figure: Figure, title: str, explanation: str) -> str:
    return f'<section class="wide">{page.picture(figure, title, title, explanation)}</section>'


def _outcome(gate: Mapping[str, Any]) -> str:
    if gate["blind"]:
        return f"<strong>✗ blind</strong>: {escape(', '.join(gate['blind']))} would pass"
    return "✓ passed" if gate["passed"] else "<strong>✗ missed</strong>"


def _pair(row: Mapping[str, Any]) -> str:
    return f'{_figure(row["value"])}<span class="interval">{_figure(row["floor"])}</span>'


def _figure(value: float | None) -> str:
    """Three significant digits."""
    return page.DASH if value is None else f"{value:.3g}"
