"""Sweeps: jobs that fail alone, sweeps that go on where they stopped, and the table that they end in."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ecg.config import SWEEP, sweep_name
from ecg.errors import UserError, one_sentence, sentence_of
from ecg.files import write_json, write_text

Main = Callable[[DictConfig], float | None]


def job(main: Main) -> Main:
    """Lets a job of a sweep fail alone: it tells why, and the others go on."""

    @functools.wraps(main)
    def attempted(cfg: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN:
            with one_sentence():
                return main(cfg)
        try:
            return main(cfg)
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None:
                traceback.print_exc()
            _note_failure(Path(hydra.runtime.output_dir), hydra, sentence or f"{type(error).__name__}: {error}")
            return None  # which sweepers that search count as a failure, unlike NaN

    return attempted


def run_alone(cfg: DictConfig, program: str) -> None:
    """Runs a job of a sweep that trains on several devices as a program of its own; the job then finds it finished.

    The processes that train one network together repeat the command that began the first, and its sweep with it.

    Args:
        cfg: configuration of the job.
        program: the file that the command names.

    Raises:
        UserError: the job failed, or Lightning refuses the trainer.
    """
    from ecg.build import n_devices
    from ecg.runs import status

    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN or n_devices(cfg) == 1:
        return
    folder, environment = Path(hydra.runtime.output_dir), {**os.environ, SWEEP: str(sweep_name())}
    command = [sys.executable, str(Path(program).resolve()), *hydra.overrides.task, f'hydra.run.dir="{folder}"']
    if code := subprocess.run(command, cwd=hydra.runtime.cwd, env=environment).returncode:
        raise UserError(status(folder).get("why", f"it ended with status {code}."))


def _note_failure(folder: Path, hydra: Any, why: str) -> None:
    """Writes why a job failed, which it may have done before its folder was in use."""
    from ecg.runs import STATUS, status

    print(f"Error in job {hydra.job.num}: {why}", file=sys.stderr)
    if status(folder).get("state") == "finished":  # another run, which this job may not take the place of
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STATUS, {"state": "failed", "why": why})
    if not (folder / "overrides.yaml").is_file():
        write_text(folder / "overrides.yaml", OmegaConf.to_yaml(hydra.overrides.task))


def resumed_sweep() -> None:
    """Turns `sweep.resume=DIR` into the command that began the sweep in DIR.

    What is finished there is not run again, and what was interrupted goes on from its last checkpoint.

    Raises:
        UserError: DIR holds no sweep, or other choices stand beside it.
    """
    said = [argument for argument in sys.argv[1:] if argument.startswith("sweep.resume=")]
    if not said:
        return
    if others := [argument for argument in sys.argv[1:] if argument not in (*said, "-m", "--multirun")]:
        raise UserError(f"sweep.resume goes on with the sweep as it was begun: leave out {' '.join(others)}.")
    folder = Path(said[-1].partition("=")[2]).resolve()
    if not (folder / "multirun.yaml").is_file():
        raise UserError(f"{said[-1]} holds no sweep: there is no multirun.yaml in it.")
    begun = OmegaConf.load(folder / "multirun.yaml").hydra.overrides
    kept = [str(o) for o in begun.hydra if not str(o).startswith(("hydra.sweep.dir=", "hydra.mode="))]
    sys.argv[1:] = ["-m", *(str(o) for o in begun.task), *kept, f"hydra.sweep.dir={folder}"]


class Sweep(Callback):
    """Writes down how a sweep was begun, which not every sweeper of Hydra does: `sweep.resume` reads it."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra before the first job."""
        with one_sentence():
            folder = Path(config.hydra.sweep.dir)
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, folder / "multirun.yaml")

    def require_finished(self, sweep: Path) -> None:
        """Ends the program with an error where a job did not finish.

        Raises:
            UserError: says how many and how to go on.
        """
        from ecg.runs import STATUS, status

        states = [status(path.parent).get("state") for path in sweep.glob(f"*/{STATUS}")]
        if left := sum(state != "finished" for state in states):
            raise UserError(
                f"{left} of {len(states)} jobs did not finish; once mended, go on with sweep.resume={sweep}."
            )


class LeaderboardTable(Sweep):
    """Ends a sweep of classifiers in one table, on the console and in `leaderboard.*` of the sweep's folder."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra after the last job; ends the program with an error where a job failed."""
        with one_sentence():
            from ecg.evaluation import leaderboard

            folder = Path(config.hydra.sweep.dir)
            board = leaderboard.leaderboard(leaderboard.read([folder]))
            leaderboard.show(board)
            print(f"Leaderboard: {leaderboard.write(board, folder)[0]}")
            self.require_finished(folder)


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


class FidelityTable(Sweep):
    """Ends a sweep of generators in one table, on the console and in `fidelity.csv` of the sweep's folder.

    Generators are ranked by what their beats reached on the validation beats; the test beats stand beside it in the
    file and in each run's report.
    """

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra after the last job; ends the program with an error where a job failed."""
        with one_sentence():
            folder = Path(config.hydra.sweep.dir)
            if rows := table_of(folder):
                write_csv(folder / "fidelity.csv", rows)
                show(rows)
            self.require_finished(folder)


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
