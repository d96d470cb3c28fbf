"""Figures of real and synthetic beats: real beats are grey, synthetic beats have the colour of their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import Points, nearest
from ecg.evaluation.fidelity import GATES, Fidelity, Gate
from ecg.reports.colours import class_colour
from ecg.reports.figure_style import INK, LINE, MUTED, new_figure, style_figure

N_EACH = 4  # real and synthetic beats of a class
BAND = (5, 95)  # percentiles
MAP_POINTS = 400  # real and synthetic beats of a class in the feature map
GALLERY_ROWS = 6
MARGINS = (0.05, 5.0)  # limits of the axis of the gates
TINY = 1e-9

Gallery = Sequence[tuple[int, NDArray[np.float32]]]  # epochs, and signals (n_classes, k, T) from the same noise


def real_and_synthetic(synthetic: BeatSet, train: BeatSet, classes: Sequence[str]) -> Figure:
    """Draws real beats of each class on the left, and synthetic beats over their nearest training beats on the right.

    All beats of a class have the same scale, so that a wrong amplitude is visible. Each channel is drawn below the one
    before.
    """
    figure, grid = _grid(len(classes), 2 * N_EACH, 0.55 + 0.6 * train.signal.shape[1], share="row")
    rng = np.random.default_rng(0)
    for c, name in enumerate(classes):
        training = train.of_class(c)
        real, fake = training.sample(N_EACH, rng), synthetic.of_class(c).sample(N_EACH, rng)
        at = nearest(fake, training)[1] if len(fake) and len(real) else np.empty(0, np.int64)
        neighbours = training.take(at)
        drawn = np.concatenate([real.signal, fake.signal, neighbours.signal])
        drop = 1.1 * float(np.ptp(drawn)) if len(drawn) else 0.0
        for axes, beat in zip(grid[c, :N_EACH], real.signal, strict=False):
            _draw(axes, beat, INK, drop=drop)
        for axes, beat, neighbour in zip(grid[c, N_EACH:], fake.signal, neighbours.signal, strict=False):
            _draw(axes, neighbour, LINE, 2.2, drop)
            _draw(axes, beat, class_colour(name), drop=drop)
        for axes, beats in ((grid[c, 0], real), (grid[c, N_EACH], fake)):
            if not len(beats):
                axes.text(0, 0.5, "none", transform=axes.transAxes, color=MUTED, va="center")
        grid[c, 0].set_ylabel(name, rotation=0, fontweight="bold", ha="right", va="center")
    _remove_frames(figure)
    for column, text in ((0, "real"), (N_EACH, "synthetic, over the nearest training beat")):
        grid[0, column].set_title(text, loc="left")
    return style_figure(figure)


def median_and_spectrum(synthetic: BeatSet, held_out: BeatSet, classes: Sequence[str], sfreq: float) -> Figure:
    """Draws the median and the 5 to 95 % band of each class, one row per channel, and the spectra of the first channel.

    Args:
        synthetic: synthetic beats.
        held_out: real beats.
        classes: names of the classes.
        sfreq: sampling rate in Hz.
    """
    channels = synthetic.signal.shape[1]
    figure, grid = _grid(channels + 1, len(classes), 2.0)
    for c, name in enumerate(classes):
        for beats, colour, style in ((held_out, MUTED, "--"), (synthetic, class_colour(name), "-")):
            if not len(x := beats.of_class(c).signal.astype(np.float64)):
                continue
            line = {"color": colour, "linewidth": 1.4, "linestyle": style}
            for axes, channel in zip(grid[:-1, c], x.swapaxes(0, 1), strict=True):
                t = np.arange(channel.shape[1]) / sfreq
                axes.fill_between(t, *np.percentile(channel, BAND, axis=0), color=colour, alpha=0.18, linewidth=0)
                axes.plot(t, np.median(channel, axis=0), **line)
            grid[-1, c].plot(*_spectrum(x[:, 0], sfreq), **line)
        grid[0, c].set_title(name, loc="left", fontweight="bold")
        grid[-2, c].set_xlabel("s")
        grid[-1, c].set_xlabel("Hz")
    for axes in figure.axes:
        axes.tick_params(length=2)
    for channel, axes in enumerate(grid[:-1, 0]):
        axes.set_ylabel("amplitude" if channels == 1 else f"channel {channel + 1}")
    grid[-1, 0].set_ylabel("power, dB relative to peak")
    return style_figure(figure)


def _spectrum(x: Points, sfreq: float) -> tuple[Points, Points]:
    """Returns frequencies in Hz without 0, and the mean power of beats (n, T) in dB relative to its peak, from -70."""
    power = np.square(np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1))).mean(axis=0)[1:]
    decibel = 10 * np.log10(power / max(power.max(), 1e-12) + 1e-7)  # flat beats have no power
    return np.fft.rfftfreq(x.shape[1], 1 / sfreq)[1:].astype(np.float64), decibel


def feature_map(
    real: Points,
    synthetic: Points,
    real_label: NDArray[np.int64],
    synthetic_label: NDArray[np.int64],
    classes: Sequence[str],
) -> Figure:
    """Draws real and synthetic beats of each class in the plane of two principal components.

    The components are those of the real beats. Outliers are drawn on the border.

    Args:
        real: (n, D) features of real beats.
        synthetic: (m, D) features of synthetic beats.
        real_label: (n,) class indices.
        synthetic_label: (m,) class indices.
        classes: names of the classes.
    """
    figure, grid = _grid(1, len(classes), 2.3)
    pca = PCA(2).fit(real)
    a, b = pca.transform(real), pca.transform(synthetic)
    # The limits consider each class, because N beats outnumber the others.
    groups = [p[label == c] for p, label in ((a, real_label), (b, synthetic_label)) for c in range(len(classes))]
    ends = np.concatenate([np.percentile(points, (0.5, 99.5), axis=0) for points in groups if len(points)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    margin = 0.04 * (high - low) + 1e-9
    rng = np.random.default_rng(0)
    for c, (axes, name) in enumerate(zip(grid[0], classes, strict=True)):
        for points, label, colour, marker in (
            (a, real_label, MUTED, "o"),
            (b, synthetic_label, class_colour(name), "x"),
        ):
            sample = rng.permutation(np.flatnonzero(label == c))[:MAP_POINTS]
            x, y = points[sample].clip(low, high).T
            axes.scatter(x, y, s=7, c=colour, marker=marker, alpha=0.55, linewidths=0.7)
        axes.set_title(name, loc="left", fontweight="bold")
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
        axes.set(xticks=[], yticks=[])
    return style_figure(figure)


def training_curves(history: Mapping[str, Sequence[float]], best_epoch: int | None) -> Figure:
    """Draws the losses on the left, and Fréchet distance and coverage of the validation beats on the right.

    Args:
        history: values of each epoch by "train/..._loss", "val/frechet" and "val/coverage". Keys may be absent.
        best_epoch: the epoch to mark.
    """
    figure = new_figure(9.2, 3.2)
    losses, distance = figure.subplots(1, 2)
    loss_keys = [key for key in history if key.startswith("train/") and key.endswith("_loss")]
    for key, style in zip(loss_keys, ("-", "--"), strict=False):
        label = key.removeprefix("train/").removesuffix("_loss")
        losses.plot(history[key], color=INK, linestyle=style, label=label)
    losses.set(xlabel="epoch", title="loss")
    distance.plot(history.get("val/frechet", []), color=class_colour("N"), label="Fréchet distance / reference")
    distance.set(xlabel="epoch", yscale="log", title="validation")
    distance.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    distance.yaxis.set_minor_locator(NullLocator())
    distance.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    coverage = distance.twinx()
    coverage.plot(history.get("val/coverage", []), color=class_colour("V"), linestyle="--", label="coverage (right)")
    coverage.set_ylim(0, 1)
    if best_epoch is not None:
        distance.axvline(best_epoch, color=MUTED, linestyle=":", linewidth=1.2, label=f"best epoch {best_epoch}")
    handles, labels = distance.get_legend_handles_labels()
    more_handles, more_labels = coverage.get_legend_handles_labels()
    below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 2}
    losses.legend(*losses.get_legend_handles_labels(), **below)
    distance.legend(handles + more_handles, labels + more_labels, **below)
    for axes in (losses, distance):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return style_figure(figure)


def gallery(samples: Gallery, classes: Sequence[str]) -> Figure:
    """Draws beats that were generated from the same noise in several epochs, one row per epoch."""
    rows = sorted({round(i) for i in np.geomspace(1, len(samples), GALLERY_ROWS)})
    per_class = samples[0][1].shape[1]
    figure, grid = _grid(len(rows), per_class * len(classes), 1.0)
    for row, number in enumerate(rows):
        epoch, signals = samples[number - 1]
        for c, name in enumerate(classes):
            for j in range(per_class):
                _draw(grid[row, c * per_class + j], signals[c, j][None], class_colour(name))
            if row == 0:
                grid[row, c * per_class].set_title(name, loc="left", fontweight="bold")
        grid[row, 0].set_ylabel(f"epoch {epoch}", rotation=0, ha="right", va="center")
    _remove_frames(figure)
    return style_figure(figure)


def unseen_pairs(pairs: Mapping[str, tuple[BeatSet, BeatSet, BeatSet]], classes: Sequence[str]) -> Figure:
    """Draws the first beats of pairs that a generator has not seen, one row per pair.

    Args:
        pairs: by name, the normal beats of the record, the generated beats, and the real beats of the pair.
        classes: names of the classes.
    """
    columns = {"normal beats of the record": INK, "generated": "", "real beats, left out of the fit": INK}
    figure, grid = _grid(len(pairs), len(columns) * N_EACH, 1.1, share="row")
    for row, (name, parts) in zip(grid, pairs.items(), strict=True):
        for k, (beats, colour) in enumerate(zip(parts, columns.values(), strict=True)):
            for axes, beat, label in zip(row[k * N_EACH :], beats.signal[:N_EACH, :1], beats.label, strict=False):
                _draw(axes, beat, colour or class_colour(classes[label]))
        row[0].set_ylabel(name, rotation=0, fontweight="bold", ha="right", va="center")
    _remove_frames(figure)
    for k, text in enumerate(columns):
        grid[0, k * N_EACH].set_title(text, loc="left")
    return style_figure(figure)


def gates(fidelity: Fidelity) -> Figure:
    """Draws how far each gate is passed or failed, by the synthetic beats and by the controls that must fail it.

    The axis is the value divided by the limit where the limit is a lower bound, and the limit divided by the value
    where it is an upper bound: a gate is passed from 1 on.
    """
    results = fidelity.gates
    figure = new_figure(9.2, 0.6 + 0.34 * len(results))
    axes = figure.subplots()
    for y, gate in enumerate(results):
        known = next(known for known in GATES if (known.measure, known.class_name) == (gate.measure, gate.class_name))
        measure = fidelity.measures[gate.measure]
        row = measure.overall if gate.class_name is None else measure.per_class[gate.class_name]
        unit = max(gate.reference, TINY) if known.relative else 1.0
        controls = [row.controls[name] for name in known.detects]
        for value in controls:
            if value is not None:
                axes.plot(_margin(value / unit, known), y, "x", color=LINE, markersize=5)
        colour = class_colour("F") if gate.passed else class_colour("V")
        axes.plot(_margin(gate.reached, known), y, "o", color=colour, markersize=8)
    axes.axvline(1, color=MUTED, linewidth=1, linestyle=":")
    axes.set(xscale="log", xlim=(MARGINS[0] / 1.2, MARGINS[1] * 1.2), ylim=(len(results) - 0.5, -0.5))
    labels = [
        f"{fidelity.measures[gate.measure].title}{f', {gate.class_name}' if gate.class_name else ''}: {gate.bound}"
        for gate in results
    ]
    axes.set_yticks(range(len(results)), labels)
    axes.set_xlabel("failed  ←  1  →  passed; crosses: failure controls, which must fail")
    axes.set_xticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    axes.xaxis.set_minor_locator(NullLocator())
    return style_figure(figure)


def _margin(value: float, gate: Gate) -> float:
    """Returns how far a gate is passed (more than 1) or failed, within `MARGINS`."""
    ratio = value / gate.limit if gate.at_least else gate.limit / max(value, TINY)
    return float(np.clip(ratio, *MARGINS))


def _remove_frames(figure: Figure) -> None:
    """Removes frames and ticks of all axes, including the empty ones."""
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)


def _grid(
    rows: int, columns: int, height: float, share: Literal["row", "none"] = "none"
) -> tuple[Figure, NDArray[np.object_]]:
    """Returns a figure and its axes (rows, columns); height of a row in inches."""
    figure = new_figure(11.5, height * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share)
    return figure, grid


def _draw(axes: Axes, beat: NDArray[np.float32], colour: str, width: float = 1.0, drop: float = 0.0) -> None:
    """Draws the channels of a beat (C, T), each `drop` below the one before."""
    axes.plot(beat.T - drop * np.arange(len(beat)), color=colour, linewidth=width)
