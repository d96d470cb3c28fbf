"""Copies finished runs to `results/`, and renders the tables of the README from there.

    python studies/results.py add RUN_FOLDER kaggle_cnn     writes results/runs/kaggle_cnn.json, or, for a run of
                                                            synth.py, results/generators/kaggle_cnn.json
    python studies/results.py readme                        renders the tables between the marks of the README

A file holds the metrics or the fidelity of the run, its provenance, and its overrides.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ecg.comparison.console import points
from ecg.comparison.statistics import MeanInterval
from ecg.config.help_text import options as group_options
from ecg.config.schema import SCHEMAS
from ecg.evaluation.fidelity import Fidelity
from ecg.evaluation.scores import RunMetrics, Score

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
# Overrides that depend on the machine.
LOCAL = re.compile(r"paths\.|hydra\.|data\.dir|trainer\.enable_progress_bar")


@dataclass(frozen=True)
class StoredRun:
    """A file of `results/runs` or `results/generators`."""

    overrides: list[str]
    content: dict[str, Any]

    @property
    def metrics(self) -> RunMetrics:
        """Metrics of a classifier."""
        metrics = {key: value for key, value in self.content["metrics"].items() if key != "training"}
        return RunMetrics.from_json(metrics)

    @property
    def fidelity(self) -> Fidelity:
        """Fidelity of a generator on the test beats."""
        return Fidelity.from_json(self.content["fidelity"]["subsets"]["test"])


def read_runs(kind: str, prefix: str) -> list[StoredRun]:
    """The stored runs whose names start with `prefix`."""
    contents = [json.loads(path.read_text()) for path in sorted((RESULTS / kind).glob(f"{prefix}_*.json"))]
    return [StoredRun(content["overrides"], content) for content in contents]


def add_run(run: Path, name: str) -> Path:
    """Copies the results of a run, without paths of the machine."""
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    provenance = json.loads((run / "provenance.json").read_text())
    del provenance["command"], provenance["host"]["system"]
    content: dict[str, Any] = {
        "overrides": [override for override in overrides if not LOCAL.match(override)],
        "provenance": provenance,
    }
    if (run / "fidelity.json").exists():
        folder = RESULTS / "generators"
        content["fidelity"] = json.loads((run / "fidelity.json").read_text())
    else:
        folder = RESULTS / "runs"
        training = json.loads((run / "training.json").read_text())
        training.pop("history")
        content["metrics"] = {**json.loads((run / "metrics.json").read_text()), "training": training}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def percent(score: Score, interval: bool = False) -> str:
    """A score in %, with its interval if requested."""
    if score.value is None:
        return "–"
    text = f"{100 * score.value:.1f}"
    if interval and score.low is not None and score.high is not None:
        text += f" [{100 * score.low:.1f}, {100 * score.high:.1f}]"
    return text


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def header(texts: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The head of a Markdown table: columns of text, then columns of numbers."""
    return [row([*texts, *numbers]), "|" + "---|" * len(texts) + "---:|" * len(numbers)]


def kaggle_table() -> str:
    """A row for each network on the Kaggle split."""
    lines = header(["command"], ["parameters", "minutes", "accuracy", "macro-F1", *"NSVFQ"])
    for run in read_runs("runs", "kaggle"):
        test, training = run.metrics.subsets["test"], run.content["metrics"]["training"]
        cells = [f"`python train.py {' '.join(run.overrides)}`", f"{training['parameters']:,}"]
        cells += [f"{training['seconds'] / 60:.0f}", percent(test.accuracy), percent(test.macro.f1, interval=True)]
        lines.append(row([*cells, *(percent(test.per_class[name].f1) for name in "NSVFQ")]))
    return "\n".join(lines)


def inter_patient_table() -> str:
    """A row for each subset of DS2."""
    lines = []
    for run in read_runs("runs", "inter_patient"):
        minutes = run.content["metrics"]["training"]["seconds"] / 60
        lines += [f"`python train.py {' '.join(run.overrides)}`, {minutes:.0f} min on two cores", ""]
        lines += header(["test beats"], ["macro-F1", *(f"{c} Se / +P" for c in "SVF"), "F1 of N, S, V, F"])
        for name, metrics in run.metrics.subsets.items():
            if name == "validation" or metrics.ec57 is None:
                continue
            rates = [metrics.ec57[c].gross for c in "SVF"]
            cells = [name.replace("test", "DS2"), percent(metrics.macro.f1, interval=True)]
            cells += [f"{100 * (r.se or 0):.1f} / {100 * (r.ppv or 0):.1f}" for r in rates]
            lines.append(row([*cells, ", ".join(percent(metrics.per_class[c].f1) for c in "NSVF")]))
    return "\n".join(lines)


def generators_table() -> str:
    """A column for each generator: gates on the test beats, and the time of the fit."""
    runs = read_runs("generators", "kaggle")
    chosen = [dict(override.split("=", 1) for override in run.overrides) for run in runs]
    names = [f"{overrides['generator']}, {overrides['trainer.max_epochs']} epochs" for overrides in chosen]
    lines = header(["on the test beats", "required"], names)
    fidelities = [run.fidelity for run in runs]
    for i, gate in enumerate(fidelities[0].gates):
        title = fidelities[0].measures[gate.measure].title + (f", {gate.class_name}" if gate.class_name else "")
        gates = [fidelity.gates[i] for fidelity in fidelities]
        assert all((g.measure, g.class_name) == (gate.measure, gate.class_name) for g in gates)
        lines.append(row([title, gate.bound, *(f"{g.reached:.2f} {'✓' if g.passed else '✗'}" for g in gates)]))
    minutes = [f"{run.content['fidelity']['fit']['seconds'] / 60:.0f}" for run in runs]
    return "\n".join([*lines, row(["minutes of the fit", "", *minutes])])


def study_table() -> str:
    """A row for each augmentation: macro-F1, its difference to `none`, the claim, and F1 of F, in both regimes."""
    columns = ["macro-F1", "difference", "claim", "F"]
    lines = header(["augmentation"], [*columns, *(f"{name}, a tenth" for name in columns)])
    cells: dict[str, list[str]] = {}
    for regime in ("all", "scarce"):
        for configuration in json.loads((RESULTS / f"study_{regime}.json").read_text())["configurations"]:
            difference, test = (configuration["difference"] or {}).get("test"), configuration["test"]
            compared = [mean_points(difference, sign=True), difference["claim"]] if difference else ["–", "–"]
            name = configuration["name"].removeprefix("augmentation=")
            cells.setdefault(name, [name]).extend([mean_points(test["macro_f1"]), *compared, mean_points(test["F"])])
    return "\n".join([*lines, *(row(line) for line in cells.values())])


def mean_points(content: dict[str, Any], sign: bool = False) -> str:
    """Mean and half of its interval, in points."""
    return points(MeanInterval(content["mean"], content["low"], content["high"], content["n"]), sign=sign)


def costs() -> str:
    """Speed of a training step, and time of the transforms and of sampling."""
    steps = json.loads((RESULTS / "step.json").read_text())["rows"]
    speed = {
        entry["precision"]: entry["beats_per_second"]
        for entry in steps
        if (entry["network"], entry["variant"], entry["batch_size"]) == ("cnn", "default", 128)
    }
    content = json.loads((RESULTS / "transforms.json").read_text())
    fractions = {entry["transform"]: 100 * entry["fraction_of_step"] for entry in content["rows"]}
    together = fractions.pop("all together")
    sampling = json.loads((RESULTS / "sampling.json").read_text())["rows"]
    times = ", ".join(f"{e['generator']} {e['microseconds']:,.0f}" for e in sampling if e["precision"] == "bf16-mixed")
    single = f"{min(fractions.values()):.1f} to {max(fractions.values()):.1f} %"
    return (
        f"On two cores with AMX and batches of 128, `cnn` trains on {speed['32-true']:,} beats a second in float32 and "
        f"on {speed['bf16-mixed']:,} in bf16-mixed (`benchmarks/step.py`). A transform takes {single} of a training "
        f"step of `cnn`, all together {together:.1f} % (`benchmarks/transforms.py`, {content['precision']}). Sampling "
        f"a beat takes, in microseconds and bf16-mixed: {times} (`benchmarks/sampling.py`)."
    )


def options_table() -> str:
    """The options of each group."""
    lines = header(["group", "options"], [])
    for group in SCHEMAS:
        names = (f"`{option}`" for option in group_options(ROOT / "conf", group))
        lines.append(row([f"`{group}`", ", ".join(names)]))
    return "\n".join(lines)


TABLES = {
    "options": options_table,
    "kaggle": kaggle_table,
    "inter_patient": inter_patient_table,
    "generators": generators_table,
    "study": study_table,
    "costs": costs,
}


def render(readme: str) -> str:
    """The README with its tables rendered from `results/`."""
    for name, table in TABLES.items():
        before, rest = readme.split(f"<!-- table {name} -->\n")
        _, after = rest.split("<!-- end -->", 1)
        readme = f"{before}<!-- table {name} -->\n{table()}\n<!-- end -->{after}"
    return readme


def main(arguments: Sequence[str] | None = None) -> None:
    """Adds a run, or renders the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add")
    add.add_argument("run", type=Path)
    add.add_argument("name")
    commands.add_parser("readme")
    options = parser.parse_args(arguments)
    if options.command == "add":
        print(add_run(options.run, options.name))
    else:
        path = ROOT / "README.md"
        path.write_text(render(path.read_text()))


if __name__ == "__main__":
    main()
