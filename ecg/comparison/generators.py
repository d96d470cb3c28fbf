"""The summary table of a sweep of generators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from ecg.evaluation.fidelity import Fidelity, GateResult

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


def read_fidelity(sweep: Path) -> pd.DataFrame:
    """Returns one row for each evaluated generator of a sweep.

    The best generator is first: the one whose beats pass the most gates on the validation beats, then the one with the
    smallest Fréchet distance to them.

    Args:
        sweep: folder of the sweep.
    """
    table = pd.DataFrame([_row(path) for path in sweep.glob("*/fidelity.json")])
    if table.empty:
        return table
    n_passed = table["validation gates passed"].str.split().str[0].astype(int)
    ordered = table.assign(n_passed=n_passed).sort_values(
        ["n_passed", "validation Fréchet"], ascending=[False, True], ignore_index=True
    )
    return ordered.drop(columns="n_passed")


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"run": path.parent.name, "overrides": _overrides(path.parent)}
    for subset, content in json.loads(path.read_text(encoding="utf-8"))["subsets"].items():
        fidelity = Fidelity.from_json(content)
        row[f"{subset} gates passed"] = f"{sum(gate.passed for gate in fidelity.gates)} of {len(fidelity.gates)}"
        row |= {f"{subset} {_column(gate)}": gate.reached for gate in fidelity.gates}
        row[f"{subset} Fréchet"] = fidelity.measures["frechet"].overall.value
    return row


def _column(gate: GateResult) -> str:
    name = COLUMNS.get(gate.measure, gate.measure)
    return f"{name} {gate.class_name}" if gate.class_name else name


def _overrides(run: Path) -> str:
    path = run / "overrides.yaml"
    return " ".join(map(str, yaml.safe_load(path.read_text(encoding="utf-8")) or [])) if path.is_file() else ""


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
        printed.add_row(row["run"], row["validation gates passed"], *values)
    Console().print(printed)
