"""The report: complete, self-contained, safe with any text, and written whole or not at all."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from ecg.evaluation import page, plots
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.report import RunReport, write_report

NAN = float("nan")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Parses a report, fails on tags that do not close, and keeps tags, text and tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data + " "

    def row(self, name: str) -> list[str]:
        """The first table row that starts with `name`, spaces normalised."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        return next(row for row in rows if row and row[0].startswith(name))


def predictions_of(n: int = 300, classes: tuple[str, ...] = ("N", "S", "V", "F", "Q"), seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % len(classes)
    logits = rng.normal(size=(n, len(classes))) + 2 * np.eye(len(classes))[label]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    record = rng.choice(["100", "103", "202"], n)
    return Predictions(label, probability.astype(np.float32), record, record, np.arange(n), classes)


def score(value: float | None, width: float = 0.02) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - width, "high": value + width}


def metrics_of(predictions: Predictions, base: float = 0.5) -> dict[str, Any]:
    classes = predictions.classes
    matrix = np.zeros((len(classes), len(classes)), int)
    np.add.at(matrix, (predictions.label, predictions.probability.argmax(axis=1)), 1)
    five = ("precision", "recall", "f1", "auroc", "auprc")
    return {
        "n_beats": len(predictions.label),
        "n_patients": 3,
        "interval": "bootstrap over patients",
        "accuracy": score(base + 0.3),
        "mcc": score(-0.123),
        "ece": score(0.045),
        "macro": {key: score(base + 0.01 * i) for i, key in enumerate(five)},
        "per_class": {
            name: {"support": int(matrix[c].sum())} | {key: score(base + 0.1 + 0.01 * i) for i, key in enumerate(five)}
            for c, name in enumerate(classes)
        },
        "confusion_matrix": matrix.tolist(),
        "classes": list(classes),
    }


def report_of(predictions: Predictions | None = None, leads: int = 1, **changes: Any) -> RunReport:
    predictions = predictions if predictions is not None else predictions_of()
    n = len(predictions.label)
    signals = np.random.default_rng(1).normal(size=(n, leads, 90)).astype(np.float32)
    whole = RunReport(
        title="cnn on mitbih",
        simulated=False,
        facts={"model": "cnn", "seed": "0"},
        warnings=[],
        metrics={"validation": metrics_of(predictions, 0.6), "test": metrics_of(predictions)},
        predictions=predictions,
        history={
            "epoch": [0, 1, 2],
            "train/loss": [NAN, 0.9, 0.5],
            "val/loss": [1.2, 1.0, 1.1],
            "val/macro_f1": [0.2, 0.6, 0.5],
            "lr": [1e-3, 1e-3, 1e-4],
        },
        signals=signals,
        sfreq=120.0,
        overrides=["model=cnn"],
        command="python train.py model=cnn",
    )
    return replace(whole, **changes)


def written(run: RunReport, folder: Path) -> Page:
    write_report(run, folder / "report.html")
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    html = (folder / "report.html").read_text()
    assert len(html) < 1_500_000
    return Page(html)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests of text and tables the time to draw."""
    monkeypatch.setattr(page, "data_uri", lambda figure: "data:,")
    for name in ("confusion_matrix", "pr_curves", "learning_curves", "calibration", "beats_right_and_wrong"):
        monkeypatch.setattr(plots, name, lambda *_: Figure())


def test_report_is_one_file_that_needs_no_other(tmp_path: Path) -> None:
    page = written(report_of(), tmp_path)
    assert page.tags[0] == ("html", {"lang": "en"})
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 5
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in images)
    assert not re.search(r"https?:|url\(|@import", (tmp_path / "report.html").read_text())


@pytest.mark.usefixtures("no_figures")
def test_scores_stand_with_their_intervals(tmp_path: Path) -> None:
    page = written(report_of(), tmp_path)
    assert page.row("N normal")[1:5] == [
        "60",
        "0.600 0.580 – 0.620",
        "0.610 0.590 – 0.630",
        "0.620 0.600 – 0.640",
    ]
    assert page.row("Mean of the classes")[1] == "300"
    assert page.row("MCC")[1] == "−0.123 −0.143 – −0.103"
    assert page.row("Accuracy")[1:] == ["0.900 0.880 – 0.920", "0.800 0.780 – 0.820"]
    for text in (
        "bootstrap over patients",
        "modelcnn",
        "300 test beats of 3 patients",
        "python train.py model=cnn",
        "model=cnn",
    ):
        assert text in page.text


@pytest.mark.usefixtures("no_figures")
def test_further_readings_stand_behind_validation_and_test(tmp_path: Path) -> None:
    side = metrics_of(predictions_of())
    metrics = {"test without 202": side, "test": side, "validation": side}
    page = written(report_of(metrics=metrics), tmp_path)
    assert ["", "Validation ", "Test ", "Test without 202 "] in page.rows


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("simulated", [True, False])
def test_banner_where_the_recordings_are_simulated(tmp_path: Path, simulated: bool) -> None:
    page = written(report_of(simulated=simulated), tmp_path)
    assert ("Simulated recordings: these scores say nothing about real ECGs" in page.text) == simulated


@pytest.mark.usefixtures("no_figures")
def test_hostile_text_stays_text(tmp_path: Path) -> None:
    bad = "<script>alert('\"&')</script>"
    predictions = predictions_of(classes=("N", bad))
    metrics = metrics_of(predictions) | {"interval": bad}
    metrics["ec57"] = {bad: {"gross": {"Se": 1.0}, "per_record": {bad: {"n": 1}}}}
    hostile = report_of(
        predictions,
        title=bad,
        facts={bad: bad, "model": bad},
        warnings=[bad],
        overrides=[bad],
        command=bad,
        metrics={"validation": metrics, "test": metrics, bad: metrics},
    )
    page = written(hostile, tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert unescape(page.text).count(bad) >= 10


@pytest.mark.usefixtures("no_figures")
def test_undefined_scores_are_dashes(tmp_path: Path) -> None:
    test = metrics_of(predictions_of())
    test["per_class"]["Q"] = {"support": 0} | dict.fromkeys(("precision", "recall", "f1"), score(None))
    test["macro"]["f1"] = score(None)
    test["mcc"] = {"value": NAN, "low": None, "high": None}
    test["accuracy"] = {"value": 0.5, "low": None, "high": None}
    page = written(report_of(metrics={"test": test}), tmp_path)
    assert page.row("Q unknown or paced")[1:] == ["0", *6 * ["–"]]
    assert page.row("MCC") == ["MCC", "–"]
    assert page.row("Accuracy") == ["Accuracy", "0.500"]
    assert "None" not in page.text
    assert "nan" not in page.text


@pytest.mark.usefixtures("no_figures")
def test_ec57_in_percent_with_every_record_folded_away(tmp_path: Path) -> None:
    three = {"Se": 0.8765, "+P": None, "FPR": 0.0012}
    records = {"100": {**three, "n": 12}}
    ec57 = {"S": {"gross": three, "record_mean": three, "per_record": records}, "F": {"gross": three}}
    side = metrics_of(predictions_of())
    readings = {"test": side | {"ec57": ec57}, "test without 202": side | {"ec57": ec57}, "validation": side}
    page = written(report_of(metrics=readings), tmp_path)
    rows = [[cell.strip() for cell in row] for row in page.rows]
    assert ["", "test without 202", *2 * ["87.65", "–", "0.12"]] in rows
    assert ["100", "12", "87.65", "–", "0.12"] in rows
    assert page.row("F fusion of ventricular and normal, F1")
    assert any(row[0].startswith("F") and row[1:] == ["test", "87.65", "–", "0.12", *3 * ["–"]] for row in rows)
    assert any(tag == "details" and "open" not in attrs for tag, attrs in page.tags)


@pytest.mark.usefixtures("no_figures")
def test_no_ec57_without_its_metrics(tmp_path: Path) -> None:
    assert "EC57" not in written(report_of(), tmp_path).text


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"epoch": [], "val/loss": []},
        {"epoch": [0.0], "train/loss": [NAN], "val/macro_f1": [NAN]},
        {"epoch": [0.0, 1.0], "train/loss": [float("inf"), -2.0], "val/macro_f1": [0.5]},
    ],
)
def test_history_with_holes(history: dict[str, list[float]]) -> None:
    figure = plots.learning_curves(history)
    figure.draw_without_rendering()
    assert len(figure.axes) == 2


def test_names_are_not_read_as_mathematics() -> None:
    predictions = predictions_of(20, ("N", "$S^$"))
    predictions = replace(predictions, record=np.full(20, r"$\frac$"))
    for figure in (
        plots.pr_curves(predictions),
        plots.confusion_matrix([[1, 0], [0, 1]], predictions.classes),
        plots.beats_right_and_wrong(predictions, np.ones((20, 1, 9), np.float32), 9.0),
    ):
        figure.draw_without_rendering()


@pytest.mark.usefixtures("no_figures")
def test_a_run_without_epochs_says_so(tmp_path: Path) -> None:
    assert "No epoch was recorded." in written(report_of(history={"epoch": [0.0], "lr": [NAN]}), tmp_path).text


def test_best_epoch_is_marked() -> None:
    figure = plots.learning_curves({"epoch": [0, 1, 2, 3], "val/macro_f1": [0.1, NAN, 0.7, 0.6]})
    assert "best epoch 2\n0.700" in texts(figure)


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for axes in figure.axes for t in [*axes.texts, axes.title, axes._left_title]]  # type: ignore[attr-defined]


def test_confusion_matrix_shows_counts_and_shares() -> None:
    figure = plots.confusion_matrix([[1, 3], [0, 0]], ["N", "S"])
    assert [t.get_text() for t in figure.axes[0].texts] == ["1\n25 %", "3\n75 %", "–", "–"]


def test_pr_curves_of_many_beats_stay_short_and_name_absent_classes() -> None:
    many = predictions_of(5000)
    figure = plots.pr_curves(replace(many, label=np.minimum(many.label, 3)))
    lines = figure.axes[0].lines
    assert max(len(line.get_xdata()) for line in lines) <= plots.CURVE_POINTS + 2  # type: ignore[arg-type]
    assert lines[-1].get_label() == "Q   no beats"
    for line in lines[:-1]:
        recall, precision = (np.asarray(values) for values in line.get_data())
        assert line.get_drawstyle() == "steps-post"
        area = -np.sum(np.diff(recall) * precision[:-1])
        assert area == pytest.approx(float(str(line.get_label()).split()[2]), abs=0.01)
    assert all(line.get_color() == plots.CLASS_COLOURS[str(line.get_label())[0]] for line in lines)


def test_perfect_calibration_lies_on_the_diagonal() -> None:
    confidence = np.repeat(np.float32([0.6, 0.7, 0.8, 0.9]), 1000)
    label = np.concatenate([np.arange(1000) >= 1000 * c for c in (0.6, 0.7, 0.8, 0.9)]).astype(np.int64)
    name = np.full(4000, "100")
    probability = np.stack([confidence, 1 - confidence], axis=1)
    figure = plots.calibration(Predictions(label, probability, name, name, np.arange(4000), ("N", "S")))
    mean, accuracy = figure.axes[0].lines[1].get_data()
    np.testing.assert_allclose(accuracy, mean, atol=1e-6)
    np.testing.assert_allclose(mean, [0.6, 0.7, 0.8, 0.9], atol=1e-6)


def test_surest_mistakes_come_first() -> None:
    probability = np.float32([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95], [0.2, 0.8], [0.3, 0.7]])
    record = np.array(["100", "101", "102", "103", "104"])
    predictions = Predictions(np.array([0, 0, 0, 0, 1]), probability, record, record, np.arange(5), ("N", "S"))
    figure = plots.beats_right_and_wrong(predictions, np.ones((5, 1, 20), np.float32), 20.0, n_each=2)
    shown = [text for text in texts(figure) if text.strip()]
    assert [text.split() for text in shown if "→" in text] == [
        ["N", "→", "N", "0.90", "100"],
        ["S", "→", "S", "0.70", "104"],
        ["N", "→", "S", "0.95", "102"],
        ["N", "→", "S", "0.80", "103"],
    ]
    assert shown.count("none") == 1  # no S beat was wrong
    assert figure.axes[-1].get_xlim() == (0, 1)


@pytest.mark.parametrize("case", ["absent", "faultless", "four classes, many leads", "diverged", "single"])
def test_unusual_beats_make_a_report(tmp_path: Path, case: str) -> None:
    predictions = predictions_of(60, ("N", "S", "V", "F") if case.startswith("four") else ("N", "S", "V"))
    leads = 12 if case.endswith("leads") else 1
    if case == "absent":
        predictions = replace(predictions, label=np.minimum(predictions.label, 1))
    if case == "faultless":
        predictions = replace(predictions, label=predictions.probability.argmax(axis=1))
    if case == "diverged":
        predictions = replace(predictions, probability=np.full((60, 3), NAN, np.float32))
    if case == "single":
        predictions = predictions_of(1, ("N", "S"))
    page = written(report_of(predictions, leads=leads), tmp_path)
    assert sum(tag == "img" for tag, _ in page.tags) == 5


def test_long_figures_become_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plots.confusion_matrix([[1, 0], [0, 1]], ["N", "S"])
    assert page.data_uri(figure).startswith("data:image/svg+xml;base64,")
    monkeypatch.setattr(page, "MAX_SVG_BYTES", 10)
    assert page.data_uri(figure).startswith("data:image/png;base64,")


def test_signals_of_other_beats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="7 signals cannot belong to 300 predictions"):
        write_report(report_of(signals=np.zeros((7, 1, 20), np.float32)), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_figures")
def test_failed_writing_leaves_the_old_report_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(report_of(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("no_figures")
def test_vanished_folder_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        write_report(report_of(), folder / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_figures")
def test_report_that_cannot_take_its_name_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(report_of(), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.usefixtures("no_figures")
def test_threads_may_write_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        for written in [threads.submit(write_report, report_of(), tmp_path / "report.html") for _ in range(3)]:
            written.result()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    Page((tmp_path / "report.html").read_text())
