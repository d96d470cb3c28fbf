"""The report of a comparison: which configuration is best, by how much, and how sure that is."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecg.evaluation import leaderboard as lb
from ecg.evaluation import page, plots
from ecg.runs import SHARED_PATIENTS

MATRICES_SHOWN = 8
LONGEST_LABEL = 60  # characters beside a figure
# A click on the head of a column sorts its table; without scripts the table is as it was written.
SORTING = """<script>
for (const head of document.querySelectorAll(".sortable thead th")) {
  head.tabIndex = 0;
  const sort = () => {
    const body = head.closest("table").tBodies[0], at = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    const key = row => {
      const cell = row.cells[at], value = parseFloat(cell.dataset.sort ?? cell.textContent.replace("−", "-"));
      return isNaN(value) ? cell.textContent : value;
    };
    const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    const rows = [...body.rows].sort((a, b) => order(key(a), key(b)) * (down ? -1 : 1));
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
}
</script>
<style>
.sortable thead th { cursor: pointer; }
.sortable th, .sortable td { padding: 7px 4px; }
.sortable .interval { font-size: 11px; }
.differs th, .differs td { overflow-wrap: anywhere; white-space: normal; }
.sortable thead th[aria-sort=descending]::after { content: " ▾"; }
.sortable thead th[aria-sort=ascending]::after { content: " ▴"; }
.matrices { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 20px; }
.matrices figure { margin: 0; }
.matrices h3 { margin: 0 0 6px; overflow-wrap: anywhere; }
.claim { font-weight: 600; }
</style>"""


def write_leaderboard(board: lb.Leaderboard, path: Path) -> None:
    """Writes the comparison to `path` as one HTML file, whole or not at all.

    Args:
        board: at least one cell.
        path: the file; its folder must exist.

    Raises:
        OSError: the file cannot be written.
    """
    n_runs = sum(len(cell.trials) for cell in board.cells)
    page.write(
        path,
        title=path.resolve().parent.name,
        kicker="Heartbeat classification, runs compared",
        subtitle=f"{page.count(n_runs)} finished runs in {page.count(len(board.cells))} cells",
        sections=_sections(board, path.resolve().parent),
    )


def _sections(board: lb.Leaderboard, folder: Path) -> Iterator[str]:
    trials = [trial for cell in board.cells for trial in cell.trials]
    yield page.banner(all(trial.metrics.get("simulated") for trial in trials))
    yield page.warnings(_warnings(board))
    yield _ranking(board)
    if len(board.cells) > 1:
        yield _differences(board)
    yield _curves(board)
    yield _matrices(board)
    yield _differing(board)
    yield _unfinished(board)
    yield _runs(board, folder)
    yield SORTING


def _warnings(board: lb.Leaderboard) -> list[str]:
    found = []
    fewest = min(len(cell.seeds) for cell in board.cells)
    if fewest < lb.ENOUGH and len(board.cells) > 1:
        found.append(
            f"Some cells have {fewest} seed{'s' if fewest > 1 else ''}: with fewer than {lb.ENOUGH} this comparison "
            "claims nothing."
        )
    found += [
        f"{cell.name}: seeds {', '.join(map(str, cell.left_out))} lack a fold and are left out."
        for cell in board.cells
        if cell.left_out
    ]
    if board.unfinished:
        found.append(f"Runs that did not finish, listed below: {len(board.unfinished)}.")
    intervals = {str(trial.metrics["test"].get("interval", "")) for cell in board.cells for trial in cell.trials}
    if any("beats" in interval for interval in intervals):
        found.append(SHARED_PATIENTS)
    return found


def _ranking(board: lb.Leaderboard) -> str:
    classes = _classes(board)
    rows = []
    for rank, cell in enumerate(board.ranked, start=1):
        sides = [_cell(cell.scores[side]["macro_f1"]) for side in ("validation", "test")]
        if len(cell.seeds) == 1:
            sides[1] = _single(cell.test[0]["macro"]["f1"])
        others = [_cell(cell.scores["test"][name]) for name in ("accuracy", *classes)]
        rows.append([f"{rank}", _named(board, cell), str(len(cell.seeds)), *sides, *others])
    head = ["#", "Cell", "Seeds", "Validation macro-F1", "Test macro-F1", "Test accuracy", *classes]
    explanation = (
        "Runs that differ in the seed alone are one cell; folds are read together. Mean over seeds, below it the 95 % "
        "interval of that mean (Student's t, cut at 0 and 1); in the last columns each class's F1 on the test beats. "
        "Ranked by validation: to choose by the test beats would flatter the winner. A click on a column's head sorts "
        "by it."
    )
    if any(len(cell.seeds) == 1 for cell in board.cells):
        explanation += " A cell of one seed has the interval of its one reading of the test beats instead."
    return page.section("Ranking", f'<div class="sortable">{page.table(head, rows, texts=2)}</div>', explanation)


def _classes(board: lb.Leaderboard) -> list[str]:
    return [name for name in board.cells[0].scores["test"] if name not in ("macro_f1", "accuracy")]


def _named(board: lb.Leaderboard, cell: lb.Cell) -> str:
    """The cell's colour and name; a long name breaks between its words, and not behind the colour."""
    chip = f'<span class="chip" style="background:{_colour(board.cells.index(cell))}"></span>'
    first, _, rest = cell.name.partition(" ")
    return f'<span style="white-space:nowrap">{chip}{escape(first)}</span> {escape(rest)}'


def _colour(index: int) -> str:
    colours = [*plots.CLASS_COLOURS.values(), *plots.OTHER_COLOURS]
    return colours[index % len(colours)]


def _cell(values: Any) -> str:
    found = lb.interval(values)
    low, high = (None if end is None else min(max(end, 0.0), 1.0) for end in (found["low"], found["high"]))
    return _fixed(found["mean"], low, high)


def _single(score: Mapping[str, Any]) -> str:
    return _fixed(score["value"], score["low"], score["high"])


def _fixed(value: Any, low: Any, high: Any, sign: bool = False) -> str:
    def text(x: float) -> str:
        return (f"{x:+.3f}" if sign else f"{x:.3f}").replace("-", "−")

    if value is None:
        return page.DASH
    span = "" if low is None else f'<span class="interval">{text(low)} {page.DASH} {text(high)}</span>'
    return text(value) + span


def _differences(board: lb.Leaderboard) -> str:
    found = lb.differences(board)
    rows = []
    for name, sides in found.items():
        test, validation = sides["test"], sides["validation"]
        p = page.DASH if test["p"] is None else f"{test['p']:.3f}" if test["p"] >= 0.001 else "&lt; 0.001"
        cells = [_fixed(side["mean"], side["low"], side["high"], sign=True) for side in (validation, test)]
        claim = f'<span class="claim">{escape(test["claim"])}</span>'
        rows.append([escape(name), str(test["n"]), *cells, p, claim])
    head = ["Cell", "Pairs", "On validation", "On test", "p, corrected", "Claim"]
    first = escape(board.cells[0].name)
    return page.section(
        f"Difference in macro-F1 to {first}",
        page.table(head, rows)
        + f'<div style="margin-top:16px"><img style="width:100%" src="{page.data_uri(difference_plot(found))}" '
        'alt="Differences with their intervals."></div>',
        f"Each cell minus the first ({first}), seed by seed, with the 95 % interval of the mean difference. p: paired "
        f"t-test on the test scores, corrected for the number of cells (Holm). Below {lb.LEVEL:g} the cell is called "
        f"better or worse; with fewer than {lb.ENOUGH} seeds nothing is claimed. Seeds stand for chance in training "
        "alone: whether it holds for other patients is another question.",
    )


def difference_plot(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """Differences on test as dots and their intervals as lines, in points; hollow where nothing is claimed.

    Args:
        found: what `leaderboard.differences` returns.
    """
    figure = Figure(figsize=(10, 0.9 + 0.34 * len(found)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.axvline(0, color=plots.MUTED, linewidth=1)
    for at, sides in enumerate(found.values()):
        test = sides["test"]
        if test["mean"] is None:
            continue
        sure = test["claim"] in ("better", "worse")
        if test["low"] is not None:
            axes.plot([100 * test["low"], 100 * test["high"]], [at, at], color=plots.INK, linewidth=1.6)
        axes.plot(
            100 * test["mean"], at, "o", color=plots.INK, markerfacecolor=plots.INK if sure else "white", zorder=3
        )
    axes.set_yticks(range(len(found)), [textwrap.shorten(name, LONGEST_LABEL, placeholder=" …") for name in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("difference in test macro-F1, points; filled: better or worse, hollow: not shown")
    axes.grid(axis="x", color=plots.GRID)
    return plots.dressed(figure)


def _curves(board: lb.Leaderboard) -> str:
    if not any(trial.history for cell in board.cells for trial in cell.trials):
        return ""
    picture = page.picture(
        learning_curves(board),
        "Learning curves of all runs",
        "Training loss and validation macro-F1 of every run over its epochs.",
        "A line a run, the runs of a cell in one colour. Where a cell's lines lie far apart, its seeds disagree.",
    )
    return f'<section class="wide">{picture}</section>'


def learning_curves(board: lb.Leaderboard) -> Figure:
    """Training loss on the left, validation macro-F1 on the right: a line a run."""
    figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 2)
    for axes, key, label in zip(panels, ("train/loss", "val/macro_f1"), ("training loss", "macro-F1"), strict=True):
        for index, cell in enumerate(board.cells):
            for i, trial in enumerate(cell.trials):
                measured = [(epoch["epoch"], epoch[key]) for epoch in trial.history if key in epoch]
                x, y = np.array(measured).T if measured else ([], [])
                name = textwrap.shorten(cell.name, LONGEST_LABEL, placeholder=" …") if i == 0 else None
                axes.plot(x, y, color=_colour(index), linewidth=1.3, alpha=0.8, label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(color=plots.GRID)
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
    return plots.dressed(figure)


def _matrices(board: lb.Leaderboard) -> str:
    figures = []
    for cell in board.ranked[:MATRICES_SHOWN]:
        counts = np.sum([np.array(test["confusion_matrix"]) for test in cell.test], axis=0)
        source = page.data_uri(plots.confusion_matrix(counts, cell.test[0]["classes"]))
        figures.append(
            f"<figure><h3>{escape(cell.name)}</h3>"
            f'<img src="{source}" alt="Confusion matrix of {escape(cell.name)}."></figure>'
        )
    shown = f" of the {MATRICES_SHOWN} best cells" if len(board.cells) > MATRICES_SHOWN else ""
    return page.section(
        f"Confusion matrices{shown}",
        f'<div class="matrices">{"".join(figures)}</div>',
        "Test beats of all seeds together: rows are the truth, columns the prediction.",
    )


def _differing(board: lb.Leaderboard) -> str:
    found = lb.differing(board)
    if not found:
        return ""
    names = [cell.name for cell in board.cells]
    rows = [
        [
            f"<code>{escape(key)}</code>",
            *(escape(str(row[name])) if row[name] is not None else page.DASH for name in names),
        ]
        for key, row in found.items()
    ]
    head = ["Key", *(escape(name) for name in names)]
    return page.section(
        "What differs",
        f'<div class="differs">{page.table(head, rows, texts=len(head))}</div>',
        "Every key of the configurations that is not the same in all cells. What is not listed is the same.",
    )


def _unfinished(board: lb.Leaderboard) -> str:
    if not board.unfinished:
        return ""
    rows = [
        [escape(trial.folder.name), escape(lb.state_of(trial)), escape(trial.why), escape(" ".join(trial.overrides))]
        for trial in board.unfinished
    ]
    return page.section(
        "Runs that did not finish",
        page.table(["Run", "State", "Why", "Overrides"], rows, texts=4),
        "<code>sweep.resume=FOLDER</code> runs what did not finish, from the last checkpoint where there is one.",
    )


def _runs(board: lb.Leaderboard, folder: Path) -> str:
    rows = [
        [_link(trial, folder), str(trial.seed), escape(cell.name), *_found(trial)]
        for cell in board.cells
        for trial in cell.trials
    ]
    head = ["Run", "Seed", "Cell", "Validation macro-F1", "Test macro-F1"]
    return (
        f"<section><h2>Runs</h2><details><summary>All {len(rows)} runs</summary>"
        f"{page.table(head, rows, texts=1)}</details></section>"
    )


def _found(trial: lb.Trial) -> Sequence[str]:
    return [page.fixed(trial.metrics[side]["macro"]["f1"]["value"]) for side in ("validation", "test")]


def _link(trial: lb.Trial, folder: Path) -> str:
    name, report = escape(trial.folder.name), trial.folder.resolve() / "report.html"
    if not report.is_file():
        return name
    return f'<a href="{escape(Path(os.path.relpath(report, folder)).as_posix(), quote=True)}">{name}</a>'
