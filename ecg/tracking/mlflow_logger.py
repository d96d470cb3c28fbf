"""The MLflow logger: `mlflow ui` in the working folder shows all runs.

mlflow takes seconds to import, so it is imported when a run starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import MLFlowLogger

from ecg.files import write_json
from ecg.reading import read_json
from ecg.tracking.safe_logger import SafeLogger, summarise_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

RUN_ID = "mlflow.json"  # file of the run folder; a resumed run continues its MLflow run
# A variable of the user has precedence. By default MLflow waits minutes for a server that does not answer, and reports
# its use to its developers.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class SafeMLFlowLogger(SafeLogger, MLFlowLogger):
    """Lightning's MLFlowLogger. Its first failure gives a warning and ends the logging."""

    tool = "MLflow"

    def log_scores(self, scores: Mapping[str, float]) -> None:
        """Logs the final scores as metrics, and ends the run."""
        self.log_metrics(scores, self.step)
        self.finalize()

    def log_figure(self, title: str, figure: Figure) -> None:
        """Stores a figure as an artifact, in place of an earlier one with this title."""
        name = f"figures/{title.replace(' ', '_')}.png"
        self.attempt(lambda: self.experiment.log_figure(self.run_id, figure, name))


def start_mlflow(
    folder: Path, *, experiment: str, name: str, tags: Mapping[str, str], config: Mapping[str, Any]
) -> SafeMLFlowLogger | None:
    """Starts an MLflow run, or continues that of a resumed run; returns its logger.

    The run is stored at MLFLOW_TRACKING_URI, by default in mlflow.db and mlruns/ of the working folder. Where it cannot
    start, the result is None, with one warning.

    Args:
        folder: the run folder.
        experiment: MLflow experiment.
        name: name of the run.
        tags: tags of the run.
        config: resolved configuration, without secrets.
    """
    for variable, value in SETTINGS.items():
        os.environ.setdefault(variable, value)
    for library in ("mlflow", "alembic", "pytorch_lightning.loggers.mlflow"):  # what they create in the store
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        import mlflow

        uri, resumed = mlflow.get_tracking_uri(), _stored_id(folder)
        logger = SafeMLFlowLogger(experiment, name, uri, tags=dict(tags), run_id=resumed)
        if resumed:
            logger.experiment.update_run(resumed, status="RUNNING")
        else:
            write_json(folder / RUN_ID, {"run_id": logger.run_id})
            logger.log_hyperparams(dict(config))
    except Exception as error:
        log.warning("MLflow does not start (%s). The run continues without it.", summarise_error(error))
        return None
    log.info("MLflow: run %s of experiment %s, %s", name, experiment, uri)
    return logger


def _stored_id(folder: Path) -> str | None:
    """ID of the run that is resumed; None for a new run, or where the store lacks it."""
    import mlflow

    path = folder / RUN_ID
    if not path.is_file():
        return None
    stored = read_json(path, dict[str, str], "Delete this file, and resume the run.").get("run_id", "")
    try:
        return str(mlflow.get_run(stored).info.run_id)
    except mlflow.MlflowException:
        return None
