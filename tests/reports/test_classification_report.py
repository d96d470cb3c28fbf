"""The report of a classifier: complete, self-contained, and safe with any text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports_factories import (
    HOSTILE,
    NAN,
    Page,
    make_classification_report,
    make_metrics,
    make_predictions,
    make_score,
)

from ecg.evaluation.scores import EC57Class, Rates, RecordRates, Score
from ecg.reports.classification_report import draw_figures, write_classification_report


def write(folder: Path, **changes: Any) -> Page:
    write_classification_report(make_classification_report(**changes), folder / "report.html")
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page(folder / "report.html")


def test_the_report_is_one_file_that_needs_no_other_file(classification_page: Page) -> None:
    assert classification_page.html.startswith("<!DOCTYPE html>")
    assert classification_page.html.endswith("</html>\n")
    assert classification_page.tags[0] == ("html", {"lang": "en"})
    assert not {"script", "link", "iframe", "object"} & classification_page.tag_names
    assert len(classification_page.images) == 5
    assert all((i["src"] or "").startswith("data:image/") and i["alt"] for i in classification_page.images)
    assert not re.search(r"https?:|url\(|@import", classification_page.html)
    assert len(classification_page.html) < 1_500_000


def test_scores_have_intervals(classification_page: Page) -> None:
    assert classification_page.row("N normal")[1:5] == [
        "60",
        "0.600 0.580 – 0.620",
        "0.610 0.590 – 0.630",
        "0.620 0.600 – 0.640",
    ]
    assert classification_page.row("Macro average")[1] == "300"
    assert classification_page.row("MCC")[1] == "−0.123 −0.143 – −0.103"
    assert classification_page.row("Accuracy")[1:] == ["0.900 0.880 – 0.920", "0.800 0.780 – 0.820"]


def test_the_report_describes_the_run(classification_page: Page) -> None:
    for text in (
        "bootstrap over patients",
        "300 test beats of 3 patients",
        "Modelcnn",
        "python train.py model=cnn",
        "Overrides model=cnn",
    ):
        assert text in classification_page.text


@pytest.mark.usefixtures("blank_figures")
def test_validation_and_test_precede_further_subsets(tmp_path: Path) -> None:
    metrics = make_metrics(make_predictions())
    page = write(tmp_path, metrics={"test without 202": metrics, "test": metrics, "validation": metrics})
    assert ["", "Validation", "Test", "Test without 202"] in page.rows


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("simulated", [True, False])
def test_only_simulated_recordings_have_a_notice(tmp_path: Path, simulated: bool) -> None:
    assert ("Simulated recordings" in write(tmp_path, simulated=simulated).text) == simulated


@pytest.mark.usefixtures("blank_figures")
def test_warnings_are_listed_only_if_there_are_any(tmp_path: Path) -> None:
    assert "Warnings" not in write(tmp_path).text
    assert "Warnings Few beats." in write(tmp_path, warnings=["Few beats."]).text


@pytest.mark.usefixtures("blank_figures")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    predictions = make_predictions(classes=("N", HOSTILE))
    ec57 = {HOSTILE: EC57Class(Rates(1.0, None, None), None, {HOSTILE: RecordRates(1, None, None, None)})}
    metrics = replace(make_metrics(predictions, interval=HOSTILE), ec57=ec57)
    page = write(
        tmp_path,
        predictions=predictions,
        title=HOSTILE,
        details={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        overrides=[HOSTILE],
        command=HOSTILE,
        metrics={"validation": metrics, "test": metrics, HOSTILE: metrics},
    )
    assert "script" not in page.tag_names
    assert page.text.count(HOSTILE) >= 13


@pytest.mark.usefixtures("blank_figures")
def test_undefined_scores_are_dashes(tmp_path: Path) -> None:
    test = make_metrics(make_predictions())
    undefined = dict.fromkeys(("precision", "recall", "f1", "auroc", "auprc"), make_score(None))
    test = replace(
        test,
        per_class=test.per_class | {"Q": replace(test.per_class["Q"], support=0, **undefined)},
        macro=replace(test.macro, f1=make_score(None)),
        mcc=Score(NAN),
        accuracy=Score(0.5),
    )
    page = write(tmp_path, metrics={"test": test})
    assert page.row("Q unknown or paced")[1:] == ["0", *6 * ["–"]]
    assert page.row("MCC") == ["MCC", "–"]
    assert page.row("Accuracy") == ["Accuracy", "0.500"]
    assert "no interval" in page.text
    assert not re.search("None|nan", page.text)


@pytest.mark.usefixtures("blank_figures")
def test_ec57_rates_are_in_percent_and_those_of_each_record_are_collapsed(tmp_path: Path) -> None:
    rates = Rates(0.8765, None, 0.0012)
    ec57 = {
        "S": EC57Class(rates, rates, {"100": RecordRates(12, 0.8765, None, 0.0012)}),
        "F": EC57Class(rates, None, {}),
    }
    plain = make_metrics(make_predictions())
    with_ec57 = replace(plain, ec57=ec57)
    page = write(tmp_path, metrics={"test": with_ec57, "test without 202": with_ec57, "validation": plain})
    assert ["", "test without 202", *2 * ["87.65", "–", "0.12"]] in page.rows
    assert ["100", "12", "87.65", "–", "0.12"] in page.rows
    assert ["F fusion of ventricular and normal", "test", "87.65", "–", "0.12", *3 * ["–"]] in page.rows
    assert any(tag == "details" and "open" not in attributes for tag, attributes in page.tags)


def test_without_ec57_results_there_is_no_ec57_section(classification_page: Page) -> None:
    assert "EC57" not in classification_page.text


@pytest.mark.usefixtures("blank_figures")
def test_a_run_without_epochs_has_no_training_curves(tmp_path: Path) -> None:
    page = write(tmp_path, history={"epoch": [0.0], "lr": [NAN]})
    assert "No epoch was recorded." in page.text
    assert len(page.images) == 4


def test_signals_of_other_beats_are_an_error(tmp_path: Path) -> None:
    report = make_classification_report(signals=np.zeros((7, 1, 20), np.float32))
    with pytest.raises(ValueError, match="7 signals but 300 predictions"):
        write_classification_report(report, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("case", ["absent class", "no errors", "four classes, many leads", "diverged", "one beat"])
def test_unusual_predictions_have_figures(case: str) -> None:
    predictions = make_predictions(60, ("N", "S", "V", "F") if case.startswith("four") else ("N", "S"))
    if case == "absent class":
        predictions = replace(predictions, label=np.zeros_like(predictions.label))
    if case == "no errors":
        predictions = replace(predictions, label=predictions.probability.argmax(axis=1))
    if case == "diverged":
        predictions = replace(predictions, probability=np.full((60, 2), NAN, np.float32))
    if case == "one beat":
        predictions = make_predictions(1, ("N", "S"))
    figures = draw_figures(make_classification_report(predictions, leads=12 if "leads" in case else 1))
    for figure in figures.values():
        figure.draw_without_rendering()
    assert len(figures) == 5
