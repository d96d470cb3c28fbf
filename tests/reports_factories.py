"""Parsed reports, and small content for them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.comparison.leaderboard import Leaderboard, build_leaderboard
from ecg.comparison.run_records import RunRecord
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.fidelity import CONTROLS, GATES, MEASURES, Fidelity, GateResult, MeasureResult, MeasureValue
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import CLASS_SCORES, ClassScores, MacroScores, Metrics, RunMetrics, Score
from ecg.reports.classification_report import ClassificationReport
from ecg.reports.synthesis_report import SynthesisReport

NAN = float("nan")
CLASSES = ("N", "S", "V", "F", "Q")
HOSTILE = "<script>alert('\"&')</script>"
VOID = {"meta", "img", "br", "link", "input", "hr"}
N_TIMES = 64


class Page(HTMLParser):
    """A parsed report: its tags, text and table rows. Refuses elements that are not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(self.html)
        assert not self.open
        self.rows = [[" ".join(field.split()) for field in row] for row in self.rows]
        self.text = " ".join(self.text.split())

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
        if not {"style", "script"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data + " "

    def row(self, start: str) -> list[str]:
        """Returns the first table row whose first field starts with `start`."""
        return next(row for row in self.rows if row and row[0].startswith(start))

    @property
    def images(self) -> list[dict[str, str | None]]:
        """Attributes of the images."""
        return [attributes for tag, attributes in self.tags if tag == "img"]

    @property
    def tag_names(self) -> set[str]:
        """Names of all elements."""
        return {tag for tag, _ in self.tags}


# -- classification ---------------------------------------------------------------------------------------------------


def make_predictions(n: int = 300, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Predictions:
    """Predictions that are usually correct, of equally many beats of each class."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % len(classes)
    logits = rng.normal(size=(n, len(classes))) + 2 * np.eye(len(classes))[label]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    record = rng.choice(["100", "103", "202"], n)
    return Predictions(label, probability.astype(np.float32), record, record, np.arange(n), classes)


def make_score(value: float | None, width: float = 0.02) -> Score:
    """A score whose interval reaches from `width` below it to `width` above it."""
    return Score(value) if value is None else Score(value, value - width, value + width)


def make_metrics(predictions: Predictions, base: float = 0.5, interval: str = "bootstrap over patients") -> Metrics:
    """Metrics with the counts of the predictions and made-up scores near `base`."""
    matrix = np.zeros((len(predictions.classes),) * 2, np.int64)
    np.add.at(matrix, (predictions.label, predictions.probability.argmax(axis=1)), 1)

    def scores(first: float) -> dict[str, Score]:
        return {name: make_score(first + 0.01 * i) for i, name in enumerate(CLASS_SCORES)}

    return Metrics(
        n_beats=len(predictions.label),
        n_patients=3,
        interval=interval,
        accuracy=make_score(base + 0.3),
        mcc=make_score(-0.123),
        ece=make_score(0.045),
        macro=MacroScores(**scores(base)),
        per_class={
            name: ClassScores(support=int(matrix[c].sum()), **scores(base + 0.1))
            for c, name in enumerate(predictions.classes)
        },
        confusion_matrix=matrix.tolist(),
        classes=predictions.classes,
        ec57=None,
    )


def make_classification_report(
    predictions: Predictions | None = None, leads: int = 1, **changes: Any
) -> ClassificationReport:
    """A report of a small run; `changes` replace fields."""
    predictions = predictions or make_predictions()
    n = len(predictions.label)
    report = ClassificationReport(
        title="cnn on mitbih",
        simulated=False,
        details={"Model": "cnn", "Seed": "0"},
        warnings=[],
        metrics={"validation": make_metrics(predictions, 0.6), "test": make_metrics(predictions)},
        predictions=predictions,
        history={
            "epoch": [0, 1, 2],
            "train/loss": [NAN, 0.9, 0.5],
            "val/loss": [1.2, 1.0, 1.1],
            "val/macro_f1": [0.2, 0.6, 0.5],
        },
        signals=np.random.default_rng(1).normal(size=(n, leads, 90)).astype(np.float32),
        sfreq=120.0,
        overrides=["model=cnn"],
        command="python train.py model=cnn",
    )
    return replace(report, **changes)


# -- synthesis --------------------------------------------------------------------------------------------------------


def make_beat_set(counts: tuple[int, ...] = (40,) * 5, seed: int = 0, channels: int = 1) -> BeatSet:
    """Beats with a bump whose position depends on the class, and a little noise."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(counts)), counts)
    t = np.arange(N_TIMES)
    bump = np.exp(-((t - 10 - 8 * label[:, None]) ** 2) / 20) * rng.uniform(0.8, 1, (len(label), 1))
    signal = bump[:, None] + 0.02 * rng.normal(size=(len(label), channels, N_TIMES))
    return BeatSet(signal.astype(np.float32), label.astype(np.int64))


def make_embedding(beats: BeatSet) -> NDArray[np.float64]:
    """Features (n, 4) of beats: averages over the time."""
    features: NDArray[np.float64] = beats.signal.mean(axis=1).reshape(len(beats), 4, -1).mean(axis=2, dtype=np.float64)
    return features


def make_fidelity(
    counts: tuple[int, ...] = (40,) * 5,
    *,
    classes: tuple[str, ...] = CLASSES,
    value: float | None = 0.4321,
    reference: float | None = 0.5,
    control: float | None = 0.25,
    failed: tuple[str, ...] = (),
    undetected: tuple[str, ...] = (),
) -> Fidelity:
    """The same value for every measure. The gates of the measures in `failed` fail."""

    def gate_result(measure: str, class_name: str | None, limit: float) -> GateResult:
        return GateResult(
            measure=measure,
            class_name=class_name,
            value=0.4321,
            reference=0.5,
            reached=value if value is not None else NAN,
            limit=limit,
            bound=f"at most {limit:g}",
            passed=measure not in failed,
            undetected=undetected if measure in failed else (),
            sentence=f"{MEASURES[measure].title}: outcome in words",
        )

    number = MeasureValue(value, reference, dict.fromkeys(CONTROLS, control))
    measures = {
        key: MeasureResult(known.title, known.description, known.better, number, dict.fromkeys(classes, number))
        for key, known in MEASURES.items()
    }
    n = dict(zip(classes, counts, strict=True))
    return Fidelity(
        classes=classes,
        counts={"synthetic": n, "train": n, "held_out": n},
        measures=measures,
        gates=tuple(gate_result(gate.measure, gate.class_name, gate.limit) for gate in GATES),
        passed=not failed,
    )


def make_synthesis_report(
    channels: int = 1, synthetic_counts: tuple[int, ...] = (40,) * 5, **changes: Any
) -> SynthesisReport:
    """A report of a small fit; `changes` replace fields."""
    n_classes = len(synthetic_counts)
    real_counts = (40,) * n_classes
    beats: dict[str, BeatSet] = {
        "synthetic": make_beat_set(synthetic_counts, 1, channels),
        "train": make_beat_set(real_counts, 2, channels),
        "held_out": make_beat_set(real_counts, 3, channels),
    }
    beats |= {name: changes.pop(name) for name in beats if name in changes}
    report = SynthesisReport(
        title="wgan_gp on mitbih",
        simulated=False,
        details={"Generator": "wgan_gp"},
        warnings=[],
        fidelity=dict.fromkeys(("validation", "test"), make_fidelity(synthetic_counts, classes=CLASSES[:n_classes])),
        **beats,
        synthetic_embedding=make_embedding(beats["synthetic"]),
        held_out_embedding=make_embedding(beats["held_out"]),
        classes=CLASSES[:n_classes],
        sfreq=120.0,
        history={
            "epoch": [0, 1, 2],
            "train/critic_loss": [3.0, 2.0, 1.0],
            "train/generator_loss": [1.0, 2.0, 1.5],
            "val/frechet": [9.0, 3.0, 4.0],
            "val/coverage": [0.1, 0.6, 0.5],
        },
        best_epoch=1,
        gallery=[(e, make_beat_set((2,) * n_classes, e).signal.reshape(n_classes, 2, N_TIMES)) for e in range(2)],
        overrides=["generator=wgan_gp"],
        command="python synth.py generator=wgan_gp",
    )
    return replace(report, **changes)


# -- leaderboard ------------------------------------------------------------------------------------------------------


def make_run(folder: Path, model: str, seed: int, f1: float, **changes: Any) -> RunRecord:
    """A finished run with made-up metrics near `f1`."""
    predictions = make_predictions(60, ("N", "S", "V"), seed)
    metrics = {"validation": make_metrics(predictions, f1 + 0.001 * seed), "test": make_metrics(predictions, f1)}
    run = RunRecord(
        folder=folder,
        state="finished",
        reason="",
        overrides=(f"model={model}", f"seed={seed}"),
        choices={"model": model, "augmentation": "none"},
        config={"seed": seed, "model._target_": f"ecg.models.{model}"},
        metrics=RunMetrics(simulated=True, logit_shift=0.0, temperature=1.0, subsets=metrics),
        history=[{"epoch": e, "train/loss": 1 / (e + 1), "val/macro_f1": 0.5 + 0.1 * e} for e in range(3)],
    )
    return replace(run, **changes)


def make_leaderboard(folder: Path, seeds: range = range(1, 6), other: str = "lstm") -> Leaderboard:
    """Two models, of which the second one is better, and a failed run."""
    runs = [make_run(folder / f"{seed}_cnn", "cnn", seed, 0.4 + 0.003 * (seed % 2)) for seed in seeds]
    runs += [make_run(folder / f"{seed}_{other}", other, seed, 0.5) for seed in seeds]
    failed = RunRecord(folder / "99_lstm", "failed", "out of memory", (f"model={other}", "seed=99"))
    return build_leaderboard([*runs, failed])
