"""The one LightningModule for all classifiers."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from ecg.data.datamodule import Batch
from ecg.errors import UserError

LOSSES_LOOKED_AT = 50  # batches from one look at the losses to the next


class Classifier(pl.LightningModule):
    """Trains a network on beats with AdamW, warm-up and a cosine to zero.

    Args:
        network: signals (B, C, T) and RR features (B, R) -> logits (B, n_classes).
        loss: logits (B, n_classes) and labels (B,) -> scalar.
        classes: names of the classes.
        lr: learning rate at the top of the schedule.
        weight_decay: on weights of two dimensions or more.
        warmup: share of the steps in which the rate rises.
        transforms: signals (B, C, T) and RR features (B, R) -> the same, changed; for training beats alone.
        mix: signals, RR features and labels (B,) -> the same, blended, with labels (B, n_classes); likewise.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        classes: tuple[str, ...],
        *,
        lr: float,
        weight_decay: float,
        warmup: float,
        transforms: nn.Module | None = None,
        mix: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.transforms, self.mix = transforms, mix
        self.network, self.loss, self.classes = network, loss, classes
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self._bad_batch = torch.tensor(-1.0)  # of this epoch, the first whose loss was not finite
        n = len(classes)
        # Over the whole set: a mean of batch scores is not the score, least of all for rare classes.
        self.validation_scores = MetricCollection(
            {
                "macro_f1": MulticlassF1Score(n, average="macro"),
                "accuracy": MulticlassAccuracy(n, average="micro"),
                "f1": MulticlassF1Score(n, average="none"),
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        """Batch -> logits (B, n_classes)."""
        return self.network(batch.signal, batch.rr)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; the epoch's mean is logged."""
        signal, rr, label, _ = batch
        if self.transforms:
            signal, rr = self.transforms(signal, rr)
        if self.mix:
            signal, rr, label = self.mix(signal, rr, label)
        loss = self.loss(self.network(signal, rr), label)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.label), sync_dist=True)
        self._require_finite(loss.detach(), batch_idx)
        return loss

    def _require_finite(self, loss: Tensor, batch_idx: int) -> None:
        """Stops at a loss that is not a number, before a checkpoint holds what came of it.

        To look at every loss would make a GPU wait for it, so the first bad batch is noted there and asked for later.
        """
        if batch_idx == 0:
            self._bad_batch = torch.full_like(loss, -1.0, dtype=torch.float32)
        self._bad_batch = torch.where(torch.isfinite(loss) | (self._bad_batch >= 0), self._bad_batch, float(batch_idx))
        if (batch_idx + 1) % LOSSES_LOOKED_AT and not self.trainer.is_last_batch:
            return
        if (bad := int(self._bad_batch)) >= 0:
            raise UserError(
                f"The loss is not a finite number in epoch {self.current_epoch}, batch {bad}: lower optimizer.lr, or "
                "train with trainer.precision=32-true. The checkpoints of the epochs before are in the run folder."
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gathers predictions; the scores come at the end of the epoch."""
        logits = self(batch)
        self.log("val/loss", self.loss(logits, batch.label), batch_size=len(batch.label), sync_dist=True)
        self.validation_scores.update(logits.float(), batch.label)

    def on_validation_epoch_end(self) -> None:
        """Logs macro-F1, accuracy and each class's F1 over all validation beats."""
        scores: dict[str, Tensor] = self.validation_scores.compute()
        self.validation_scores.reset()
        for name, f1 in zip(self.classes, scores.pop("f1"), strict=True):
            self.log(f"val/{name}/f1", f1)
        self.log("val/macro_f1", scores["macro_f1"], prog_bar=True)
        self.log("val/accuracy", scores["accuracy"])

    def configure_optimizers(self) -> Any:
        """AdamW, linear warm-up, cosine to zero, stepped by the batch."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, foreach=True)
        total = max(1, int(self.trainer.estimated_stepping_batches))
        rise = max(1, round(self.warmup * total))

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
