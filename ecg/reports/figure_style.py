"""Colours and fonts of all figures. Those of classes and series are in `ecg.reports.colours`.

No function uses pyplot or the global settings of matplotlib, so figures need no display and are safe to draw in
several threads.
"""

from __future__ import annotations

from functools import cache

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

INK, MUTED, LINE, GRID = "#1F2933", "#5B6770", "#A9B4BD", "#E6EAED"
NO_VALIDATION = "no validation beats"
HIGHLIGHT = "#D6266E"  # the best epoch, a misclassified beat

FONTS = ("Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans")
FONT_SIZE = 9.0  # points: 12 pixels where an inch of the figure is shown as 96 pixels


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty white figure; width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style_figure(figure: Figure) -> Figure:
    """Sets fonts, colours and frames of a finished figure, and returns it."""
    fonts = [_font(), "DejaVu Sans"]
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(LINE)
        axes.set_axisbelow(True)
        axes.tick_params(color=LINE, labelcolor=MUTED, labelsize=FONT_SIZE, labelfontfamily=fonts)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_color(MUTED)
        if (legend := axes.get_legend()) is not None:
            legend.set_frame_on(False)
            for text in legend.get_texts():
                text.set_color(INK)
    for text in figure.findobj(Text):
        text.set_fontfamily(fonts)
        text.set_fontsize(FONT_SIZE)
        text.set_parse_math(False)  # names of records and configurations may contain "$"
    return figure


@cache
def _font() -> str:
    """Returns the first installed font of `FONTS`. matplotlib logs a warning for a font that is not installed."""
    installed = set(font_manager.get_font_names())
    return next((name for name in FONTS if name in installed), "DejaVu Sans")


def mark_empty(axes: Axes, text: str) -> None:
    """Replaces the ticks of axes without data by the reason."""
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=MUTED)
