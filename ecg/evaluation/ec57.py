"""Rates of ANSI/AAMI EC57 for supraventricular (S), ventricular (V) and fusion (F) beats.

How a beat counts, by its true class (rows) and its predicted class (columns):

    true     rates of V              rates of S              rates of F
    class    V      another class    S      another class    F      another class
    -----    --     -------------    --     -------------    --     -------------
    N        FP     TN               FP     TN               FP     TN
    S        FP     TN               TP     FN               FP     TN
    V        TP     FN               FP     TN               FP     TN
    F        .      TN               FP     TN               TP     FN
    Q        .      TN               .      TN               FP     TN

    .  not counted: a fusion beat is partly ventricular, and the class of an unknown or paced beat is not defined

    Se  = TP / (TP + FN)   sensitivity
    +P  = TP / (TP + FP)   positive predictive value
    FPR = FP / (FP + TN)   false positive rate

The standard defines no rates for F. As in the literature, every other class counts as an error.

Sources: ANSI/AAMI EC57:2012; de Chazal, O'Dwyer and Reilly 2004, IEEE Trans Biomed Eng 51(7):1196-1206,
doi:10.1109/TBME.2004.827359, with the table of these rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import EC57Class, Rates, RecordRates

# True classes that are not false positives of each class.
NOT_COUNTED: dict[str, tuple[str, ...]] = {"S": ("Q",), "V": ("F", "Q"), "F": ()}


@dataclass(frozen=True)
class Outcomes:
    """Number of true positives, false negatives, false positives and true negatives of one class."""

    tp: int
    fn: int
    fp: int
    tn: int

    @property
    def rates(self) -> Rates:
        """The rates of these counts."""
        return Rates(
            se=_ratio(self.tp, self.tp + self.fn),
            ppv=_ratio(self.tp, self.tp + self.fp),
            fpr=_ratio(self.fp, self.fp + self.tn),
        )


def evaluate_ec57(predictions: Predictions) -> dict[str, EC57Class]:
    """Returns the EC57 rates by class: over all beats and, for S and V, by record and as their mean.

    A rate with a denominator of 0 is None, and the mean leaves it out.

    Args:
        predictions: of at least one beat. The classes are N S V F or N S V F Q; a class that is missing has no rates.
    """
    matrices = confusion_by_record(predictions)
    results = {}
    for name in NOT_COUNTED:
        if name not in predictions.classes:
            continue
        outcomes = {record: count_outcomes(m, predictions.classes, name) for record, m in matrices.items()}
        total = count_outcomes(np.sum(list(matrices.values()), axis=0), predictions.classes, name)
        if name == "F":
            results[name] = EC57Class(gross=total.rates, record_mean=None, per_record={})
        else:
            results[name] = _with_records(total, outcomes)
    return results


def confusion_by_record(predictions: Predictions) -> dict[str, NDArray[np.int64]]:
    """Returns the confusion matrix (n_classes, n_classes) of each record: row truth, column prediction."""
    n_classes = len(predictions.classes)
    records, index = np.unique(predictions.record, return_inverse=True)
    flat = (index * n_classes + predictions.label) * n_classes + predictions.probability.argmax(axis=1)
    counts = np.bincount(flat, minlength=len(records) * n_classes**2).reshape(-1, n_classes, n_classes)
    return {str(record): matrix for record, matrix in zip(records, counts, strict=True)}


def count_outcomes(matrix: NDArray[np.int64], classes: Sequence[str], name: str) -> Outcomes:
    """Returns the outcomes of one class by the rules of EC57.

    Args:
        matrix: (n_classes, n_classes), row truth, column prediction.
        classes: names of the rows.
        name: S, V or F.
    """
    k = classes.index(name)
    predicted = matrix[:, k]
    others = [i for i in range(len(classes)) if i != k]
    counted = [i for i in others if classes[i] not in NOT_COUNTED[name]]
    tp = int(predicted[k])
    return Outcomes(
        tp=tp,
        fn=int(matrix[k].sum()) - tp,
        fp=int(predicted[counted].sum()),
        tn=int(matrix[others].sum() - predicted[others].sum()),
    )


def _with_records(total: Outcomes, outcomes: dict[str, Outcomes]) -> EC57Class:
    rates = {record: o.rates for record, o in outcomes.items()}
    mean = Rates(
        se=_mean([r.se for r in rates.values()]),
        ppv=_mean([r.ppv for r in rates.values()]),
        fpr=_mean([r.fpr for r in rates.values()]),
    )
    per_record = {
        record: RecordRates(n=o.tp + o.fn, se=rates[record].se, ppv=rates[record].ppv, fpr=rates[record].fpr)
        for record, o in outcomes.items()
    }
    return EC57Class(total.rates, mean, per_record)


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
