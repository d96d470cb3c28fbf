"""A logger whose failure gives one warning and never ends a run: the run folder holds every result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


class SafeLogger(Logger):
    """The first base class of a logger. A failure of the second base class gives a warning and ends the logging.

    Attributes:
        tool: name of the tool, for the warning.
        failed: whether the logging has ended.
        step: the step of the last logged row.
    """

    tool = ""
    failed = False
    step = 0

    def attempt(self, call: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Calls a function, unless the tool has failed before. Its exception becomes a warning."""
        if self.failed:
            return
        try:
            call(*arguments, **options)
        except Exception as error:
            self.failed = True
            log.warning("%s failed (%s). The run continues without it.", self.tool, summarise_error(error))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs one row."""
        self.step = step or 0
        self.attempt(super().log_metrics, metrics, step)  # type: ignore[safe-super]

    def log_hyperparams(self, params: Any, *arguments: Any, **options: Any) -> None:
        """Adds to the configuration of the run."""
        self.attempt(super().log_hyperparams, params, *arguments, **options)  # type: ignore[safe-super]

    def save(self) -> None:
        """Called by Lightning after each row."""
        self.attempt(super().save)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Called by Lightning after it has written a checkpoint."""
        self.attempt(super().after_save_checkpoint, checkpoint_callback)

    def finalize(self, status: str = "success") -> None:
        """Called by Lightning at the end of a fit. The final results follow later."""
        self.attempt(super().finalize, status)

    def log_scores(self, scores: Mapping[str, float]) -> None:
        """Logs the final scores."""
        raise NotImplementedError

    def log_figure(self, title: str, figure: Figure) -> None:
        """Logs a figure at the current step."""
        raise NotImplementedError


def summarise_error(error: Exception) -> str:
    """Returns the first line of the message of an exception."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
