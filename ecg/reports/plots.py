"""Figures of the predictions of one classifier.

A class has the same colour in every figure, and a second mark, such as dashes or its name, for colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from ecg.evaluation.predictions import Predictions
from ecg.reports.colours import CLASS_COLOURS, class_colour
from ecg.reports.figure_style import (
    GRID,
    HIGHLIGHT,
    INK,
    LINE,
    MUTED,
    NO_VALIDATION,
    mark_empty,
    new_figure,
    style_figure,
)

DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (1, 1)))
CORRECT, GAP = "#24405C", "#E9A3BF"  # distinct from the class colours
BLUES = LinearSegmentedColormap.from_list("fraction of the row", ["#FFFFFF", "#CFE2F1", "#5E9CC9", "#12507F"])

CURVE_POINTS = 300  # of a precision-recall curve, which has up to one point per beat
CALIBRATION_BINS = 15
FEW_BEATS = 10  # a bin with fewer beats is hollow and not part of the line
LEADS_SHOWN = 3


def confusion_matrix(matrix: NDArray[np.int64] | Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draws counts and percentages of the row.

    Args:
        matrix: (n_classes, n_classes) counts; rows are true classes, columns predicted classes.
        classes: names of the classes.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    total = counts.sum(axis=1, keepdims=True)
    fraction = counts / np.maximum(total, 1)
    figure = new_figure(4.6, 4.2)
    axes = figure.subplots()
    axes.imshow(fraction, cmap=BLUES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        text = f"{counts[row, column]:,}\n{_percent(fraction[row, column])}" if total[row, 0] else "–"
        ink = "white" if fraction[row, column] > 0.55 else MUTED if counts[row, column] == 0 else INK
        axes.text(column, row, text, ha="center", va="center", color=ink, linespacing=1.35)
    ticks = range(len(classes))
    axes.set_xticks(ticks, list(classes))
    axes.set_yticks(ticks, [f"{name}\n{n:,}" for name, n in zip(classes, total[:, 0], strict=True)])
    axes.set(xlabel="predicted class", ylabel="true class, number of beats")
    axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return style_figure(figure)


def pr_curves(predictions: Predictions) -> Figure:
    """Draws the precision-recall curve of each class against all others, with its average precision in the legend.

    A class without beats has a legend entry but no curve.
    """
    figure = new_figure(6.2, 4.2)
    axes = figure.subplots()
    probability = _finite(predictions)
    for index, name in enumerate(predictions.classes):
        positive = predictions.label == index
        style: dict[str, Any] = {"color": class_colour(name), "linestyle": DASHES[index % len(DASHES)]}
        if not positive.any():
            axes.plot([], [], **style, label=f"{name}   no beats")
            continue
        precision, recall, _ = precision_recall_curve(positive, probability[:, index])
        precision, recall = _thinned(precision, recall)
        ap = average_precision_score(positive, probability[:, index])
        label = f"{name}   AP {ap:.3f}   (chance {positive.mean():.3f})"
        # The area under these steps is the average precision; recall falls along the curve.
        axes.step(recall, precision, where="post", linewidth=1.8, label=label, **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), xlabel="recall", ylabel="precision")
    axes.grid(color=GRID)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, handlelength=2.6, columnspacing=2.5)
    return style_figure(figure)


def training_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draws losses on the left and validation macro-F1 on the right, with a line at the epoch of the best macro-F1.

    Args:
        history: values by "epoch", "train/loss", "val/loss" and "val/macro_f1". Keys may be absent, values NaN.
    """
    figure = new_figure(6.2, 4.2)
    losses, scores = figure.subplots(1, 2)
    for key, label, colour, marker in (
        ("train/loss", "training", MUTED, "s"),
        ("val/loss", "validation", CLASS_COLOURS["N"], "o"),
    ):
        _plot_history(losses, history, key, label=label, color=colour, marker=marker)
    best = _plot_history(scores, history, "val/macro_f1", label="validation", color=CLASS_COLOURS["N"], marker="o")
    losses.set(ylabel="loss")
    losses.set_ylim(bottom=min(0.0, losses.dataLim.y0))  # dataLim is infinite for empty axes
    scores.set(ylabel="macro-F1", ylim=(0, 1.02))
    for axes in (losses, scores):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(color=GRID)
        if best is not None:
            axes.axvline(best.epoch, color=HIGHLIGHT, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    if best is not None:
        _label_best(scores, best)
    else:
        mark_empty(scores, NO_VALIDATION)
    if losses.get_legend_handles_labels()[0]:
        losses.legend(loc="lower left", bbox_to_anchor=(-0.03, 1), ncols=2, borderaxespad=0.2)
    return style_figure(figure)


def calibration(predictions: Predictions) -> Figure:
    """Draws a reliability diagram: accuracy over the probability of the predicted class, in 15 bins of equal width.

    Bins with fewer than ten beats are hollow. The lower panel shows the number of beats of each bin.
    """
    figure = new_figure(4.6, 4.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    probability = _finite(predictions)
    confidence, correct = probability.max(axis=1), probability.argmax(axis=1) == predictions.label
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    used = count > 0
    mean = np.bincount(bins, confidence, CALIBRATION_BINS)[used] / count[used]
    accuracy = np.bincount(bins, correct, CALIBRATION_BINS)[used] / count[used]
    above.plot([0, 1], [0, 1], color=LINE, linewidth=1.2, linestyle=(0, (4, 2)))
    above.vlines(mean, np.minimum(mean, accuracy), np.maximum(mean, accuracy), color=GAP, linewidth=1.6)
    many = count[used] >= FEW_BEATS
    above.plot(mean[many], accuracy[many], color=CORRECT, marker="o", markersize=4.5, linewidth=1.6, clip_on=False)
    few: dict[str, Any] = {"color": MUTED, "markerfacecolor": "white", "markersize": 4.5, "clip_on": False}
    above.plot(mean[~many], accuracy[~many], "o", **few)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    above.grid(color=GRID)
    below.bar(edges[:-1][used], count[used], width=1 / CALIBRATION_BINS, align="edge", color=LINE, edgecolor="white")
    below.set_yscale("log")
    below.yaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
    below.set(ylim=(0.6, max(10, 2 * int(count.max(initial=1)))), ylabel="beats")
    below.set_xlabel("probability of the predicted class")
    return style_figure(figure)


def correct_and_wrong_beats(
    predictions: Predictions, signals: NDArray[np.float32], sfreq: float, n_each: int = 3
) -> Figure:
    """Draws a row for each class: correctly classified beats on the left, misclassified beats on the right.

    The correctly classified beats range from the most to the least confident; the misclassified beats are the most
    confident ones. Up to three channels of a beat are drawn, one below the other.

    Args:
        predictions: of n beats.
        signals: (n, C, T), aligned with the predictions.
        sfreq: sampling rate of the signals in Hz.
        n_each: number of beats of each kind.
    """
    rows = [i for i in range(len(predictions.classes)) if (predictions.label == i).any()]
    n_rows = max(1, len(rows))
    figure = new_figure(10.6, 0.55 + 1.55 * n_rows)
    layout = figure.add_gridspec(1, 2, wspace=0.03)
    titles = ("correctly classified", "misclassified, most confident first")
    for column, (title, colour) in enumerate(zip(titles, (CORRECT, HIGHLIGHT), strict=True)):
        half = figure.add_subfigure(layout[0, column])
        half.suptitle(title, x=0.03, ha="left", color=colour, fontweight="bold")
        grid = half.subplots(n_rows, n_each, squeeze=False, sharex=True)
        for axes_row, index in zip(grid, rows, strict=False):
            positions = _example_positions(predictions, index, n_each)[column]
            _draw_beats(axes_row, positions, colour, predictions, signals, sfreq)
            _label_row(axes_row[0], predictions.classes[index])
        for axes in grid.flat:
            has_axis = axes.has_data() or axes in grid[-1]
            axes.spines[:].set_visible(False)
            axes.spines["bottom"].set_visible(has_axis)
            axes.tick_params(left=False, labelleft=False, bottom=has_axis)
        for axes in grid[-1]:
            axes.set(xlabel="seconds", xlim=(0, signals.shape[-1] / sfreq))
    return style_figure(figure)


class _Best(NamedTuple):
    epoch: float
    value: float


def _finite(predictions: Predictions) -> NDArray[np.float32]:
    """Returns the probabilities (n, n_classes) with 0 for NaN, so that a diverged run has a report as well."""
    return np.nan_to_num(predictions.probability, nan=0.0)


def _percent(fraction: float) -> str:
    """Returns a fraction in %. Only 0 and 1 become "0 %" and "100 %"."""
    percent = 100 * fraction
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def _thinned(
    precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns at most about `CURVE_POINTS` points of a curve, evenly spaced along its length, with both ends."""
    if len(recall) <= CURVE_POINTS:
        return precision, recall
    length = np.append(0, np.cumsum(np.hypot(np.diff(recall), np.diff(precision))))
    at = np.searchsorted(length, np.linspace(0, length[-1], CURVE_POINTS))
    keep = np.unique(np.append(np.clip(at, 0, len(recall) - 1), [0, len(recall) - 1]))
    return precision[keep], recall[keep]


def _plot_history(axes: Axes, history: Mapping[str, Sequence[float]], key: str, **style: Any) -> _Best | None:
    """Draws the finite values of one key, and returns the highest one; None where there is no value."""
    value = np.asarray(history.get(key, ()), dtype=np.float64)
    epoch = np.asarray(history.get("epoch", np.arange(len(value))), dtype=np.float64)
    n = min(len(value), len(epoch))
    finite = np.isfinite(value[:n]) & np.isfinite(epoch[:n])
    epoch, value = epoch[:n][finite], value[:n][finite]
    if not len(value):
        return None
    # Markers show where the epochs are; with many epochs they only blur the line.
    axes.plot(epoch, value, linewidth=1.8, markersize=3.5 if len(value) <= 30 else 0, **style)
    return _Best(float(epoch[value.argmax()]), float(value.max()))


def _label_best(axes: Axes, best: _Best) -> None:
    """Writes epoch and score next to the line of the best epoch, in the direction of the larger free space."""
    right = best.epoch <= np.mean(axes.get_xlim())
    axes.annotate(
        f"best epoch {best.epoch:g}\n{best.value:.3f}",
        (best.epoch, 0.03),
        xytext=(6 if right else -6, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        color=HIGHLIGHT,
    )


def _example_positions(
    predictions: Predictions, index: int, n_each: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns positions of correctly classified beats of one class, from all levels of confidence, and of errors."""
    probability = _finite(predictions)
    predicted, confidence = probability.argmax(axis=1), probability.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    order = order[predictions.label[order] == index]
    correct, errors = order[predicted[order] == index], order[predicted[order] != index]
    spread = np.unique(np.linspace(0, max(0, len(correct) - 1), n_each).round().astype(np.int64))
    return correct[spread] if len(correct) else correct, errors[:n_each]


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
        predicted = int(probability[position].argmax())
        names = f"{predictions.classes[predictions.label[position]]} → {predictions.classes[predicted]}"
        confidence = f"{probability[position, predicted]:.2f}"
        axes.set_title(f"{names}   {confidence}   {predictions.record[position]}", loc="left", color=colour, pad=3)
        for lead in _stacked(signals[position]):
            axes.plot(np.arange(len(lead)) / sfreq, lead, color=colour, linewidth=1.3)
        axes.grid(axis="x", color=GRID)
    if not len(positions):
        row[0].set_title(" ", pad=3)  # gives both halves of the row the same height
        row[0].text(0.0, 0.5, "none", transform=row[0].transAxes, color=MUTED, va="center")


def _stacked(signal: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yields the leads (T,) of a beat (C, T), each moved below the one before."""
    bottom = 0.0
    for number, lead in enumerate(np.nan_to_num(signal[:LEADS_SHOWN])):
        moved = lead if number == 0 else lead - lead.max() + bottom - 0.15 * max(float(np.ptp(lead)), 1e-6)
        bottom = float(moved.min())
        yield moved


def _label_row(axes: Axes, name: str) -> None:
    """Writes the class to the left of the first beat of its row."""
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
