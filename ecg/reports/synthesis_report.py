"""The report of one generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import Points
from ecg.evaluation.fidelity import CONTROLS, Fidelity
from ecg.evaluation.verdict import verdict
from ecg.reports import synthesis_plots as plots
from ecg.reports.page import write_page


@dataclass(frozen=True)
class SynthesisReport:
    """Content of the report.

    Attributes:
        title: name of the run.
        simulated: whether the real recordings are simulated; the report then starts with a notice.
        details: what was run, by heading.
        warnings: sentences for the top of the report.
        fidelity: by held-out subset: "test", and usually "validation".
        synthetic: the n synthetic beats.
        train: the beats that the generator was fitted on.
        held_out: the m real test beats.
        synthetic_embedding: (n, D) features of the synthetic beats, from a classifier of real beats.
        held_out_embedding: (m, D) features of the test beats, from the same classifier.
        classes: names of the classes.
        sfreq: sampling rate in Hz.
        history: values of each epoch, by the keys of `synthesis_plots.training_curves`; empty without a fit.
        best_epoch: the epoch of the generator's weights; None without an evaluation by epoch.
        gallery: epochs, and signals (n_classes, k, T) from the same noise.
        overrides: configuration overrides.
        command: command that repeats the run.
    """

    title: str
    simulated: bool
    details: Mapping[str, str]
    warnings: Sequence[str]
    fidelity: Mapping[str, Fidelity]
    synthetic: BeatSet
    train: BeatSet
    held_out: BeatSet
    synthetic_embedding: Points
    held_out_embedding: Points
    classes: Sequence[str]
    sfreq: float
    history: Mapping[str, Sequence[float]]
    best_epoch: int | None
    gallery: plots.Gallery
    overrides: Sequence[str]
    command: str


def write_synthesis_report(report: SynthesisReport, path: Path) -> None:
    """Writes the report as one HTML file, atomically.

    Args:
        report: content of the report.
        path: the file; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    validation = report.fidelity.get("validation")
    write_page(
        path,
        "synthesis.html",
        title=report.title,
        simulated=report.simulated,
        report=report,
        test=report.fidelity["test"],
        verdict=verdict(report.fidelity["test"]),
        validation_gates={(g.measure, g.class_name): g for g in validation.gates} if validation else {},
        controls=CONTROLS,
        figures=draw_figures(report),
    )


def draw_figures(report: SynthesisReport) -> dict[str, Figure]:
    """Returns the figures of the report by name."""
    synthetic, held_out, classes = report.synthetic, report.held_out, report.classes
    figures = {
        "real_and_synthetic": plots.real_and_synthetic(synthetic, report.train, classes),
        "median_and_spectrum": plots.median_and_spectrum(synthetic, held_out, classes, report.sfreq),
        "feature_map": plots.feature_map(
            report.held_out_embedding, report.synthetic_embedding, held_out.label, synthetic.label, classes
        ),
    }
    if report.history:
        figures["training_curves"] = plots.training_curves(report.history, report.best_epoch)
    if report.gallery:
        figures["gallery"] = plots.gallery(report.gallery, classes)
    return figures
