"""From a fitted generator to its synthetic set: the best weights, the judgement, the beats."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ecg import build
from ecg.augmentation.balance import missing
from ecg.data import synthetic
from ecg.data.aami import CLASSES
from ecg.data.datamodule import BeatDataModule
from ecg.errors import UserError
from ecg.evaluation import fidelity
from ecg.evaluation.fidelity_report import FidelityReport, write_fidelity_report
from ecg.evaluation.judges import Cohort
from ecg.files import write_json
from ecg.runs import SHARED_PATIENTS, SIMULATED, Run, command
from ecg.synthesizer import Synthesizer

log = logging.getLogger(__name__)

FIDELITY = "fidelity.json"
COLLAPSED = 0.5  # times the spread of real beats
DIVERGED, STILL_FALLING = 3.0, 0.8  # times the best Fréchet distance; of that of half the epochs
FITTED = "fitted.json"  # in the run folder: what a set drawn from this generator has to say of it


def fitted(cfg: DictConfig, data: BeatDataModule) -> dict[str, Any]:
    """What has to be known of a generator to draw from it, and of the beats it has seen."""
    split = data.split_of
    _, n_channels, n_times = data.beats.signal.shape
    return {
        "generator": OmegaConf.to_container(cfg.generator, resolve=True, enum_to_str=True),
        "classes": list(split.classes),
        "counts": dict(zip(split.classes, data.class_counts().tolist(), strict=True)),
        "shape": [n_channels, n_times, data.beats.rr.shape[1]],
        "n_styles": len(data.records),
        "sfreq": data.beats.sfreq,
        "source": cfg.data.name,
        "window": synthetic.window_of(cfg.data),
        "beats_sha256": data.beats.digest(),
        "fitted_on": synthetic.places(data.beats, split.train),
        "chosen_on": synthetic.places(data.beats, split.validation),
    }


def numbers(cfg: DictConfig, counts: Mapping[str, int]) -> dict[str, int]:
    """How many beats of each class are asked for: `synth.per_class`, else what fills the classes up.

    Args:
        cfg: `synth.per_class` or `synth.balance_to`; without either, classes are filled up to the second largest.
        counts: training beats of each class.
    """
    if cfg.synth.per_class:
        return {name: int(n) for name, n in cfg.synth.per_class.items()}
    return missing(counts, cfg.synth.balance_to)


def write_set(cfg: DictConfig, run: Run, synthesizer: Synthesizer, told: Mapping[str, Any], checkpoint: Path) -> Path:
    """Draws the beats that are asked for into `synthetic/` of the run folder, chunk by chunk."""
    wanted = numbers(cfg, told["counts"])
    if unknown := set(wanted) - set(told["classes"]):
        raise UserError(f"This generator knows no {', '.join(sorted(unknown))}, only {', '.join(told['classes'])}.")
    if not wanted:
        raise UserError("No class is smaller than synth.balance_to asks for: say how many with synth.per_class={...}.")
    label = torch.cat([torch.full((n,), told["classes"].index(name)) for name, n in wanted.items()])
    provenance = {
        **{key: value for key, value in told.items() if key not in ("shape", "counts")},
        "checkpoint": {"path": str(checkpoint), "sha256": synthetic.sha256(checkpoint)},
        "seed": cfg.seed,
        "run": run.provenance,
    }
    chunks = _chunks(synthesizer, label)
    return synthetic.write(
        run.folder / "synthetic",
        chunks,
        n=len(label),
        shape=tuple(told["shape"]),
        provenance=provenance,
        csv=cfg.synth.csv,
    )


def _chunks(synthesizer: Synthesizer, label: Tensor) -> Iterator[synthetic.Chunk]:
    index = np.array([CLASSES.index(name) for name in synthesizer.classes])
    at = 0
    # Another seed than that of the beats that chose the epoch and were judged.
    for signal, rr in synthesizer.draw(label, seed=synthesizer.seed + 1):
        part = label[at : at + len(signal)].numpy()
        at += len(signal)
        yield synthetic.Chunk(signal.numpy(), rr.numpy(), index[part])


def load_best(run_folder: Path, synthesizer: Synthesizer) -> Path:
    """Puts the weights of the best epoch into the synthesizer; returns the checkpoint.

    Raises:
        UserError: there is none, or it is another generator's.
    """
    path = run_folder / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise UserError(f"{run_folder} holds no fitted generator: checkpoints/best.ckpt is missing.")
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    try:
        synthesizer.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} is the checkpoint of another generator than config.yaml beside it says.") from error
    return path


def finish(cfg: DictConfig, run: Run, trainer: pl.Trainer, synthesizer: Synthesizer, data: BeatDataModule) -> float:
    """Judges the beats of the best epoch and writes a set of them; returns their distance to the validation beats."""
    if not trainer.is_global_zero:
        return float("nan")
    checkpoint = load_best(run.folder, synthesizer)
    told = fitted(cfg, data)
    write_json(run.folder / FITTED, told)
    log.info("The beats are judged.")
    report = judgement(cfg, run, synthesizer, data, fitted_in=time.time() - run.started)
    write_json(run.folder / FIDELITY, {"fit": _fit(cfg, run, trainer, report), **report.judged})
    write_fidelity_report(report, run.folder / "report.html")
    tracker = trainer.logger if isinstance(trainer.logger, WandbLogger) else None
    if tracker:
        from ecg import tracking

        tracking.log_judgement(tracker, report.judged)
        told["artifact"] = tracking.set_name(tracker)
    _print_gates(report)
    # On the validation beats: whoever trains with the set may know of nothing that the test beats said.
    told["gates_on_validation"] = [gate["sentence"] for gate in report.judged["validation"]["gates"]]
    written = write_set(cfg, run, synthesizer, told, checkpoint)
    if tracker:
        tracking.log_set(tracker, written, {"generator": told["generator"], "gates": told["gates_on_validation"]})
    _print(run, written)
    distance = min(distances(run), default=float("nan"))
    run.done(distance)
    return distance


def _fit(cfg: DictConfig, run: Run, trainer: pl.Trainer, report: FidelityReport) -> dict[str, Any]:
    return {
        "epochs": len(run.history.epochs),
        "best_epoch": report.best_epoch,
        "steps": trainer.global_step,
        "seconds": round(report.fitted_in, 1),
        "resumed": bool(cfg.resume),  # the seconds are then those since the last start
        "precision": str(trainer.precision),
        "device": str(trainer.strategy.root_device),
        "warnings": report.warnings,
    }


def distances(run: Run) -> list[float]:
    """Fréchet distance to the validation beats over that of training beats, a value an epoch."""
    return [epoch["val/frechet"] for epoch in run.history.epochs if "val/frechet" in epoch]


def judgement(
    cfg: DictConfig, run: Run, synthesizer: Synthesizer, data: BeatDataModule, fitted_in: float
) -> FidelityReport:
    """Judges as many beats of every class, on validation and on test beats."""
    split, classes, judge_of = data.split_of, data.split_of.classes, synthesizer.judge
    assert judge_of is not None  # a synthesizer that was fitted has one
    train, held_out = build.cohort(data, split.train), build.cohort(data, split.test)
    label = torch.arange(len(classes)).repeat_interleave(cfg.fit.n_judged)
    # Another seed than that of the beats that chose the epoch.
    drawn = list(synthesizer.draw(label, seed=synthesizer.seed + 2))
    signal, rr = (torch.cat(parts).numpy() for parts in zip(*drawn, strict=True))
    synthetic_beats = Cohort(signal, rr, label.numpy())
    judged = fidelity.judge(
        synthetic_beats,
        train,
        {"validation": judge_of.held_out, "test": held_out},
        classes,
        classifier=judge_of.classifier,
        steps=build.judge_steps(cfg),
        sfreq=data.beats.sfreq,
        peak=build.peak(cfg, data),
        seed=cfg.seed,
    )
    found = distances(run)
    return FidelityReport(
        title=cfg.name,
        simulated=cfg.data.name == "simulated",
        facts=_facts(cfg, run, synthesizer, data, fitted_in),
        fitted_in=fitted_in,
        warnings=troubles(run.history.columns()) + ([] if split.by_patient else [SHARED_PATIENTS]),
        judged=judged,
        synthetic=synthetic_beats,
        train=train,
        held_out=held_out,
        classifier=judge_of.classifier,
        classes=classes,
        sfreq=data.beats.sfreq,
        history=run.history.columns(),
        best_epoch=int(np.nanargmin(found)) if found and not np.isnan(found).all() else None,
        gallery=run.gallery.signals(),
        overrides=run.overrides,
        command=command(),
    )


def troubles(history: Mapping[str, list[float]]) -> list[str]:
    """What went wrong with the fit, in words: collapse, divergence, or an end that came too early."""
    found = np.array(history.get("val/frechet", []))
    if not len(found) or np.isnan(found).all():
        return []
    best, said = int(np.nanargmin(found)), []
    if (spread := history["val/spread"][best]) < COLLAPSED:
        said.append(
            f"The generator collapsed: even in its best epoch, {best}, its beats vary {spread:.2f} times as much as "
            "real ones. Lower generator.lr, or choose another generator."
        )
    if found[-1] > DIVERGED * found[best]:
        said.append(
            f"The fit diverged after epoch {best}: its Fréchet distance rose from {found[best]:.3g} to "
            f"{found[-1]:.3g}. The beats are those of that epoch; lower generator.lr."
        )
    elif best == len(found) - 1 and len(found) > 1 and found[best] < STILL_FALLING * found[len(found) // 2]:
        said.append("The last epoch was the best by far: more trainer.max_epochs would give better beats.")
    return said


def _facts(
    cfg: DictConfig, run: Run, synthesizer: Synthesizer, data: BeatDataModule, fitted_in: float
) -> dict[str, str]:
    split, counts = data.split_of, data.class_counts().tolist()
    learnt = ", ".join(f"{name} {n:,}" for name, n in zip(split.classes, counts, strict=True))
    sizes = {
        name: sum(p.numel() for p in getattr(synthesizer.generator, name).parameters()) for name in synthesizer.players
    }
    return {
        "Generator": f"{run.choices['generator']}: " + ", ".join(f"{n:,} in the {name}" for name, n in sizes.items()),
        "Data": f"{run.choices['data']}, {len(data.beats):,} beats",
        "Beats": f"{cfg.data.window} window, {' x '.join(map(str, data.beats.signal.shape[1:]))} samples at "
        f"{data.beats.sfreq:g} Hz",
        "Protocol": f"{run.choices['protocol']}: fitted on {learnt}",
        "Fit": f"{len(run.history.epochs)} epochs in {fitted_in:.0f} s",
        "Seeds": f"training {cfg.seed}, split {cfg.protocol.split_seed}",
    }


def _print_gates(report: FidelityReport) -> None:
    table = Table(title="Gates on the test beats", caption="of the floor: over what real beats reach")
    for name in ("measure", "class", "reached", "needed", ""):
        table.add_column(name, justify="right" if name == "reached" else "left")
    judged = report.judged["test"]
    for gate in judged["gates"]:
        title, said = judged["measures"][gate["measure"]]["title"], "passed" if gate["passed"] else "missed"
        table.add_row(
            title, gate["class"] or "all", f"{gate['reached']:.3g}", gate["bound"], "blind" if gate["blind"] else said
        )
    console = Console()
    console.print(table)
    for sentence in report.warnings:
        console.print(sentence, style="bold yellow", soft_wrap=True)
    if report.simulated:
        console.print(SIMULATED, style="bold yellow")
    if report.best_epoch is not None:
        distance = report.history["val/frechet"][report.best_epoch]
        console.print(f"Best epoch {report.best_epoch}: {distance:.2f} times as far from validation as training beats")


def draw_more(cfg: DictConfig, run: Run) -> None:
    """Draws beats from the generator that `checkpoint` names; its configuration decides all but `synth` and `seed`."""
    source = Path(cfg.checkpoint)
    if not (source / FITTED).is_file():
        raise UserError(f"checkpoint={cfg.checkpoint} is no run folder of a fitted generator: {FITTED} is missing.")
    told = json.loads((source / FITTED).read_text(encoding="utf-8"))
    stored: Any = OmegaConf.merge(OmegaConf.load(source / "config.yaml"), {"seed": cfg.seed})
    synthesizer = build.blank_synthesizer(stored, tuple(told["shape"]), told["classes"], told["n_styles"])
    checkpoint = load_best(source, synthesizer)
    written = write_set(cfg, run, synthesizer, told, checkpoint)
    _print(run, written)
    run.done(float("nan"))


def _print(run: Run, folder: Path) -> None:
    console = Console()
    counts = synthetic.read_provenance(folder)["counts"]
    console.print("Synthetic beats: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    console.print(f"Run folder: {run.folder}", soft_wrap=True)
    for path in (folder / synthetic.BEATS, run.folder / FIDELITY, run.folder / "report.html"):
        if path.exists():
            console.print(f"  {path}", soft_wrap=True)
