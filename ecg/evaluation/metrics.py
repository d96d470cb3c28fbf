"""Metrics of a classifier: overall and by class, with 95 % intervals.

Metrics are computed from all beats together, not averaged over batches, because the F1 of all beats differs from the
mean F1 of the batches.

Intervals are percentile bootstraps over units. A unit is a beat or, if the split is by patient, a patient with all
beats, because the beats of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from ecg.errors import UserError
from ecg.evaluation.bootstrap import (
    Areas,
    Counts,
    Floats,
    Ints,
    Ranking,
    areas_under_curves,
    centre,
    draw_counts,
    rank,
    with_interval,
)
from ecg.evaluation.ec57 import evaluate_ec57
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import CLASS_SCORES, ClassScores, MacroScores, Metrics

N_BINS = 15
# Largest product of beats and draws in one array. It fits the cache of the processor.
CHUNK = 500_000


@dataclass(frozen=True)
class Scores:
    """Scores of one set of beats, or of D draws of it; then every array has a leading axis D.

    Attributes:
        accuracy: (...,) fraction of beats with the correct class.
        mcc: (...,) Matthews correlation coefficient.
        ece: (...,) expected calibration error of the predicted class.
        precision: (..., n_classes), as all below; NaN where undefined.
        recall: sensitivity.
        f1: harmonic mean of precision and recall.
        auroc: area under the ROC curve, one class against all others.
        auprc: area under the precision-recall curve, as average precision (without interpolation).
    """

    accuracy: Floats
    mcc: Floats
    ece: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    auroc: Floats
    auprc: Floats


@dataclass(frozen=True)
class _UnitSums:
    """Sums by unit. The sums of a draw are its counts times these.

    Attributes:
        confusion: (n_units, n_classes ** 2) confusion matrix, flattened.
        gaps: (n_units, N_BINS) calibration gaps by bin.
    """

    confusion: Floats
    gaps: Floats


def evaluate(
    predictions: Predictions, *, by_patient: bool, ec57: bool = False, n_bootstrap: int, seed: int = 0
) -> Metrics:
    """Returns the metrics of one set of beats.

    Undefined scores are None. Recall, F1, AUROC and AUPRC of a class that does not occur in the truth are undefined,
    and the macro means leave the class out. The precision and F1 of a class that is never predicted are 0.

    An interval leaves out draws in which its score is undefined. The scores of a class whose beats belong to one unit
    have no interval, because they are equal in all draws.

    Args:
        predictions: of at least one beat.
        by_patient: draw patients instead of beats. Appropriate if the split is by patient.
        ec57: include the rates of ANSI/AAMI EC57.
        n_bootstrap: number of draws; 0 for no intervals.
        seed: seed of the draws.

    Raises:
        UserError: there are no beats, or their probabilities are not finite.
    """
    _check(predictions)
    unit = _units(predictions, by_patient)
    point = point_scores(predictions)
    draws = bootstrap_scores(predictions, unit, n_bootstrap, np.random.default_rng(seed))
    return Metrics(
        n_beats=len(predictions.label),
        n_patients=len(np.unique(predictions.patient)),
        interval=f"95 % percentile bootstrap over {'patients' if by_patient else 'beats'}",
        accuracy=with_interval(point.accuracy, draws.accuracy if draws else None),
        mcc=with_interval(point.mcc, draws.mcc if draws else None),
        ece=with_interval(point.ece, centre(draws.ece, float(point.ece)) if draws else None),
        macro=_macro(predictions, point, draws),
        per_class=_per_class(predictions, unit, point, draws),
        confusion_matrix=_confusion(predictions).tolist(),
        classes=predictions.classes,
        ec57=evaluate_ec57(predictions) if ec57 else None,
    )


def without_records(predictions: Predictions, records: Iterable[str]) -> Predictions:
    """Returns the predictions for the beats of all other records. Names without beats have no effect."""
    keep = ~np.isin(predictions.record, list(records))
    return replace(
        predictions,
        label=predictions.label[keep],
        probability=predictions.probability[keep],
        record=predictions.record[keep],
        patient=predictions.patient[keep],
        sample=predictions.sample[keep],
    )


def point_scores(predictions: Predictions) -> Scores:
    """Returns the scores of the beats, without draws.

    They are those of torchmetrics, with two exceptions. The calibration error of torchmetrics sums float32 numbers,
    with an error of about 0.0003 for tens of thousands of confident predictions. Its MCC of two classes is not 0 if
    one of them is never predicted.
    """
    n_classes = len(predictions.classes)
    predicted = torch.tensor(predictions.probability.argmax(axis=1))
    label = torch.tensor(predictions.label)
    present = _support(predictions) > 0
    precision = multiclass_precision(predicted, label, n_classes, average="none").double().numpy()
    recall = multiclass_recall(predicted, label, n_classes, average="none").double().numpy()
    f1 = multiclass_f1_score(predicted, label, n_classes, average="none").double().numpy()
    confusion = _confusion(predictions)
    gaps = np.bincount(_bins(predictions), weights=_gaps(predictions), minlength=N_BINS)
    areas = _point_areas(predictions)
    return Scores(
        accuracy=multiclass_accuracy(predicted, label, n_classes, average="micro").double().numpy(),
        mcc=_mcc(confusion),
        ece=np.abs(gaps).sum() / len(label),
        precision=np.where(present | (confusion.sum(axis=0) > 0), precision, np.nan),
        recall=np.where(present, recall, np.nan),
        f1=np.where(present, f1, np.nan),
        auroc=areas.auroc,
        auprc=areas.auprc,
    )


def bootstrap_scores(predictions: Predictions, unit: Ints, n_draws: int, rng: np.random.Generator) -> Scores | None:
    """Returns the scores of `n_draws` draws of units with replacement; None for no draws or a single unit.

    Args:
        predictions: of n beats.
        unit: (n,) unit of each beat, 0 to n_units - 1.
        n_draws: D.
        rng: source of the draws.
    """
    n_units = int(unit.max()) + 1
    if n_draws < 1 or n_units < 2:
        return None
    sums = _sums_by_unit(predictions, unit)
    rankings = [
        rank(predictions.probability[:, k], predictions.label == k, unit) if support else None
        for k, support in enumerate(_support(predictions))
    ]
    chunk = max(1, CHUNK // len(unit))
    parts = [_scores_of_draws(counts, sums, rankings) for counts in draw_counts(n_units, n_draws, chunk, rng)]
    return Scores(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Scores)))


def _check(predictions: Predictions) -> None:
    n = len(predictions.label)
    if not n:
        raise UserError("There are no beats to evaluate. Check the records of this subset of the split.")
    n_invalid = int((~np.isfinite(predictions.probability)).any(axis=1).sum())
    if n_invalid:
        raise UserError(
            f"The predicted probabilities of {n_invalid} of {n} beats are not finite: the training diverged. "
            "Reduce optimizer.lr, or train with trainer.precision=32-true."
        )


def _units(predictions: Predictions, by_patient: bool) -> Ints:
    """Returns (n,) the index of the patient, or of the beat."""
    if by_patient:
        return np.unique(predictions.patient, return_inverse=True)[1].astype(np.int64)
    return np.arange(len(predictions.label))


def _support(predictions: Predictions) -> Ints:
    """Returns (n_classes,) the number of beats of each class in the truth."""
    return np.bincount(predictions.label, minlength=len(predictions.classes))


def _confusion(predictions: Predictions) -> Ints:
    """Returns (n_classes, n_classes) counts, row truth, column prediction."""
    predicted = torch.tensor(predictions.probability.argmax(axis=1))
    label = torch.tensor(predictions.label)
    matrix: Ints = multiclass_confusion_matrix(predicted, label, len(predictions.classes)).numpy()
    return matrix


def _point_areas(predictions: Predictions) -> Areas:
    """Returns (n_classes,) areas; NaN for a class without beats, and the AUROC of the only class."""
    support = _support(predictions)
    areas = Areas(np.full(len(support), np.nan), np.full(len(support), np.nan))
    # torchmetrics applies a sigmoid to values outside [0, 1]; softmax may round to slightly above 1.
    probability = torch.tensor(predictions.probability).clamp(0, 1)
    for k in np.flatnonzero(support):
        target = torch.tensor(predictions.label == k).long()
        areas.auprc[k] = binary_average_precision(probability[:, k], target)
        if support[k] < len(target):
            areas.auroc[k] = binary_auroc(probability[:, k], target)
    return areas


def _bins(predictions: Predictions) -> Ints:
    """Returns (n,) the bin (low, high] of the probability of the predicted class, out of N_BINS of equal width."""
    edges = np.linspace(0, 1, N_BINS + 1)[1:-1]
    bins: Ints = np.searchsorted(edges, predictions.probability.max(axis=1), side="left")
    return bins


def _gaps(predictions: Predictions) -> Floats:
    """Returns (n,) 1 for a correct and 0 for a wrong prediction, minus the probability of the predicted class.

    ECE = sum over bins of (beats in the bin / n) * |accuracy - mean confidence|
        = sum over bins of |sum of gaps| / n
    Naeini et al. 2015, AAAI; Guo et al. 2017, ICML, arXiv:1706.04599.
    """
    correct = predictions.probability.argmax(axis=1) == predictions.label
    gaps: Floats = correct - predictions.probability.max(axis=1).astype(np.float64)
    return gaps


def _mcc(matrix: NDArray[Any]) -> Floats:
    """Returns the Matthews correlation coefficients (...,) of confusion matrices (..., n_classes, n_classes).

    0 if only one class is predicted, by convention; NaN if the truth has only one class.
    Gorodkin 2004, Comput Biol Chem 28:367-374.
    """
    counts = matrix.astype(np.float64)
    truth, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    n, correct = truth.sum(axis=-1), np.trace(counts, axis1=-2, axis2=-1)
    variance_truth = n**2 - (truth**2).sum(axis=-1)
    variance_predicted = n**2 - (predicted**2).sum(axis=-1)
    covariance = correct * n - (truth * predicted).sum(axis=-1)
    mcc = covariance / np.sqrt(np.maximum(variance_truth * variance_predicted, 1))
    return np.where(variance_truth > 0, mcc, np.nan)


def _sums_by_unit(predictions: Predictions, unit: Ints) -> _UnitSums:
    n_classes, n_units = len(predictions.classes), int(unit.max()) + 1
    flat = predictions.label * n_classes + predictions.probability.argmax(axis=1)
    confusion = np.bincount(unit * n_classes**2 + flat, minlength=n_units * n_classes**2)
    bins = unit * N_BINS + _bins(predictions)
    gaps = np.bincount(bins, weights=_gaps(predictions), minlength=n_units * N_BINS)
    return _UnitSums(confusion.astype(np.float64).reshape(n_units, -1), gaps.astype(np.float64).reshape(n_units, -1))


def _scores_of_draws(counts: Counts, sums: _UnitSums, rankings: list[Ranking | None]) -> Scores:
    """Returns the scores of D draws.

    Args:
        counts: (D, n_units) number of times that each unit was drawn.
        sums: by unit.
        rankings: one for each class; None for a class without beats.
    """
    n_draws, n_classes = len(counts), len(rankings)
    weights = counts.astype(np.float64)
    matrix = (weights @ sums.confusion).reshape(n_draws, n_classes, n_classes)
    undefined = np.full(n_draws, np.nan)
    areas = [areas_under_curves(r, counts) if r else Areas(undefined, undefined) for r in rankings]
    truth, predicted = matrix.sum(axis=2), matrix.sum(axis=1)
    correct = np.diagonal(matrix, axis1=1, axis2=2)
    n = truth.sum(axis=1)
    return Scores(
        accuracy=correct.sum(axis=1) / n,
        mcc=_mcc(matrix),
        ece=np.abs(weights @ sums.gaps).sum(axis=1) / n,
        precision=np.where(truth > 0, correct / np.maximum(predicted, 1), np.nan),
        recall=np.where(truth > 0, correct / np.maximum(truth, 1), np.nan),
        f1=np.where(truth > 0, 2 * correct / np.maximum(truth + predicted, 1), np.nan),
        auroc=np.stack([a.auroc for a in areas], axis=1),
        auprc=np.stack([a.auprc for a in areas], axis=1),
    )


def _macro(predictions: Predictions, point: Scores, draws: Scores | None) -> MacroScores:
    """Returns the means over the classes of the truth; undefined in a draw without beats of one of them."""
    present = _support(predictions) > 0
    macro = {}
    for name in CLASS_SCORES:
        means = getattr(draws, name)[:, present].mean(axis=1) if draws else None
        macro[name] = with_interval(getattr(point, name)[present].mean(), means)
    return MacroScores(**macro)


def _per_class(predictions: Predictions, unit: Ints, point: Scores, draws: Scores | None) -> dict[str, ClassScores]:
    per_class = {}
    for k, support in enumerate(_support(predictions)):
        n_units = len(np.unique(unit[predictions.label == k]))
        scores = {
            name: with_interval(getattr(point, name)[k], getattr(draws, name)[:, k] if draws and n_units > 1 else None)
            for name in CLASS_SCORES
        }
        per_class[predictions.classes[k]] = ClassScores(support=int(support), **scores)
    return per_class
