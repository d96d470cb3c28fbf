"""The TensorBoard logger: `tensorboard --logdir outputs` shows all runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytorch_lightning.loggers import TensorBoardLogger

from ecg.tracking.safe_logger import SafeLogger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SafeTensorBoardLogger(SafeLogger, TensorBoardLogger):
    """Lightning's TensorBoardLogger. Its first failure gives a warning and ends the logging."""

    tool = "TensorBoard"

    def log_scores(self, scores: Mapping[str, float]) -> None:
        """Logs the final scores as scalars, and together with the configuration for the page HPARAMS."""
        self.log_hyperparams(self.hparams, dict(scores), self.step)
        self.finalize()

    def log_figure(self, title: str, figure: Figure) -> None:
        """Logs a figure at the current step."""
        self.attempt(lambda: self.experiment.add_figure(f"figures/{title}", figure, self.step))
