"""Figures about one run's predictions: each function returns a `matplotlib.figure.Figure`.

None of them touches pyplot or its settings, so they work without a display and from several threads at once.
A class has the same colour in every figure, and a second mark beside it (dashes, a name), because not
everybody tells all colours apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from ecg.evaluation.predictions import Predictions

# Okabe and Ito's colours, which colour-blind readers tell apart: https://jfly.uni-koeln.de/color/
CLASS_COLOURS: dict[str, str] = {
    "N": "#0072B2",
    "S": "#E69F00",
    "V": "#D55E00",
    "F": "#009E73",
    "Q": "#CC79A7",
}
OTHER_COLOURS = ("#56B4E9", "#8C6D31", "#5C5C8A", "#666666")
DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (1, 1)))
# Neither is the colour of a class, and they differ in lightness too.
RIGHT, WRONG, GAP = "#24405C", "#D6266E", "#E9A3BF"
INK, MUTED, LINE, GRID = "#1F2933", "#5B6770", "#A9B4BD", "#E6EAED"
BLUES = LinearSegmentedColormap.from_list("row share", ["#FFFFFF", "#CFE2F1", "#5E9CC9", "#12507F"])

FAMILIES = ("Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans")
FONT_SIZE = 9.0  # points: 12 pixels where an inch of the figure is shown as 96
CURVE_POINTS = 300  # of a precision-recall curve; a hundred thousand beats would make as many
CALIBRATION_BINS = 15
FEW_BEATS = 10  # a bin with fewer says little: it is drawn hollow and apart from the line
LEADS_SHOWN = 3


def class_colour(name: str) -> str:
    """The colour of a class in every figure and table; classes beyond EC57 get one from their name."""
    return CLASS_COLOURS.get(name) or OTHER_COLOURS[sum(name.encode()) % len(OTHER_COLOURS)]


def confusion_matrix(matrix: NDArray[np.int64] | Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Counts, and shares of each row in %, coloured by the share.

    Args:
        matrix: (n_classes, n_classes) counts; rows are the truth, columns the prediction.
        classes: names of the classes in the order of rows and columns.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    total = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(total, 1)
    figure, axes = _figure(4.6, 4.2)
    axes.imshow(share, cmap=BLUES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        text = f"{counts[row, column]:,}\n{_percent(share[row, column])}" if total[row, 0] else "–"
        ink = "white" if share[row, column] > 0.55 else MUTED if counts[row, column] == 0 else INK
        axes.text(column, row, text, ha="center", va="center", color=ink, linespacing=1.35)
    ticks = range(len(classes))
    axes.set_xticks(ticks, list(classes))
    axes.set_yticks(ticks, [f"{name}\n{n:,}" for name, n in zip(classes, total[:, 0], strict=True)])
    axes.set(xlabel="predicted class", ylabel="true class, with its number of beats")
    axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return dressed(figure)


def pr_curves(predictions: Predictions) -> Figure:
    """Precision over recall of each class against all others, with its average precision in the legend.

    A class without beats has no curve; the legend says so.
    """
    figure, axes = _figure(6.2, 4.2)
    probability = _finite(predictions)
    for index, name in enumerate(predictions.classes):
        truth = predictions.label == index
        style: dict[str, Any] = {"color": class_colour(name), "linestyle": DASHES[index % len(DASHES)]}
        if not truth.any():
            axes.plot([], [], **style, label=f"{name}   no beats")
            continue
        precision, recall, _ = precision_recall_curve(truth, probability[:, index])
        precision, recall = _thinned(precision, recall)
        ap = average_precision_score(truth, probability[:, index])
        label = f"{name}   AP {ap:.3f}   (by chance {truth.mean():.3f})"
        # Between two thresholds holds the precision of the higher recall, as in AP; recall falls on the way.
        axes.step(recall, precision, where="post", linewidth=1.8, label=label, **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), xlabel="recall", ylabel="precision")
    axes.grid(color=GRID)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, handlelength=2.6, columnspacing=2.5)
    return dressed(figure)


def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Losses on the left, validation macro-F1 on the right; a line marks the epoch of the best macro-F1.

    Args:
        history: lists by "epoch", "train/loss", "val/loss" and "val/macro_f1", any of which may be absent
            and may hold NaN where nothing was measured.
    """
    figure = Figure(figsize=(6.2, 4.2), layout="constrained", facecolor="white")
    losses, scores = figure.subplots(1, 2)
    for key, label, colour, marker in (
        ("train/loss", "training", MUTED, "s"),
        ("val/loss", "validation", CLASS_COLOURS["N"], "o"),
    ):
        _plot_measured(losses, history, key, label=label, color=colour, marker=marker)
    best = _plot_measured(scores, history, "val/macro_f1", label="validation", color=CLASS_COLOURS["N"], marker="o")
    losses.set(ylabel="loss")
    losses.set_ylim(bottom=min(0.0, losses.dataLim.y0))  # dataLim is infinite where nothing was drawn
    scores.set(ylabel="macro-F1", ylim=(0, 1.02))
    for axes in (losses, scores):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(color=GRID)
        if best is not None:
            axes.axvline(best.epoch, color=WRONG, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    if best is not None:
        left = best.epoch <= np.mean(scores.get_xlim())
        _note(scores, best, f"best epoch {best.epoch:g}\n{best.value:.3f}", left=bool(left))
    if losses.get_legend_handles_labels()[0]:
        losses.legend(loc="lower left", bbox_to_anchor=(-0.03, 1), ncols=2, borderaxespad=0.2)
    return dressed(figure)


def calibration(predictions: Predictions) -> Figure:
    """Reliability diagram: how often the classifier was right when it was so sure, over how sure it was.

    Fifteen bins of equal width hold the beats by the probability of the predicted class; a bin of fewer than
    ten is hollow. Below, how many beats each bin holds.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained", facecolor="white")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    probability = _finite(predictions)
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == predictions.label
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    held = count > 0
    mean = np.bincount(bins, confidence, CALIBRATION_BINS)[held] / count[held]
    accuracy = np.bincount(bins, right, CALIBRATION_BINS)[held] / count[held]
    above.plot([0, 1], [0, 1], color=LINE, linewidth=1.2, linestyle=(0, (4, 2)))
    above.vlines(mean, np.minimum(mean, accuracy), np.maximum(mean, accuracy), color=GAP, linewidth=1.6)
    many = count[held] >= FEW_BEATS
    above.plot(mean[many], accuracy[many], color=RIGHT, marker="o", markersize=4.5, linewidth=1.6, clip_on=False)
    few: dict[str, Any] = {"color": MUTED, "markerfacecolor": "white", "markersize": 4.5, "clip_on": False}
    above.plot(mean[~many], accuracy[~many], "o", **few)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of right predictions")
    below.bar(edges[:-1][held], count[held], width=1 / CALIBRATION_BINS, align="edge", color=LINE, edgecolor="white")
    below.set_yscale("log")
    below.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    below.set(ylim=(0.6, max(10, 2 * int(count.max(initial=1)))), ylabel="beats")
    below.set_xlabel("probability of the predicted class")
    above.grid(color=GRID)
    return dressed(figure)


def beats_right_and_wrong(
    predictions: Predictions, signals: NDArray[np.float32], sfreq: float, n_each: int = 3
) -> Figure:
    """A row for each class with beats: some it was right about on the left, its surest mistakes on the right.

    The right ones run from the surest to the least sure. Up to three leads of a beat are drawn, one below the
    other.

    Args:
        predictions: of n beats.
        signals: (n, C, T), aligned with the predictions.
        sfreq: sampling rate of the signals in Hz.
        n_each: columns for each of the two kinds.
    """
    rows = [i for i in range(len(predictions.classes)) if (predictions.label == i).any()]
    n_rows = max(1, len(rows))
    figure = Figure(figsize=(10.6, 0.55 + 1.55 * n_rows), layout="constrained", facecolor="white")
    cells = figure.add_gridspec(1, 2, wspace=0.03)
    halves = [figure.add_subfigure(cells[0, side]) for side in range(2)]
    for half, kind, colour in zip(halves, ("right", "wrong, the surest first"), (RIGHT, WRONG), strict=True):
        half.suptitle(f"classified {kind}", x=0.03, ha="left", color=colour, fontweight="bold")
        grid = half.subplots(n_rows, n_each, squeeze=False, sharex=True)
        for axes_row, index in zip(grid, rows, strict=False):
            chosen = _chosen(predictions, index, n_each)[0 if colour == RIGHT else 1]
            _draw_beats(axes_row, chosen, colour, predictions, signals, sfreq)
            _name_row(axes_row[0], predictions.classes[index])
        for axes in grid.flat:
            ruled = axes.has_data() or axes in grid[-1]
            axes.spines[:].set_visible(False)
            axes.spines["bottom"].set_visible(ruled)
            axes.tick_params(left=False, labelleft=False, bottom=ruled)
        for axes in grid[-1]:
            axes.set(xlabel="seconds", xlim=(0, signals.shape[-1] / sfreq))
    return dressed(figure)


@dataclass(frozen=True)
class _Best:
    epoch: float
    value: float


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots()


def dressed(figure: Figure) -> Figure:
    """Gives all text and all frames one look, without the global settings of matplotlib."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(LINE)
        axes.set_axisbelow(True)
        axes.tick_params(color=LINE, labelcolor=MUTED)
        axes.tick_params(labelsize=FONT_SIZE, labelfontfamily=[_family(), "DejaVu Sans"])
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(MUTED)
        if (legend := axes.get_legend()) is not None:
            legend.set_frame_on(False)
            for text in legend.get_texts():
                text.set_color(INK)
    for text in figure.findobj(Text):
        text.set_fontfamily([_family(), "DejaVu Sans"])
        text.set_fontsize(FONT_SIZE)
        text.set_parse_math(False)  # a record may be called what it likes, "$" included
    return figure


@cache
def _family() -> str:
    """A sans serif like the browser's, if the system has one: asking for an absent one logs a warning."""
    present = set(font_manager.get_font_names())
    return next((name for name in FAMILIES if name in present), "DejaVu Sans")


def _finite(predictions: Predictions) -> NDArray[np.float32]:
    """The probabilities (n, n_classes), with 0 for NaN: a run that diverged deserves a report as well."""
    return np.nan_to_num(predictions.probability, nan=0.0)


def _percent(share: float) -> str:
    """A share in %, never rounded to none or to all where it is neither."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def _thinned(
    precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `CURVE_POINTS` points of a curve, evenly spread along its length, both ends among them."""
    if len(recall) <= CURVE_POINTS:
        return precision, recall
    length = np.append(0, np.cumsum(np.hypot(np.diff(recall), np.diff(precision))))
    at = np.searchsorted(length, np.linspace(0, length[-1], CURVE_POINTS))
    keep = np.unique(np.append(np.clip(at, 0, len(recall) - 1), [0, len(recall) - 1]))
    return precision[keep], recall[keep]


def _plot_measured(axes: Axes, history: Mapping[str, Sequence[float]], key: str, **style: Any) -> _Best | None:
    """Draws one quantity where it was measured; returns where it was highest."""
    value = np.asarray(history.get(key, ()), dtype=np.float64)
    epoch = np.asarray(history.get("epoch", np.arange(len(value))), dtype=np.float64)
    n = min(len(value), len(epoch))
    measured = np.isfinite(value[:n]) & np.isfinite(epoch[:n])
    epoch, value = epoch[:n][measured], value[:n][measured]
    if not len(value):
        return None
    # Dots alone tell few epochs apart; among many they only blur the line.
    axes.plot(epoch, value, linewidth=1.8, markersize=3.5 if len(value) <= 30 else 0, **style)
    return _Best(float(epoch[value.argmax()]), float(value.max()))


def _note(axes: Axes, best: _Best, text: str, left: bool) -> None:
    """Writes beside the mark of the best epoch, on the side that has the room."""
    axes.annotate(
        text,
        (best.epoch, 0.03),
        xytext=(6 if left else -6, 0),
        textcoords="offset points",
        ha="left" if left else "right",
        color=WRONG,
    )


def _chosen(predictions: Predictions, index: int, n_each: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of one class: right ones spread over all degrees of confidence, and the surest mistakes."""
    probability = _finite(predictions)
    predicted, confidence = probability.argmax(axis=1), probability.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    order = order[predictions.label[order] == index]
    right, wrong = order[predicted[order] == index], order[predicted[order] != index]
    spread = np.unique(np.linspace(0, max(0, len(right) - 1), n_each).round().astype(np.int64))
    return right[spread] if len(right) else right, wrong[:n_each]


def _draw_beats(
    row: NDArray[np.object_],
    positions: NDArray[np.int64],
    colour: str,
    predictions: Predictions,
    signals: NDArray[np.float32],
    sfreq: float,
) -> None:
    probability = _finite(predictions)
    for axes, position in zip(row, positions, strict=False):
        guess = int(probability[position].argmax())
        names = f"{predictions.classes[predictions.label[position]]} → {predictions.classes[guess]}"
        sure = f"{probability[position, guess]:.2f}"
        axes.set_title(f"{names}   {sure}   {predictions.record[position]}", loc="left", color=colour, pad=3)
        for lead in _stacked(signals[position]):
            axes.plot(np.arange(len(lead)) / sfreq, lead, color=colour, linewidth=1.3)
        axes.grid(axis="x", color=GRID)
    if not len(positions):
        row[0].set_title(" ", pad=3)  # keeps the row as high as its neighbour's
        row[0].text(0.0, 0.5, "none", transform=row[0].transAxes, color=MUTED, va="center")


def _stacked(signal: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The leads (T,) of a beat (C, T), each moved down to clear the one before."""
    bottom = 0.0
    for number, lead in enumerate(np.nan_to_num(signal[:LEADS_SHOWN])):
        moved = lead if number == 0 else lead - lead.max() + bottom - 0.15 * max(float(np.ptp(lead)), 1e-6)
        bottom = float(moved.min())
        yield moved


def _name_row(axes: Axes, name: str) -> None:
    """Writes the class before the first beat of its row."""
    axes.annotate(
        name,
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-10, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=INK,
        fontweight="bold",
        annotation_clip=False,
    )
