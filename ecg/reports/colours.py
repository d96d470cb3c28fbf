"""Colours of classes and series in figures and pages."""

from __future__ import annotations

# The palette of Okabe and Ito, which is safe for colour-blind readers: https://jfly.uni-koeln.de/color/
CLASS_COLOURS: dict[str, str] = {
    "N": "#0072B2",
    "S": "#E69F00",
    "V": "#D55E00",
    "F": "#009E73",
    "Q": "#CC79A7",
}
OTHER_COLOURS = ("#56B4E9", "#8C6D31", "#5C5C8A", "#666666")


def class_colour(name: str) -> str:
    """Returns the colour of a class in all figures and tables; outside EC57 it depends on the name only."""
    return CLASS_COLOURS.get(name) or OTHER_COLOURS[sum(name.encode()) % len(OTHER_COLOURS)]


def series_colour(index: int) -> str:
    """Returns the colour of the series with this index, such as a configuration of a leaderboard."""
    colours = (*CLASS_COLOURS.values(), *OTHER_COLOURS)
    return colours[index % len(colours)]
