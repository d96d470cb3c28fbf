"""Figures that show real and synthetic beats together: real ones grey, synthetic ones in the colour of their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
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
    """For each class, real beats on the left and synthetic ones on the right, over their nearest training beats.

    The beats of a class are drawn to one scale: a wrong height has to show. Channels stand one below another.
    """
    figure, grid = _grid(len(classes), 2 * EACH, 0.55 + 0.6 * train.signal.shape[1], share="row")
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        real, fake = train.of(c).some(EACH, rng), synthetic.of(c).some(EACH, rng)
        at = nearest(fake, train.of(c))[1] if len(fake) and len(real) else np.empty(0, np.int64)
        twins = train.of(c).take(at)
        shown = np.concatenate([real.signal, fake.signal, twins.signal])
        drop = 1.1 * float(np.ptp(shown)) if len(shown) else 0.0
        for axes, beat in zip(grid[c, :EACH], real.signal, strict=False):
            _draw(axes, beat, INK, drop=drop)
        for axes, beat, twin in zip(grid[c, EACH:], fake.signal, twins.signal, strict=False):
            _draw(axes, twin, LINE, 2.2, drop)
            _draw(axes, beat, class_colour(name), drop=drop)
        for axes, beats in ((grid[c, 0], real), (grid[c, EACH], fake)):
            if not len(beats):
                axes.text(0, 0.5, "none", transform=axes.transAxes, color=MUTED, va="center")
        grid[c, 0].set_ylabel(name, rotation=0, fontweight="bold", ha="right", va="center")
    _bare(figure)
    for column, text in ((0, "real"), (EACH, "synthetic, over the nearest training beat")):
        grid[0, column].set_title(text, loc="left")
    return dressed(figure)


def mean_and_spread(synthetic: Cohort, held_out: Cohort, classes: Sequence[str], sfreq: float) -> Figure:
    """Above, median and 5 to 95 % of the beats of each class, a row a channel; below, spectra of the first channel."""
    channels = synthetic.signal.shape[1]
    figure, grid = _grid(channels + 1, len(classes), 2.0)
    for c, name in enumerate(classes):
        for beats, colour, style in ((held_out, MUTED, "--"), (synthetic, class_colour(name), "-")):
            if not len(x := beats.of(c).signal.astype(np.float64)):
                continue
            line = {"color": colour, "linewidth": 1.4, "linestyle": style}
            for axes, channel in zip(grid[:-1, c], x.swapaxes(0, 1), strict=True):
                t = np.arange(channel.shape[1]) / sfreq
                axes.fill_between(t, *np.percentile(channel, SPREAD, axis=0), color=colour, alpha=0.18, linewidth=0)
                axes.plot(t, np.median(channel, axis=0), **line)
            grid[-1, c].plot(*_spectrum(x[:, 0], sfreq), **line)
        grid[0, c].set_title(name, loc="left", fontweight="bold")
        grid[-2, c].set_xlabel("s")
        grid[-1, c].set_xlabel("Hz")
    for axes in figure.axes:
        axes.tick_params(length=2)
    for channel, axes in enumerate(grid[:-1, 0]):
        axes.set_ylabel("amplitude" if channels == 1 else f"channel {channel + 1}")
    grid[-1, 0].set_ylabel("power, dB of its peak")
    return dressed(figure)


def _spectrum(x: Points, sfreq: float) -> tuple[Points, Points]:
    """Frequencies in Hz without 0, and the mean power of beats (n, T) there in dB of its peak, down to -70."""
    power = np.square(np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1))).mean(axis=0)[1:]
    # Of flat lines nothing is left.
    decibel = 10 * np.log10(power / max(power.max(), 1e-12) + 1e-7)
    return np.fft.rfftfreq(x.shape[1], 1 / sfreq)[1:].astype(np.float64), decibel


def maps(real: Points, fake: Points, real_label: NDArray[np.int64], fake_label: NDArray[np.int64],
         classes: Sequence[str]) -> Figure:  # fmt: skip
    """The two main components of real features (n, d), and where synthetic beats (m, d) lie on them, class by class.

    What lies far out is drawn on the edge.
    """
    figure, grid = _grid(1, len(classes), 2.3)
    plane = PCA(2).fit(real)
    a, b = plane.transform(real), plane.transform(fake)
    # Class by class, or the many N beats would push the others off the map.
    groups = [points[label == c] for points, label in ((a, real_label), (b, fake_label)) for c in range(len(classes))]
    ends = np.concatenate([np.percentile(points, (0.5, 99.5), axis=0) for points in groups if len(points)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    room = 0.04 * (high - low) + 1e-9
    rng = np.random.default_rng(0)
    for c, (axes, name) in enumerate(zip(grid[0], classes, strict=True)):
        for points, label, colour, marker in ((a, real_label, MUTED, "o"), (b, fake_label, class_colour(name), "x")):
            some = rng.permutation(np.flatnonzero(label == c))[:POINTS]
            x, y = points[some].clip(low, high).T
            axes.scatter(x, y, s=7, c=colour, marker=marker, alpha=0.55, linewidths=0.7)
        axes.set_title(name, loc="left", fontweight="bold")
        axes.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
        axes.set(xticks=[], yticks=[])
    return dressed(figure)


def course(history: Mapping[str, Sequence[float]], best: int | None) -> Figure:
    """The players' losses on the left; relative Fréchet distance and coverage of the validation beats on the right."""
    figure = Figure(figsize=(9.2, 3.2), layout="constrained", facecolor="white")
    losses, scores = figure.subplots(1, 2)
    for (key, values), style in zip(
        ((k, v) for k, v in history.items() if k.startswith("train/") and k.endswith("_loss")),
        ("-", "--"),
        strict=False,
    ):
        losses.plot(values, color=INK, linestyle=style, label=key.removeprefix("train/").removesuffix("_loss"))
    losses.set(xlabel="epoch", title="loss")
    scores.plot(history.get("val/frechet", []), color=class_colour("N"), label="Fréchet distance / floor")
    scores.set(xlabel="epoch", yscale="log", title="validation")
    scores.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    scores.yaxis.set_minor_locator(NullLocator())
    scores.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    share = scores.twinx()
    share.plot(history.get("val/coverage", []), color=class_colour("V"), linestyle="--", label="coverage (right)")
    share.set_ylim(0, 1)
    if best is not None:
        scores.axvline(best, color=MUTED, linestyle=":", linewidth=1.2, label=f"best epoch, {best}")
    handles, labels = scores.get_legend_handles_labels()
    more, words = share.get_legend_handles_labels()
    below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 2}
    losses.legend(*losses.get_legend_handles_labels(), **below)
    scores.legend(handles + more, labels + words, **below)
    for axes in (losses, scores):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    _bare(figure)
    return dressed(figure)


def _bare(figure: Figure) -> None:
    """Takes the frames and ticks away, of the cells without a beat too."""
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)


def _grid(
    rows: int, columns: int, height: float, share: Literal["row", "none"] = "none"
) -> tuple[Figure, NDArray[np.object_]]:
    figure = Figure(figsize=(11.5, height * rows), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share)
    return figure, grid


def _draw(axes: Axes, beat: NDArray[np.float32], colour: str, width: float = 1.0, drop: float = 0.0) -> None:
    """Draws the channels of a beat (C, T), each `drop` below the one before."""
    axes.plot(beat.T - drop * np.arange(len(beat)), color=colour, linewidth=width)
