"""The figure of what a classifier used to classify one beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecg.reports.colours import class_colour
from ecg.reports.figure_style import INK, LINE, MUTED, new_figure, style_figure

N_NEIGHBOURS = 2  # beats on each side that are drawn
N_FEATURES = 10
SMOOTHED = 0.03  # s over which attributions are averaged
# Purple parts speak against the class, orange ones for it.
COLOURS = LinearSegmentedColormap.from_list("attribution", ["#5E3C99", LINE, "#E66101"])


def draw_explanation(
    neighbours: NDArray[np.int64],
    signal: NDArray[np.float32],
    attribution: NDArray[np.float32],
    features: Sequence[str],
    feature_attribution: NDArray[np.float32],
    context_attribution: float,
    *,
    sfreq: float,
    peak: int,
    class_name: str,
    title: str,
) -> Figure:
    """Draws a beat and its neighbours in the colours of their attributions, and the features that contributed most.

    Args:
        neighbours: (K,) positions of the beats relative to the explained one.
        signal: (K, T) their signals.
        attribution: (K, T) of their samples.
        features: names of the R features.
        feature_attribution: (R,) of the features of the explained beat.
        context_attribution: of the features of all other beats together.
        sfreq: sampling rate in Hz.
        peak: sample of the R peak.
        class_name: the class that is explained.
        title: title of the figure.
    """
    shown = np.flatnonzero(np.abs(neighbours) <= N_NEIGHBOURS)
    width = max(1, round(SMOOTHED * sfreq))
    smooth = np.stack([np.convolve(attribution[k], np.ones(width) / width, mode="same") for k in shown])
    limit = max(float(np.abs(smooth).max()), 1e-9)
    norm = TwoSlopeNorm(0, -limit, limit)
    # A network of single beats without features has nothing else to compare.
    with_bars = len(features) > 0
    figure = new_figure(9.2, 4.6 if with_bars else 2.3)
    cells = figure.add_gridspec(2 if with_bars else 1, len(shown), height_ratios=(1, 1.25) if with_bars else None)
    row: list[Axes] = []
    for column in range(len(shown)):
        row.append(figure.add_subplot(cells[0, column], sharey=row[0] if row else None))
    time = (np.arange(signal.shape[1]) - peak) / sfreq
    for axes, k, values in zip(row, shown, smooth, strict=True):
        points = np.stack([time, signal[k]], axis=1)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        axes.add_collection(
            LineCollection(segments.tolist(), array=values[:-1], cmap=COLOURS, norm=norm, linewidth=2.4)
        )
        axes.autoscale_view()
        position = int(neighbours[k])
        axes.set_title(f"beat {position:+d}" if position else "this beat", loc="left")
        axes.set(xlabel="s", yticks=[])
    figure.suptitle(title)
    if with_bars:
        bars = [("signal", float(attribution.sum()))]
        if len(neighbours) > 1:
            bars = [("signals of all beats", bars[0][1]), ("features of the other beats", context_attribution)]
        order = np.argsort(-np.abs(feature_attribution))[:N_FEATURES]
        bars += [(features[j], float(feature_attribution[j])) for j in order]
        _draw_bars(figure.add_subplot(cells[1, :]), bars, class_name)
    return style_figure(figure)


def _draw_bars(axes: Axes, bars: Sequence[tuple[str, float]], class_name: str) -> None:
    values = [value for _, value in bars]
    colours = [class_colour(class_name) if value > 0 else MUTED for value in values]
    axes.barh(range(len(bars)), values, color=colours, height=0.7)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(f"contribution to the log odds of {class_name}")
