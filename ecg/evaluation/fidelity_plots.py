"""Figures that show real and synthetic beats together: real ones grey, synthetic ones in the colour of their class.

Of beats of several channels the first is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ecg.evaluation.distances import Points, nearest
from ecg.evaluation.judges import Cohort
from ecg.evaluation.plots import INK, LINE, MUTED, class_colour, dressed

EACH = 4  # beats of a class and a kind
SPREAD = (5, 95)  # percentiles
POINTS = 400  # of a class and a kind in the map
ROWS = 6  # epochs in the gallery

Gallery = Sequence[tuple[int, NDArray[np.float32]]]  # epochs, and signals (n_classes, k, T) of the same noise


def side_by_side(synthetic: Cohort, train: Cohort, classes: Sequence[str]) -> Figure:
    """For each class, real beats on the left and synthetic ones on the right, over their nearest training beats."""
    figure, grid = _grid(len(classes), 2 * EACH, 1.15)
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        real, fake = train.of(c).some(EACH, rng), synthetic.of(c).some(EACH, rng)
        at = nearest(fake, train.of(c))[1] if len(fake) and len(real) else np.empty(0, np.int64)
        twins = train.of(c).take(at)
        for axes, beat in zip(grid[c, :EACH], real.signal, strict=False):
            _draw(axes, beat, INK)
        for axes, beat, twin in zip(grid[c, EACH:], fake.signal, twins.signal, strict=False):
            _draw(axes, twin, LINE, 2.2)
            _draw(axes, beat, class_colour(name))
        grid[c, 0].set_ylabel(name, rotation=0, fontweight="bold", ha="right", va="center")
    for column, text in ((0, "real"), (EACH, "synthetic, over the nearest training beat")):
        grid[0, column].set_title(text, loc="left")
    return dressed(figure)


def mean_and_spread(synthetic: Cohort, held_out: Cohort, classes: Sequence[str], sfreq: float) -> Figure:
    """Above, median and 5 to 95 % of the beats of each class; below, their mean spectra."""
    figure, grid = _grid(2, len(classes), 2.0)
    for c, name in enumerate(classes):
        top, bottom = grid[:, c]
        for beats, colour, style in ((held_out, MUTED, "--"), (synthetic, class_colour(name), "-")):
            if not len(x := beats.of(c).signal[:, 0].astype(np.float64)):
                continue
            t = np.arange(x.shape[1]) / sfreq
            low, high = np.percentile(x, SPREAD, axis=0)
            top.fill_between(t, low, high, color=colour, alpha=0.18, linewidth=0)
            top.plot(t, np.median(x, axis=0), color=colour, linewidth=1.4, linestyle=style)
            power = np.square(np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1))).mean(axis=0)
            decibel = 10 * np.log10(power[1:] / power[1:].max() + 1e-9)
            bottom.plot(
                np.fft.rfftfreq(x.shape[1], 1 / sfreq)[1:], decibel, color=colour, linewidth=1.4, linestyle=style
            )
        top.set_title(f"{name}", loc="left", fontweight="bold")
        top.set_xlabel("s")
        bottom.set_xlabel("Hz")
        bottom.set_ylim(-70, 3)
        for axes in (top, bottom):
            axes.tick_params(length=2)
    grid[0, 0].set_ylabel("amplitude")
    grid[1, 0].set_ylabel("power, dB of its peak")
    return dressed(figure)


def maps(real: Points, fake: Points, real_label: NDArray[np.int64], fake_label: NDArray[np.int64],
         classes: Sequence[str]) -> Figure:  # fmt: skip
    """The two main components of real features (n, d), and where synthetic beats (m, d) lie on them, class by class."""
    figure, grid = _grid(1, len(classes), 2.3)
    plane = PCA(2).fit(real)
    a, b = plane.transform(real), plane.transform(fake)
    limits = np.percentile(np.concatenate([a, b]), (0.5, 99.5), axis=0)
    rng = np.random.default_rng(0)
    for c, (axes, name) in enumerate(zip(grid[0], classes, strict=True)):
        for points, label, colour, marker in ((a, real_label, MUTED, "o"), (b, fake_label, class_colour(name), "x")):
            some = rng.permutation(np.flatnonzero(label == c))[:POINTS]
            axes.scatter(*points[some].T, s=7, c=colour, marker=marker, alpha=0.55, linewidths=0.7)
        axes.set_title(name, loc="left", fontweight="bold")
        axes.set(xlim=limits[:, 0], ylim=limits[:, 1], xticks=[], yticks=[])
    return dressed(figure)


def course(history: Mapping[str, Sequence[float]], best: int | None) -> Figure:
    """The players' losses on the left; Fréchet distance and coverage of the validation beats on the right."""
    figure = Figure(figsize=(9.2, 3.2), layout="constrained", facecolor="white")
    losses, scores = figure.subplots(1, 2)
    for (key, values), style in zip(
        ((k, v) for k, v in history.items() if k.startswith("train/") and k.endswith("_loss")),
        ("-", "--"),
        strict=False,
    ):
        losses.plot(values, color=INK, linestyle=style, label=key.removeprefix("train/").replace("_", ": "))
    losses.set(xlabel="epoch", title="loss")
    losses.legend(frameon=False)
    scores.plot(history.get("val/frechet", []), color=class_colour("N"), label="Fréchet distance")
    scores.set(xlabel="epoch", yscale="log", title="validation")
    for axis in (scores.yaxis.set_major_formatter, scores.yaxis.set_minor_formatter):
        axis(lambda value, _: f"{value:.2g}")
    share = scores.twinx()
    share.plot(history.get("val/coverage", []), color=class_colour("V"), linestyle="--", label="coverage (right)")
    share.set_ylim(0, 1)
    if best is not None:
        scores.axvline(best, color=MUTED, linestyle=":", linewidth=1.2, label=f"best epoch, {best}")
    handles, labels = scores.get_legend_handles_labels()
    more, words = share.get_legend_handles_labels()
    scores.legend(handles + more, labels + words, frameon=False)
    return dressed(figure)


def gallery(shown: Gallery, classes: Sequence[str]) -> Figure:
    """The same noise, epoch by epoch: how the beats came about."""
    at = sorted({round(i) for i in np.geomspace(1, len(shown), ROWS)})
    per_class = shown[0][1].shape[1]
    figure, grid = _grid(len(at), per_class * len(classes), 1.0)
    for row, i in enumerate(at):
        epoch, signals = shown[i - 1]
        for c, name in enumerate(classes):
            for j in range(per_class):
                _draw(grid[row, c * per_class + j], signals[c, j][None], class_colour(name))
            if row == 0:
                grid[row, c * per_class].set_title(name, loc="left", fontweight="bold")
        grid[row, 0].set_ylabel(f"epoch {epoch}", rotation=0, ha="right", va="center")
    return dressed(figure)


def _grid(rows: int, columns: int, height: float) -> tuple[Figure, NDArray[np.object_]]:
    figure = Figure(figsize=(11.5, height * rows), layout="constrained", facecolor="white")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _draw(axes: Axes, beat: NDArray[np.float32], colour: str, width: float = 1.0) -> None:
    axes.plot(beat[0], color=colour, linewidth=width)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
