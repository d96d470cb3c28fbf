"""Figures of the predictions of a classifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from reports_factories import NAN, make_predictions

from ecg.evaluation.predictions import Predictions
from ecg.reports import plots
from ecg.reports.colours import CLASS_COLOURS, class_colour


def texts(figure: Figure) -> list[str]:
    titles = [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")]
    return titles + [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"epoch": [], "val/loss": []},
        {"epoch": [0.0], "train/loss": [NAN], "val/macro_f1": [NAN]},
        {"epoch": [0.0, 1.0], "train/loss": [float("inf"), -2.0], "val/macro_f1": [0.5]},
    ],
)
def test_training_curves_of_an_incomplete_history(history: dict[str, list[float]]) -> None:
    figure = plots.training_curves(history)
    figure.draw_without_rendering()
    assert len(figure.axes) == 2


def test_training_curves_mark_the_best_epoch() -> None:
    figure = plots.training_curves({"epoch": [0, 1, 2, 3], "val/macro_f1": [0.1, NAN, 0.7, 0.6]})
    assert "best epoch 2\n0.700" in texts(figure)


def test_names_are_not_interpreted_as_formulas() -> None:
    predictions = make_predictions(20, ("N", "$S^$"))
    predictions = replace(predictions, record=np.full(20, r"$\frac$"))
    for figure in (
        plots.pr_curves(predictions),
        plots.confusion_matrix([[1, 0], [0, 1]], predictions.classes),
        plots.correct_and_wrong_beats(predictions, np.ones((20, 1, 9), np.float32), 9.0),
    ):
        figure.draw_without_rendering()


def test_a_class_has_the_same_colour_in_every_call() -> None:
    assert class_colour("S") == CLASS_COLOURS["S"]
    assert class_colour("other") == class_colour("other")


def test_the_confusion_matrix_shows_counts_and_percentages() -> None:
    figure = plots.confusion_matrix([[1, 3], [0, 0]], ["N", "S"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1\n25 %", "3\n75 %", "–", "–"]


def test_percentages_near_0_and_100_are_not_rounded_to_them() -> None:
    figure = plots.confusion_matrix([[9999, 1], [4, 996]], ["N", "S"])
    assert [text.get_text().split("\n")[1] for text in figure.axes[0].texts] == [">99.9 %", "<0.1 %", "0.4 %", "99.6 %"]


def test_precision_recall_curves_are_thinned_and_absent_classes_are_in_the_legend() -> None:
    predictions = make_predictions(5000)
    figure = plots.pr_curves(replace(predictions, label=np.minimum(predictions.label, 3)))
    lines = figure.axes[0].lines
    curves = [np.array(line.get_data(), np.float64) for line in lines]
    assert max(curve.shape[1] for curve in curves) <= plots.CURVE_POINTS + 2
    assert lines[-1].get_label() == "Q   no beats"
    for line, (recall, precision) in zip(lines[:-1], curves[:-1], strict=True):
        assert line.get_drawstyle() == "steps-post"
        area = -np.sum(np.diff(recall) * precision[:-1])
        assert area == pytest.approx(float(str(line.get_label()).split()[2]), abs=0.01)
    assert all(line.get_color() == CLASS_COLOURS[str(line.get_label())[0]] for line in lines)


def test_perfect_calibration_lies_on_the_diagonal() -> None:
    confidence = np.repeat(np.array([0.6, 0.7, 0.8, 0.9], np.float32), 1000)
    label = np.concatenate([np.arange(1000) >= 1000 * c for c in (0.6, 0.7, 0.8, 0.9)]).astype(np.int64)
    name = np.full(4000, "100")
    probability = np.stack([confidence, 1 - confidence], axis=1)
    figure = plots.calibration(Predictions(label, probability, name, name, np.arange(4000), ("N", "S")))
    mean, accuracy = np.array(figure.axes[0].lines[1].get_data(), np.float64)
    np.testing.assert_allclose(accuracy, mean, atol=1e-6)
    np.testing.assert_allclose(mean, [0.6, 0.7, 0.8, 0.9], atol=1e-6)


def test_the_most_confident_errors_come_first() -> None:
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95], [0.2, 0.8], [0.3, 0.7]], np.float32)
    record = np.array(["100", "101", "102", "103", "104"])
    predictions = Predictions(np.array([0, 0, 0, 0, 1]), probability, record, record, np.arange(5), ("N", "S"))
    figure = plots.correct_and_wrong_beats(predictions, np.ones((5, 1, 20), np.float32), 20.0, n_each=2)
    drawn = [text for text in texts(figure) if text.strip()]
    assert [text.split() for text in drawn if "→" in text] == [
        ["N", "→", "N", "0.90", "100"],
        ["S", "→", "S", "0.70", "104"],
        ["N", "→", "S", "0.95", "102"],
        ["N", "→", "S", "0.80", "103"],
    ]
    assert drawn.count("none") == 1  # no S beat is misclassified
    assert figure.axes[-1].get_xlim() == (0, 1)
