"""Tracking of runs: loggers, and the results that they show. wandb is imported when a W&B run starts."""

from ecg.tracking.results import (
    artifact_name,
    log_classification,
    log_fidelity,
    log_figure,
    log_synthetic_set,
    use_synthetic_set,
)
from ecg.tracking.wandb_logger import finish_all, finish_on_exit

__all__ = [
    "artifact_name",
    "finish_all",
    "finish_on_exit",
    "log_classification",
    "log_fidelity",
    "log_figure",
    "log_synthetic_set",
    "use_synthetic_set",
]
