"""Copies finished fits of generators to `results/`, and renders the tables of the documents from there.

    python studies/results.py add RUN_FOLDER kaggle_r3gan   writes the fidelity, the provenance and the overrides of a
                                                            run of synth.py to results/generators/kaggle_r3gan.json
    python studies/results.py render                        renders the tables between the marks of the documents,
                                                            and docs/confusion.png

`studies/accuracy.py` writes the files of classifiers.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg import build
from ecg.comparison.console import points
from ecg.comparison.statistics import MeanInterval, holm, mean_interval, paired_p
from ecg.config.help_text import options as group_options
from ecg.config.installation import CONF
from ecg.config.schema import SCHEMAS, register
from ecg.data.window import CenteredWindow
from ecg.evaluation.fidelity import Fidelity
from ecg.files import atomic_write
from ecg.reports.plots import confusion_matrix

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
TITLES = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
N_RECORDS = 48  # of the Kaggle split; the generator of DS1 has no parameters for each record
N_WORST = 10  # records in the table of mistakes
SIGNIFICANT = 0.05
CARD_SCORES = ("macro_f1", "N", "S", "V", "F")
# Overrides that depend on the machine.
LOCAL = re.compile(r"paths\.|hydra\.|data\.dir|trainer\.enable_progress_bar")


@dataclass(frozen=True)
class StoredRun:
    """A file of `results/generators`."""

    overrides: list[str]
    content: dict[str, Any]

    @property
    def fidelity(self) -> Fidelity:
        """Fidelity of a generator on the test beats."""
        return Fidelity.from_json(self.content["fidelity"]["subsets"]["test"])


def read_runs(prefix: str) -> list[StoredRun]:
    """The stored runs whose names start with `prefix`."""
    paths = sorted((RESULTS / "generators").glob(f"{prefix}*.json"))
    contents = [json.loads(path.read_text()) for path in paths]
    return [StoredRun(content["overrides"], content) for content in contents]


def add_run(run: Path, name: str) -> Path:
    """Copies the results of a run, without paths of the machine."""
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    provenance = json.loads((run / "provenance.json").read_text())
    del provenance["command"], provenance["host"]["system"]
    content = {
        "overrides": [override for override in overrides if not LOCAL.match(override)],
        "provenance": provenance,
        "fidelity": json.loads((run / "fidelity.json").read_text()),
    }
    path = RESULTS / "generators" / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def header(texts: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The head of a Markdown table: columns of text, then columns of numbers."""
    return [row([*texts, *numbers]), "|" + "---|" * len(texts) + "---:|" * len(numbers)]


def accuracy_table(
    prefix: str,
    classes: str,
    extra: dict[str, str] | None = None,
    accuracy: bool = False,
    ensembles: bool = True,
    only: str = "",
) -> str:
    """Rows for each file of `results/accuracy`: the mean of single networks over seeds, and the ensemble of all runs.

    Args:
        prefix: start of the names of the files.
        classes: classes with a column.
        extra: further subsets with a column of their macro-F1, and the title of the column.
        accuracy: whether there is a column of the accuracy.
        ensembles: whether there are rows of the ensembles of one configuration.
        only: words of the configurations that are shown, separated by |; all by default.
    """
    extra = extra or {}
    shown = ["macro_f1", *(["accuracy"] if accuracy else []), *classes]
    numbers = ["runs", *(TITLES.get(name, f"F1 of {name}") for name in shown), *extra.values(), "ECE"]
    lines = header(["configuration"], [*numbers, "parameters", "minutes", "µs a beat"])
    for content in read_accuracy(prefix):
        title = content["title"]
        if not re.search(only, title):
            continue
        if "seeds_of" in content:
            lines.append(row([title, *_single_cells(content, shown, extra)]))
            title += ", ensemble"
        if content["ensemble"] and (ensembles or "seeds_of" not in content):
            lines.append(row([title, *_ensemble_cells(content, shown[1:], extra)]))
    return "\n".join(lines)


def _single_cells(content: dict[str, Any], shown: Sequence[str], extra: dict[str, str]) -> list[str]:
    of_seeds = content["seeds_of"]
    return [
        str(len(content["seeds"])),
        *(seed_points(of_seeds["test"], name) for name in shown),
        *(seed_points(of_seeds[name], "macro_f1") for name in extra),
        f"{np.mean([each['ece'] for each in of_seeds['test']]):.3f}",
        f"{content['parameters']:,}",
        f"{np.mean(content['minutes']):.1f}",
        f"{np.mean(content['microseconds_per_beat']):.0f}",
    ]


def _ensemble_cells(content: dict[str, Any], shown: Sequence[str], extra: dict[str, str]) -> list[str]:
    test = content["ensemble"]["test"]
    low, high = test["interval"]
    return [
        str(content["runs"]),
        f"{points_of(test['macro_f1'])} [{points_of(low)}, {points_of(high)}]",
        *(points_of(_score(test, name)) for name in shown),
        *(points_of(content["ensemble"][name]["macro_f1"]) for name in extra),
        f"{test['ece']:.3f}",
        *[""] * 3,
    ]


def read_accuracy(prefix: str) -> list[dict[str, Any]]:
    """The files of `results/accuracy` whose names start with `prefix`."""
    return [json.loads(path.read_text()) for path in sorted((RESULTS / "accuracy").glob(f"{prefix}_*.json"))]


def points_of(value: float | None) -> str:
    """A score in %."""
    return "–" if value is None else f"{100 * value:.1f}"


def seed_points(seeds: Sequence[dict[str, Any]], name: str) -> str:
    """Mean over seeds of macro-F1, of the accuracy or of the F1 of a class, with half of its interval."""
    values = [_score(seed, name) for seed in seeds]
    return points(mean_interval(np.array([np.nan if value is None else value for value in values])))


def _score(scores: dict[str, Any], name: str) -> float | None:
    score: float | None = scores[name] if name in TITLES else scores["f1"][name]
    return score


def ds2_table() -> str:
    """Configurations trained on DS1 and tested on DS2."""
    return accuracy_table("ds2", "SVF", {"test without 202": "without 202", "test without 232": "without 232"})


def ds2_summary() -> str:
    """The networks of the README: single beats, beats in context, the ensemble, and the causal one."""
    shown = "single beats|, cnn, vote|three networks|causal"
    return accuracy_table("ds2", "SVF", ensembles=False, only=shown)


def kaggle_summary() -> str:
    """Single networks and the ensemble of all."""
    return accuracy_table("kaggle", "SVFQ", accuracy=True, ensembles=False)


def draw_confusion(path: Path) -> None:
    """Draws the confusion matrix on DS2 of the ensemble in results/errors.json."""
    content = json.loads((RESULTS / "errors.json").read_text())
    matrix = np.sum(list(content["by_record"].values()), axis=0)
    with atomic_write(path) as temporary:
        confusion_matrix(matrix, content["classes"]).savefig(temporary, dpi=110, format="png")


def card_table() -> str:
    """Scores of the configuration of the released classifier on patients not seen in training."""
    lines = header(["trained on", "tested on"], ["macro-F1", "F1 of N", "F1 of S", "F1 of V", "F1 of F"])
    for name, trained, tested in (
        ("ds2_3_cnn_vote", "DS1 of MIT-BIH", "DS2 of MIT-BIH, 22 patients"),
        ("svdb_1_cnn", "MIT-BIH", "40 records of SVDB"),
    ):
        test = json.loads((RESULTS / "accuracy" / f"{name}.json").read_text())["seeds_of"]["test"]
        cells = [seed_points(test, each) if each in ("macro_f1", *test[0]["f1"]) else "–" for each in CARD_SCORES]
        lines.append(row([trained, tested, *cells]))
    return "\n".join(lines)


def kaggle_card_table() -> str:
    """Scores of the configuration of the released classifier of Kaggle rows on the test rows."""
    test = json.loads((RESULTS / "accuracy" / "kaggle_1_cnn.json").read_text())["seeds_of"]["test"]
    names = ("macro_f1", "accuracy", *test[0]["f1"])
    lines = header(["tested on"], [TITLES.get(name, f"F1 of {name}") for name in names])
    lines.append(row(["21,892 test rows", *(seed_points(test, name) for name in names)]))
    return "\n".join(lines)


def ec57_table() -> str:
    """EC57 rates of the ensembles on DS2: over all beats, and as the mean over records."""
    lines = header(
        ["configuration"], [f"{name} Se / +P{of}" for name in "SV" for of in ("", ", mean of records")] + ["F Se / +P"]
    )
    for content in read_accuracy("ds2"):
        rates = content["ensemble"]["test"]["ec57"]
        pairs = [rates[name][kind] for name in "SV" for kind in ("gross", "record_mean")] + [rates["F"]["gross"]]
        lines.append(
            row([content["title"], *(f"{points_of(pair['se'])} / {points_of(pair['ppv'])}" for pair in pairs)])
        )
    return "\n".join(lines)


def differences_table() -> str:
    """Differences in macro-F1 on DS2 to the first row in context, paired by seed, with Holm's correction."""
    scores = {
        each["title"]: np.array([seed["macro_f1"] for seed in each["seeds_of"]["test"]])
        for each in read_accuracy("ds2")
        if "seeds_of" in each
    }
    baseline = next(title for title in scores if title.startswith("beats in context"))
    paired = {title: values - scores[baseline] for title, values in scores.items() if title != baseline}
    corrected = holm([paired_p(values) for values in paired.values()])
    lines = header(["configuration"], ["difference", "p, corrected"])
    for (title, values), p in zip(paired.items(), corrected, strict=True):
        difference = points(mean_interval(values), sign=True)
        lines.append(row([title, difference, "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"]))
    return "\n".join(lines)


def svdb_table() -> str:
    """Configurations trained on MIT-BIH and tested on SVDB."""
    return accuracy_table("svdb", "SV")


def kaggle_table() -> str:
    """Rows of the Kaggle files."""
    return accuracy_table("kaggle", "SVFQ", accuracy=True)


def kaggle_context_table() -> str:
    """Beats of the Kaggle split in context."""
    return accuracy_table("context", "SVFQ", accuracy=True)


def earlier_table() -> str:
    """Earlier versions on DS2."""
    return accuracy_table("earlier", "SVF")


def commands() -> str:
    """The command of each row of the accuracy tables."""
    lines = header(["configuration", "command", "commit"], [])
    for prefix in ("ds2", "svdb", "kaggle", "context"):
        for content in read_accuracy(prefix):
            if "seeds" not in content:
                continue
            seeds = ",".join(map(str, content["seeds"]))
            command = " ".join(shlex.quote(override) for override in content["overrides"])
            command = f"`python train.py -m {command} seed={seeds}`"
            lines.append(row([content["title"], command, content["git_commit"][:7]]))
    return "\n".join(lines)


def ablation_table() -> str:
    """Cross-validation within DS1: the chosen configuration, and one change at a time."""
    lines = header(["change"], ["macro-F1", "S", "V", "F", "with class shifts"])
    for content in read_accuracy("cv"):
        before, after = content["before"], content["after"]
        cells = [points_of(float(np.mean(list(before.values())))), *(points_of(before[name]) for name in "SVF")]
        lines.append(row([content["title"], *cells, points_of(float(np.mean(list(after.values()))))]))
    return "\n".join(lines)


def errors_table() -> str:
    """Records of DS2 with the most mistakes."""
    content = json.loads((RESULTS / "errors.json").read_text())
    classes = content["classes"]
    matrices = {name: np.array(matrix) for name, matrix in content["by_record"].items()}
    worst = sorted(matrices, key=lambda name: matrices[name].trace() - matrices[name].sum())[:N_WORST]
    lines = header(
        ["record"], ["beats", "wrong", *(f"{name}: right of all" for name in classes), "most frequent mistake"]
    )
    for name in worst:
        matrix = matrices[name]
        wrong = matrix - np.diag(matrix.diagonal())
        true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
        right = [f"{matrix[c, c]} / {matrix[c].sum()}" for c in range(len(classes))]
        mistake = f"{wrong.max()} {classes[true]} as {classes[predicted]}"
        lines.append(row([name, f"{matrix.sum():,}", str(wrong.sum()), *right, mistake]))
    return "\n".join(lines)


def generators_table(prefix: str) -> str:
    """A column for each generator whose file starts with `prefix`: gates on the test beats, and the time of the fit."""
    runs = read_runs(prefix)
    configs = [composed(run) for run in runs]
    generators = [run.content["provenance"]["choices"]["generator"] for run in runs]
    names = [
        name if generators.count(name) == 1 else f"{name}, batches of {cfg.fit.batch_size}"
        for name, cfg in zip(generators, configs, strict=True)
    ]
    lines = header(["on the test beats", "required"], names)
    fidelities = [run.fidelity for run in runs]
    for i, gate in enumerate(fidelities[0].gates):
        title = fidelities[0].measures[gate.measure].title + (f", {gate.class_name}" if gate.class_name else "")
        gates = [fidelity.gates[i] for fidelity in fidelities]
        assert all((g.measure, g.class_name) == (gate.measure, gate.class_name) for g in gates)
        lines.append(row([title, gate.bound, *(f"{g.reached:.2f} {'✓' if g.passed else '✗'}" for g in gates)]))
    fits = [run.content["fidelity"]["fit"] for run in runs]
    batches = [f"{fit['epochs']}, {cfg.fit.batch_size}" for fit, cfg in zip(fits, configs, strict=True)]
    lines.append(row(["epochs, beats a batch", "", *batches]))
    lines.append(row(["minutes of the fit", "", *(f"{fit['seconds'] / 60:.0f}" for fit in fits)]))
    lines.append(row(["device, precision", "", *(f"{fit['device']}, {fit['precision']}" for fit in fits)]))
    lines.append(row(["parameters: generator / critics", "", *(" / ".join(parameters(cfg)) for cfg in configs)]))
    return "\n".join(lines)


def composed(run: StoredRun) -> DictConfig:
    """The configuration of a fit."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("synth", ["name=name", "paths.run_dir=run", *run.overrides])
    cfg.trainer.accelerator = "cpu"
    return cfg


def parameters(cfg: DictConfig) -> list[str]:
    """The numbers of parameters of what draws the beats and, of a GAN, of its critics."""
    window = build.window(cfg)
    n_leads = window.of_leads.n_channels if isinstance(window, CenteredWindow) else window.n_channels
    shape, classes = (n_leads, window.n_times), list(cfg.protocol.classes)
    synthesizer = build.unfitted_synthesizer(cfg, shape, classes, N_RECORDS, window.padded)
    # The critic is the first player.
    networks = [getattr(synthesizer.generator, player) for player in reversed(synthesizer.players)]
    return [f"{sum(weight.numel() for weight in network.parameters()):,}" for network in networks]


def regime_table(regime: str) -> str:
    """A row for each augmentation: scores, and differences to both baselines with corrected p."""
    content = json.loads((RESULTS / f"study_{regime}.json").read_text())
    scores = {"macro_f1": "macro-F1", "S": "S", "V": "V", "F": "F"}
    compared = {name: title for name, title in scores.items() if name != "V"}
    differences = [f"{title} − {baseline}" for baseline in ("none", "oversample") for title in compared.values()]
    lines = header(["augmentation"], [*scores.values(), *differences])
    for name, of_arm in content["scores"].items():
        cells = [points(mean_interval(np.array(of_arm[score]))) for score in scores]
        for of_baseline in content["differences"][name].values():
            cells += [difference_cell(of_baseline.get(score)) for score in compared]
        lines.append(row([name, *cells]))
    return "\n".join(lines)


def difference_cell(difference: dict[str, Any] | None) -> str:
    """A mean difference in points, with * for a corrected p below 0.05."""
    if difference is None:
        return "–"
    text = f"{100 * difference['mean']:+.1f}".replace("-", "−")
    return f"**{text}** *" if (difference["p"] or 1) < SIGNIFICANT else text


def amounts_table() -> str:
    """A row for each number of added beats: macro-F1 and F1 of each class, not of test beats."""
    lines = header(["regime", "augmentation", "`augmentation.fraction`"], ["macro-F1", "S", "V", "F"])
    for regime in ("single", "kaggle_1"):
        for entry in json.loads((RESULTS / f"amounts_{regime}.json").read_text())["rows"]:
            f1 = entry["f1"]
            cells = [points_of(float(np.mean(list(f1.values())))), *(points_of(f1[name]) for name in "SVF")]
            fraction = "–" if entry["method"] == "none" else f"{entry['fraction']:g}"
            lines.append(row([regime, entry["method"], fraction, *cells]))
    return "\n".join(lines)


def patients_table() -> str:
    """A row for each number of training patients: scores on DS2, and differences to all patients."""
    content = json.loads((RESULTS / "patients_context.json").read_text())["rows"]
    scores = {"macro_f1": "macro-F1", "S": "S", "V": "V", "F": "F"}
    everyone = content[-1]["scores"]
    titles = [f"{title} − {content[-1]['patients']} patients" for title in scores.values()]
    lines = header(["training patients"], [*scores.values(), *titles])
    for entry in content:
        of_seeds = {name: np.array(entry["scores"][name]) for name in scores}
        cells = [points(mean_interval(values)) for values in of_seeds.values()]
        for name, values in of_seeds.items():
            difference = mean_interval(values - everyone[name])
            cells.append("–" if entry is content[-1] else points(difference, sign=True))
        lines.append(row([str(entry["patients"]), *cells]))
    return "\n".join(lines)


def causes_table() -> str:
    """A row for each replaced property: discriminative score of each class, and the mean."""
    scores = json.loads((RESULTS / "discriminator_causes.json").read_text())["scores"]
    classes = list(next(iter(scores.values())))
    lines = header(["replaced by that of the nearest real beat"], [*classes, "mean"])
    for name, of_class in scores.items():
        values = [of_class[each] for each in classes]
        lines.append(row([name, *(f"{value:.2f}" for value in (*values, float(np.mean(values))))]))
    return "\n".join(lines)


def unseen_table() -> str:
    """A row for each pair that was left out of the fit: distances to its real beats."""
    pairs = json.loads((RESULTS / "unseen_pairs.json").read_text())["pairs"]
    columns = list(dict.fromkeys(name for pair in pairs.values() for name in pair["frechet"]))
    lines = header(["pair"], ["beats", *columns])
    for name, pair in pairs.items():
        cells = [f"{pair['frechet'][each]:.2f}" if each in pair["frechet"] else "–" for each in columns]
        lines.append(row([name, str(pair["n"]), *cells]))
    return "\n".join(lines)


def detectors_table() -> str:
    """A row for each database and detector of R peaks."""
    numbers = [
        "Se",
        "+P",
        "Se, mean of records",
        "+P, mean of records",
        "offset, median ms",
        "mean absolute offset, ms",
    ]
    lines = header(["database", "detector"], [*numbers, "s for an hour"])
    for entry in json.loads((RESULTS / "detectors.json").read_text())["rows"]:
        rates = [entry[kind][name] for kind in ("gross", "record_mean") for name in ("se", "ppv")]
        offset = entry["offset_ms"]
        cells = [f"{100 * rate:.2f}" for rate in rates]
        cells += [f"{offset['median']:.1f}", f"{offset['mean_absolute']:.1f}"]
        cells.append(f"{entry['seconds'] / entry['hours']:.2f}")
        lines.append(row([f"{entry['database']}, {entry['records']} records", entry["detector"], *cells]))
    return "\n".join(lines)


def end_to_end_table() -> str:
    """A row for each kind of R peaks: rates of the peaks, macro-F1 and F1 of each class."""
    lines = header(["test records", "R peaks"], ["Se", "+P", "macro-F1", "F1 of N", "F1 of S", "F1 of V", "F1 of F"])
    for name, title in (("end_to_end_cv", "DS1, cross-validation"), ("end_to_end", "DS2, five seeds")):
        for kind, seeds in json.loads((RESULTS / f"{name}.json").read_text())["rows"].items():
            rates = [f"{100 * float(np.mean([seed[rate] for seed in seeds])):.2f}" for rate in ("se", "ppv")]
            cells = [points_of(float(np.mean([seed["macro_f1"] for seed in seeds])))]
            cells += [points_of(float(np.mean([seed["f1"][each] for seed in seeds]))) for each in "NSVF"]
            lines.append(row([title, kind, *rates, *cells]))
    return "\n".join(lines)


def noise_table() -> str:
    """A row for each training, kind of R peaks and SNR: scores on DS2."""
    scores = {"macro_f1": "macro-F1", **{name: f"F1 of {name}" for name in "NSVF"}}
    lines = header(["training", "R peaks", "SNR"], [*scores.values(), "detector Se / +P"])
    entries = json.loads((RESULTS / "noise.json").read_text())["rows"]
    for entry in sorted(entries, key=lambda entry: (entry["training"], entry["peaks"]), reverse=True):
        cells = [points(mean_interval(np.array(entry["f1"][name]))) for name in scores]
        detector = f"{100 * entry['se']:.1f} / {100 * entry['ppv']:.1f}" if "se" in entry else ""
        snr = "no added noise" if entry["snr"] is None else f"{entry['snr']} dB"
        lines.append(row([entry["training"], entry["peaks"], snr, *cells, detector]))
    return "\n".join(lines)


def streaming_table() -> str:
    """A row for given and for detected R peaks."""
    content = json.loads((RESULTS / "streaming.json").read_text())
    numbers = [
        "ms a beat, mean",
        "median of the seconds",
        "slowest second, ms",
        "beats",
        "same R peak",
        "same class",
        "largest difference",
    ]
    lines = header([f"R peaks of record {content['record']}, {content['minutes']:.0f} min"], numbers)
    for entry in content["rows"]:
        cells = [f"{entry[name]:.1f}" for name in ("milliseconds_per_beat", "median_milliseconds_per_beat")]
        cells.append(f"{entry['slowest_block_milliseconds']:.0f}")
        cells += [f"{entry[name]:,}" for name in ("beats", "same_r_peak", "same_class")]
        lines.append(row([entry["r_peaks"], *cells, f"{entry['largest_difference']:.0e}"]))
    return "\n".join(lines)


def onnx_table() -> str:
    """A row for each runtime of the released model."""
    numbers = ["size in kB", "time", "macro-F1", "equal labels", "largest difference"]
    lines = header(["runtime"], numbers)
    for entry in json.loads((RESULTS / "onnx.json").read_text())["rows"]:
        cells = [f"{entry['bytes'] / 1000:.0f}", f"{entry['time']:.2f}", f"{100 * entry['macro_f1']:.2f}"]
        cells += [f"{100 * entry['equal_labels']:.3f}", f"{entry['largest_difference']:.1g}"]
        lines.append(row([entry["runtime"], *cells]))
    return "\n".join(lines)


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
        f"On two cores without AMX and with batches of 128, `cnn` trains on {speed['32-true']:,} beats a second "
        f"in float32 and on {speed['bf16-mixed']:,} in bf16-mixed (`benchmarks/step.py`). A transform takes {single} "
        f"of a training step of the previous `cnn`, all together {together:.1f} % (`benchmarks/transforms.py`, "
        f"{content['precision']}). Sampling a beat takes, in microseconds and bf16-mixed: {times} "
        "(`benchmarks/sampling.py`)."
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
    "costs": costs,
}


ACCURACY_TABLES = {
    "ds2": ds2_table,
    "earlier": earlier_table,
    "ec57": ec57_table,
    "differences": differences_table,
    "svdb": svdb_table,
    "kaggle": kaggle_table,
    "context": kaggle_context_table,
    "ablation": ablation_table,
    "errors": errors_table,
    "commands": commands,
}
REGIMES = ("single", "context", "kaggle_1", "kaggle_10")
SYNTHESIS_TABLES: dict[str, Callable[[], str]] = {
    "generators": partial(generators_table, "kaggle"),
    "ds1_generator": partial(generators_table, "ds1"),
    "causes": causes_table,
    "patients": patients_table,
    "unseen": unseen_table,
    "amounts": amounts_table,
    **{f"study_{regime}": partial(regime_table, regime) for regime in REGIMES},
}
DOCUMENTS: dict[Path, Mapping[str, Callable[[], str]]] = {
    ROOT / "README.md": {**TABLES, "ds2": ds2_summary, "kaggle": kaggle_summary},
    ROOT / "docs" / "accuracy.md": ACCURACY_TABLES,
    ROOT / "docs" / "detectors.md": {"detectors": detectors_table, "end_to_end": end_to_end_table},
    ROOT / "docs" / "noise.md": {"noise": noise_table},
    ROOT / "docs" / "onnx.md": {"onnx": onnx_table},
    ROOT / "docs" / "streaming.md": {"streaming": streaming_table},
    ROOT / "docs" / "synthesis.md": SYNTHESIS_TABLES,
    ROOT / "ecg" / "pretrained" / "classifier" / "inter_patient.md": {"card": card_table},
    ROOT / "ecg" / "pretrained" / "classifier" / "kaggle.md": {"card": kaggle_card_table},
    ROOT / "ecg" / "pretrained" / "generator" / "kaggle_generator.md": {
        "gates": partial(generators_table, "kaggle_r3gan_256")
    },
}


def render(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A document with its tables rendered from `results/`."""
    for name, table in tables.items():
        before, rest = text.split(f"<!-- table {name} -->\n")
        _, after = rest.split("<!-- end -->", 1)
        text = f"{before}<!-- table {name} -->\n{table()}\n<!-- end -->{after}"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Adds a run, or renders the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add")
    add.add_argument("run", type=Path)
    add.add_argument("name")
    commands.add_parser("render")
    options = parser.parse_args(arguments)
    if options.command == "add":
        print(add_run(options.run, options.name))
    else:
        for path, tables in DOCUMENTS.items():
            path.write_text(render(path.read_text(), tables))
        draw_confusion(ROOT / "docs" / "confusion.png")


if __name__ == "__main__":
    main()
