"""Lightning callbacks: averaged weights, history, seeding, threads, gallery; and the plugin that writes checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch import Tensor

from ecg.checkpoints import read_checkpoint, write_checkpoint
from ecg.synthesizer import Synthesizer
from ecg.threads import adapt_threads

SECONDS_BETWEEN_CHECKS = 20.0  # a check takes 0.1 s

C = TypeVar("C", bound=Callback)


def find_callback(trainer: pl.Trainer, kind: type[C]) -> C:
    """Returns the first callback of a class."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(callback for callback in callbacks if isinstance(callback, kind))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes and reads checkpoints with `ecg.checkpoints`.

    Lightning's default writes to the temporary folder of the system and, if that is another disk, copies from there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See `write_checkpoint`."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """See `read_checkpoint`. Executes no pickled code, whatever `weights_only` is."""
        return read_checkpoint(Path(path), map_location)


class AveragedWeights(WeightAveraging):
    """Averages weights and batch norm statistics, for validation, test and checkpoints.

    The average is exponential. After n steps its decay is the smaller of `decay` and (1 + n) / (10 + n). With a
    constant decay, the initial weights would dominate the average in the first epochs.

    Args:
        decay: decay of the average, per step.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Moves the average to the device of the module, which `setup` copied before it was moved itself."""
        assert self._average_model is not None
        self._average_model.module.to(pl_module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Updates the average after a step of the optimizer."""
        if trainer.global_step > self._latest_update_step:
            self.update(pl_module)
            self._latest_update_step = trainer.global_step

    @torch.no_grad()
    def update(self, module: pl.LightningModule) -> None:
        """Adds the weights of a module to the average.

        Unlike `AveragedModel.update_parameters`, it does not wait for the GPU: the number of steps stays on the CPU.
        """
        average = self._average_model
        assert average is not None
        n = int(average.n_averaged)
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        averaged, current = ([*part.parameters(), *part.buffers()] for part in (average.module, module))
        floating = [tensor.is_floating_point() for tensor in averaged]
        torch._foreach_lerp_(list(compress(averaged, floating)), list(compress(current, floating)), 1 - decay)
        for counter, value in zip(averaged, current, strict=True):
            if not counter.is_floating_point():  # such as the number of batches of a batch norm
                counter.copy_(value)
        average.n_averaged += 1


class History(Callback):
    """Keeps the logged values of all epochs, also of those before a resumption.

    Attributes:
        epochs: for each epoch, its number "epoch", the learning rate "lr" and the logged values.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Appends the values of the epoch; its validation is over."""
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        self.epochs.append({"epoch": trainer.current_epoch, **scores, "lr": lr})

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self.epochs = state_dict["epochs"]

    def finite_epochs(self) -> list[dict[str, float]]:
        """Returns the epochs without the values that are not finite."""
        return [{name: value for name, value in epoch.items() if math.isfinite(value)} for epoch in self.epochs]

    def columns(self) -> dict[str, list[float]]:
        """Returns the values by name, one for each epoch; NaN where the epoch has none."""
        names = dict.fromkeys(name for epoch in self.epochs for name in epoch)
        return {name: [epoch.get(name, float("nan")) for epoch in self.epochs] for name in names}


class RunCheckpoint(ModelCheckpoint):
    """Writes checkpoints to a run folder that can be moved.

    The state of Lightning's ModelCheckpoint holds absolute paths. After a move it would use the old folder, and lose
    the score of the best epoch. This state holds file names.
    """

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return self._with_paths(super().state_dict(), lambda path: Path(path).name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        assert self.dirpath is not None  # set by the constructor
        folder = Path(self.dirpath)
        state = self._with_paths(state_dict, lambda name: str(folder / name))
        super().load_state_dict({**state, "dirpath": self.dirpath})

    @staticmethod
    def _with_paths(state: dict[str, Any], convert: Callable[[str], str]) -> dict[str, Any]:
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: convert(state[name]) if state[name] else "" for name in names}
        best = {convert(path): score for path, score in state["best_k_models"].items()}
        return {**state, **paths, "best_k_models": best, "dirpath": ""}


class BatchSeed(Callback):
    """Seeds PyTorch before each batch, so that a resumed fit uses the same random numbers as an uninterrupted one.

    One seed for each epoch is not enough: between the start of an epoch and its first batch, random numbers are drawn,
    and their count differs after a resumption.

    Args:
        seed: combined with the epoch, the batch and the rank of the process.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds the batch."""
        sequence = np.random.SeedSequence([self.seed, trainer.current_epoch, batch_idx, trainer.global_rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))


class AdaptThreads(Callback):
    """Adapts the number of threads to other processes, every `SECONDS_BETWEEN_CHECKS` of a training on one CPU."""

    def __init__(self) -> None:
        self.checked = -math.inf

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Checks the other processes."""
        on_one_cpu = pl_module.device.type == "cpu" and trainer.world_size == 1
        if on_one_cpu and time.monotonic() - self.checked > SECONDS_BETWEEN_CHECKS:
            adapt_threads()
            self.checked = time.monotonic()


class Gallery(Callback):
    """Keeps generated beats of all epochs, also of those before a resumption, and logs a figure of them.

    The figure is logged after 1, 2, 4, 8, ... epochs, since the beats change less and less.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[int, Tensor]] = []  # epoch, signals (n_classes, k, T)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the gallery samples of the synthesizer."""
        if trainer.sanity_checking or not isinstance(pl_module, Synthesizer) or pl_module.gallery_samples is None:
            return
        epoch = trainer.current_epoch
        self.samples.append((epoch, pl_module.gallery_samples))
        if trainer.logger is not None and (epoch + 1) & epoch == 0:  # epoch + 1 is a power of 2
            from ecg.reports.synthesis_plots import gallery
            from ecg.tracking import log_figure

            log_figure(trainer.logger, "gallery", gallery(self.signals()[-1:], pl_module.classes))

    def signals(self) -> list[tuple[int, NDArray[np.float32]]]:
        """Returns the epochs and their signals (n_classes, k, T)."""
        return [(epoch, samples.numpy()) for epoch, samples in self.samples]

    def state_dict(self) -> dict[str, Any]:
        """Returns the state for the checkpoint."""
        return {"samples": self.samples}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of a checkpoint."""
        self.samples = state_dict["samples"]
