"""Small networks, losses, generators and synthesizers for every option of the configuration, and trainers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from enum import Enum
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ecg.config.schema import SCHEMAS, GeneratorConfig
from ecg.data.batch import Batch
from ecg.data.rr_features import rr_features
from ecg.evaluation.beat_set import BeatSet
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator
from ecg.synthesizer import Synthesizer

SMALL = {"hidden": 8, "latent": 4, "steps": 3}  # replace the defaults of keys with these names
OPTIMIZER_KEYS = {field.name for field in fields(GeneratorConfig)} - {"_target_"}
WINDOWS = ("kaggle", "centered")


def defaults(group: str, option: str) -> dict[str, Any]:
    """The constructor arguments of an option, and its `_target_`."""
    values = asdict(SCHEMAS[group][option]())
    return {key: value for key, value in values.items() if key not in OPTIMIZER_KEYS}


def variants(group: str) -> dict[str, dict[str, Any]]:
    """Every option of a group in a small size, and a variant for each further value of its enumerations."""
    made = {}
    for option in SCHEMAS[group]:
        settings = defaults(group, option)
        settings |= {key: value for key, value in SMALL.items() if key in settings}
        made[option] = settings
        for key, default in settings.items():
            if isinstance(default, Enum):
                others = [value for value in type(default) if value != default]
                made |= {f"{option} {key}={value}": {**settings, key: value} for value in others}
    return made


def make(settings: dict[str, Any], **arguments: Any) -> Any:
    """The object of some settings, initialised with seed 0."""
    module, _, name = settings["_target_"].rpartition(".")
    torch.manual_seed(0)
    values = {key: value for key, value in settings.items() if key != "_target_"}
    return getattr(importlib.import_module(module), name)(**values, **arguments)


def make_window_beats(window: str, n: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signals (n, C, T) and RR features (n, R) with the properties of a window."""
    rr = rr_features(np.cumsum(np.random.default_rng(seed).uniform(0.5, 1.5, n)))
    return make_signals(window, n, seed), torch.from_numpy(rr if window == "centered" else rr[:, :0])


def make_signals(window: str, n: int = 12, seed: int = 0) -> Tensor:
    """Signals (n, C, T) with the properties of a window."""
    rng = np.random.default_rng(seed)
    if window == "centered":
        return torch.randn(n, 2, 192, generator=torch.Generator().manual_seed(seed))
    signal = torch.from_numpy(rng.random((n, 1, 187), dtype=np.float32)) * 0.8 + 0.1
    signal = (signal * 300).round() / 300  # 300 steps of an ADC
    for i, length in enumerate(rng.integers(40, 180, n)):
        signal[i, 0, 0], signal[i, 0, 5], signal[i, 0, length:] = 1, 0, 0
    return signal


def make_canvas(window: str) -> Canvas:
    """The fitted canvas of the beats of `make_window_beats`."""
    signal = make_signals(window)
    canvas = Canvas(signal.shape[1], signal.shape[2], padded=window == "kaggle")
    canvas.fit(signal)
    return canvas


def make_loader(batches: Sequence[Batch]) -> DataLoader[Batch]:
    """A loader that yields these batches in order."""
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def make_trainer(*callbacks: pl.Callback, epochs: int, **arguments: Any) -> pl.Trainer:
    """A silent trainer on the CPU."""
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **{"enable_checkpointing": False, **silent, **arguments},
    )


class ConstantEvaluator:
    """Returns the same values for all beats, and keeps the beats."""

    def __init__(self) -> None:
        self.beats: list[BeatSet] = []

    def evaluate(self, beats: BeatSet) -> dict[str, float]:
        self.beats.append(beats)
        return {"frechet": 2.0, "coverage": 0.5, "spread": 1.0}


def make_synthesizer(generator: str = "lstm_gan", evaluator: Any = None, **overrides: Any) -> Synthesizer:
    """A synthesizer of two classes and two records with a small prepared generator; class 1 has record 1 only."""
    canvas = make_canvas("kaggle")
    settings = {**variants("generator")[generator], **overrides}
    made: Generator = make(settings, canvas=canvas, n_classes=2, n_records=2)
    label = torch.arange(12) % 2
    made.prepare(make_signals("kaggle"), label, label)
    return Synthesizer(
        made,
        ("N", "V"),
        torch.tensor([[1, 1], [0, 2]]),
        evaluator=evaluator,
        lr=1e-3,
        betas=(0.5, 0.9),
        seed=0,
        n_compared=4,
        reduced_precision=False,
    )


def make_synthesis_loader(n_batches: int) -> DataLoader[Batch]:
    """Batches of 12 beats for `make_synthesizer`."""
    label = torch.arange(12) % 2
    return make_loader(
        [Batch(make_signals("kaggle", seed=i), torch.zeros(12, 0), label, label) for i in range(n_batches)]
    )
