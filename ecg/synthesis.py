"""From a fitted generator to its synthetic set: the best weights, the judgement, the beats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from ecg import build
from ecg.data import synthetic
from ecg.data.aami import CLASSES
from ecg.data.datamodule import BeatDataModule
from ecg.errors import UserError
from ecg.runs import Run, write_json
from ecg.synthesizer import Synthesizer

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
    target = counts[cfg.synth.balance_to] if cfg.synth.balance_to else sorted(counts.values())[-2]
    return {name: target - n for name, n in counts.items() if n < target}


def write_set(cfg: DictConfig, run: Run, synthesizer: Synthesizer, told: Mapping[str, Any], checkpoint: Path) -> Path:
    """Draws the beats that are asked for into `synthetic/` of the run folder, chunk by chunk."""
    wanted = numbers(cfg, told["counts"])
    if unknown := set(wanted) - set(told["classes"]):
        raise UserError(f"This generator knows no {', '.join(sorted(unknown))}, only {', '.join(told['classes'])}.")
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
    """Writes the synthetic set of the best epoch and says where it is; returns its distance to the validation beats."""
    if not trainer.is_global_zero:
        return float("nan")
    checkpoint = load_best(run.folder, synthesizer)
    told = fitted(cfg, data)
    write_json(run.folder / FITTED, told)
    folder = write_set(cfg, run, synthesizer, told, checkpoint)
    distances = [epoch["val/frechet"] for epoch in run.history.epochs if "val/frechet" in epoch]
    _print(run, folder, distances)
    return min(distances)


def draw_more(cfg: DictConfig, run: Run) -> None:
    """Draws beats from the generator that `checkpoint` names; its configuration decides all but `synth` and `seed`."""
    source = Path(cfg.checkpoint)
    if not (source / FITTED).is_file():
        raise UserError(f"checkpoint={cfg.checkpoint} is no run folder of a fitted generator: {FITTED} is missing.")
    told = json.loads((source / FITTED).read_text(encoding="utf-8"))
    stored: Any = OmegaConf.merge(OmegaConf.load(source / "config.yaml"), {"seed": cfg.seed})
    synthesizer = build.blank_synthesizer(stored, tuple(told["shape"]), told["classes"], told["n_styles"])
    checkpoint = load_best(source, synthesizer)
    _print(run, write_set(cfg, run, synthesizer, told, checkpoint), [])


def _print(run: Run, folder: Path, distances: list[float]) -> None:
    console = Console()
    counts = synthetic.read_provenance(folder)["counts"]
    if distances:
        best = int(np.argmin(distances))
        console.print(f"Best epoch {best}: Fréchet distance to the validation beats {distances[best]:.3f}")
    console.print("Synthetic beats: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    console.print(f"Run folder: {run.folder}", soft_wrap=True)
    console.print(f"  {folder / synthetic.BEATS}", soft_wrap=True)
