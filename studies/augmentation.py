"""Study: does adding beats of rare classes improve a classifier? Compares eight augmentations.

    ECG_DATA_DIR=... python studies/augmentation.py single --amounts --runs FOLDER
    ECG_DATA_DIR=... python studies/augmentation.py single --seen RUN --unseen RUN --runs FOLDER
    ECG_DATA_DIR=... python studies/augmentation.py single --patients --runs FOLDER

Regimes:

    context     beats in context, DS1 to DS2: experiment=inter_patient
    single      single beats with cnn, DS1 to DS2
    kaggle_10   single beats of the Kaggle split, with a tenth of the S, V and F beats
    kaggle_1    the same, with a hundredth

`--amounts` comes first. It compares numbers of added beats with oversampling and fusion, which need no generator: for
`single` by cross-validation within DS1, for the Kaggle split on its validation beats. The study adds the number with
the largest mean macro-F1 of both methods. In context it adds that of `single`, and in `kaggle_10` that of `kaggle_1`.

All augmentations train for the same number of steps, except that single beats of DS1 have up to 4 % more steps with
added beats. `fusion` adds F beats only. `--seen` and `--unseen` are run
folders of synth.py with `synth.pairs=seen` and `synth.pairs=unseen`, for a generator that was fitted on the training
beats of the regime. A study that was interrupted continues. The result is results/study_REGIME.json: the scores of
every seed, and the differences to `none` and to `oversample`, paired by seed, with Holm's correction over all tests of
the regime. That of `--amounts` is results/amounts_REGIME.json.

`--patients` measures how much further real patients help, which bounds what beats for unseen patients can achieve. It
trains with 5, 10 or all 21 patients of DS1 for the same number of steps. The seed chooses the smaller sets at random,
each within the next one. The result is results/patients_REGIME.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.comparison.calibration import calibrate
from ecg.comparison.run_records import RunRecord, read_runs
from ecg.comparison.statistics import holm, mean_interval, paired_p
from ecg.data.mitbih import DS1, DS2
from ecg.evaluation.scores import Metrics
from ecg.files import write_json

ROOT = Path(__file__).parents[1]
QUIET = ["logger=none", "trainer.enable_progress_bar=false", "n_bootstrap=10"]
SCORES = ("macro_f1", "S", "V", "F")
BASELINES = ("none", "oversample")
# The window of experiment=inter_patient, so that one generator serves both regimes.
SINGLE = ("data=mitbih", "data.leads=2", "data.before=0.35", "data.after=0.55", "trainer.max_epochs=4")


@dataclass(frozen=True)
class Regime:
    """Overrides of train.py for a regime.

    Attributes:
        base: of every job.
        transforms: of the augmentation `waveform`, next to oversampling.
        amounts: values of `augmentation.fraction` that are compared, or the regime whose amount is used.
        steps: of a training without augmentation; None where patients are in all subsets.
        folds: overrides of the jobs that compare them, in place of `base`, and the number of folds; None for the
            validation beats of a single job.
    """

    base: tuple[str, ...]
    transforms: tuple[str, ...]
    amounts: tuple[float, ...] | str
    folds: tuple[tuple[str, ...], int] | None
    steps: int | None = None


# In context, beats of class F are added, up to the number of S beats: the logit of S does not depend on the waveform.
IN_CONTEXT = ("augmentation.balance_to=S",)
# `waveform` without the transforms that do not fit the neighbours of a beat.
TRANSFORMS = tuple(
    f"augmentation.transforms.{setting}" for setting in ("white_noise.snr=20", "wander.snr=10", "scale.limit=0.1")
)
# Without validation beats, so that the generator may be fitted on all patients.
ALL_OF_DS1 = ("protocol=inter_patient", "protocol.validation_fraction=0")
# The patient of record 201 is in DS2.
PATIENTS = tuple(name for name in DS1 if name != "201")
N_PATIENTS = (5, 10, len(PATIENTS))
DS1_FOLDS = (
    "protocol=patient_kfold",
    "protocol.n_folds=5",
    "protocol.lead=MLII",
    "protocol.classes=[N,S,V,F]",
    f"data.records=[{','.join(PATIENTS)}]",
)
KAGGLE = ("data=mitbih", "protocol=kaggle", "callbacks.patience=null")
REGIMES = {
    "context": Regime(("experiment=inter_patient", *IN_CONTEXT), TRANSFORMS, "single", None, 328),
    "single": Regime((*SINGLE, *ALL_OF_DS1), TRANSFORMS, (0.3, 1.0), ((*SINGLE, *DS1_FOLDS), 5), 1532),
    **{
        f"kaggle_{percent}": Regime(
            (
                *KAGGLE,
                f"protocol.keep={{S:{percent / 100},V:{percent / 100},F:{percent / 100}}}",
                "trainer.limit_train_batches=300",
                "trainer.max_epochs=4",
            ),
            TRANSFORMS,
            amounts,
            None,
        )
        for percent, amounts in ((10, "kaggle_1"), (1, (0.01, 0.1, 1.0)))
    },
}


def arms(regime: Regime, seen: Path, unseen: Path | None) -> dict[str, list[str]]:
    """The overrides of each augmentation."""
    gan = ["augmentation=gan", f"augmentation.beats={seen.resolve()}"]
    made = {
        "none": ["augmentation=none"],
        "oversample": ["augmentation=oversample"],
        "smote": ["augmentation=smote"],
        "waveform": ["augmentation=oversample", *regime.transforms],
        "fusion": ["augmentation=fusion"],
        "gan_seen": gan,
    }
    if unseen:
        gan = ["augmentation=gan", f"augmentation.beats={unseen.resolve()}"]
        made["gan_unseen"] = gan
    return made | {"gan_and_fusion": [*gan, "augmentation.balance.fusion=0.5"]}


def run_jobs(jobs: Iterable[tuple[Path, Sequence[str]]], n_jobs: int) -> None:
    """Runs train.py in each folder that has no finished run, `n_jobs` at a time.

    Raises:
        CalledProcessError: a job failed.
    """

    def run(folder: Path, overrides: Sequence[str]) -> None:
        if not (folder / "metrics.json").is_file():
            command = [sys.executable, str(ROOT / "train.py"), *overrides, *QUIET, f"hydra.run.dir={folder}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            print(folder.relative_to(folder.parents[1]), flush=True)

    with ThreadPoolExecutor(n_jobs) as pool:
        for done in [pool.submit(run, folder, overrides) for folder, overrides in jobs]:
            done.result()


def scores_of(runs: Sequence[RunRecord]) -> dict[str, list[float]]:
    """Macro-F1 and F1 of S, V and F on the test beats, a value for each run."""
    rows = [{"macro_f1": run.test.macro.f1.value} | _f1_by_class(run.test) for run in runs]
    return {name: [row[name] for row in rows] for name in SCORES}


def _f1_by_class(metrics: Metrics) -> dict[str, Any]:
    return {name: row.f1.value for name, row in metrics.per_class.items()}


def compare(scores: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Differences of every augmentation to both baselines, with Holm's correction over all of them."""
    pairs = [
        (name, baseline, score)
        for name in scores
        for baseline in BASELINES
        for score in SCORES
        if name not in (baseline, "none")
    ]
    differences: dict[tuple[str, str, str], NDArray[np.float64]] = {
        (name, baseline, score): np.subtract(scores[name][score], scores[baseline][score])
        for name, baseline, score in pairs
    }
    corrected = dict(zip(differences, holm([paired_p(values) for values in differences.values()]), strict=True))
    result: dict[str, Any] = {name: {baseline: {} for baseline in BASELINES} for name in scores}
    for (name, baseline, score), values in differences.items():
        row = asdict(mean_interval(values)) | {"p": corrected[name, baseline, score]}
        result[name][baseline][score] = row
    return result


def study(regime: str, options: argparse.Namespace) -> dict[str, Any]:
    """Trains the augmentations of a regime with every seed; returns scores and differences."""
    folder, settings = options.runs.resolve() / regime, REGIMES[regime]
    of_arms = arms(settings, options.seen, options.unseen)
    amount = [f"augmentation.fraction={chosen_amount(regime)}"]
    seeds = range(1, options.seeds + 1)
    jobs = [
        (folder / f"{name}_{seed}", [*settings.base, *with_amount(name, overrides, amount), f"seed={seed}"])
        for seed in seeds
        for name, overrides in of_arms.items()
    ]
    run_jobs(jobs, options.jobs)
    scores = {name: scores_of(read_runs([folder / f"{name}_{seed}" for seed in seeds])) for name in of_arms}
    shown = {
        name: _without_paths([*settings.base, *with_amount(name, overrides, amount)])
        for name, overrides in of_arms.items()
    }
    return {"overrides": shown, "seeds": list(seeds), "scores": scores, "differences": compare(scores)}


def _without_paths(overrides: Sequence[str]) -> list[str]:
    return [f"{each.split('=')[0]}=RUN" if each.startswith("augmentation.beats=") else each for each in overrides]


def compare_amounts(regime: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compares numbers of added beats; returns the F1 of each class for each fraction and method, not of test beats."""
    folder, settings = options.runs.resolve() / f"amounts_{regime}", REGIMES[regime]
    base, n_folds = settings.folds or (settings.base, 1)
    assert not isinstance(settings.amounts, str)
    cases = [("none", 1.0), *((name, amount) for amount in settings.amounts for name in ("oversample", "fusion"))]
    folders = {case: [folder / f"{case[0]}_{case[1]}_{fold}" for fold in range(n_folds)] for case in cases}
    jobs = []
    for name, amount in cases:
        overrides = [*base, *with_amount(name, [f"augmentation={name}"], [f"augmentation.fraction={amount}"])]
        for fold, path in enumerate(folders[name, amount]):
            jobs.append((path, [*overrides, f"protocol.fold={fold}"] if settings.folds else overrides))
    run_jobs(jobs, options.jobs)
    rows = []
    for (name, amount), paths in folders.items():
        if settings.folds:
            f1 = dict(calibrate(read_runs(paths, predictions=True)).before)
        else:
            f1 = _f1_by_class(read_runs(paths)[0].subsets["validation"])
        rows.append({"method": name, "fraction": amount, "f1": f1})
    return {"overrides": base, "rows": rows}


def compare_patients(regime: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compares numbers of training patients; returns the scores of every seed."""
    folder, settings = options.runs.resolve() / f"patients_{regime}", REGIMES[regime]
    base = [*settings.base, "augmentation=none", "trainer.max_epochs=null", f"trainer.max_steps={settings.steps}"]
    seeds, jobs, rows = range(1, options.seeds + 1), [], []
    for seed in seeds:
        for n in N_PATIENTS:
            names = ",".join([*patients(n, seed), *DS2])
            jobs.append((folder / f"{n}_{seed}", [*base, f"data.records=[{names}]", f"seed={seed}"]))
    run_jobs(jobs, options.jobs)
    for n in N_PATIENTS:
        scores = scores_of(read_runs([folder / f"{n}_{seed}" for seed in seeds]))
        rows.append({"patients": n, "records": [patients(n, seed) for seed in seeds], "scores": scores})
    return {"overrides": base, "seeds": list(seeds), "rows": rows}


def patients(n: int, seed: int) -> list[str]:
    """Returns the records of n patients of DS1, chosen by the seed."""
    return sorted(np.random.default_rng(seed).permutation(PATIENTS)[:n].tolist())


def with_amount(name: str, overrides: Sequence[str], amount: Sequence[str]) -> list[str]:
    """Overrides of an augmentation that adds a number of beats."""
    return [*overrides, *(amount if name != "none" else [])]


def chosen_amount(regime: str) -> float:
    """The fraction of the missing beats with the largest mean macro-F1 in the result of `--amounts`."""
    if isinstance(other := REGIMES[regime].amounts, str):
        return chosen_amount(other)
    rows = json.loads((ROOT / "results" / f"amounts_{regime}.json").read_text())["rows"]
    scores: dict[float, list[float]] = {}
    for row in rows:
        if row["method"] != "none":
            scores.setdefault(row["fraction"], []).append(float(np.mean([*row["f1"].values()])))
    return max(scores, key=lambda amount: float(np.mean(scores[amount])))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a regime and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regime", choices=[*REGIMES])
    parser.add_argument("--amounts", action="store_true", help="compare numbers of added beats instead")
    parser.add_argument("--patients", action="store_true", help="compare numbers of training patients instead")
    parser.add_argument("--seen", type=Path, help="run folder of synth.py")
    parser.add_argument("--unseen", type=Path, help="run folder of synth.py with synth.pairs=unseen")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    options = parser.parse_args(arguments)
    if options.amounts:
        if isinstance(other := REGIMES[options.regime].amounts, str):
            parser.error(f"{options.regime} adds the amount of {other}.")
        kind, content = "amounts", compare_amounts(options.regime, options)
    elif options.patients:
        if REGIMES[options.regime].steps is None:
            parser.error("the Kaggle split has no unseen patients.")
        kind, content = "patients", compare_patients(options.regime, options)
    else:
        if options.seen is None or (options.unseen is None and not options.regime.startswith("kaggle")):
            parser.error("--seen is missing, or --unseen of a regime of unseen patients.")
        kind, content = "study", study(options.regime, options)
    path = ROOT / "results" / f"{kind}_{options.regime}.json"
    write_json(path, content)
    print(path)


if __name__ == "__main__":
    main()
