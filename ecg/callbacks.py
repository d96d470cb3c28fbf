"""What happens around the epochs, besides what Lightning brings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, WeightAveraging
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from ecg.synthesizer import Synthesizer


def ema(decay: float) -> WeightAveraging:
    """Exponential moving average of weights and batch-norm statistics, used in validation, test and checkpoints.

    The decay rises from 0.1 to `decay` as (1 + n) / (10 + n) after n steps: with a constant one the first epochs'
    averages would be mostly the initial weights.

    Args:
        decay: share of the average that stays at each step.
    """

    def average(averaged: Tensor, current: Tensor, n: Tensor) -> Tensor:
        # In tensors throughout: a Python number out of n would wait for the GPU, once a parameter.
        return averaged + (current - averaged) * (1 - torch.clamp((1 + n) / (10 + n), max=decay))

    return WeightAveraging(avg_fn=average)


class History(Callback):
    """Every epoch's scores, kept through a resumed training."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes down what was logged, once training and validation of the epoch are over."""
        scores = {k: float(v) for k, v in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.epochs.append({"epoch": trainer.current_epoch, **scores, "lr": rate})

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.epochs = state_dict["epochs"]

    def known(self) -> list[dict[str, float]]:
        """Epoch by epoch what is a finite number."""
        return [{name: value for name, value in epoch.items() if math.isfinite(value)} for epoch in self.epochs]

    def columns(self) -> dict[str, list[float]]:
        """The same by name: one value an epoch, NaN where there was none."""
        names = dict.fromkeys(name for epoch in self.epochs for name in epoch)
        return {name: [epoch.get(name, float("nan")) for epoch in self.epochs] for name in names}


class BatchSeed(Callback):
    """Seeds every batch by (seed, epoch, batch): a resumed fit draws the noise an uninterrupted one would have drawn.

    Not once an epoch, because what happens between the epoch's start and its first batch draws random numbers too, and
    not the same ones after a resumption.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds."""
        place = [self.seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))


class Gallery(Callback):
    """Beats of the same noise after every epoch, kept through a resumed fit, and now and then sent to W&B."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, Tensor]] = []  # epochs, and signals (n_classes, k, T)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes down what the synthesizer drew; rarer and rarer, since less and less changes."""
        epoch = trainer.current_epoch
        if trainer.sanity_checking or not isinstance(pl_module, Synthesizer) or pl_module.shown is None:
            return
        self.shown.append((epoch, pl_module.shown))
        if (epoch + 1) & epoch == 0:  # after 1, 2, 4, 8, ... epochs
            self._send(trainer, pl_module.classes)

    def signals(self) -> list[tuple[int, NDArray[np.float32]]]:
        """Epochs, and signals (n_classes, k, T)."""
        return [(epoch, drawn.numpy()) for epoch, drawn in self.shown]

    def _send(self, trainer: pl.Trainer, classes: Sequence[str]) -> None:
        if isinstance(trainer.logger, WandbLogger):
            from ecg.evaluation.fidelity_plots import gallery
            from ecg.tracking import log_figure

            log_figure(trainer.logger, "gallery", gallery(self.signals()[-1:], classes))

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"shown": self.shown}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.shown = state_dict["shown"]
