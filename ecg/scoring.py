"""From a trained classifier to its scores: the best weights, all validation and test beats, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor
from torchmetrics.functional.classification import multiclass_f1_score

from ecg.classifier import Classifier
from ecg.data.datamodule import BeatDataModule, BeatTensors
from ecg.data.splits import Positions
from ecg.evaluation.metrics import evaluate, without_records
from ecg.evaluation.predictions import Predictions

# 202 is the same person as 201, and 232 alone holds three quarters of the S beats of DS2.
EXTRA_READINGS: dict[str, tuple[str, ...]] = {"test without 202": ("202",), "test without 232": ("232",)}
LOGIT_SHIFTS = np.arange(0, 1.01, 0.1)


@dataclass(frozen=True)
class Scores:
    """What a run found.

    Attributes:
        metrics: "validation", "test" and further readings of the test beats, each from `metrics.evaluate`.
        predictions: of the validation and of the test beats, by the same names.
        logit_shift: tau of the post-hoc adjustment; 0 where there is none.
    """

    metrics: dict[str, dict[str, Any]]
    predictions: dict[str, Predictions]
    logit_shift: float

    @property
    def validation_macro_f1(self) -> float:
        """By which runs are chosen."""
        return float(self.metrics["validation"]["macro"]["f1"]["value"])


def score(cfg: DictConfig, trainer: pl.Trainer, classifier: Classifier, data: BeatDataModule) -> Scores:
    """Loads the best checkpoint and reads validation and test beats once.

    The choice of the logit shift sees validation beats alone.
    """
    load_best(trainer, classifier)
    device = trainer.strategy.root_device
    split = data.split_of
    logits = {
        "validation": predict(classifier, data, split.validation, device),
        "test": predict(classifier, data, split.test, device),
    }
    log_prior = torch.log(data.class_counts() / len(data.train_positions))
    tau = 0.0
    if cfg.callbacks.logit_adjustment:
        tau = best_shift(logits["validation"], torch.from_numpy(data.label[split.validation]), log_prior)
    predictions = {
        "validation": _predictions(data, split.validation, logits["validation"] - tau * log_prior),
        "test": _predictions(data, split.test, logits["test"] - tau * log_prior),
    }
    return Scores(_metrics(cfg, split.by_patient, predictions), predictions, tau)


def load_best(trainer: pl.Trainer, classifier: Classifier) -> None:
    """Puts the weights of the best epoch into the classifier (the averaged ones, where weights are averaged)."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best and Path(best).is_file():
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        classifier.load_state_dict(state)


@torch.inference_mode()
def predict(
    classifier: Classifier, data: BeatDataModule, positions: Positions, device: torch.device, batch_size: int = 1024
) -> Tensor:
    """Logits (n, n_classes) float32 on the CPU, in full precision, for the beats at `positions`.

    One process reads all beats: a distributed sampler would repeat some to fill the last batch.
    """
    classifier.eval().to(device)
    beats = BeatTensors(data.tensors, positions)
    parts = []
    for index in torch.arange(len(positions)).split(batch_size):
        batch = beats[index]
        parts.append(classifier.network(batch.signal.to(device), batch.rr.to(device)).float().cpu())
    return torch.cat(parts)


def best_shift(logits: Tensor, label: Tensor, log_prior: Tensor) -> float:
    """The tau in [0, 1] for which the logits minus tau times the log prior reach the highest macro-F1.

    Post-hoc logit adjustment of Menon et al. 2021, ICLR, arXiv:2007.07314.
    """
    f1 = [
        float(multiclass_f1_score(logits - tau * log_prior, label, logits.shape[1], average="macro"))
        for tau in LOGIT_SHIFTS
    ]
    return float(LOGIT_SHIFTS[int(np.argmax(f1))])


def _predictions(data: BeatDataModule, positions: Positions, logits: Tensor) -> Predictions:
    probability: NDArray[np.float32] = torch.softmax(logits, dim=-1).numpy()
    beats = data.beats
    return Predictions(
        label=data.label[positions],
        probability=probability,
        record=beats.record[positions],
        patient=beats.patient[positions],
        sample=beats.sample[positions],
        classes=data.split_of.classes,
    )


def _metrics(cfg: DictConfig, by_patient: bool, predictions: dict[str, Predictions]) -> dict[str, dict[str, Any]]:
    inter_patient = cfg.protocol.name == "inter_patient"
    sides = dict(predictions)
    if inter_patient and cfg.data.name == "mitbih":
        sides |= {name: without_records(predictions["test"], records) for name, records in EXTRA_READINGS.items()}
    return {
        name: evaluate(
            side, by_patient=by_patient, ec57=inter_patient, n_bootstrap=cfg.n_bootstrap, seed=cfg.protocol.split_seed
        )
        for name, side in sides.items()
    }
