"""The leaderboard: configurations ranked by validation macro-F1 and compared with the first one.

Runs that differ in the seed only are one configuration, with one value of each score for each seed. Differences to the
first configuration are paired by seed, because runs of one seed have the same initialisation. The interval of a mean is
that of Student's t distribution. The p-values of all configurations are corrected by the method of Holm. With fewer
than `MIN_SEEDS` seeds there is no claim.

The folds of a cross-validation belong to one configuration. The test beats of all folds of a seed are evaluated as one
set.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg.comparison.run_records import CHECKPOINT, COLUMNS, FOLD, SEED, RunRecord
from ecg.comparison.statistics import MeanInterval, holm, mean_interval, paired_p
from ecg.config.stored import INPUTS
from ecg.errors import UserError
from ecg.evaluation.metrics import evaluate
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import Metrics

log = logging.getLogger(__name__)

MIN_SEEDS = 5  # number of seeds required for a claim
SIGNIFICANCE = 0.05  # of the corrected p-value
N_BOOTSTRAP = 1000  # for the intervals of the test beats of several folds
BETTER, WORSE, NOT_SIGNIFICANT = "better", "worse", "not significant"

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in the seed and the fold only.

    Attributes:
        name: options and keys in which it differs from the other configurations.
        runs: its finished runs.
        seeds: seeds with all folds.
        scores: by subset ("validation", "test") and score ("macro_f1", "accuracy", and the F1 of a class by its name),
            one value for each seed; NaN where undefined.
        test: metrics of the test beats of each seed, all folds together.
        incomplete_seeds: seeds without all folds. They are left out.
    """

    name: str
    runs: tuple[RunRecord, ...]
    seeds: tuple[int, ...]
    scores: Mapping[str, Scores]
    test: tuple[Metrics, ...]
    incomplete_seeds: tuple[int, ...]

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len({run.fold for run in self.runs})


@dataclass(frozen=True)
class Difference(MeanInterval):
    """Mean difference to the baseline over the seeds of both.

    Attributes:
        p: p-value of the paired t-test, corrected for the number of configurations; None where it is undefined.
        claim: `BETTER`, `WORSE`, `NOT_SIGNIFICANT`, or the number of seeds if there are too few.
    """

    p: float | None
    claim: str

    @property
    def significant(self) -> bool:
        """Whether the claim is "better" or "worse"."""
        return self.claim in (BETTER, WORSE)


@dataclass(frozen=True)
class Leaderboard:
    """Configurations in the order of their first runs, and the runs that did not finish."""

    configurations: tuple[Configuration, ...]
    unfinished: tuple[RunRecord, ...]

    @property
    def baseline(self) -> Configuration:
        """The first configuration, with which the others are compared."""
        return self.configurations[0]

    @property
    def ranked(self) -> list[Configuration]:
        """Configurations by mean validation macro-F1, best first; those without validation beats last."""

        def rank(configuration: Configuration) -> float:
            mean = configuration.scores["validation"]["macro_f1"].mean()
            return -float(np.nan_to_num(mean, nan=-1))  # undefined scores last

        return sorted(self.configurations, key=rank)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.baseline.test[0].classes


def build_leaderboard(records: Sequence[RunRecord]) -> Leaderboard:
    """Groups runs into configurations.

    Args:
        records: runs; those that are not finished are listed separately.

    Raises:
        UserError: no run is finished, the runs have different classes, or no seed has all folds.
    """
    finished = [record for record in records if record.state == "finished"]
    if not finished:
        reasons = "; ".join(f"{record.folder.name}: {record.reason or record.state_label}" for record in records[:3])
        raise UserError(f"None of the {len(records)} runs is finished ({reasons}).")
    if len(classes := {record.test.classes for record in finished}) > 1:
        sets = " and ".join(sorted(", ".join(names) for names in classes))
        raise UserError(f"The runs have different classes ({sets}). Compare runs with the same protocol.classes.")
    groups: dict[str, list[RunRecord]] = {}
    for record in finished:
        groups.setdefault(json.dumps(_settings(record), sort_keys=True, default=str), []).append(record)
    names = configuration_names([group[0] for group in groups.values()])
    configurations = [_configuration(name, group) for name, group in zip(names, groups.values(), strict=True)]
    return Leaderboard(
        tuple(_complete(configurations)), tuple(record for record in records if record.state != "finished")
    )


def _complete(configurations: Sequence[Configuration]) -> list[Configuration]:
    complete = [configuration for configuration in configurations if configuration.seeds]
    if not complete:
        raise UserError("No seed has all folds. Run every fold of protocol.n_folds with the same seed.")
    for configuration in configurations:
        if not configuration.seeds:
            log.warning("%s is left out: none of its seeds has all folds.", configuration.name)
    return complete


def _settings(record: RunRecord) -> dict[str, Any]:
    return {key: value for key, value in record.config.items() if key not in (SEED, FOLD, CHECKPOINT)}


# -- names --------------------------------------------------------------------------------------------------------


def configuration_names(records: Sequence[RunRecord]) -> list[str]:
    """Returns a unique name for each run, such as "model=cnn augmentation=gan".

    A name consists of the options that are not the same in all runs. Runs with the same options also get the keys in
    which they differ. Runs that still have the same name get the name of their folder.

    Args:
        records: one run of each configuration.
    """
    groups = ["model", "augmentation"]
    if len(records) > 1:
        groups = [group for group in records[0].choices if len({r.choices.get(group) for r in records}) > 1]
    options = [" ".join(f"{group}={record.choices.get(group)}" for group in groups) for record in records]
    names = []
    for own, record in zip(options, records, strict=True):
        same = [other for name, other in zip(options, records, strict=True) if name == own]
        names.append(" ".join(filter(None, [own, *_differing_settings(record, same)])))
    return [
        name if name and names.count(name) == 1 else f"{name} ({record.folder.name})".strip()
        for name, record in zip(names, records, strict=True)
    ]


def _differing_settings(record: RunRecord, others: Sequence[RunRecord]) -> list[str]:
    own = _settings(record)
    keys = [key for key in sorted(own) if any(_settings(other).get(key) != own[key] for other in others)]
    return [f"{_short_key(key, keys)}={_short_value(key, own[key])}" for key in keys]


def _short_key(key: str, keys: Sequence[str]) -> str:
    """`lr` for `optimizer.lr` unless another key ends alike; `balance` for `augmentation.balance._target_`."""

    def last(dotted: str) -> str:
        return dotted.removesuffix("._target_").rpartition(".")[2]

    return last(key) if sum(last(other) == last(key) for other in keys) == 1 else key


def _short_value(key: str, value: Any) -> str:
    if key.endswith("._target_"):
        return str(value).rpartition(".")[2]
    if key in INPUTS and value is not None:
        return _short_path(Path(value))
    return f"{value:.3g}" if isinstance(value, float) else "null" if value is None else str(value)


# -- scores -------------------------------------------------------------------------------------------------------


def _configuration(name: str, runs: Sequence[RunRecord]) -> Configuration:
    folds = sorted({run.fold for run in runs})
    by_seed: dict[int, dict[int, RunRecord]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, {})[run.fold] = run
    seeds = tuple(sorted(seed for seed, of_seed in by_seed.items() if len(of_seed) == len(folds)))
    complete = [[by_seed[seed][fold] for fold in folds] for seed in seeds]
    test = tuple(_test_metrics(of_seed) for of_seed in complete)
    scores = {
        # Averaged over the folds, because two folds may have the same validation beats.
        "validation": _mean_over_folds([[_validation_scores(run) for run in of_seed] for of_seed in complete]),
        "test": _mean_over_folds([[_scores(metrics)] for metrics in test]),
    }
    return Configuration(name, tuple(runs), seeds, scores, test, tuple(sorted(by_seed.keys() - set(seeds))))


def _scores(metrics: Metrics) -> dict[str, float]:
    scores = {"macro_f1": metrics.macro.f1, "accuracy": metrics.accuracy}
    scores |= {name: row.f1 for name, row in metrics.per_class.items()}
    return {name: float("nan") if score.value is None else score.value for name, score in scores.items()}


def _validation_scores(run: RunRecord) -> dict[str, float]:
    validation = run.subsets.get("validation")
    return _scores(validation) if validation else dict.fromkeys(_scores(run.test), float("nan"))


def _mean_over_folds(by_seed: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, NDArray[np.float64]]:
    names = by_seed[0][0] if by_seed else ()
    return {name: np.array([np.mean([fold[name] for fold in folds]) for folds in by_seed]) for name in names}


def _test_metrics(folds: Sequence[RunRecord]) -> Metrics:
    """Metrics of the test beats of all folds as one set."""
    if len(folds) == 1:
        return folds[0].test
    predictions = join([run.predictions for run in folds if run.predictions])
    return evaluate(predictions, by_patient=True, n_bootstrap=N_BOOTSTRAP)


def join(parts: Sequence[Predictions]) -> Predictions:
    """Returns the predictions of all parts as one set; they have the same classes."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Predictions(**columns, classes=parts[0].classes)


# -- differences --------------------------------------------------------------------------------------------------


def differences(board: Leaderboard, score: str = "macro_f1") -> dict[str, dict[str, Difference]]:
    """Returns the difference of every other configuration to the baseline, by name and subset.

    Args:
        board: the leaderboard.
        score: "macro_f1", "accuracy", or the name of a class for its F1.
    """
    results: dict[str, dict[str, Difference]] = {each.name: {} for each in board.configurations[1:]}
    for subset in ("validation", "test"):
        paired = [_paired(board.baseline, each, subset, score) for each in board.configurations[1:]]
        corrected = holm([paired_p(values) for values in paired])
        for name, values, p in zip(results, paired, corrected, strict=True):
            mean = mean_interval(values)
            results[name][subset] = Difference(**asdict(mean), p=p, claim=_claim(mean, p))
    return results


def _paired(baseline: Configuration, other: Configuration, subset: str, score: str) -> NDArray[np.float64]:
    seeds = sorted(set(baseline.seeds) & set(other.seeds))
    a, b = (each.scores[subset][score][[each.seeds.index(seed) for seed in seeds]] for each in (baseline, other))
    return b - a


def _claim(difference: MeanInterval, p: float | None) -> str:
    if difference.n < MIN_SEEDS:
        return f"too few seeds: {difference.n} of {MIN_SEEDS}"
    if difference.mean is None or p is None or p >= SIGNIFICANCE:
        return NOT_SIGNIFICANT
    return BETTER if difference.mean > 0 else WORSE


def differing_keys(board: Leaderboard) -> dict[str, dict[str, Any]]:
    """Returns the keys that are not the same in all configurations, with the value of each configuration by name."""
    settings = {each.name: _settings(each.runs[0]) for each in board.configurations}
    keys = sorted({key for values in settings.values() for key in values})
    rows = {key: {name: values.get(key) for name, values in settings.items()} for key in keys}
    differing = {key: row for key, row in rows.items() if len({json.dumps(v, default=str) for v in row.values()}) > 1}
    for key in differing.keys() & set(INPUTS):
        differing[key] = {name: _short_value(key, value) for name, value in differing[key].items()}
    return differing


# -- export -------------------------------------------------------------------------------------------------------


def to_json(board: Leaderboard) -> dict[str, Any]:
    """Returns the ranked configurations with their differences, the unfinished runs and the differing keys."""
    against = differences(board)
    return {
        "ranked_by": "mean validation macro-F1 over seeds",
        "baseline": board.baseline.name,
        "interval": "95 %, Student's t over seeds",
        "configurations": [
            {
                "rank": rank,
                "name": each.name,
                "seeds": list(each.seeds),
                "incomplete_seeds": list(each.incomplete_seeds),
                "folds": each.n_folds,
                "runs": [_run_name(run) for run in each.runs],
                **{subset: _scores_to_json(scores) for subset, scores in each.scores.items()},
                "difference": {subset: asdict(d) for subset, d in against.get(each.name, {}).items()} or None,
            }
            for rank, each in enumerate(board.ranked, start=1)
        ],
        "unfinished": [
            {"run": _run_name(run), "state": run.state_label, "reason": run.reason, "overrides": list(run.overrides)}
            for run in board.unfinished
        ],
        "differing_keys": differing_keys(board),
    }


def _scores_to_json(scores: Scores) -> dict[str, Any]:
    return {
        name: {**asdict(mean_interval(values)), "values": [v if np.isfinite(v) else None for v in values.tolist()]}
        for name, values in scores.items()
    }


def _run_name(run: RunRecord) -> str:
    return _short_path(run.folder.resolve())


def _short_path(path: Path) -> str:
    """The last two names of a path; of a run folder, its sweep and its own name."""
    return "/".join(path.parts[-2:])


def to_frame(board: Leaderboard) -> pd.DataFrame:
    """Returns a table with one row for each ranked configuration, then one for each unfinished run."""
    against = differences(board)
    rows: list[dict[str, Any]] = []
    for rank, each in enumerate(board.ranked, start=1):
        row = {"rank": rank, "configuration": each.name, "seeds": len(each.seeds), "state": "finished"}
        for subset, scores in each.scores.items():
            for name, values in scores.items():
                mean = mean_interval(values)
                row |= {
                    f"{subset} {name}": mean.mean,
                    f"{subset} {name} low": mean.low,
                    f"{subset} {name} high": mean.high,
                }
            difference = against.get(each.name, {}).get(subset)
            row |= {f"{subset} difference {name}": getattr(difference, name, None) for name in _DIFFERENCE_COLUMNS}
        rows.append(row)
    for run in board.unfinished:
        rows.append({"configuration": " ".join(run.overrides), "state": run.state_label, "reason": run.reason})
    return pd.DataFrame(rows).astype({"rank": "Int64", "seeds": "Int64"})


_DIFFERENCE_COLUMNS = ("mean", "low", "high", "p", "claim")
