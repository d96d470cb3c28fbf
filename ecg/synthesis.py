"""What follows the fit of a generator: evaluate, write, report, track. Also samples beats of an earlier fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from ecg import build, tracking
from ecg.augmentation.balance.balance import missing_beats
from ecg.callbacks import Gallery, History, find_callback
from ecg.checkpoints import load_weights
from ecg.config.checks import check_synth
from ecg.config.job import relative_to_folder
from ecg.config.schema import Pairs, SynthConfig
from ecg.config.stored import load_config
from ecg.data import synthetic_set
from ecg.data.aami import CLASSES
from ecg.data.datamodule import BeatDataModule
from ecg.errors import UserError
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.fidelity import Fidelity
from ecg.evaluation.fidelity_evaluation import evaluate_fidelity
from ecg.evaluation.networks import embed
from ecg.evaluation.verdict import verdict
from ecg.files import write_json
from ecg.reading import read_json
from ecg.reports.notices import SHARED_PATIENTS, SIMULATED
from ecg.reports.synthesis_report import SynthesisReport, write_synthesis_report
from ecg.resources import require_disk
from ecg.runs import Run
from ecg.synthesizer import Synthesizer

FIDELITY = "fidelity.json"
FITTED = "fitted.json"  # the provenance that every set of this generator carries
FIT_AGAIN = "Fit the generator again."
MAX_TIMES, MAX_RECORDS = 10_000, 100_000  # samples of a beat, and records, of a generator that is read
CSV_BYTES = 25  # of a value in synthetic.csv
COLLAPSED = 0.5  # spread relative to real beats
DIVERGED, STILL_IMPROVING = 3.0, 0.8  # Fréchet distance, relative to the best and to that of half of the epochs


@dataclass(frozen=True)
class BeatLocations:
    """Patients of beats, and the samples of their annotations by record."""

    patients: list[str]
    samples: dict[str, list[int]]


@dataclass(frozen=True)
class Fitted:
    """What is needed to sample from a generator, and the beats that it was fitted on; content of fitted.json.

    Attributes:
        generator: settings of the generator.
        classes: names of the classes.
        counts: training beats of each class.
        shape: C and T of the beats.
        padded: whether the window pads beats.
        records: names of the records.
        sfreq: sampling rate of the beats in Hz.
        source: name of the source of the beats.
        window: settings of the window.
        beats_sha256: digest of all beats of the source.
        fitted_on: locations of the training beats.
        chosen_on: locations of the validation beats, which chose the epoch unless they are those of other patients.
    """

    generator: dict[str, Any]
    classes: list[str]
    counts: dict[str, int]
    shape: tuple[int, int]
    padded: bool
    records: list[str]
    sfreq: float
    source: str
    window: dict[str, Any]
    beats_sha256: str
    fitted_on: BeatLocations
    chosen_on: BeatLocations

    def problem(self) -> str | None:
        """What is wrong with the values; None if they are valid."""
        c, t = self.shape
        if not (1 <= c <= 2 and 1 <= t <= MAX_TIMES):
            return f"the shape of the beats is {c} x {t}"
        if not 1 <= len(set(self.records)) == len(self.records) <= MAX_RECORDS:
            return f"there are {len(self.records)} records, {len(set(self.records))} of them different"
        if not self.classes or len(set(self.classes)) < len(self.classes) or not set(self.classes) <= set(CLASSES):
            return f"the classes are {', '.join(self.classes) or 'empty'}"
        return None if self.counts.keys() == set(self.classes) else "the counts are not those of the classes"


@dataclass(frozen=True)
class SynthesisResult:
    """Evaluation of a generator.

    Attributes:
        fidelity: of the synthetic beats, by held-out subset ("validation", "test").
        synthetic: the evaluated beats.
        warnings: problems of the fit.
        history: training curves, a value an epoch.
        best_epoch: the epoch whose weights were kept; None if no epoch was validated.
        fit: epochs, steps, duration, device; content of fidelity.json under "fit".
    """

    fidelity: dict[str, Fidelity]
    synthetic: BeatSet
    warnings: list[str]
    history: dict[str, list[float]]
    best_epoch: int | None
    fit: dict[str, Any]

    @property
    def distance(self) -> float:
        """Fréchet distance of the best epoch to real beats, relative to that of training beats."""
        return float("nan") if self.best_epoch is None else self.history["val/frechet"][self.best_epoch]


def finish(cfg: DictConfig, run: Run, trainer: pl.Trainer, synthesizer: Synthesizer, data: BeatDataModule) -> float:
    """Evaluates the best epoch and writes a synthetic set; returns the distance to real beats."""
    if not trainer.is_global_zero:
        return float("nan")
    checkpoint = load_best(run.folder, synthesizer)
    fitted = asdict(_fitted(cfg, data))
    synthesizer.to(trainer.strategy.root_device)  # Lightning moves it to the CPU after the fit
    write_json(run.folder / FITTED, fitted)
    result = evaluate_generator(cfg, run, trainer, synthesizer, data)
    subsets = {name: fidelity.to_json() for name, fidelity in result.fidelity.items()}
    write_json(run.folder / FIDELITY, {"fit": result.fit, "subsets": subsets})
    write_synthesis_report(_report(cfg, run, trainer, synthesizer, data, result), run.folder / "report.html")
    _print_gates(result, simulated=data.source.simulated)
    # The gates on the validation beats: a set must not carry information about the test beats.
    fitted["gates_on_validation"] = [gate.sentence for gate in result.fidelity["validation"].gates]
    fitted["artifact"] = tracking.artifact_name(trainer.logger)
    folder = write_synthetic_set(cfg, run, synthesizer, fitted, checkpoint)
    tracking.log_fidelity(trainer.logger, result.fidelity)
    metadata = {"generator": fitted["generator"], "gates": fitted["gates_on_validation"]}
    tracking.log_synthetic_set(trainer.logger, folder, metadata)
    _print_set(run, folder)
    run.finish(result.distance)
    return result.distance


def sample_more(cfg: DictConfig, run: Run) -> None:
    """Samples beats of the generator in the run folder `checkpoint`.

    Only `synth`, `seed` and the devices of `trainer` are taken from `cfg`.

    Raises:
        UserError: the folder holds no fitted generator.
    """
    folder = Path(cfg.checkpoint)
    if not (folder / FITTED).is_file():
        raise UserError(
            f"checkpoint={cfg.checkpoint} is not the run folder of a fitted generator: {FITTED} is missing."
        )
    synthesizer, fitted, checkpoint = read_generator(folder, cfg)
    synthesizer.to(build.device(cfg))
    _print_set(run, write_synthetic_set(cfg, run, synthesizer, fitted, checkpoint))
    run.finish(float("nan"))


def read_generator(folder: Path, cfg: DictConfig) -> tuple[Synthesizer, dict[str, Any], Path]:
    """The fitted generator of a run folder, the content of fitted.json, and the checkpoint of its weights.

    Args:
        folder: the run folder.
        cfg: the configuration of the sampling; its seed and accelerator replace those of the fit.

    Raises:
        UserError: a file is missing or damaged, or the files do not match.
    """
    stored = load_config(folder, SynthConfig)
    check_synth(stored)
    fitted = read_fitted(folder)
    stored.seed, stored.trainer.accelerator = cfg.seed, cfg.trainer.accelerator
    synthesizer = build.unfitted_synthesizer(stored, fitted.shape, fitted.classes, len(fitted.records), fitted.padded)
    return synthesizer, asdict(fitted), load_best(folder, synthesizer)


def read_fitted(folder: Path) -> Fitted:
    """The content of fitted.json in a run folder.

    Raises:
        UserError: the file is missing or damaged.
    """
    fitted = read_json(folder / FITTED, Fitted, FIT_AGAIN)
    if problem := fitted.problem():
        raise UserError(f"{folder / FITTED} is damaged: {problem}. {FIT_AGAIN}")
    return fitted


def load_best(folder: Path, synthesizer: Synthesizer) -> Path:
    """Loads the weights of the best epoch; returns the checkpoint.

    Raises:
        UserError: the checkpoint is missing, or belongs to another generator.
    """
    path = folder / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise UserError(f"{folder} holds no fitted generator: checkpoints/best.ckpt is missing.")
    load_weights(path, synthesizer)
    return path


# -- evaluate -----------------------------------------------------------------------------------------------------


def evaluate_generator(
    cfg: DictConfig, run: Run, trainer: pl.Trainer, synthesizer: Synthesizer, data: BeatDataModule
) -> SynthesisResult:
    """Evaluates the same number of synthetic beats of every class, against validation and test beats."""
    evaluator, classes = synthesizer.evaluator, data.split.classes
    assert evaluator is not None  # a fitted synthesizer has one
    seconds = run.seconds
    synthetic = _sample(synthesizer, len(classes), cfg.fit.n_evaluated)
    with Progress(transient=True) as progress:
        task = progress.add_task("Evaluating synthetic beats", total=None)
        fidelity = evaluate_fidelity(
            synthetic,
            build.beat_set(data, data.split.train),
            {name: build.beat_set(data, getattr(data.split, name)) for name in ("validation", "test")},
            classes,
            classifier=evaluator.classifier,
            settings=build.evaluation_settings(cfg, data),
            sfreq=data.beats.sfreq,
            peak=data.window.peak,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    history = find_callback(trainer, History).columns()
    coverage = np.array(history.get("val/coverage", []))
    best = None if np.isnan(coverage).all() else int(np.nanargmax(coverage))
    warnings = fit_warnings(history, best) + ([] if data.split.by_patient else [SHARED_PATIENTS])
    fit = {
        "epochs": len(history.get("epoch", [])),
        "best_epoch": best,
        "steps": trainer.global_step,
        "parameters": {
            player: sum(p.numel() for p in getattr(synthesizer.generator, player).parameters())
            for player in synthesizer.players
        },
        "seconds": round(seconds, 1),
        "resumed": bool(cfg.resume),  # the seconds are then those since the resume
        "precision": str(trainer.precision),
        "device": str(trainer.strategy.root_device),
        "warnings": warnings,
    }
    return SynthesisResult(fidelity, synthetic, warnings, history, best, fit)


def _sample(synthesizer: Synthesizer, n_classes: int, n: int) -> BeatSet:
    """n beats of each class, with another seed than the beats that chose the epoch."""
    label = torch.arange(n_classes).repeat_interleave(n)
    chunks = list(synthesizer.draw(label, seed=synthesizer.seed + 2))
    return BeatSet(torch.cat([chunk.signal for chunk in chunks]).numpy(), label.numpy())


def fit_warnings(history: Mapping[str, list[float]], best: int | None) -> list[str]:
    """Problems of a fit: collapse, divergence, or too few epochs.

    Args:
        history: values of each epoch by "val/frechet" and "val/spread".
        best: the epoch with the largest coverage; None if none was validated.
    """
    if best is None:
        return []
    frechet, warnings = history["val/frechet"], []
    if (spread := history["val/spread"][best]) < COLLAPSED:
        warnings.append(
            f"The generator collapsed: in its best epoch, {best}, the spread of its beats is {spread:.2f} times that "
            "of real beats. Decrease generator.lr, or choose another generator."
        )
    if frechet[-1] > DIVERGED * frechet[best]:
        warnings.append(
            f"The fit diverged after epoch {best}: the Fréchet distance rose from {frechet[best]:.3g} to "
            f"{frechet[-1]:.3g}. The weights of epoch {best} are used. Decrease generator.lr."
        )
    elif best == len(frechet) - 1 > 0 and frechet[best] < STILL_IMPROVING * frechet[len(frechet) // 2]:
        warnings.append("The last epoch was the best by a wide margin. Increase trainer.max_epochs.")
    return warnings


# -- write --------------------------------------------------------------------------------------------------------


def _fitted(cfg: DictConfig, data: BeatDataModule) -> Fitted:
    split, beats = data.split, data.beats
    return Fitted(
        generator=OmegaConf.to_container(cfg.generator, resolve=True, enum_to_str=True),  # type: ignore[arg-type]
        classes=list(split.classes),
        counts=dict(zip(split.classes, data.class_counts().tolist(), strict=True)),
        shape=_shape(data),
        padded=data.window.padded,
        records=data.records.tolist(),
        sfreq=beats.sfreq,
        source=data.source.name,
        window=data.window.settings(),
        beats_sha256=beats.digest(),
        fitted_on=BeatLocations(**synthetic_set.beat_locations(beats, split.train)),
        chosen_on=BeatLocations(**synthetic_set.beat_locations(beats, split.validation)),
    )


def _shape(data: BeatDataModule) -> tuple[int, int]:
    """(C, T) of the beats."""
    _, c, t = data.beats.signal.shape
    return c, t


def write_synthetic_set(
    cfg: DictConfig, run: Run, synthesizer: Synthesizer, fitted: Mapping[str, Any], checkpoint: Path
) -> Path:
    """Samples the requested beats and writes them to `synthetic/` of the run folder, chunk by chunk.

    Raises:
        UserError: a requested class is unknown, no beats are requested, or the disk is too full.
    """
    classes = fitted["classes"]
    wanted = requested_beats(cfg, fitted["counts"])
    if unknown := sorted(set(wanted) - set(classes)):
        raise UserError(f"This generator has no class {', '.join(unknown)}. Its classes: {', '.join(classes)}.")
    if not wanted:
        raise UserError("No class is smaller than synth.balance_to. Set the numbers with synth.per_class={...}.")
    _require_space(run, sum(wanted.values()), tuple(fitted["shape"]), csv=cfg.synth.csv)
    label = torch.cat([torch.full((n,), classes.index(name)) for name, n in wanted.items()])
    weight = record_weight(cfg, synthesizer, fitted["records"], list(wanted))
    provenance = {
        **{key: value for key, value in fitted.items() if key not in ("shape", "counts", "padded")},
        "checkpoint": {
            "path": relative_to_folder(str(checkpoint), run.folder),
            "sha256": synthetic_set.sha256(checkpoint),
        },
        "pairs": cfg.synth.pairs.value,
        "seed": cfg.seed,
        "run": run.provenance,
    }
    return synthetic_set.write_set(
        run.folder / "synthetic",
        _chunks(synthesizer, label, weight),
        n=len(label),
        shape=tuple(fitted["shape"]),
        provenance=provenance,
        csv=cfg.synth.csv,
    )


def require_space(cfg: DictConfig, run: Run, data: BeatDataModule) -> None:
    """Refuses a synthetic set that does not fit on the disk, before the generator is fitted.

    Raises:
        UserError: the disk is too full.
    """
    counts = dict(zip(data.split.classes, data.class_counts().tolist(), strict=True))
    _require_space(run, sum(requested_beats(cfg, counts).values()), _shape(data), csv=cfg.synth.csv)


def _require_space(run: Run, n: int, shape: tuple[int, int], csv: bool) -> None:
    c, t = shape
    # The arrays are written twice, first as they are, then into one file.
    n_bytes = n * (2 * 4 * c * t + (CSV_BYTES * c * t if csv else 0))
    remedy = "Decrease synth.per_class, or choose another folder with hydra.run.dir=FOLDER."
    require_disk(n_bytes, run.folder, f"{n:,} synthetic beats", remedy)


def requested_beats(cfg: DictConfig, counts: Mapping[str, int]) -> dict[str, int]:
    """Number of synthetic beats of each class: `synth.per_class`, else what the smaller classes lack.

    Args:
        cfg: the configuration.
        counts: training beats of each class.
    """
    if cfg.synth.per_class:
        return {name: int(n) for name, n in cfg.synth.per_class.items()}
    return missing_beats(counts, cfg.synth.balance_to, 1.0)


def record_weight(cfg: DictConfig, synthesizer: Synthesizer, records: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Relative frequency (n_classes, n_records) of each record among the synthetic beats of a class.

    Args:
        cfg: the configuration.
        synthesizer: the fitted synthesizer.
        records: names of its records.
        wanted: classes of the synthetic beats.

    Raises:
        UserError: a class cannot be drawn for the requested records.
    """
    counts, can_draw = synthesizer.record_counts, synthesizer.drawable
    known = synthesizer.generator.known_records
    remedy = "" if known is not None else " A generator with generator.embedding=normal_beats can draw other pairs."
    if cfg.synth.record is not None:
        if cfg.synth.record not in records:
            raise UserError(
                f"synth.record is {cfg.synth.record}, which is not a record of this generator: {', '.join(records)}."
            )
        column = records.index(cfg.synth.record)
        weight = torch.zeros_like(counts)
        weight[:, column] = can_draw[:, column].float()
        problem = f"for record {cfg.synth.record}, which has none among the training beats, and too few normal beats"
    elif cfg.synth.pairs == Pairs.unseen:
        weight = ((counts == 0) & can_draw & (counts.sum(dim=0) > 0)).float()
        problem = "for a training record without it: each has the class, or too few normal beats"
    else:
        return counts
    for name in wanted:
        if not weight[synthesizer.classes.index(name)].any():
            raise UserError(f"This generator cannot draw beats of class {name} {problem}.{remedy}")
    return weight


def _chunks(synthesizer: Synthesizer, label: Tensor, weight: Tensor) -> Iterator[synthetic_set.Chunk]:
    index = np.array([CLASSES.index(name) for name in synthesizer.classes])
    start = 0
    # Another seed than that of the beats that chose the epoch and of the evaluated ones.
    for signal, record in synthesizer.draw(label, synthesizer.seed + 1, weight):
        part = label[start : start + len(signal)].numpy()
        start += len(signal)
        yield synthetic_set.Chunk(signal.numpy(), index[part], record.numpy())


# -- report -------------------------------------------------------------------------------------------------------


def _report(
    cfg: DictConfig,
    run: Run,
    trainer: pl.Trainer,
    synthesizer: Synthesizer,
    data: BeatDataModule,
    result: SynthesisResult,
) -> SynthesisReport:
    assert synthesizer.evaluator is not None
    classifier, held_out = synthesizer.evaluator.classifier, build.beat_set(data, data.split.test)
    return SynthesisReport(
        title=cfg.name,
        simulated=data.source.simulated,
        details=_details(cfg, run, synthesizer, data, result),
        warnings=result.warnings,
        fidelity=result.fidelity,
        synthetic=result.synthetic,
        train=build.beat_set(data, data.split.train),
        held_out=held_out,
        synthetic_embedding=embed(classifier, result.synthetic),
        held_out_embedding=embed(classifier, held_out),
        classes=data.split.classes,
        sfreq=data.beats.sfreq,
        history=result.history,
        best_epoch=result.best_epoch,
        gallery=find_callback(trainer, Gallery).signals(),
        overrides=run.overrides,
        command=run.provenance["command"],
    )


def _details(
    cfg: DictConfig, run: Run, synthesizer: Synthesizer, data: BeatDataModule, result: SynthesisResult
) -> dict[str, str]:
    counts = zip(data.split.classes, data.class_counts().tolist(), strict=True)
    training = ", ".join(f"{name} {n:,}" for name, n in counts)
    sizes = {
        name: sum(p.numel() for p in getattr(synthesizer.generator, name).parameters()) for name in synthesizer.players
    }
    parameters = ", ".join(f"{n:,} parameters in the {name}" for name, n in sizes.items())
    shape = " x ".join(map(str, data.beats.signal.shape[1:]))
    return {
        "Generator": f"{run.choices['generator']}: {parameters}",
        "Data": f"{run.choices['data']}, {len(data.beats):,} beats",
        "Beats": f"{data.window.name} window, {shape} samples at {data.beats.sfreq:g} Hz",
        "Protocol": f"{run.choices['protocol']}: fitted on {training}",
        "Fit": f"{result.fit['epochs']} epochs in {result.fit['seconds']:.0f} s",
        "Seeds": f"training {cfg.seed}, split {cfg.protocol.split_seed}",
    }


# -- print --------------------------------------------------------------------------------------------------------


def _print_gates(result: SynthesisResult, simulated: bool) -> None:
    fidelity, console = result.fidelity["test"], Console()
    table = Table(title="Gates on the test beats", caption="x reference: relative to real beats")
    for name in ("measure", "class", "value", "required", ""):
        table.add_column(name, justify="right" if name == "value" else "left")
    for gate in fidelity.gates:
        outcome = "undetected controls" if gate.undetected else "passed" if gate.passed else "failed"
        title = fidelity.measures[gate.measure].title
        table.add_row(title, gate.class_name or "all", f"{gate.reached:.3g}", gate.bound, outcome)
    console.print(table)
    console.print(" ".join(verdict(fidelity)))
    for sentence in [*result.warnings, *([SIMULATED] if simulated else [])]:
        console.print(sentence, style="bold yellow", soft_wrap=True)
    if result.best_epoch is not None:
        distance = result.distance
        coverage = result.history["val/coverage"][result.best_epoch]
        console.print(
            f"Best epoch {result.best_epoch}: coverage {coverage:.3f}, Fréchet distance {distance:.2f} times that of "
            "training beats"
        )


def _print_set(run: Run, folder: Path) -> None:
    console = Console()
    counts = synthetic_set.read_provenance(folder)["counts"]
    console.print("Synthetic beats: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    console.print(f"Run folder: {run.folder}", soft_wrap=True)
    for path in (folder / synthetic_set.BEATS, run.folder / FIDELITY, run.folder / "report.html"):
        if path.exists():
            console.print(f"  {path}", soft_wrap=True)
