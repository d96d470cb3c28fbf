"""Sends figures, scores and synthetic sets to W&B, and figures and scores to TensorBoard and MLflow.

Every function does nothing for other loggers, and never fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pytorch_lightning.loggers import Logger

from ecg.evaluation.fidelity import Fidelity
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import CLASS_SCORES, ClassScores, Metrics, Score
from ecg.tracking.safe_logger import SafeLogger, summarise_error
from ecg.tracking.wandb_logger import SafeWandbLogger

if TYPE_CHECKING:
    import wandb
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def log_figure(logger: Logger | None, title: str, figure: Figure) -> None:
    """Logs a figure at the current step.

    Args:
        logger: logger of the run.
        title: the figure is logged as figures/TITLE.
        figure: the figure.
    """
    if isinstance(logger, SafeWandbLogger):
        logger.attempt(lambda: logger.experiment.log(_images({title: figure})))
    elif isinstance(logger, SafeLogger):
        logger.log_figure(title, figure)


def _images(figures: Mapping[str, Figure]) -> dict[str, wandb.Image]:
    import wandb

    return {f"figures/{title.replace(' ', '_')}": wandb.Image(figure) for title, figure in figures.items()}


# -- classification -----------------------------------------------------------------------------------------------


def log_classification(
    logger: Logger | None,
    *,
    metrics: Metrics,
    predictions: Predictions,
    figures: Callable[[], Mapping[str, Figure]],
    synthetic_set: Mapping[str, Any],
) -> None:
    """Logs the test results of a classifier.

    Args:
        logger: logger of the run.
        metrics: metrics of the test subset.
        predictions: predictions for the test subset.
        figures: returns figures by title. Called only if the logger stores them.
        synthetic_set: provenance of the synthetic beats among the training beats; empty without synthetic beats.
    """
    if not isinstance(logger, SafeLogger) or logger.failed:
        return
    if isinstance(logger, SafeWandbLogger):
        logger.attempt(_log_classification, logger.experiment, metrics, predictions, figures(), synthetic_set)
        return
    for title, figure in figures().items():
        logger.log_figure(title, figure)
    logger.log_scores(_classification_summary(metrics))


def _log_classification(
    run: wandb.Run,
    metrics: Metrics,
    predictions: Predictions,
    figures: Mapping[str, Figure],
    synthetic_set: Mapping[str, Any],
) -> None:
    import wandb

    if synthetic_set:
        run.config.update({"synthetic_set": dict(synthetic_set)})

    run.summary.update(_classification_summary(metrics))
    rows: list[Iterable[Any]] = [[name, *_class_row(scores).values()] for name, scores in metrics.per_class.items()]
    run.log(
        {
            "test/per_class": wandb.Table(columns=["class", "support", *CLASS_SCORES], data=rows),
            "test/confusion_matrix": wandb.plot.confusion_matrix(
                y_true=predictions.label.tolist(),
                preds=predictions.probability.argmax(axis=1).tolist(),
                class_names=list(predictions.classes),
                title="Confusion matrix of the test beats",
            ),
            "test/pr_curves": _pr_curves(predictions),
            **_images(figures),
        }
    )


def _classification_summary(metrics: Metrics) -> dict[str, float]:
    """`test/accuracy` and `test/macro_f1`, both also with `_low` and `_high`, `test/S/f1`, and so on."""
    scores: dict[str, Score] = {name: getattr(metrics, name) for name in ("accuracy", "mcc", "ece")}
    scores |= {f"macro_{name}": getattr(metrics.macro, name) for name in CLASS_SCORES}
    summary: dict[str, float | None] = {"test/n_beats": metrics.n_beats}
    for name, score in scores.items():
        summary |= {f"test/{name}": score.value, f"test/{name}_low": score.low, f"test/{name}_high": score.high}
    for name, row in metrics.per_class.items():
        summary |= {f"test/{name}/{column}": value for column, value in _class_row(row).items()}
    return {name: value for name, value in summary.items() if value is not None}


def _class_row(scores: ClassScores) -> dict[str, float | None]:
    return {"support": scores.support, **{name: getattr(scores, name).value for name in CLASS_SCORES}}


def _pr_curves(predictions: Predictions) -> Any:
    import wandb

    # The chart pairs the i-th column with the i-th class among the labels, so columns of classes without beats must go.
    # Its size does not depend on the number of beats: it holds 21 points a class.
    present = np.unique(predictions.label)
    return wandb.plot.pr_curve(
        y_true=predictions.label,
        y_probas=predictions.probability[:, present],
        labels=list(predictions.classes),
        title="Precision and recall of the test beats, each class against all others",
    )


# -- synthesis ----------------------------------------------------------------------------------------------------


def log_fidelity(logger: Logger | None, fidelity: Mapping[str, Fidelity]) -> None:
    """Logs the fidelity of synthetic beats.

    Args:
        logger: logger of the run.
        fidelity: fidelity by held-out subset.
    """
    if isinstance(logger, SafeWandbLogger):
        logger.attempt(_log_fidelity, logger.experiment, fidelity)
    elif isinstance(logger, SafeLogger):
        logger.log_scores(_fidelity_summary(fidelity))


def _fidelity_summary(fidelity: Mapping[str, Fidelity]) -> dict[str, float]:
    """`fidelity/test/passed`, and each measure with its reference and its values by class: `fidelity/test/mmd/S`."""
    summary: dict[str, float | None] = {}
    for subset, result in fidelity.items():
        summary[f"fidelity/{subset}/passed"] = result.passed
        for key, measure in result.measures.items():
            prefix = f"fidelity/{subset}/{key}"
            summary |= {prefix: measure.overall.value, f"{prefix}_reference": measure.overall.reference}
            summary |= {f"{prefix}/{name}": row.value for name, row in measure.per_class.items()}
    return {name: value for name, value in summary.items() if value is not None}


def _log_fidelity(run: wandb.Run, fidelity: Mapping[str, Fidelity]) -> None:
    import wandb

    run.summary.update(_fidelity_summary(fidelity))
    rows: list[Iterable[Any]] = [
        [subset, gate.measure, gate.class_name or "all", gate.reached, gate.bound, gate.passed]
        for subset, result in fidelity.items()
        for gate in result.gates
    ]
    columns = ("subset", "measure", "class", "reached", "required", "passed")
    run.log({"fidelity/gates": wandb.Table(columns=[*columns], data=rows)})


# -- synthetic sets -----------------------------------------------------------------------------------------------


def artifact_name(logger: Logger | None) -> str | None:
    """Returns the name of the W&B artifact that holds the synthetic set of this run; None for other loggers."""
    if not isinstance(logger, SafeWandbLogger):
        return None
    return f"{logger.experiment.project}/beats-{logger.version}:latest"


def log_synthetic_set(logger: Logger | None, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Stores a synthetic set as a W&B artifact. W&B links it with the runs that train with it.

    Args:
        logger: logger of the run that generated the set.
        folder: folder of the set.
        metadata: facts for the page of the artifact.
    """
    if isinstance(logger, SafeWandbLogger):
        logger.attempt(_log_synthetic_set, logger, folder, metadata)


def _log_synthetic_set(logger: SafeWandbLogger, folder: Path, metadata: Mapping[str, Any]) -> None:
    import wandb

    artifact = wandb.Artifact(f"beats-{logger.version}", type="synthetic-beats", metadata=dict(metadata))
    artifact.add_dir(str(folder))
    logger.experiment.log_artifact(artifact)


def use_synthetic_set(logger: Logger | None, name: str) -> None:
    """Links a training with its synthetic set. An offline run has no links.

    Args:
        logger: logger of the training.
        name: name of the artifact.
    """
    if not isinstance(logger, SafeWandbLogger) or logger.failed:
        return
    try:
        if not logger.experiment.offline:
            logger.experiment.use_artifact(name)
    except Exception as error:  # the server may lack the artifact, which is no failure of the logger
        log.info(
            "W&B has no artifact %s (%s). The provenance identifies the synthetic set.", name, summarise_error(error)
        )
