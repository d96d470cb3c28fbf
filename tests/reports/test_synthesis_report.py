"""The report of a generator: complete, self-contained, and safe with any text."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports_factories import (
    HOSTILE,
    Page,
    make_beat_set,
    make_fidelity,
    make_synthesis_report,
)

from ecg.evaluation.fidelity import CONTROLS, GATES, MEASURES
from ecg.reports.synthesis_report import SynthesisReport, draw_figures, write_synthesis_report

FIGURES = {"real_and_synthetic", "median_and_spectrum", "feature_map", "training_curves", "gallery"}


def write(folder: Path, **changes: Any) -> Page:
    write_synthesis_report(make_synthesis_report(**changes), folder / "report.html")
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page(folder / "report.html")


def draw(report: SynthesisReport) -> set[str]:
    """Draws the figures without warnings of matplotlib and numpy, and returns their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = draw_figures(report)
        for figure in figures.values():
            figure.draw_without_rendering()
    return set(figures)


def test_the_report_is_one_file_that_needs_no_other_file(synthesis_page: Page) -> None:
    assert synthesis_page.html.endswith("</html>\n")
    assert not {"script", "link", "iframe", "object"} & synthesis_page.tag_names
    assert len(synthesis_page.images) == len(FIGURES)
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in synthesis_page.images)
    assert not re.search(r"https?:|url\(|@import", synthesis_page.html)
    assert len(synthesis_page.html) < 3_000_000


def test_a_passed_evaluation_is_stated_at_the_top(synthesis_page: Page) -> None:
    assert f"✓ They pass all {len(GATES)} gates" in synthesis_page.text
    assert "✗" not in synthesis_page.text


def test_the_report_describes_the_run(synthesis_page: Page) -> None:
    for text in ("python synth.py generator=wgan_gp", "Generatorwgan_gp", "N 40, S 40"):
        assert text in synthesis_page.text


@pytest.mark.usefixtures("blank_figures")
def test_failed_gates_are_listed_with_undetected_controls(tmp_path: Path) -> None:
    test = make_fidelity(failed=("coverage", "frechet"))
    gates = [replace(g, undetected=("noise", "flat")) if g.measure == "frechet" else g for g in test.gates]
    page = write(tmp_path, fidelity={"test": replace(test, gates=tuple(gates))})
    assert f"✗ They fail 2 of {len(GATES)} gates" in page.text
    for key in MEASURES:
        assert (f"{MEASURES[key].title}: outcome in words" in page.text) == (key in ("coverage", "frechet"))
    assert page.row("Coverage all classes")[3] == "✗ failed"
    assert page.row("Fréchet distance all classes")[3] == "✗ failed : noise, flat not detected"
    assert page.row("Discriminative score F")[2:] == ["0.432", "✓ passed", "–"]


@pytest.mark.usefixtures("blank_figures")
def test_gates_have_a_column_for_the_validation_beats(tmp_path: Path) -> None:
    fidelity = {"validation": make_fidelity(value=0.111), "test": make_fidelity()}
    assert write(tmp_path, fidelity=fidelity).row("Coverage all classes")[-1] == "0.111"


def test_every_measure_has_a_real_reference_and_failure_controls(synthesis_page: Page) -> None:
    for measure in MEASURES.values():
        row = synthesis_page.row(f"{measure.title} {measure.description}")
        assert row[2:] == ["0.432", "0.5", *["0.25"] * len(CONTROLS)]


@pytest.mark.usefixtures("blank_figures")
def test_missing_values_are_dashes(tmp_path: Path) -> None:
    test = replace(make_fidelity(value=None, reference=None, control=None), gates=(), passed=False)
    page = write(tmp_path, fidelity={"test": test})
    assert "it is not known whether these beats can be used" in page.text
    assert page.row("Coverage Fraction")[2:] == ["–"] * (2 + len(CONTROLS))
    assert not re.search("None|nan", page.text)


@pytest.mark.usefixtures("blank_figures")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    test = make_fidelity((40,), classes=(HOSTILE,))
    gate = replace(test.gates[0], class_name=HOSTILE, bound=HOSTILE, undetected=(HOSTILE,))
    page = write(
        tmp_path,
        fidelity={"test": replace(test, gates=(gate,))},
        title=HOSTILE,
        details={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        overrides=[HOSTILE],
        command=HOSTILE,
    )
    assert "script" not in page.tag_names
    assert page.text.count(HOSTILE) >= 10


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("counts", [(40, 40, 40, 3, 0), (1, 0, 0, 0, 0)])
def test_the_counts_of_the_beats_are_in_the_table(tmp_path: Path, counts: tuple[int, ...]) -> None:
    fidelity = {"test": make_fidelity(counts)}
    assert write(tmp_path, fidelity=fidelity).row("Beats, synthetic")[1:] == [str(n) for n in counts]


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("simulated", [True, False])
def test_only_simulated_recordings_have_a_notice(tmp_path: Path, simulated: bool) -> None:
    assert ("Simulated recordings" in write(tmp_path, simulated=simulated).text) == simulated


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "counts"), [(1, (40, 3, 0)), (2, (1, 0, 0))])
def test_few_synthetic_beats_have_figures(channels: int, counts: tuple[int, ...]) -> None:
    assert draw(make_synthesis_report(channels, counts)) == FIGURES


@pytest.mark.slow
def test_classes_without_real_beats_have_figures() -> None:
    train, held_out = make_beat_set((0, 2, 40), 2), make_beat_set((0, 40, 1), 3)
    assert draw(make_synthesis_report(1, (40,) * 3, train=train, held_out=held_out)) == FIGURES


@pytest.mark.slow
def test_collapsed_beats_have_figures() -> None:
    beats = make_beat_set((40, 40))
    flat = replace(beats, signal=np.zeros_like(beats.signal))
    assert draw(make_synthesis_report(1, (40, 40), synthetic=flat)) == FIGURES


def test_a_report_without_a_fit_has_no_training_curves_and_no_gallery(tmp_path: Path) -> None:
    page = write(tmp_path, synthetic_counts=(40,), history={}, gallery=[], best_epoch=None)
    assert len(page.images) == len(FIGURES) - 2
    assert "Training curves" not in page.text
