"""Figures of a comparison of configurations."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecg.comparison.leaderboard import Difference
from ecg.reports.colours import series_colour
from ecg.reports.figure_style import GRID, INK, MUTED, NO_VALIDATION, mark_empty, new_figure, style_figure

MAX_LABEL = 60  # characters

History = Sequence[Mapping[str, float]]  # values of each epoch


def differences(test: Mapping[str, Difference]) -> Figure:
    """Draws differences in percentage points with their intervals; hollow dots where no claim is made.

    Args:
        test: differences on the test beats, by configuration.
    """
    figure = new_figure(10, 0.9 + 0.34 * len(test))
    axes = figure.subplots()
    axes.axvline(0, color=MUTED, linewidth=1)
    for row, difference in enumerate(test.values()):
        if difference.mean is None:
            continue
        fill = INK if difference.claim in ("better", "worse") else "white"
        if difference.low is not None and difference.high is not None:
            axes.plot([100 * difference.low, 100 * difference.high], [row, row], color=INK, linewidth=1.6)
        axes.plot(100 * difference.mean, row, "o", color=INK, markerfacecolor=fill, zorder=3)
    axes.set_yticks(range(len(test)), [_shorten(name) for name in test])
    axes.set_ylim(len(test) - 0.5, -0.5)
    axes.set_xlabel("difference in test macro-F1, percentage points (filled: better or worse; hollow: no claim)")
    axes.grid(axis="x", color=GRID)
    return style_figure(figure)


def training_curves(histories: Mapping[str, Sequence[History]]) -> Figure:
    """Draws training loss on the left and validation macro-F1 on the right: one line per run.

    Args:
        histories: histories of the runs, by configuration.
    """
    figure = new_figure(10, 3.8)
    panels = figure.subplots(1, 2)
    for axes, key, label in zip(panels, ("train/loss", "val/macro_f1"), ("training loss", "macro-F1"), strict=True):
        for index, (name, runs) in enumerate(histories.items()):
            for i, history in enumerate(runs):
                points = [(epoch["epoch"], epoch[key]) for epoch in history if key in epoch]
                x, y = np.array(points).T if points else ([], [])
                legend = _shorten(name) if i == 0 else None
                axes.plot(x, y, color=series_colour(index), linewidth=1.3, alpha=0.8, label=legend)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(color=GRID)
    if not any("val/macro_f1" in epoch for runs in histories.values() for history in runs for epoch in history):
        mark_empty(panels[1], NO_VALIDATION)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
    return style_figure(figure)


def _shorten(name: str) -> str:
    return textwrap.shorten(name, MAX_LABEL, placeholder=" …")
