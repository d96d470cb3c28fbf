"""What a sweep ends in."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

# Short enough to stand side by side.
HEADS = {
    ("tstr_macro_f1", None): "TSTR/TRTR F1",
    ("tstr_recall", "S"): "recall S",
    ("tstr_recall", "F"): "recall F",
    ("discriminative", None): "discrim.",
    ("discriminative", "F"): "discrim. F",
    ("frechet", None): "Fréchet/floor",
    ("coverage", None): "coverage/floor",
    ("memorisation", None): "distance",
    ("memorised_share", None): "too close",
}


class FidelityTable(Callback):
    """Ends a sweep of generators in one table, on the console and in `fidelity.csv` of the sweep's folder.

    Generators are ranked by what their beats reached on the validation beats; the test beats stand beside it in the
    file and in each run's report.
    """

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra after the last job."""
        rows = table_of(Path(config.hydra.sweep.dir))
        if rows:
            write_csv(Path(config.hydra.sweep.dir) / "fidelity.csv", rows)
            show(rows)


def table_of(sweep: Path) -> list[dict[str, Any]]:
    """A row for each judged run in the folder of a sweep, the best first."""
    rows = []
    for path in sweep.glob("*/fidelity.json"):
        judged = json.loads(path.read_text(encoding="utf-8"))
        row: dict[str, Any] = {"run": path.parent.name, "overrides": _overrides(path.parent)}
        for side in ("validation", "test"):
            gates = judged[side]["gates"]
            row[f"{side} gates passed"] = f"{sum(gate['passed'] for gate in gates)} of {len(gates)}"
            for gate in gates:
                row[f"{side} {HEADS[gate['measure'], gate['class']]}"] = gate["reached"]
            row[f"{side} Fréchet"] = judged[side]["measures"]["frechet"]["overall"]["value"]
        rows.append(row)
    return sorted(rows, key=lambda row: (-int(row["validation gates passed"].split()[0]), row["validation Fréchet"]))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """One line a run."""
    from ecg.runs import write_text  # imports torch, which --help does without

    names, text = list(dict.fromkeys(name for row in rows for name in row)), io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def show(rows: list[dict[str, Any]]) -> None:
    """On the console, what the validation beats say."""
    from rich.console import Console
    from rich.table import Table

    heads = [head for head in HEADS.values() if any(f"validation {head}" in row for row in rows)]
    table = Table(title="Synthetic beats, judged on the validation beats; the best first")
    for name in ("run", "gates passed", *heads):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in rows:
        reached = (row.get(f"validation {head}") for head in heads)
        cells = ("–" if value is None else f"{value:.3g}" for value in reached)
        table.add_row(row["run"], row["validation gates passed"], *cells)
    Console().print(table)


def _overrides(run: Path) -> str:
    stored: Any = OmegaConf.load(run / "overrides.yaml") if (run / "overrides.yaml").is_file() else []
    return " ".join(str(override) for override in stored)
