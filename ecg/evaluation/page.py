"""What every report is made of: one HTML file that needs nothing else, to read, to print and to send on.

Figures travel inside the file as images, so neither a network nor a script is needed to see them.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ecg.data.aami import CLASS_NAMES
from ecg.evaluation import plots
from ecg.files import write_text

DASH = "–"
# An SVG of many long beats outgrows its picture.
MAX_SVG_BYTES = 350_000
PNG_DPI = 150


def write(path: Path, *, title: str, kicker: str, subtitle: str, sections: Iterable[str]) -> None:
    """Writes a page to `path`, whole or not at all.

    Args:
        path: the file; its folder must exist.
        title: names the run.
        kicker: what kind of report it is.
        subtitle: one line of text.
        sections: HTML; empty ones are left out.

    Raises:
        OSError: the file cannot be written.
    """
    body = "\n".join(section for section in sections if section)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{escape(kicker)}</p>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
</header>
{body}
</main>
</body>
</html>
"""
    write_text(path, page)


def banner(simulated: bool) -> str:
    """A warning on top where recordings were simulated."""
    if not simulated:
        return ""
    return (
        '<p class="banner" role="alert"><strong>Simulated recordings:</strong> '
        "these scores say nothing about real ECGs.</p>"
    )


def warnings(sentences: Sequence[str]) -> str:
    """What the reader must not miss."""
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in sentences)
    return f'<section class="warnings"><h2>Warnings</h2><ul>{items}</ul></section>'


def facts(known: Mapping[str, str]) -> str:
    """What was run, by the name of each fact."""
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in known.items())
    return f"<section><h2>What was run</h2><dl>{rows}</dl></section>" if rows else ""


def repeat(command: str, overrides: Sequence[str]) -> str:
    """How the run can be made again."""
    differing = escape("\n".join(overrides)) or "none: every choice is the default"
    return f"""<section>
<h2>To repeat the run</h2>
<pre>{escape(command)}</pre>
<h3>Choices that differ from the defaults</h3>
<pre>{differing}</pre>
</section>"""


def section(title: str, body: str, explanation: str) -> str:
    """A box with a heading and a sentence on how to read it."""
    return f'<section><h2>{title}</h2>{body}<p class="explain">{explanation}</p></section>'


def picture(figure: Figure, title: str, alt: str, explanation: str) -> str:
    """A figure with a heading and a sentence on how to read it."""
    return (
        f'<figure><h2>{title}</h2><img src="{data_uri(figure)}" alt="{escape(alt)}">'
        f'<figcaption class="explain">{explanation}</figcaption></figure>'
    )


def data_uri(figure: Figure) -> str:
    """The figure as an image inside the page: sharp at any size, or as pixels where that would be too long.

    An image and not an inline <svg>, because the names inside of two figures would clash.
    """
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    if svg.tell() <= MAX_SVG_BYTES:
        return f"data:image/svg+xml;base64,{b64encode(svg.getvalue()).decode()}"
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=PNG_DPI)
    return f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], foot: Iterable[Sequence[str]] = (), texts: int = 1
) -> str:
    """A table whose first `texts` columns are text and whose others are figures. All cells are HTML."""

    def line(cells: Sequence[str], heading: bool) -> str:
        first = f'<th scope="{"col" if heading else "row"}">{cells[0]}</th>'
        tag = 'th scope="col"' if heading else "td"
        others = (
            f"<{tag}{'' if i < texts else ' class=number'}>{cell}</{tag.split()[0]}>"
            for i, cell in enumerate(cells[1:], start=1)
        )
        return f"<tr>{first}{''.join(others)}</tr>"

    body, total = "".join(line(row, False) for row in rows), "".join(line(row, False) for row in foot)
    return (
        f'<div class="scroll"><table><thead>{line(head, True)}</thead><tbody>{body}</tbody>'
        f"{f'<tfoot>{total}</tfoot>' if total else ''}</table></div>"
    )


def class_cell(name: str, score: str = "") -> str:
    """A class with its colour, its full name where it is known, and which of its scores is meant."""
    full = ", ".join(part for part in (CLASS_NAMES.get(name), score) if part)
    return (
        f'<span class="chip" style="background:{plots.class_colour(name)}"></span><b>{escape(name)}</b>'
        f' <span class="soft">{full}</span>'
    )


def number(value: Any) -> float | None:
    """None where there is no finite number."""
    return float(value) if value is not None and np.isfinite(value) else None


def fixed(value: Any) -> str:
    """Three decimals."""
    known = number(value)
    return DASH if known is None else f"{known:.3f}".replace("-", "−")


def count(n: Any) -> str:
    """With a comma at the thousands."""
    return DASH if n is None else f"{int(n):,}"


STYLE = """
:root { --ink: #1f2933; --muted: #5b6770; --line: #dde3e8; --soft: #f5f7f9; --accent: #12507f; }
* { box-sizing: border-box; }
body { margin: 0; background: #eef1f4; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 14px; font-size: 18px; line-height: 1.3; }
h3 { margin: 20px 0 6px; font-size: 14px; }
.kicker { margin: 0 0 4px; color: var(--accent); font-size: 12px; font-weight: 600; letter-spacing: .08em;
  text-transform: uppercase; }
.subtitle { margin: 6px 0 0; color: var(--muted); overflow-wrap: anywhere; }
section, .pair > figure { margin: 20px 0 0; padding: 22px 24px; background: #fff;
  border: 1px solid var(--line); border-radius: 10px; }
.pair { display: grid; grid-template-columns: 42fr 58fr; gap: 20px; padding: 0; background: none; border: 0; }
.pair > figure { margin: 0; min-width: 0; }
.wide > figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
.explain { max-width: 100ch; margin: 12px 0 0; color: var(--muted); font-size: 13px; }
.banner { margin: 20px 0 0; padding: 16px 24px; background: #8f1d4b; color: #fff;
  border-radius: 10px; font-size: 18px; }
.warnings { background: #fff8e6; border-color: #e8c766; }
.warnings h2 { margin-bottom: 6px; }
.warnings ul { margin: 0; padding-left: 20px; }
.verdict { font-size: 18px; }
.verdict.yes { background: #e9f5ee; border-color: #7dbb97; }
.verdict.no { background: #fdeef0; border-color: #dd8a97; }
.verdict p { margin: 0; }
.verdict ul { margin: 8px 0 0; padding-left: 20px; font-size: 15px; }
.cards { display: grid; grid-template-columns: repeat(6, 1fr); gap: 12px; }
.card { padding: 12px 14px; background: var(--soft); border-radius: 8px; }
.card:first-child { background: var(--accent); color: #fff; }
.card:first-child .interval, .card:first-child .hint { color: #d6e4ef; }
.card h3 { margin: 0; font-size: 13px; font-weight: 600; }
.card p { margin: 0; }
.big { font-size: 28px; font-weight: 650; line-height: 1.3; letter-spacing: -.01em; }
.interval { color: var(--muted); font-size: 12px; white-space: nowrap; }
.card .hint { margin-top: 4px; color: var(--muted); font-size: 12px; line-height: 1.35; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: 7px 8px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-size: 12.5px; font-weight: 600; vertical-align: bottom;
  border-bottom: 2px solid var(--line); }
tbody th, tfoot th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
tbody:last-child tr:last-child > * { border-bottom: 0; }
.number { text-align: right; }
td .interval { display: block; font-weight: 400; }
.sides table { table-layout: fixed; }
.sides th:first-child { width: 25%; }
.sides th, .sides td { padding-top: 5px; padding-bottom: 5px; }
.sides .interval { display: inline-block; width: 92px; margin-left: 6px; }
.wrapped table tbody th { white-space: normal; min-width: 300px; }
.chip { display: inline-block; width: 11px; height: 11px; margin-right: 8px; border-radius: 3px; }
.soft { color: var(--muted); }
.whisker { vertical-align: -3px; }
details { margin-top: 14px; }
summary { cursor: pointer; color: var(--accent); font-weight: 600; font-size: 14px; }
details table { margin-top: 8px; font-size: 13px; }
details th, details td { padding: 4px 8px; }
dl { display: grid; grid-template-columns: repeat(2, 1fr); gap: 0 32px; margin: 0; }
dl div { display: grid; grid-template-columns: 128px 1fr; padding: 6px 0;
  border-bottom: 1px solid var(--line); }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: 0; padding: 12px 14px; background: var(--soft); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
@media screen and (max-width: 900px) {
  .pair, dl { grid-template-columns: 1fr; }
  .cards { grid-template-columns: repeat(2, 1fr); }
}
@media screen and (min-width: 901px) { tbody th { white-space: nowrap; } }
@page { size: A4; margin: 14mm; }
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { background: #fff; font-size: 10.5px; }
  main { max-width: none; padding: 0; }
  h1 { font-size: 22px; }
  h2 { margin-bottom: 8px; font-size: 14px; break-after: avoid; }
  .banner { margin-top: 12px; padding: 9px 14px; font-size: 14px; }
  section, .pair > figure { margin-top: 12px; padding: 12px 14px; }
  .pair { gap: 12px; padding: 0; }
  .cards { gap: 8px; }
  .card { padding: 8px; }
  .card h3, .explain, .interval, .card .hint, thead th, pre { font-size: 9px; }
  .big { font-size: 20px; }
  th, td { padding: 3px 6px; }
  td .interval { line-height: 1.2; }
  section, figure, tr, .card, .pair, .banner, .warnings, dl div, pre { break-inside: avoid; }
  section:has(details), section:has(.wrapped) { break-inside: auto; }
  .verdict { font-size: 13px; }
  .verdict ul { font-size: 10.5px; }
  .wide img { width: 82%; }
  .scroll { overflow: visible; }
  .whisker { width: 70px; height: 11px; }
  details::details-content { content-visibility: visible; display: block; }
  details table { font-size: 9.5px; }
  details th, details td { padding: 2px 4px; }
  dl { grid-template-columns: repeat(2, 1fr); }
  dl div { grid-template-columns: 90px 1fr; padding: 3px 0; }
  .sides .interval { width: 74px; }
}
"""
