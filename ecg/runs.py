"""The run folder: everything needed to repeat, resume, compare or use a run, each file written whole or not at all.

config.yaml        the resolved configuration
overrides.yaml     what was said on the command line
provenance.json    command, commit, versions, host, seed, options, digest of the beats
status.json        running, finished with which score, failed and why, or interrupted
checkpoints/       best.ckpt by validation macro-F1, last.ckpt after every epoch
metrics.json       scores of validation and test with intervals; the same command and seed give the same file
training.json      how the training went, epoch by epoch
predictions.npz    record, patient, sample, label and probabilities of every validation and test beat
report.html        the same for people
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from ecg.callbacks import Gallery, History
from ecg.classifier import Classifier
from ecg.config import sweep_name
from ecg.data.datamodule import BeatDataModule
from ecg.errors import UserError
from ecg.evaluation import plots
from ecg.evaluation.report import RunReport, write_report
from ecg.files import whole, write_json, write_text
from ecg.scoring import Scores

log = logging.getLogger(__name__)

SHARED_PATIENTS = "The same patients are in training and test: beats of a new patient would score lower."
STATUS = "status.json"
WITHOUT_INFLUENCE = re.compile(r"(name|resume|paths\..*|logger\..*|trainer\.(default_root_dir|enable_progress_bar))$")
SIMULATED = "Simulated recordings: these scores say nothing about real ECGs."
PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "wandb", "wfdb", "numpy", "scikit-learn")


@dataclass
class Run:
    """One run and its folder.

    Attributes:
        folder: the run folder.
        choices: the options chosen for model or generator, data, augmentation and protocol.
        overrides: what was said on the command line.
        sweep: name of the sweep's folder, None outside a sweep.
        provenance: command, commit, versions and so on, as they were at the start.
        history: the epochs' scores.
        gallery: a generator's beats as they came about.
        started: seconds since the epoch.
    """

    folder: Path
    choices: dict[str, str]
    overrides: list[str]
    sweep: str | None
    provenance: dict[str, Any]
    history: History = field(default_factory=History)
    gallery: Gallery = field(default_factory=Gallery)
    started: float = field(default_factory=time.time)

    @property
    def result(self) -> float | None:
        """What this run returned when it finished; None for one that has not finished yet."""
        found = status(self.folder)
        if found.get("state") != "finished":
            return None
        return float("nan") if found["result"] is None else float(found["result"])

    def done(self, result: float) -> None:
        """Marks the run as finished: everything else is in its folder."""
        known = result if math.isfinite(result) else None
        write_json(self.folder / STATUS, {"state": "finished", "result": known})

    @property
    def last_checkpoint(self) -> Path | None:
        """Where an interrupted fit of this folder goes on; None at a fresh start."""
        path = self.folder / "checkpoints" / "last.ckpt"
        return path if path.is_file() else None

    def finish(
        self, cfg: DictConfig, trainer: pl.Trainer, classifier: Classifier, data: BeatDataModule, scores: Scores
    ) -> None:
        """Writes scores, predictions and report, sends them to W&B, and prints them."""
        if not trainer.is_global_zero:
            return
        training = self._training(trainer, classifier)
        metrics = {"simulated": cfg.data.name == "simulated", "logit_shift": scores.logit_shift}
        write_json(self.folder / "metrics.json", {**metrics, **scores.metrics})
        write_json(self.folder / "training.json", {**training, "history": self.history.known()})
        origin = data.balanced.origin if data.balanced else {}
        lineage = {"beats_sha256": data.beats.digest(), **({"synthetic_set": origin} if origin else {})}
        write_json(self.folder / "provenance.json", {**self.provenance, **lineage})
        _write_predictions(self.folder / "predictions.npz", scores)
        write_report(self._report(cfg, data, scores, training), self.folder / "report.html")
        _log_to_wandb(trainer, data, scores, origin)
        self._print(scores, simulated=cfg.data.name == "simulated")
        self.done(scores.validation_macro_f1)

    def _training(self, trainer: pl.Trainer, classifier: Classifier) -> dict[str, Any]:
        f1 = [epoch.get("val/macro_f1", 0.0) for epoch in self.history.epochs]
        return {
            "parameters": sum(p.numel() for p in classifier.network.parameters()),
            "epochs": len(f1),
            "best_epoch": int(np.argmax(f1)) if f1 else None,
            "steps": trainer.global_step,
            "seconds": round(time.time() - self.started, 1),
            "precision": str(trainer.precision),
            "device": str(trainer.strategy.root_device),
        }

    def _report(self, cfg: DictConfig, data: BeatDataModule, scores: Scores, training: dict[str, Any]) -> RunReport:
        split = data.split_of
        _, n_channels, n_times = data.beats.signal.shape
        facts = {
            "Model": f"{self.choices['model']}, {training['parameters']:,} parameters",
            "Data": f"{self.choices['data']}, {len(data.beats):,} beats of {len(set(data.beats.record))} records",
            "Beats": f"{cfg.data.window} window, {n_channels} x {n_times} samples at {data.beats.sfreq:g} Hz"
            + (f", {data.beats.rr.shape[1]} RR features" if data.beats.rr.shape[1] else "")
            + ("; the lower trace is the difference to the record's median beat" if n_channels == 2 else ""),
            "Protocol": f"{self.choices['protocol']}: {len(split.train):,} beats train, "
            f"{len(split.validation):,} validate, {len(split.test):,} test",
            "Augmentation": self._augmentation(data),
            "Patients": "none on two sides" if split.by_patient else "the same on all sides: optimistic for new ones",
            "Training": f"{training['epochs']} epochs in {training['seconds']:.0f} s, best epoch "
            f"{training['best_epoch']} by validation macro-F1, {training['precision']} on {training['device']}",
            "Seeds": f"training {cfg.seed}, split {cfg.protocol.split_seed}",
        }
        return RunReport(
            title=cfg.name,
            simulated=cfg.data.name == "simulated",
            facts=facts,
            warnings=[] if split.by_patient else [SHARED_PATIENTS],
            metrics=scores.metrics,
            predictions=scores.predictions["test"],
            history=self.history.columns(),
            signals=data.beats.signal[split.test],
            sfreq=data.beats.sfreq,
            overrides=self.overrides,
            command=command(),
        )

    def _augmentation(self, data: BeatDataModule) -> str:
        if data.balanced is None:
            return self.choices["augmentation"]
        classes, added = data.split_of.classes, data.balanced.label
        n = ", ".join(f"{m:,} {classes[c]}" for c, m in enumerate(np.bincount(added).tolist()) if m)
        left_out = len(data.split_of.train) - len(data.balanced.kept)
        parts = [f"{n} beats added" if n else "", f"{left_out:,} beats left out" if left_out else ""]
        return f"{self.choices['augmentation']}: {', '.join(part for part in parts if part) or 'nothing to add'}"

    def _print(self, scores: Scores, simulated: bool) -> None:
        console = Console()
        console.print(per_class_table(scores.metrics["test"]))
        if simulated:
            console.print(SIMULATED, style="bold yellow")
        console.print(f"Run folder: {self.folder}", soft_wrap=True)
        for name in ("report.html", "metrics.json", "predictions.npz", "checkpoints/best.ckpt"):
            if (self.folder / name).exists():
                console.print(f"  {self.folder / name}", soft_wrap=True)


@contextmanager
def start(cfg: DictConfig) -> Iterator[Run]:
    """Opens the run folder, and closes the tracker however the run ends."""
    hydra, folder = HydraConfig.get(), Path(cfg.paths.run_dir)
    groups = ("model", "generator", "data", "augmentation", "protocol", "loss")
    choices = {name: str(hydra.runtime.choices[name]) for name in groups if name in cfg}
    folder.mkdir(parents=True, exist_ok=True)
    _require_same(folder, cfg)
    run = Run(folder, choices, list(hydra.overrides.task), sweep_name(), provenance(cfg, choices))
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # the other processes of a distributed run write nothing
    if first:
        _take_up(run)
    if run.result is not None:
        log.info("Finished already: %s", run.folder)
        yield run
        return
    try:
        if first:
            write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
            write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(run.overrides)))
            write_json(folder / "provenance.json", run.provenance)
            write_json(folder / STATUS, {"state": "running"})
        yield run
    except BaseException as error:
        _close_wandb(exit_code=1)
        if first:
            _note_end(run, error)
        if isinstance(error, SystemExit) and not error.code:  # Lightning's, for the signal a cluster sends
            raise SystemExit(128 + signal.SIGTERM) from error
        raise
    _close_wandb(exit_code=0)


def _note_end(run: Run, error: BaseException) -> None:
    """What became of a run that did not finish, in its folder and, of one that was interrupted, on the console."""
    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)  # Lightning turns Ctrl-C into an exit
    if interrupted:
        last, on = run.last_checkpoint, f"go on with resume={run.folder}"
        kept = f"The weights after the last whole epoch are in {last}; {on}" if last else "No epoch was over."
        print(f"Interrupted. {kept}", file=sys.stderr)
    why = "interrupted" if interrupted else str(error) or type(error).__name__
    with suppress(OSError):  # a full disk
        write_json(run.folder / STATUS, {"state": "interrupted" if interrupted else "failed", "why": why})


def _take_up(run: Run) -> None:
    """What was said when the run was begun stays said, however it is gone on with."""
    begun, said = run.folder / "provenance.json", run.folder / "overrides.yaml"
    if begun.is_file() and said.is_file():
        here, there = run.provenance, json.loads(begun.read_text(encoding="utf-8"))
        again = {key: here[key] for key in ("command", "git_commit", "git_dirty")}
        run.provenance = {**there, "resumed": [*there.get("resumed", []), again]}
        run.choices = there.get("choices", run.choices)
        run.overrides = [str(override) for override in yaml.safe_load(said.read_text(encoding="utf-8")) or []]


def status(folder: Path) -> dict[str, Any]:
    """`status.json` of a run folder: "state" and, of a run that failed, "why"; empty where there is none."""
    try:
        return dict(json.loads((folder / STATUS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _require_same(folder: Path, cfg: DictConfig) -> None:
    """A folder in use is gone on with by the same run, and by no other.

    Raises:
        UserError: another run is in the folder.
    """
    if not (folder / "config.yaml").is_file():
        return
    stored = flat(OmegaConf.load(folder / "config.yaml"))
    here = flat(cfg)
    if differing := sorted(key for key in stored.keys() | here.keys() if stored.get(key) != here.get(key)):
        raise UserError(
            f"{folder} holds another run, which differs in {', '.join(differing[:5])}: choose another folder."
        )


def flat(cfg: Any) -> dict[str, Any]:
    """A configuration as one value for each dotted key, without what has no influence on the result."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict) and (node or not path):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        elif not WITHOUT_INFLUENCE.match(path):
            found[path] = node

    walk(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True), "")
    return found


def command() -> str:
    """What makes this run again: the command line, or that of this one job of a sweep."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    if hydra is not None and hydra.mode == RunMode.MULTIRUN:
        return " ".join(["python", f"{hydra.job.name}.py", *map(shlex.quote, hydra.overrides.task)])
    return " ".join(["python", Path(sys.argv[0]).name, *map(shlex.quote, sys.argv[1:])])


def provenance(cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """What is needed to make a run again, besides its configuration."""
    root = Path(__file__).parent
    commit = _git(root, "rev-parse", "HEAD")
    return {
        "command": command(),
        "git_commit": commit,
        "git_dirty": bool(_git(root, "status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "host": {"system": platform.platform(), "processors": os.cpu_count()},
        "choices": choices,
        "seed": cfg.seed,
        "split_seed": cfg.protocol.split_seed,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    with suppress(OSError, subprocess.SubprocessError):
        call = ["git", "-C", str(folder), *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def per_class_table(metrics: Mapping[str, Any]) -> Table:
    """The scores of one side as a table: a row for each class, then the macro mean."""

    def point(s: Mapping[str, float | None]) -> str:
        return "-" if s["value"] is None else f"{s['value']:.3f}"

    def figure(s: Mapping[str, float | None]) -> str:
        return point(s) + (f" [{s['low']:.3f}, {s['high']:.3f}]" if s["low"] is not None else "")

    columns = ("precision", "recall", "f1", "auroc", "auprc")
    table = Table(
        title=f"Test: {metrics['n_beats']:,} beats, accuracy {figure(metrics['accuracy'])}",
        caption=f"brackets: {metrics['interval']}",
    )
    for name in ("class", "beats", "precision", "recall", "F1", "AUROC", "AUPRC"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, row in metrics["per_class"].items():
        table.add_row(name, f"{row['support']:,}", *(point(row[c]) for c in columns))
    macro = metrics["macro"]
    table.add_section()
    table.add_row("macro", "", *(figure(macro[c]) if c == "f1" else point(macro[c]) for c in columns))
    return table


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then puts it there, so that the earlier one is never half overwritten.

    Lightning's own writes to the system's temporary folder, from where it takes a copy if that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Saves a checkpoint."""
        place, buffer = Path(path), io.BytesIO()
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, buffer)  # a full disk is then an OSError of ours and not an error of torch's
        with whole(place, alone=True) as temporary:
            temporary.write_bytes(buffer.getbuffer())


def _write_predictions(path: Path, scores: Scores) -> None:
    sides = scores.predictions
    columns = {
        name: np.concatenate([getattr(side, name) for side in sides.values()])
        for name in ("record", "patient", "sample", "label", "probability")
    }
    columns["side"] = np.repeat(list(sides), [len(side.label) for side in sides.values()])
    columns["classes"] = np.array(sides["test"].classes)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)  # type: ignore[arg-type]


def _log_to_wandb(trainer: pl.Trainer, data: BeatDataModule, scores: Scores, origin: Mapping[str, Any]) -> None:
    from pytorch_lightning.loggers import WandbLogger

    if isinstance(trainer.logger, WandbLogger):
        from ecg.tracking import log_results, use_set

        test, predictions = scores.metrics["test"], scores.predictions["test"]
        signals = data.beats.signal[data.split_of.test]
        figures = {
            "confusion matrix": plots.confusion_matrix(test["confusion_matrix"], test["classes"]),
            "beats right and wrong": plots.beats_right_and_wrong(predictions, signals, data.beats.sfreq),
        }
        log_results(trainer.logger, metrics=test, predictions=predictions, figures=figures, synthetic_set=origin)
        if origin.get("artifact"):
            use_set(trainer.logger, origin["artifact"])


def _close_wandb(exit_code: int) -> None:
    if "wandb" in sys.modules:
        from ecg.tracking import finish_all

        finish_all(exit_code)
