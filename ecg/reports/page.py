"""Renders a template to one self-contained HTML file. Figures are embedded as images."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ecg.data.aami import CLASS_NAMES
from ecg.files import write_text
from ecg.reports.colours import class_colour
from ecg.reports.notices import SIMULATED

if TYPE_CHECKING:  # matplotlib needs 25 MB, and a page of a recording has no figures
    from matplotlib.figure import Figure

DASH = "–"
MAX_SVG_BYTES = 350_000  # a larger figure, such as one with many long beats, is embedded as PNG
PNG_DPI = 150


class Interval(Protocol):
    """Anything with a lower and an upper bound."""

    @property
    def low(self) -> float | None:
        """Lower bound."""

    @property
    def high(self) -> float | None:
        """Upper bound."""


def write_page(path: Path, template: str, **values: Any) -> None:
    """Renders a template and writes the page atomically.

    Args:
        path: the HTML file; its folder must exist.
        template: name of a file in `templates/`.
        **values: variables of the template. Text is escaped.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, render_page(template, **values))


def render_page(template: str, **values: Any) -> str:
    """Returns a page as HTML.

    Args:
        template: name of a file in `templates/`.
        **values: variables of the template. Text is escaped.
    """
    return _environment().get_template(template).render(values)


def script_hashes(*scripts: str) -> list[str]:
    """Returns the sources of a content security policy that permit inline scripts.

    Args:
        *scripts: names of files in `templates/` that a template includes in a `<script>` of its own.
    """
    # The template has a line break between the tag and the script.
    contents = [f"\n{_environment().get_template(script).render()}" for script in scripts]
    return [f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'" for content in contents]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ecg.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"CLASS_NAMES": CLASS_NAMES, "DASH": DASH, "SIMULATED": SIMULATED}
    filters = (class_colour, count, data_uri, fixed, interval, percent, significant)
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def data_uri(figure: Figure) -> str:
    """Returns the figure as an image for `<img src>`: SVG, or PNG where the SVG exceeds `MAX_SVG_BYTES`.

    Inline `<svg>` elements are not used, because the identifiers inside two figures would clash.
    """
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    if svg.tell() <= MAX_SVG_BYTES:
        return f"data:image/svg+xml;base64,{b64encode(svg.getvalue()).decode()}"
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=PNG_DPI)
    return f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"


def fixed(value: float | None, sign: bool = False) -> str:
    """Returns the value with three decimals; a dash for None and NaN. `sign` adds a plus sign to positive values."""
    return DASH if _is_missing(value) else f"{value:{'+' if sign else ''}.3f}".replace("-", "−")


def interval(score: Interval, sign: bool = False) -> str:
    """Returns "low – high", or "" where a bound is missing."""
    if _is_missing(score.low) or _is_missing(score.high):
        return ""
    return f"{fixed(score.low, sign)} {DASH} {fixed(score.high, sign)}"


def percent(value: float | None) -> str:
    """Returns a fraction in % with two decimals, without the sign; a dash for None and NaN."""
    return DASH if value is None or _is_missing(value) else f"{100 * value:.2f}"


def significant(value: float | None) -> str:
    """Returns the value with three significant digits; a dash for None and NaN."""
    return DASH if _is_missing(value) else f"{value:.3g}"


def count(n: int | None) -> str:
    """Returns a number with thousands separators; a dash for None."""
    return DASH if n is None else f"{n:,}"


def _is_missing(value: float | None) -> bool:
    return value is None or not np.isfinite(value)
