"""How well a classifier did on a whole set of beats: overall, class by class, with 95 % intervals.

Figures are computed over the whole set at once: the mean of a batch's F1 over batches is not the F1.

Intervals are percentile bootstraps. What is drawn with replacement is a unit: a beat or, where the protocol
splits by patient, a patient with all beats, because beats of one patient are alike and do not count as
independent readings. A draw is never copied out: it is a count per unit, "drawn 0, 1, 2 ... times", by which
the beats are weighted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

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
from ecg.evaluation.ec57 import ec57 as ec57_figures
from ecg.evaluation.predictions import Predictions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

PER_CLASS = ("precision", "recall", "f1", "auroc", "auprc")
N_BINS = 15
PERCENTILES = (2.5, 97.5)
# torchmetrics computes in float32; what follows the seventh decimal is noise.
DECIMALS = 7
# Beats times draws that are held at once: small enough to stay in the processor's cache.
CHUNK = 500_000


@dataclass(frozen=True)
class Figures:
    """The figures of one set of beats, or of D draws of them: then every array has a leading axis D.

    Attributes:
        accuracy: (...,) share of beats called right.
        mcc: (...,) Matthews correlation coefficient.
        ece: (...,) expected calibration error of the top label.
        precision: (..., n_classes), and so are the others; NaN where undefined.
        recall: sensitivity.
        f1: harmonic mean of precision and recall.
        auroc: area under the ROC curve, the class against all others.
        auprc: area under the precision-recall curve, as average precision: steps, no interpolation.
    """

    accuracy: Floats
    mcc: Floats
    ece: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    auroc: Floats
    auprc: Floats


class Areas(NamedTuple):
    """Areas under the two curves of one class, (D,) each; NaN in draws where they are undefined."""

    auroc: Floats
    auprc: Floats


@dataclass(frozen=True)
class Ranking:
    """The beats in the order of falling probability of one class, made once for all draws.

    Beats of equal probability form a group: no threshold can part them, so their order must not matter. Only
    the G groups that hold a beat of the class move the true positives of the curves.

    Attributes:
        unit: (n,) the unit of each beat, in that order.
        positive_unit: (P,) the units of the beats of the class alone, in that order.
        starts: (G,) where each group begins within `positive_unit`.
        first: (G,) position of the group's first beat within `unit`.
        last: (G,) position of the group's last beat within `unit`.
    """

    unit: Ints
    positive_unit: Ints
    starts: Ints
    first: Ints
    last: Ints


def evaluate(
    predictions: Predictions, *, by_patient: bool, ec57: bool = False, n_bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """All figures of one set of beats, ready for JSON: no NaN, None where a figure is undefined.

    A class without a beat in the truth has neither recall nor F1, AUROC or AUPRC (None), and the macro means
    leave it out: they run over the classes of the truth. Beats wrongly called so still cost the true classes
    their recall. A class of the truth that is never predicted has precision 0, and so F1 0.

    An interval leaves out the draws in which its figure is undefined, for instance because no beat of the
    class was drawn. There is none (None) for the figures of a class whose beats come from one unit: every
    draw would tell the same.

    Args:
        predictions: of n beats, at least one.
        by_patient: draw patients rather than beats; right wherever training and test patients differ.
        ec57: add the figures of ANSI/AAMI EC57, see `ecg.evaluation.ec57`.
        n_bootstrap: draws; 0 for no intervals.
        seed: of the draws.

    Returns:
        {"n_beats": int, "n_patients": int, "interval": str, "accuracy": S, "mcc": S, "ece": S,
        "macro": {"precision": S, "recall": S, "f1": S, "auroc": S, "auprc": S},
        "per_class": {"N": {"support": int, "precision": S, ...}, ...},
        "confusion_matrix": [[int]] with truth in rows, "classes": [str], and "ec57": {...} if asked for},
        where S = {"value": float | None, "low": float | None, "high": float | None}.

    Raises:
        UserError: there are no beats, or their probabilities are not finite.
    """
    _check(predictions)
    unit = _units(predictions, by_patient)
    point = figures_of(predictions)
    draws = bootstrap(predictions, unit, n_bootstrap, np.random.default_rng(seed))
    result = {
        "n_beats": len(predictions.label),
        "n_patients": len(np.unique(predictions.patient)),
        "interval": f"95 % percentile bootstrap over {'patients' if by_patient else 'beats'}",
        "accuracy": _score(point.accuracy, draws.accuracy if draws else None),
        "mcc": _score(point.mcc, draws.mcc if draws else None),
        "ece": _score(point.ece, _recentred(draws.ece, float(point.ece)) if draws else None),
        "macro": _macro(predictions, point, draws),
        "per_class": _per_class(predictions, unit, point, draws),
        "confusion_matrix": _confusion(predictions).tolist(),
        "classes": list(predictions.classes),
    }
    return result | ({"ec57": ec57_figures(predictions)} if ec57 else {})


def without_records(predictions: Predictions, records: Iterable[str]) -> Predictions:
    """The predictions for all beats but those of the given records; absent records change nothing."""
    keep = ~np.isin(predictions.record, list(records))
    arrays = ("label", "probability", "record", "patient", "sample")
    return replace(predictions, **{name: getattr(predictions, name)[keep] for name in arrays})


def figures_of(predictions: Predictions) -> Figures:
    """The figures of the set itself.

    From torchmetrics, but for two. Its calibration error adds float32 numbers one by one, which for tens of
    thousands of sure beats is wrong by some .0003; and its MCC of two classes, of which one is never
    predicted, is not 0.
    """
    n_classes = len(predictions.classes)
    called = torch.tensor(predictions.probability.argmax(axis=1))
    label = torch.tensor(predictions.label)
    support = _support(predictions)
    known = support > 0
    precision = multiclass_precision(called, label, n_classes, average="none").double().numpy()
    recall = multiclass_recall(called, label, n_classes, average="none").double().numpy()
    f1 = multiclass_f1_score(called, label, n_classes, average="none").double().numpy()
    confusion = _confusion(predictions)
    gaps = np.bincount(_bins(predictions), weights=_gaps(predictions), minlength=N_BINS)
    areas = _point_areas(predictions)
    return Figures(
        accuracy=multiclass_accuracy(called, label, n_classes, average="micro").double().numpy(),
        mcc=_mcc(confusion),
        ece=np.abs(gaps).sum() / len(label),
        precision=np.where(known | (confusion.sum(axis=0) > 0), precision, np.nan),
        recall=np.where(known, recall, np.nan),
        f1=np.where(known, f1, np.nan),
        auroc=areas.auroc,
        auprc=areas.auprc,
    )


def bootstrap(predictions: Predictions, unit: Ints, n_draws: int, rng: np.random.Generator) -> Figures | None:
    """The figures of `n_draws` draws of units with replacement.

    Args:
        predictions: of n beats.
        unit: (n,) to which unit each beat belongs, 0 to n_units - 1.
        n_draws: D.
        rng: draws the units.

    Returns:
        Figures with a leading axis D; None where no draws are wanted or there are fewer than two units.
    """
    n_units = int(unit.max()) + 1
    if n_draws < 1 or n_units < 2:
        return None
    sums = _sums_by_unit(predictions, unit)
    rankings = _rankings(predictions, unit)
    chunk = max(1, CHUNK // len(unit))
    chunks = _unit_counts(n_units, n_draws, chunk, rng)
    parts = [_weighted(counts, sums, rankings) for counts in chunks]
    return Figures(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Figures)))


def rank(score: NDArray[np.floating[Any]], positive: NDArray[np.bool_], unit: Ints) -> Ranking:
    """Sorts the beats by falling score.

    Args:
        score: (n,) probability of the class.
        positive: (n,) whether the beat is of the class; at least one is.
        unit: (n,) the unit each beat belongs to.
    """
    order = np.argsort(-score, kind="stable")
    new = np.diff(score[order], prepend=np.inf) != 0
    group, first = np.cumsum(new) - 1, np.flatnonzero(new)
    last = np.append(first[1:], len(score)) - 1
    at = np.flatnonzero(positive[order])
    starts = np.flatnonzero(np.diff(group[at], prepend=-1))
    held = group[at][starts]
    return Ranking(unit[order], unit[order[at]], starts, first[held], last[held])


def areas_under_curves(ranking: Ranking, counts: Counts) -> Areas:
    """AUROC and average precision of one class in D draws.

    Args:
        ranking: of the n beats by the probability of the class.
        counts: (D, n_units) how often each unit was drawn.
    """
    weight = np.take(counts, ranking.unit, axis=1)  # (D, n)
    reached = np.cumsum(weight, axis=1, dtype=np.int32)
    # "called" beats lie at or above the threshold below a group, "above" ones are above the group.
    called = reached[:, ranking.last]  # (D, G)
    above = reached[:, ranking.first] - weight[:, ranking.first]
    hits = np.add.reduceat(np.take(counts, ranking.positive_unit, axis=1), ranking.starts, axis=1)
    hits = hits.astype(np.float64)  # products of two counts outgrow 32 bits
    found = np.cumsum(hits, axis=1)
    positives = found[:, -1]
    negatives = reached[:, -1] - positives
    # A positive is beaten by each negative above it, and half beaten by each one it ties with.
    beaten = (hits * (called - found + above - (found - hits))).sum(axis=1) / 2
    with np.errstate(invalid="ignore"):  # 0 / 0 where a draw holds no beat of the class, or no other
        auroc = 1 - beaten / (positives * negatives)
        auprc = (hits * found / np.maximum(called, 1)).sum(axis=1) / positives
    return Areas(auroc, auprc)


def _check(predictions: Predictions) -> None:
    if not len(predictions.label):
        raise UserError("There are no beats to evaluate: check which records the protocol leaves on this side.")
    if not np.isfinite(predictions.probability).all():
        raise UserError(
            "The classifier's probabilities are not finite numbers, so its training diverged: "
            "lower the learning rate, or train in full precision."
        )


def _units(predictions: Predictions, by_patient: bool) -> Ints:
    """(n,) number of the patient, or of the beat."""
    if by_patient:
        return np.unique(predictions.patient, return_inverse=True)[1].astype(np.int64)
    return np.arange(len(predictions.label))


def _support(predictions: Predictions) -> Ints:
    """(n_classes,) beats of each class in the truth."""
    return np.bincount(predictions.label, minlength=len(predictions.classes))


def _confusion(predictions: Predictions) -> Ints:
    """(n_classes, n_classes) counts, row truth, column prediction."""
    called = torch.tensor(predictions.probability.argmax(axis=1))
    label = torch.tensor(predictions.label)
    return multiclass_confusion_matrix(called, label, len(predictions.classes)).numpy()


def _point_areas(predictions: Predictions) -> Areas:
    """(n_classes,) each; NaN for a class without beats, and AUROC where there is no other class."""
    support = _support(predictions)
    areas = Areas(np.full(len(support), np.nan), np.full(len(support), np.nan))
    # torchmetrics would run numbers outside [0, 1] through a sigmoid; softmax can round to just above 1.
    probability = torch.tensor(predictions.probability).clamp(0, 1)
    for k in np.flatnonzero(support):
        target = torch.tensor(predictions.label == k).long()
        areas.auprc[k] = binary_average_precision(probability[:, k], target)
        if support[k] < len(target):
            areas.auroc[k] = binary_auroc(probability[:, k], target)
    return areas


def _bins(predictions: Predictions) -> Ints:
    """(n,) which of the bins of equal width (low, high] holds the probability of the predicted class."""
    edges = np.linspace(0, 1, N_BINS + 1)[1:-1]
    return np.searchsorted(edges, predictions.probability.max(axis=1), side="left")


def _gaps(predictions: Predictions) -> Floats:
    """(n,) right or wrong (1 or 0), minus the probability of the predicted class.

    ECE = sum over bins of (beats in the bin / n) * |accuracy - mean confidence|
        = sum over bins of |sum of gaps| / n
    Naeini et al. 2015, AAAI; Guo et al. 2017, ICML, arXiv:1706.04599.
    """
    right = predictions.probability.argmax(axis=1) == predictions.label
    return right - predictions.probability.max(axis=1).astype(np.float64)


def _mcc(matrix: NDArray[Any]) -> Floats:
    """Matthews correlation of confusion matrices (..., n_classes, n_classes), -> (...,).

    0 where one class alone is predicted, as is customary; NaN where the truth has one class alone.
    Gorodkin 2004, Comput Biol Chem 28:367-374.
    """
    counts = matrix.astype(np.float64)
    truth, called = counts.sum(axis=-1), counts.sum(axis=-2)
    n, right = truth.sum(axis=-1), np.trace(counts, axis1=-2, axis2=-1)
    spread_truth = n**2 - (truth**2).sum(axis=-1)
    spread_called = n**2 - (called**2).sum(axis=-1)
    covariance = right * n - (truth * called).sum(axis=-1)
    mcc = covariance / np.sqrt(np.maximum(spread_truth * spread_called, 1))
    return np.where(spread_truth > 0, mcc, np.nan)


def _unit_counts(n_units: int, n_draws: int, chunk: int, rng: np.random.Generator) -> Iterator[Counts]:
    """(<= chunk, n_units) how often each unit was drawn, until there were `n_draws` draws."""
    for start in range(0, n_draws, chunk):
        n = min(chunk, n_draws - start)
        drawn = rng.integers(n_units, size=(n, n_units)) + np.arange(n)[:, None] * n_units
        counts = np.bincount(drawn.ravel(), minlength=n * n_units)
        yield counts.astype(np.int32).reshape(n, n_units)


class UnitSums(NamedTuple):
    """What merely adds up over units, so that a draw's total is its counts times these."""

    cells: Floats  # (n_units, n_classes ** 2) confusion matrix, flat
    gaps: Floats  # (n_units, N_BINS) summed gaps of calibration


def _sums_by_unit(predictions: Predictions, unit: Ints) -> UnitSums:
    n_classes, n_units = len(predictions.classes), int(unit.max()) + 1
    cell = predictions.label * n_classes + predictions.probability.argmax(axis=1)
    cells = np.bincount(unit * n_classes**2 + cell, minlength=n_units * n_classes**2)
    at = unit * N_BINS + _bins(predictions)
    gaps = np.bincount(at, weights=_gaps(predictions), minlength=n_units * N_BINS)
    return UnitSums(cells.astype(np.float64).reshape(n_units, -1), gaps.astype(np.float64).reshape(n_units, -1))


def _rankings(predictions: Predictions, unit: Ints) -> list[Ranking | None]:
    """One for each class; None for a class without beats."""
    return [
        rank(predictions.probability[:, k], predictions.label == k, unit) if support else None
        for k, support in enumerate(_support(predictions))
    ]


def _weighted(counts: Counts, sums: UnitSums, rankings: list[Ranking | None]) -> Figures:
    """The figures of D draws, from how often each unit was drawn (D, n_units)."""
    n_draws, n_classes = len(counts), len(rankings)
    weights = counts.astype(np.float64)
    matrix = (weights @ sums.cells).reshape(n_draws, n_classes, n_classes)
    undefined = np.full(n_draws, np.nan)
    areas = [areas_under_curves(r, counts) if r else Areas(undefined, undefined) for r in rankings]
    truth, called = matrix.sum(axis=2), matrix.sum(axis=1)
    right = np.diagonal(matrix, axis1=1, axis2=2)
    n = truth.sum(axis=1)
    return Figures(
        accuracy=right.sum(axis=1) / n,
        mcc=_mcc(matrix),
        ece=np.abs(weights @ sums.gaps).sum(axis=1) / n,
        precision=np.where(truth > 0, right / np.maximum(called, 1), np.nan),
        recall=np.where(truth > 0, right / np.maximum(truth, 1), np.nan),
        f1=np.where(truth > 0, 2 * right / np.maximum(truth + called, 1), np.nan),
        auroc=np.stack([a.auroc for a in areas], axis=1),
        auprc=np.stack([a.auprc for a in areas], axis=1),
    )


def _recentred(draws: Floats, value: float) -> Floats:
    """Shifts the draws of the calibration error so that their mean is the error itself.

    Drawing adds noise to every bin, and a sum of absolute values grows by noise: as they come, the draws of a
    well calibrated classifier may all lie above its own value.
    """
    return np.maximum(draws - draws.mean() + value, 0)


def _macro(predictions: Predictions, point: Figures, draws: Figures | None) -> dict[str, Any]:
    """Mean over the classes of the truth; undefined in a draw that lacks one of them."""
    known = _support(predictions) > 0
    macro = {}
    for name in PER_CLASS:
        means = getattr(draws, name)[:, known].mean(axis=1) if draws else None
        macro[name] = _score(getattr(point, name)[known].mean(), means)
    return macro


def _per_class(
    predictions: Predictions, unit: Ints, point: Figures, draws: Figures | None
) -> dict[str, dict[str, Any]]:
    table = {}
    for k, support in enumerate(_support(predictions)):
        several = len(np.unique(unit[predictions.label == k])) > 1
        scores = {
            name: _score(getattr(point, name)[k], getattr(draws, name)[:, k] if draws and several else None)
            for name in PER_CLASS
        }
        table[predictions.classes[k]] = {"support": int(support), **scores}
    return table


def _score(value: Floats | float, draws: Floats | None) -> dict[str, float | None]:
    """A figure and its interval; NaN becomes None."""
    low = high = None
    if draws is not None and not np.isnan(value) and not np.isnan(draws).all():
        low, high = (round(float(q), DECIMALS) for q in np.nanpercentile(draws, PERCENTILES))
    return {"value": None if np.isnan(value) else round(float(value), DECIMALS), "low": low, "high": high}
