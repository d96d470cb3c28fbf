"""Finished runs into `results/`, and the tables of the README out of it.

    python benchmarks/results.py add RUN_FOLDER kaggle_cnn     writes results/runs/kaggle_cnn.json, or, of synth.py,
                                                               results/generators/kaggle_cnn.json
    python benchmarks/results.py readme                        fills the tables between the README's marks

A file holds the run's metrics.json or fidelity.json, its provenance, and what was said on the command line.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ecg.evaluation.leaderboard import points

ROOT = Path(__file__).parents[1]
RUNS, GENERATORS = ROOT / "results" / "runs", ROOT / "results" / "generators"
Run = Mapping[str, Any]


def add(run: Path, name: str) -> Path:
    """Copies what a run found, without folders of the machine it ran on."""
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    of_the_machine = re.compile(r"paths\.|hydra\.|data\.dir|trainer\.enable_progress_bar")
    found = {
        "overrides": [override for override in overrides if not of_the_machine.match(override)],
        "provenance": json.loads((run / "provenance.json").read_text()),
    }
    folder, kind = (GENERATORS, "fidelity") if (run / "fidelity.json").exists() else (RUNS, "metrics")
    found[kind] = json.loads((run / f"{kind}.json").read_text())
    if kind == "metrics":
        training = json.loads((run / "training.json").read_text())
        found[kind]["training"] = {key: value for key, value in training.items() if key != "history"}
    del found["provenance"]["command"], found["provenance"]["host"]["system"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def _runs(prefix: str) -> Iterator[Run]:
    for path in sorted(RUNS.glob(f"{prefix}_*.json")):
        yield json.loads(path.read_text())


def _percent(score: Mapping[str, float | None], interval: bool = False) -> str:
    if score["value"] is None:
        return "–"
    text = f"{100 * score['value']:.1f}"
    if interval and score["low"] is not None and score["high"] is not None:
        text += f" [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"
    return text


def _command(run: Run) -> str:
    return f"`python train.py {' '.join(run['overrides'])}`"


def _minutes(run: Run) -> str:
    return f"{run['metrics']['training']['seconds'] / 60:.0f}"


def kaggle_table() -> str:
    """A row a network: the genuine test rows of the Kaggle set."""
    lines = ["| command | parameters | minutes | accuracy | macro-F1 | N | S | V | F | Q |", "|---|" + "---:|" * 9]
    for run in _runs("kaggle"):
        test, training = run["metrics"]["test"], run["metrics"]["training"]
        f1 = [_percent(test["per_class"][name]["f1"]) for name in "NSVFQ"]
        cells = [_command(run), f"{training['parameters']:,}", _minutes(run), _percent(test["accuracy"])]
        lines.append("| " + " | ".join([*cells, _percent(test["macro"]["f1"], True), *f1]) + " |")
    return "\n".join(lines)


def inter_patient_table() -> str:
    """A row for each reading of DS2."""
    lines = ["| test beats | macro-F1 | S Se / +P | V Se / +P | F Se / +P | F1 of N, S, V, F |"]
    lines += ["|---|" + "---:|" * 5]
    for run in _runs("inter_patient"):
        lines.insert(0, f"{_command(run)}, {_minutes(run)} min on two cores\n")
        for side in ("test", "test without 202", "test without 232"):
            metrics = run["metrics"][side]
            gross = {name: metrics["ec57"][name]["gross"] for name in "SVF"}
            ec57 = [f"{100 * g['Se']:.1f} / {100 * (g['+P'] or 0):.1f}" for g in gross.values()]
            f1 = ", ".join(_percent(metrics["per_class"][name]["f1"]) for name in "NSVF")
            name = side.replace("test", "DS2")
            lines.append("| " + " | ".join([name, _percent(metrics["macro"]["f1"], True), *ec57, f1]) + " |")
    return "\n".join(lines)


def generators_table() -> str:
    """A column a generator: the gates on the test beats, and how long the fit took."""
    found = [json.loads(path.read_text()) for path in sorted(GENERATORS.glob("kaggle_*.json"))]
    if not found:
        return "Not measured yet."
    names = [next(o.split("=")[1] for o in run["overrides"] if o.startswith("generator=")) for run in found]
    lines = [f"| on the test beats | needed | {' | '.join(names)} |", "|---|---|" + "---:|" * len(names)]
    for gate in found[0]["fidelity"]["test"]["gates"]:
        title = found[0]["fidelity"]["test"]["measures"][gate["measure"]]["title"]
        same = [
            next(
                g for g in run["fidelity"]["test"]["gates"] if all(g[key] == gate[key] for key in ("measure", "class"))
            )
            for run in found
        ]
        cells = [f"{g['reached']:.2f} {'✓' if g['passed'] else '✗'}" for g in same]
        of = f", {gate['class']}" if gate["class"] else ""
        lines.append(f"| {title}{of} | {gate['bound']} | {' | '.join(cells)} |")
    minutes = [f"{run['fidelity']['fit']['seconds'] / 60:.0f}" for run in found]
    lines.append(f"| minutes of the fit | | {' | '.join(minutes)} |")
    commands = [f"`python synth.py {' '.join(run['overrides'])}`" for run in found]
    return "\n".join([*lines, "", *(f"* {command}" for command in commands)])


def draw_table() -> str:
    """Microseconds a beat."""
    path = ROOT / "results" / "draw.json"
    if not path.exists():
        return "Not measured yet."
    found = json.loads(path.read_text())["rows"]
    lines = ["| generator | precision | microseconds a beat |", "|---|---|---:|"]
    return "\n".join(lines + [f"| {r['generator']} | {r['precision']} | {r['microseconds']:,.0f} |" for r in found])


def transforms_line() -> str:
    """What the transforms cost."""
    path = ROOT / "results" / "augmentation.json"
    if not path.exists():
        return "Not measured yet."
    share = {row["transform"]: 100 * row["share_of_step"] for row in json.loads(path.read_text())["rows"]}
    together = share.pop("all together")
    del share["waveform"]  # several of them
    return (
        f"Each takes {min(share.values()):.1f} to {max(share.values()):.1f} % of a training step of `cnn`, all "
        f"together {together:.1f} % (`benchmarks/augmentation.py`)."
    )


def study_table() -> str:
    """For each regime a row an arm: test scores, and the difference to `none` paired by seed."""
    parts = []
    for regime, words in (("all", "all training beats"), ("scarce", "a tenth of the training beats")):
        path = ROOT / "results" / f"study_{regime}.json"
        if not path.exists():
            continue
        lines = [f"| {words} | seeds | macro-F1 | against none | claim | S | V | F |", "|---|" + "---:|" * 7]
        for cell in json.loads(path.read_text())["cells"]:
            against = (cell["difference"] or {}).get("test")
            cells = [points(cell["test"]["macro_f1"])]
            cells += [points(against, sign=True), against["claim"]] if against else ["–", "–"]
            cells += [points(cell["test"][name]) for name in "SVF"]
            arm = cell["name"].removeprefix("augmentation=")
            lines.append(f"| {arm} | {len(cell['seeds'])} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or "Not measured yet."


def step_table() -> str:
    """Beats a second of a training step."""
    rows = json.loads((ROOT / "results" / "step.json").read_text())["rows"]
    sizes = sorted({row["batch_size"] for row in rows})
    heads = " | ".join(f"batch {size}" for size in sizes)
    lines = [f"| network | precision | {heads} |", "|---|---|" + "---:|" * len(sizes)]
    speeds: dict[tuple[str, str], dict[int, int]] = {}
    for row in rows:
        name = row["network"] + ("" if row["variant"] == "as shipped" else f", {row['variant']}")
        speeds.setdefault((name, row["precision"]), {})[row["batch_size"]] = row["beats_per_second"]
    for names, speed in speeds.items():
        lines.append("| " + " | ".join([*names, *(f"{speed[s]:,}" if s in speed else "" for s in sizes)]) + " |")
    return "\n".join(lines)


def recipe_table() -> str:
    """Validation macro-F1 of recipes that take the same time."""
    found = json.loads((ROOT / "results" / "recipe.json").read_text())
    epochs = f"epochs in {found['minutes']:g} minutes"
    lines = [f"| precision | batch | learning rate | {epochs} | validation macro-F1 |", "|---|" + "---:|" * 4]
    for row in found["rows"]:
        cells = [
            row["precision"],
            row["batch_size"],
            row["lr"],
            row["epochs"],
            f"{100 * row['validation_macro_f1']:.1f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


TABLES = {
    "transforms": transforms_line,
    "kaggle": kaggle_table,
    "inter_patient": inter_patient_table,
    "generators": generators_table,
    "study": study_table,
    "draw": draw_table,
    "step": step_table,
    "recipe": recipe_table,
}


def filled(readme: str) -> str:
    """The README with its tables made anew."""
    for name, table in TABLES.items():
        before, rest = readme.split(f"<!-- table {name} -->\n")
        _, after = rest.split("<!-- end -->", 1)
        readme = f"{before}<!-- table {name} -->\n{table()}\n<!-- end -->{after}"
    return readme


def main() -> None:
    """Adds a run, or fills the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add")
    adding.add_argument("run", type=Path)
    adding.add_argument("name")
    commands.add_parser("readme")
    arguments = parser.parse_args()
    if arguments.command == "add":
        print(add(arguments.run, arguments.name))
    else:
        path = ROOT / "README.md"
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
