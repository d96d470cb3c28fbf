"""The summary table of a sweep of generators."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecg.errors import UserError
from ecg.evaluation.fidelity import Fidelity, GateResult
from ecg.reading import read_json
from ecg.runs import read_overrides

log = logging.getLogger(__name__)

# Column names of the gates. A ratio is relative to the real reference.
COLUMNS = {
    "tstr_macro_f1": "TSTR F1 ratio",
    "tstr_recall": "TSTR recall ratio",
    "discriminative": "discriminative score",
    "frechet": "Fréchet ratio",
    "coverage": "coverage ratio",
    "memorisation": "distance ratio",
    "too_close_fraction": "too close",
}


@dataclass(frozen=True)
class FidelityFile:
    """Content of fidelity.json."""

    fit: dict[str, Any]
    subsets: dict[str, Fidelity]


def read_fidelity(sweep: Path) -> pd.DataFrame:
    """Returns one row for each evaluated generator of a sweep.

    The best generator is first: the one whose beats pass the most gates on the validation beats, then the one with the
    smallest Fréchet distance to them.

    Args:
        sweep: folder of the sweep.
    """
    rows = []
    for path in sorted(sweep.glob("*/fidelity.json")):
        try:
            rows.append(_row(path))
        except UserError as error:
            log.warning("%s It is skipped.", error)
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    n_passed = table["validation gates passed"].str.split().str[0].astype(int)
    ordered = table.assign(n_passed=n_passed).sort_values(
        ["n_passed", "validation Fréchet"], ascending=[False, True], ignore_index=True
    )
    return ordered.drop(columns="n_passed")


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"run": path.parent.name, "overrides": " ".join(read_overrides(path.parent))}
    content = read_json(path, FidelityFile, "Repeat the run.")
    if "validation" not in content.subsets or any("frechet" not in each.measures for each in content.subsets.values()):
        raise UserError(f"{path} is damaged: a subset or measure is missing. Repeat the run.")
    for subset, fidelity in content.subsets.items():
        row[f"{subset} gates passed"] = f"{sum(gate.passed for gate in fidelity.gates)} of {len(fidelity.gates)}"
        row |= {f"{subset} {_column(gate)}": gate.reached for gate in fidelity.gates}
        row[f"{subset} Fréchet"] = fidelity.measures["frechet"].overall.value
    return row


def _column(gate: GateResult) -> str:
    name = COLUMNS.get(gate.measure, gate.measure)
    return f"{name} {gate.class_name}" if gate.class_name else name


def print_fidelity(table: pd.DataFrame) -> None:
    """Prints the gates on the validation beats.

    Args:
        table: as returned by `read_fidelity`, with at least one row.
    """
    hidden = ("validation gates passed", "validation Fréchet")
    columns = [name for name in table.columns if name.startswith("validation ") and name not in hidden]
    printed = Table(title="Synthetic beats, evaluated on the validation beats; best first")
    for name in ("run", "gates passed", *(name.removeprefix("validation ") for name in columns)):
        printed.add_column(name, justify="left" if name == "run" else "right")
    for _, row in table.iterrows():
        values = ("–" if pd.isna(row[name]) else f"{row[name]:.3g}" for name in columns)
        printed.add_row(escape(row["run"]), row["validation gates passed"], *values)
    Console().print(printed)
