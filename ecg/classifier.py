"""The Lightning module of all classifiers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from ecg.checkpoints import require_same_weights
from ecg.data.batch import Batch
from ecg.divergence import DivergenceCheck
from ecg.models.network import Network

AUXILIARY_WEIGHT = 0.3  # of the loss of an auxiliary output


class Classifier(DivergenceCheck):
    """Trains a network with AdamW, linear warm-up and cosine decay of the learning rate to zero.

    Args:
        network: the network.
        loss: maps logits (B, n_classes) and labels (B,) or class probabilities (B, n_classes) to a scalar.
        classes: names of the classes.
        lr: peak learning rate.
        weight_decay: weight decay of parameters with two dimensions or more.
        warmup: fraction of the steps in which the learning rate increases.
        transforms: maps signals (B, C, T) and RR features (B, R) of training beats to augmented ones.
        mix: maps signals, RR features and labels (B,) of training beats to mixed ones with class probabilities
            (B, n_classes).
    """

    def __init__(
        self,
        network: Network,
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
        n = len(classes)
        # Computed over all validation beats: the mean of the scores of batches is a different, biased number.
        self.validation_scores = MetricCollection(
            {
                "macro_f1": MulticlassF1Score(n, average="macro"),
                "accuracy": MulticlassAccuracy(n, average="micro"),
                "f1": MulticlassF1Score(n, average="none"),
            }
        )

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits (B, n_classes) of a batch."""
        logits: Tensor = self.network(batch.signal, batch.rr)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch, and logs its mean over the epoch.

        Raises:
            UserError: a loss is not finite.
        """
        signal, rr, label, _ = batch
        if self.transforms:
            signal, rr = self._transformed(signal, rr)
        if self.mix:
            signal, rr, label = self.mix(signal, rr, label)
        logits, *auxiliary = self.network.training_logits(signal, rr)
        loss = self._loss(logits, label)
        for other in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * self._loss(other, label)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.label), sync_dist=True)
        self.record_loss(loss, batch_idx)
        return loss

    def _transformed(self, signal: Tensor, rr: Tensor) -> tuple[Tensor, Tensor]:
        """Returns transformed signals and features; the transforms know no sequences of beats."""
        assert self.transforms is not None
        if signal.ndim == 3:
            signal, rr = self.transforms(signal, rr)
            return signal, rr
        beats = signal.shape[:2]  # (B, L)
        signal, rr = self.transforms(signal.flatten(0, 1), rr.flatten(0, 1))
        return signal.unflatten(0, beats), rr.unflatten(0, beats)

    def _loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Returns the loss of logits (B, n_classes) and labels or, in context, (B, L, n_classes) and labels (B, L)."""
        loss: Tensor = self.loss(logits.flatten(0, -2), label.flatten() if logits.ndim == 3 else label)
        return loss

    def divergence_message(self, batch: int) -> str:
        """See the base class."""
        return (
            f"The loss is not a finite number in epoch {self.current_epoch}, batch {batch}. Decrease optimizer.lr, or "
            "set trainer.precision=32-true. The run folder holds the checkpoints of the epochs before."
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs the loss, and accumulates the predictions for the scores of the epoch."""
        label = batch.label.flatten()
        has_label = label >= 0
        logits, label = self(batch).flatten(0, -2)[has_label], label[has_label]
        self.log("val/loss", self.loss(logits, label), batch_size=len(label), sync_dist=True)
        self.validation_scores.update(logits.float(), label)

    def on_validation_epoch_end(self) -> None:
        """Logs macro-F1, accuracy and the F1 score of each class, computed over all validation beats."""
        scores: dict[str, Tensor] = self.validation_scores.compute()
        self.validation_scores.reset()
        for name, f1 in zip(self.classes, scores.pop("f1"), strict=True):
            self.log(f"val/{name}/f1", f1)
        self.log("val/macro_f1", scores["macro_f1"], prog_bar=True)
        self.log("val/accuracy", scores["accuracy"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another network, before a fit is resumed."""
        require_same_weights(self, checkpoint["state_dict"], "last.ckpt")

    def configure_optimizers(self) -> Any:
        """Returns AdamW and its learning rate schedule, which changes the rate after every step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, foreach=True)
        total = max(1, int(self.trainer.estimated_stepping_batches))
        warmup = max(1, round(self.warmup * total))
        increase = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        decrease = CosineAnnealingLR(optimizer, T_max=max(1, total - warmup))
        schedule = SequentialLR(optimizer, [increase, decrease], milestones=[warmup])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
