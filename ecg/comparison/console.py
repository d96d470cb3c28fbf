"""The leaderboard on the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecg.comparison.ensembles import Ensemble
from ecg.comparison.leaderboard import Configuration, Difference, Leaderboard, differences
from ecg.comparison.statistics import MeanInterval, mean_interval

SHORT = 14  # characters of the name of a configuration
WIDE = 130  # characters of a console on which the classes have columns


def print_leaderboard(board: Leaderboard) -> None:
    """Prints the ranked configurations, the incomplete seeds and the unfinished runs."""
    console = Console()
    console.print(_table(board, board.classes if console.width >= WIDE else ()))
    for each in board.configurations:
        if each.incomplete_seeds:
            seeds = ", ".join(map(str, each.incomplete_seeds))
            console.print(f"{each.name}: without seeds {seeds}, which lack a fold.", soft_wrap=True, markup=False)
    for run in board.unfinished:
        console.print(f"{run.folder.name}: {run.state_label}. {run.reason}", style="red", soft_wrap=True, markup=False)


def _table(board: Leaderboard, classes: tuple[str, ...]) -> Table:
    against = differences(board)
    table = Table(
        title="Macro-F1 in %, mean ± half of the 95 % interval over seeds; best on validation first",
        caption=f"difference to {escape(board.baseline.name)} on test beats, paired by seed" if against else None,
    )
    # Short names stay in one line, so that 80 characters suffice.
    short = all(len(each.name) <= SHORT for each in board.ranked)
    table.add_column("configuration", min_width=SHORT, overflow="fold", no_wrap=short)
    for name in ("seeds", "validation", "test", *classes, *(["difference"] if against else [])):
        table.add_column(name, justify="right", no_wrap=True)
    if against:
        table.add_column("claim", min_width=8, overflow="fold")
    for each in board.ranked:
        difference = against.get(each.name, {}).get("test")
        table.add_row(*_row(each, classes), *(_difference_columns(difference) if against else []))
    return table


def print_ensembles(ensembles: Sequence[Ensemble]) -> None:
    """Prints macro-F1 with its interval, and the F1 of each class, of each ensemble."""
    table = Table(title="Ensembles: test F1 in %, with the 95 % bootstrap interval")
    table.add_column("runs of", min_width=22, overflow="fold")
    for name in ("runs", "macro", *(ensembles[0].test.classes if ensembles else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for each in ensembles:
        f1 = [each.test.macro.f1, *(row.f1 for row in each.test.per_class.values())]
        values = ["–" if score.value is None else f"{100 * score.value:.1f}" for score in f1]
        if f1[0].low is not None and f1[0].high is not None:
            values[0] += f" [{100 * f1[0].low:.1f}, {100 * f1[0].high:.1f}]"
        table.add_row(escape(each.name), str(each.n_runs), *values)
    Console().print(table)


def _row(configuration: Configuration, classes: tuple[str, ...]) -> list[str]:
    macro = [points(mean_interval(configuration.scores[subset]["macro_f1"])) for subset in ("validation", "test")]
    means = [mean_interval(configuration.scores["test"][name]) for name in classes]
    per_class = [points(replace(mean, low=None, high=None)) for mean in means]
    return [escape(configuration.name), str(len(configuration.seeds)), *macro, *per_class]


def _difference_columns(difference: Difference | None) -> list[str]:
    return [points(difference, sign=True), difference.claim] if difference else ["", "baseline"]


def points(score: MeanInterval, *, sign: bool = False) -> str:
    """Returns a mean in percentage points with half of its interval, such as "93.1 ± 0.4".

    Args:
        score: the mean and its interval.
        sign: whether a positive mean gets a plus sign.
    """
    if score.mean is None:
        return "–"
    mean = f"{100 * score.mean:{'+' if sign else ''}.1f}".replace("-", "−")
    if score.low is None or score.high is None:
        return mean
    return f"{mean} ± {50 * (score.high - score.low):.1f}"
