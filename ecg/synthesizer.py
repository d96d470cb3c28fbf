"""The Lightning module of all generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ecg.checkpoints import require_same_weights
from ecg.data.batch import Batch
from ecg.divergence import DivergenceCheck
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.epoch_evaluator import EpochEvaluator
from ecg.generators.generator import Generator

GALLERY_SAMPLES = 3  # beats of each class that are kept after each epoch
CHUNK = 1024  # beats that are sampled at once; larger chunks need more memory and are not faster


class DrawnBeats(NamedTuple):
    """m sampled beats.

    Attributes:
        signal: (m, C, T) float32, on the CPU.
        record: (m,) int64, index of the record that each beat was drawn for.
    """

    signal: Tensor
    record: Tensor


class Synthesizer(DivergenceCheck):
    """Fits a generator with Adam, and compares its beats with real beats after each epoch.

    Each batch updates one player of the generator, in the order of `generator.update_order`.

    Attributes:
        players: names of the players.
        gallery_samples: (n_classes, GALLERY_SAMPLES, T) first channel of beats of the last validation, on the CPU; None
            before the first validation. The noise is the same in every epoch.

    Args:
        generator: the generator.
        classes: names of the classes.
        record_counts: (n_classes, n_records) number of training beats of each class and record. The records of sampled
            beats follow this distribution.
        evaluator: compares beats with real beats; None for a synthesizer that is not fitted.
        lr: learning rate of all players: constant, then a cosine to zero over the second half of the steps.
        betas: of Adam.
        seed: seed of the noise of the compared beats.
        n_compared: number of beats of each class that are sampled after each epoch.
        reduced_precision: whether to sample in bfloat16.
    """

    record_counts: Tensor

    def __init__(
        self,
        generator: Generator,
        classes: tuple[str, ...],
        record_counts: Tensor,
        *,
        evaluator: EpochEvaluator | None,
        lr: float,
        betas: tuple[float, float],
        seed: int,
        n_compared: int,
        reduced_precision: bool,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.classes, self.evaluator = generator, classes, evaluator
        self.lr, self.betas, self.seed, self.n_compared = lr, betas, seed, n_compared
        self.reduced_precision = reduced_precision
        self.register_buffer("record_counts", record_counts.float())
        self.players: list[str] = generator.players
        self.gallery_samples: Tensor | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Updates one player.

        Raises:
            UserError: a loss is not finite.
        """
        order = self.generator.update_order
        player = order[self.global_step % len(order)]
        for name in self.players:
            getattr(self.generator, name).requires_grad_(name == player)
        real = self.generator.canvas.encode(batch.signal)
        logs = self.generator.loss(player, real, batch.label, batch.record, self.global_step)
        gradient_norm = self._update(player, logs["loss"])
        values = {f"train/{player}_{name}": value.detach() for name, value in logs.items()}
        values[f"train/{player}_gradient"] = gradient_norm
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch.label), sync_dist=True)
        self.record_loss(logs["loss"], batch_idx)

    def divergence_message(self, batch: int) -> str:
        """See the base class."""
        step = self.current_epoch * int(self.trainer.num_training_batches) + batch
        player = self.generator.update_order[step % len(self.generator.update_order)]
        return (
            f"The loss of the {player} is not a finite number in epoch {self.current_epoch}, batch {batch}. Decrease "
            "generator.lr. The run folder holds the checkpoints of the epochs before."
        )

    def _update(self, player: str, loss: Tensor) -> Tensor:
        """Makes one optimizer step of a player; returns the norm of the gradient."""
        optimizer = self._select(player, self.optimizers())
        optimizer.zero_grad()
        self.manual_backward(loss)
        parameters = getattr(self.generator, player).parameters()
        gradient_norm = nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
        optimizer.step()
        self._select(player, self.lr_schedulers()).step()
        return gradient_norm

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another network, before a fit is resumed."""
        require_same_weights(self, checkpoint["state_dict"], "last.ckpt")

    def configure_optimizers(self) -> Any:
        """Returns Adam and a learning rate schedule for each player."""
        order, steps = self.generator.update_order, int(self.trainer.estimated_stepping_batches)
        optimizers, schedules = [], []
        for name in self.players:
            optimizer = torch.optim.Adam(getattr(self.generator, name).parameters(), lr=self.lr, betas=self.betas)
            optimizers.append(optimizer)
            total = max(1.0, steps * order.count(name) / len(order))
            # Not SequentialLR: half the steps of a player need not be a whole number, but its milestones are.
            schedules.append(torch.optim.lr_scheduler.LambdaLR(optimizer, _constant_then_cosine(total)))
        return optimizers, schedules

    def _select(self, player: str, items: Any) -> Any:
        """Returns the optimizer or schedule of a player; Lightning returns a single one without a list."""
        return items[self.players.index(player)] if isinstance(items, list) else items

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Samples beats of all classes and compares them with real beats, in the first batch of an epoch.

        Not in `on_validation_epoch_end`, where the averaged weights are no longer in use.
        """
        if batch_idx or self.evaluator is None:
            return
        label = torch.arange(len(self.classes)).repeat_interleave(self.n_compared)
        signal = torch.cat([drawn.signal for drawn in self.draw(label, seed=self.seed)])
        by_class = signal[:, 0].unflatten(0, (len(self.classes), -1))  # (n_classes, n_compared, T)
        self.gallery_samples = by_class[:, :GALLERY_SAMPLES].clone()
        beats = BeatSet(signal=signal.numpy(), label=label.numpy())
        for name, value in self.evaluator.evaluate(beats).items():
            # The processes draw the same beats, but need not agree in the last digit, and all choose the best epoch.
            self.log(f"val/{name}", value, prog_bar=name == "frechet", batch_size=1, sync_dist=True)

    @property
    def drawable(self) -> Tensor:
        """(n_classes, n_records) whether beats of a class can be drawn for a record."""
        known = self.generator.known_records
        return self.record_counts > 0 if known is None else (self.record_counts > 0) | known

    @torch.inference_mode()
    def draw(self, label: Tensor, seed: int, record_weight: Tensor | None = None) -> Iterator[DrawnBeats]:
        """Yields chunks of sampled beats.

        Args:
            label: (n,) class of each beat.
            seed: seed of the noise and of the records; the same seed and labels give the same beats.
            record_weight: (n_classes, n_records) relative frequency of each record among the beats of a class; None
                for that of the training beats.
        """
        rng = torch.Generator(self.device).manual_seed(seed)
        weight = self.record_counts if record_weight is None else record_weight.to(self.device)
        self.generator.eval()
        for chunk in label.to(self.device).split(CHUNK):
            record = torch.multinomial(weight[chunk], 1, generator=rng)[:, 0]  # (m,)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced_precision):
                canvas = self.generator.sample(chunk, record, rng)
            yield DrawnBeats(self.generator.canvas.decode(canvas).float().cpu(), record.cpu())
        self.generator.train()


def _constant_then_cosine(total: float) -> Callable[[int], float]:
    """Returns the factor of the learning rate at a step: 1, then a cosine to 0 over the second half of the steps."""
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, 2 * step / total - 1))))
