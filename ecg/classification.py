"""What follows the fit of a classifier: evaluate, write, report, track."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ecg import tracking
from ecg.callbacks import History, find_callback
from ecg.checkpoints import load_weights
from ecg.classifier import Classifier
from ecg.data.beats import Positions
from ecg.data.datamodule import BeatDataModule, BeatTensors
from ecg.data.rr_features import RR_FEATURES
from ecg.data.sequences import WholeRecords
from ecg.errors import UserError
from ecg.evaluation.adaptation import adapt
from ecg.evaluation.adjustment import best_logit_shift, best_temperature
from ecg.evaluation.metrics import evaluate, without_records
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import Metrics, RunMetrics, Score
from ecg.files import atomic_write, write_json
from ecg.reading import parse, read_json
from ecg.reports import plots
from ecg.reports.classification_report import ClassificationReport, write_classification_report
from ecg.reports.notices import SHARED_PATIENTS, SIMULATED
from ecg.runs import PROVENANCE, Run, require_same_config

log = logging.getLogger(__name__)

FIT_AGAIN = "Fit the classifier again."


@dataclass(frozen=True)
class ClassificationResult:
    """Scores and predictions of a classifier.

    Attributes:
        metrics: of the test subset, of the validation subset if there is one, and of the test subset without some
            records.
        predictions: of the test subset, and of the validation subset if there is one.
        training: parameters, epochs, duration, device, time of a prediction; training.json without the history.
    """

    metrics: RunMetrics
    predictions: dict[str, Predictions]
    training: dict[str, Any]

    @property
    def validation_macro_f1(self) -> float:
        """The score by which runs are ranked; NaN without validation beats."""
        validation = self.metrics.subsets.get("validation")
        value = validation.macro.f1.value if validation else None
        return float("nan") if value is None else value


def finish(cfg: DictConfig, run: Run, trainer: pl.Trainer, classifier: Classifier, data: BeatDataModule) -> float:
    """Evaluates the best epoch, writes and tracks the results; returns the validation macro-F1."""
    if not trainer.is_global_zero:
        return float("nan")
    history = find_callback(trainer, History)
    load_best(trainer, classifier)
    result = evaluate_classifier(cfg, run, trainer, classifier, data, history)
    write_results(run, data, result, history)
    write_classification_report(_report(cfg, run, data, result, history), run.folder / "report.html")
    _track(trainer, data, result)
    _print(run, result)
    run.finish(result.validation_macro_f1)
    return result.validation_macro_f1


def require_same_data(run: Run, data: BeatDataModule) -> None:
    """Records the beats in provenance.json, or compares them with those of the run that is resumed.

    Raises:
        UserError: the run was started with other beats.
    """
    synthetic_set = _synthetic_set(data)
    run.require_same(beats_sha256=data.beats.digest(), **({"synthetic_set": synthetic_set} if synthetic_set else {}))


# -- evaluate -----------------------------------------------------------------------------------------------------


def load_best(trainer: pl.Trainer, classifier: Classifier) -> None:
    """Loads the weights of the best epoch (the averaged ones, if weights are averaged).

    Without validation beats, that is the last epoch.
    """
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best and Path(best).is_file():
        load_weights(Path(best), classifier)


def load_fitted(cfg: DictConfig, trainer: pl.Trainer, classifier: Classifier, data: BeatDataModule) -> None:
    """Loads weights and history of the classifier in the run folder `checkpoint`, instead of a fit.

    Raises:
        UserError: the folder holds no fitted classifier, one with another configuration, or one of other beats.
    """
    folder = Path(cfg.checkpoint)
    require_same_config(folder, cfg, ignored=("prediction.", "name", "n_bootstrap", "checkpoint", "trainer."))
    path = folder / "checkpoints" / "best.ckpt"
    if not path.is_file():
        raise UserError(f"{folder} holds no fitted classifier: checkpoints/best.ckpt is missing.")
    provenance = read_json(folder / PROVENANCE, dict[str, Any], FIT_AGAIN)
    if provenance.get("beats_sha256") != data.beats.digest():
        raise UserError(f"The classifier in {folder} was fitted on other beats. {FIT_AGAIN}")
    load_weights(path, classifier)
    find_callback(trainer, History).epochs = fitted_training(folder)["history"]


def fitted_training(folder: Path) -> dict[str, Any]:
    """The content of training.json of a fitted classifier.

    Raises:
        UserError: the file is missing or damaged.
    """
    content = read_json(folder / "training.json", dict[str, Any], FIT_AGAIN)
    try:
        return {**content, "history": parse(list[dict[str, float]], content.get("history"), "history")}
    except ValueError as error:
        raise UserError(f"{folder / 'training.json'} is damaged: {error}. {FIT_AGAIN}") from error


def evaluate_classifier(
    cfg: DictConfig, run: Run, trainer: pl.Trainer, classifier: Classifier, data: BeatDataModule, history: History
) -> ClassificationResult:
    """Scores of the validation and test subsets. What is chosen here, is chosen on validation beats only."""
    split, device = data.split, trainer.strategy.root_device
    positions = {name: at for name, at in (("validation", split.validation), ("test", split.test)) if len(at)}
    started = time.perf_counter()
    logits = {name: predict_logits(classifier, data, at, device) for name, at in positions.items()}
    microseconds = 1e6 * (time.perf_counter() - started) / sum(map(len, positions.values()))
    logits = {name: adapted(cfg, data, at, logits[name]) for name, at in positions.items()}
    shifts = cfg.prediction.shifts or {}
    offset = torch.tensor([float(shifts.get(name, 0.0)) for name in split.classes])
    tau, temperature = 0.0, cfg.prediction.temperature
    label = torch.from_numpy(data.labels[split.validation])
    if cfg.prediction.logit_adjustment:
        log_prior = torch.log(data.class_counts() / len(data.train_positions))
        tau = best_logit_shift(logits["validation"] + offset, label, log_prior)
        offset = offset - tau * log_prior
    if temperature is None:
        temperature = best_temperature(logits["validation"] + offset, label)
    predictions = {
        name: _predictions(data, at, (logits[name] + offset) / temperature) for name, at in positions.items()
    }
    subsets = dict(predictions)
    for name, records in data.protocol.test_subsets(data.source).items():
        subsets[name] = without_records(predictions["test"], records)
    metrics = {name: _metrics(cfg, data, subset) for name, subset in subsets.items()}
    training = _training(run, trainer, classifier, history)
    if cfg.checkpoint:
        fitted = fitted_training(Path(cfg.checkpoint))
        training |= {name: fitted.get(name) for name in ("steps", "seconds")}
    return ClassificationResult(
        RunMetrics(data.source.simulated, tau, metrics, temperature),
        predictions,
        {**training, "microseconds_per_beat": round(microseconds, 1)},
    )


@torch.inference_mode()
def predict_logits(
    classifier: Classifier, data: BeatDataModule, positions: Positions, device: torch.device, batch_size: int = 1024
) -> Tensor:
    """Logits (n, n_classes) of the beats at `positions`, float32 on the CPU, computed in full precision.

    One process predicts all beats: a distributed sampler would repeat some of them to fill the last batch.
    """
    classifier.eval().to(device)
    if data.context:
        return _predict_records(classifier, data, positions, device)
    beats = BeatTensors(data.tensors, positions)
    parts = []
    for index in torch.arange(len(positions)).split(batch_size):
        batch = beats[index]
        parts.append(classifier.network(batch.signal.to(device), batch.rr.to(device)).float().cpu())
    return torch.cat(parts)


def _predict_records(
    classifier: Classifier, data: BeatDataModule, positions: Positions, device: torch.device
) -> Tensor:
    """Logits (n, n_classes) of the beats at `positions`, from whole records."""
    records = WholeRecords(data.tensors, positions)
    logits = torch.empty(len(data.tensors.label), len(data.split.classes))
    for run, batch in zip(records.runs, records, strict=True):
        logits[run] = classifier.network(batch.signal.to(device), batch.rr.to(device))[0].float().cpu()
    return logits[torch.from_numpy(positions)]


def adapted(cfg: DictConfig, data: BeatDataModule, positions: Positions, logits: Tensor) -> Tensor:
    """The logits (n, n_classes) after the adaptations of `prediction` to their records."""
    values = adapt(
        logits.numpy(),
        data.beats.record[positions],
        data.window.qrs(data.beats.signal[positions]),
        data.split.classes,
        to=cfg.prediction.recentre,
        by_shape=cfg.prediction.vote,
    )
    return torch.from_numpy(values)


def _predictions(data: BeatDataModule, positions: Positions, logits: Tensor) -> Predictions:
    probability: NDArray[np.float32] = torch.softmax(logits, dim=-1).numpy()
    return Predictions(
        label=data.labels[positions],
        probability=probability,
        record=data.beats.record[positions],
        patient=data.beats.patient[positions],
        sample=data.beats.sample[positions],
        classes=data.split.classes,
    )


def _metrics(cfg: DictConfig, data: BeatDataModule, predictions: Predictions) -> Metrics:
    return evaluate(
        predictions,
        by_patient=data.split.by_patient,
        ec57=data.protocol.ec57,
        n_bootstrap=cfg.n_bootstrap,
        seed=cfg.protocol.split_seed,
    )


def _training(run: Run, trainer: pl.Trainer, classifier: Classifier, history: History) -> dict[str, Any]:
    f1 = [epoch["val/macro_f1"] for epoch in history.epochs if "val/macro_f1" in epoch]
    return {
        "parameters": sum(p.numel() for p in classifier.network.parameters()),
        "epochs": len(history.epochs),
        "best_epoch": int(np.argmax(f1)) if f1 else None,
        "steps": trainer.global_step,
        "seconds": round(run.seconds, 1),
        "precision": str(trainer.precision),
        "device": str(trainer.strategy.root_device),
    }


# -- write --------------------------------------------------------------------------------------------------------


def write_results(run: Run, data: BeatDataModule, result: ClassificationResult, history: History) -> None:
    """Writes metrics.json, training.json and predictions.npz."""
    write_json(run.folder / "metrics.json", result.metrics.to_json())
    write_json(run.folder / "training.json", {**result.training, "history": history.finite_epochs()})
    _write_predictions(run.folder / "predictions.npz", result.predictions)


def _synthetic_set(data: BeatDataModule) -> dict[str, Any]:
    """Provenance of the synthetic beats among the training beats."""
    return data.balanced.provenance if data.balanced else {}


def _write_predictions(path: Path, predictions: dict[str, Predictions]) -> None:
    subsets = list(predictions.values())
    columns = {
        name: np.concatenate([getattr(subset, name) for subset in subsets])
        for name in ("record", "patient", "sample", "label", "probability")
    }
    columns["subset"] = np.repeat(list(predictions), [len(subset.label) for subset in subsets])
    columns["classes"] = np.array(subsets[0].classes)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **columns)  # type: ignore[arg-type]


# -- report -------------------------------------------------------------------------------------------------------


def _report(
    cfg: DictConfig, run: Run, data: BeatDataModule, result: ClassificationResult, history: History
) -> ClassificationReport:
    return ClassificationReport(
        title=cfg.name,
        simulated=data.source.simulated,
        details=_details(cfg, run, data, result.training),
        warnings=[] if data.split.by_patient else [SHARED_PATIENTS],
        metrics=result.metrics.subsets,
        predictions=result.predictions["test"],
        history=history.columns(),
        signals=data.beats.signal[data.split.test],
        sfreq=data.beats.sfreq,
        overrides=run.overrides,
        command=run.provenance["command"],
    )


def _details(cfg: DictConfig, run: Run, data: BeatDataModule, training: dict[str, Any]) -> dict[str, str]:
    beats, split = data.beats, data.split
    n, n_channels, n_times = beats.rr.shape[1], *beats.signal.shape[1:]
    window = f"{data.window.name} window, {n_channels} x {n_times} samples at {beats.sfreq:g} Hz"
    causal = cfg.data.get("causal", False)
    if n:
        kind = "RR features" if n == len(RR_FEATURES) else "features of rhythm, P wave and shape"
        window += f", {n} {kind} of the {'past' if causal else 'whole record'}"
    best = training["best_epoch"]
    chosen = "the last one evaluated" if best is None else f"best epoch {best} by validation macro-F1"
    if data.context:
        window += ", all earlier beats as context" if causal else f", {data.context} beats of context on each side"
    window += f"; channels: {', '.join(data.window.channels)}" if n_channels > 1 else ""
    return {
        "Model": f"{run.choices['model']}, {training['parameters']:,} parameters",
        "Data": f"{run.choices['data']}, {len(beats):,} beats of {len(set(beats.record))} records",
        "Beats": window,
        "Protocol": f"{run.choices['protocol']}: {len(split.train):,} training beats, "
        f"{len(split.validation):,} validation beats, {len(split.test):,} test beats",
        "Augmentation": _augmentation(run, data),
        "Patients": "each in one subset" if split.by_patient else "the same in all subsets",
        "Training": f"{training['epochs']} epochs in {training['seconds']:.0f} s, {chosen}, "
        f"{training['precision']} on {training['device']}",
        "Predictions": _prediction(cfg.prediction),
        "Seeds": f"training {cfg.seed}, split {cfg.protocol.split_seed}",
    }


def _prediction(prediction: DictConfig) -> str:
    """What is changed in the predictions of the network."""
    changes = []
    if prediction.recentre is not None:
        changes.append(f"S recentred by record to {prediction.recentre:g}")
    if prediction.vote:
        changes.append("V, F and Q by shape in each record")
    if prediction.shifts:
        changes.append("shifts " + ", ".join(f"{name} {shift:+g}" for name, shift in prediction.shifts.items()))
    if prediction.logit_adjustment:
        changes.append("logit adjustment")
    if prediction.temperature != 1:
        changes.append(f"temperature {prediction.temperature or 'chosen on validation'}")
    return "; ".join(changes) or "unchanged"


def _augmentation(run: Run, data: BeatDataModule) -> str:
    name = run.choices["augmentation"]
    if data.rhythms is not None:
        name += f", simulated rhythms in {100 * data.rhythms.fraction:.0f} % of the training sequences"
    if data.balanced is None:
        return name
    counts = np.bincount(data.balanced.label).tolist()
    added = ", ".join(f"{n:,} {data.split.classes[c]}" for c, n in enumerate(counts) if n)
    removed = len(data.split.train) - len(data.balanced.kept)
    parts = [f"{added} beats added" if added else "", f"{removed:,} beats removed" if removed else ""]
    return f"{name}: {', '.join(part for part in parts if part) or 'no beats added'}"


# -- track and print ----------------------------------------------------------------------------------------------


def _track(trainer: pl.Trainer, data: BeatDataModule, result: ClassificationResult) -> None:
    test, predictions = result.metrics.subsets["test"], result.predictions["test"]
    synthetic_set = _synthetic_set(data)
    tracking.log_classification(
        trainer.logger,
        metrics=test,
        predictions=predictions,
        figures=lambda: {
            "confusion matrix": plots.confusion_matrix(test.confusion_matrix, test.classes),
            "correct and wrong beats": plots.correct_and_wrong_beats(
                predictions, data.beats.signal[data.split.test], data.beats.sfreq
            ),
        },
        synthetic_set=synthetic_set,
    )
    if synthetic_set.get("artifact"):
        tracking.use_synthetic_set(trainer.logger, synthetic_set["artifact"])


def _print(run: Run, result: ClassificationResult) -> None:
    console = Console()
    console.print(per_class_table(result.metrics.subsets["test"]))
    if result.metrics.simulated:
        console.print(SIMULATED, style="bold yellow")
    console.print(f"Run folder: {run.folder}", soft_wrap=True)
    for name in ("report.html", "metrics.json", "predictions.npz", "checkpoints/best.ckpt"):
        if (run.folder / name).exists():
            console.print(f"  {run.folder / name}", soft_wrap=True)


def per_class_table(metrics: Metrics) -> Table:
    """The scores of a subset as a table: a row for each class, then the macro mean."""

    def value(score: Score) -> str:
        return "-" if score.value is None else f"{score.value:.3f}"

    def interval(score: Score) -> str:
        return value(score) + (f" [{score.low:.3f}, {score.high:.3f}]" if score.low is not None else "")

    names = ("precision", "recall", "f1", "auroc", "auprc")
    table = Table(
        title=f"Test: {metrics.n_beats:,} beats, accuracy {interval(metrics.accuracy)}",
        caption=f"brackets: {metrics.interval}",
    )
    for title in ("class", "beats", "precision", "recall", "F1", "AUROC", "AUPRC"):
        table.add_column(title, justify="left" if title == "class" else "right")
    for name, row in metrics.per_class.items():
        table.add_row(name, f"{row.support:,}", *(value(getattr(row, score)) for score in names))
    macro = metrics.macro
    table.add_section()
    table.add_row("macro", "", *((interval if n == "f1" else value)(getattr(macro, n)) for n in names))
    return table
