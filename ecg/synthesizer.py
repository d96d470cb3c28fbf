"""The one LightningModule for all generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ecg.data.datamodule import Batch
from ecg.errors import UserError
from ecg.evaluation.distances import EpochJudge
from ecg.evaluation.judges import Cohort
from ecg.generators.generator import Generator

SHOWN = 3  # beats a class that are kept for the gallery
DRAWN_AT_ONCE = 1024  # beats; more needs memory and gains no speed


class Synthesizer(pl.LightningModule):
    """Fits a generator: its players take turns, a batch each; after each epoch its beats meet the validation beats.

    Args:
        generator: of `ecg.generators`: `turns`, `loss`, `sample`, `canvas`, and a module for each player.
        classes: names of the classes.
        styles: (n_classes, n_styles) training beats of each class and style; beats are drawn in this proportion.
        judge: compares with the validation beats after each epoch; None for a synthesizer that only draws.
        lr: learning rate of every player; it falls along a cosine over the second half of the steps.
        betas: of Adam.
        seed: of the noise.
        n_compared: beats a class drawn after each epoch.
        reduced: whether beats are drawn in bfloat16, where the hardware gains from it.
    """

    def __init__(
        self,
        generator: Generator,
        classes: tuple[str, ...],
        styles: Tensor,
        *,
        judge: EpochJudge | None,
        lr: float,
        betas: tuple[float, float],
        seed: int,
        n_compared: int,
        reduced: bool,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.classes = generator, classes
        self.lr, self.betas, self.seed, self.n_compared = lr, betas, seed, n_compared
        self.reduced = reduced
        self.styles: Tensor
        self.register_buffer("styles", styles.float())
        self.judge = judge
        self.shown: Tensor | None = None  # (n_classes, SHOWN, T): what the last validation drew first of each class
        self.players: list[str] = list(dict.fromkeys(generator.turns))

    # -- fitting --------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One player's turn."""
        turns = self.generator.turns
        player = turns[self.global_step % len(turns)]
        module = getattr(self.generator, player)
        for name in self.players:
            getattr(self.generator, name).requires_grad_(name == player)
        canvas = self.generator.canvas.encode(batch.signal, batch.rr)
        found = self.generator.loss(player, canvas, batch.label, batch.record, self.global_step)
        loss = found["loss"]
        if not torch.isfinite(loss):
            raise UserError(
                f"The loss of the {player} is {float(loss)} in epoch {self.current_epoch}, batch {batch_idx}: lower "
                "generator.lr. The checkpoints of the epochs before are in the run folder."
            )
        optimizer = self._of(player, self.optimizers())
        optimizer.zero_grad()
        self.manual_backward(loss)
        gradient = nn.utils.get_total_norm(p.grad for p in module.parameters() if p.grad is not None)
        optimizer.step()
        self._of(player, self.lr_schedulers()).step()
        watched = {f"train/{player}_{name}": value.detach() for name, value in found.items()}
        watched[f"train/{player}_gradient"] = gradient
        self.log_dict(watched, on_step=False, on_epoch=True, batch_size=len(batch.label))

    def configure_optimizers(self) -> Any:
        """Adam for each player; the rate is constant, then a cosine to zero over the second half of the steps."""
        turns, steps = self.generator.turns, int(self.trainer.estimated_stepping_batches)

        def factor_of(total: float) -> Callable[[int], float]:
            return lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, 2 * step / total - 1))))

        optimizers, schedules = [], []
        for name in self.players:
            optimizer = torch.optim.Adam(getattr(self.generator, name).parameters(), lr=self.lr, betas=self.betas)
            factor = factor_of(max(1.0, steps * turns.count(name) / len(turns)))
            optimizers.append(optimizer)
            schedules.append(torch.optim.lr_scheduler.LambdaLR(optimizer, factor))
        return optimizers, schedules

    def _of(self, player: str, found: Any) -> Any:
        """A player's among all optimisers or schedules; Lightning hands out a single one without a list."""
        return found[self.players.index(player)] if isinstance(found, list) else found

    # -- validation -----------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Compares beats of every class with the validation beats, once an epoch.

        Here and not at the end of the epoch, because here the averaged weights are in place.
        """
        if batch_idx or self.judge is None:
            return
        label = torch.arange(len(self.classes)).repeat_interleave(self.n_compared)
        drawn = list(self.draw(label, seed=self.seed))
        signal, rr = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        self.shown = signal[:, 0].unflatten(0, (len(self.classes), -1))[:, :SHOWN].clone()
        cohort = Cohort(signal=signal.numpy(), rr=rr.numpy(), label=label.numpy())
        found = self.judge.compare(cohort)
        for name, value in found.items():
            self.log(f"val/{name}", value, prog_bar=name == "frechet", batch_size=1)

    # -- drawing --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def draw(self, label: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Beats of the given classes, in chunks: signals (m, C, T) and RR features (m, R) on the CPU, float32.

        Args:
            label: (n,) indices of classes.
            seed: the same seed and labels give the same beats.
        """
        rng = torch.Generator(self.device).manual_seed(seed)
        self.generator.eval()
        for part in label.to(self.device).split(DRAWN_AT_ONCE):
            style = torch.multinomial(self.styles[part], 1, generator=rng)[:, 0]  # (m,)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced):
                canvas = self.generator.sample(part, style, rng)
            signal, rr = self.generator.canvas.decode(canvas)
            yield signal.float().cpu(), rr.float().cpu()
        self.generator.train()
