"""The base class of the LightningModules, which stops a fit that diverges."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytorch_lightning as pl
import torch
from torch import Tensor

from ecg.errors import UserError

CHECK_INTERVAL = 50  # batches between two checks that all losses are finite


class DivergenceCheck(pl.LightningModule, ABC):
    """Stops a fit after a loss that is not finite, before the next validation and the next checkpoint.

    Reading each loss would make the CPU wait for the GPU. The first bad batch is therefore recorded on the device. It
    is read every `CHECK_INTERVAL` batches, before a validation and at the end of the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bad_batch = torch.tensor(-1.0)  # first batch of the epoch with a loss that is not finite; -1: none

    @abstractmethod
    def divergence_message(self, batch: int) -> str:
        """Returns the message for a loss that is not finite in a batch of this epoch."""

    def record_loss(self, loss: Tensor, batch_idx: int) -> None:
        """Records whether the loss of a batch is finite.

        Raises:
            UserError: a loss is not finite.
        """
        if batch_idx == 0:
            self._bad_batch = torch.full_like(loss, -1.0, dtype=torch.float32)
        bad = ~torch.isfinite(loss.detach()) & (self._bad_batch < 0)
        self._bad_batch = torch.where(bad, float(batch_idx), self._bad_batch)
        if (batch_idx + 1) % CHECK_INTERVAL == 0:
            self._require_finite_losses()

    def on_validation_start(self) -> None:
        """Checks the losses before the validation, whose scores choose the best epoch."""
        self._require_finite_losses()

    def on_train_epoch_end(self) -> None:
        """Checks the losses before the checkpoint of the epoch."""
        self._require_finite_losses()

    def _require_finite_losses(self) -> None:
        if (batch := int(self._bad_batch)) >= 0:
            raise UserError(self.divergence_message(batch))
