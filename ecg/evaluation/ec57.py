"""The figures ANSI/AAMI EC57 asks for: how well supraventricular (S) and ventricular (V) beats are found.

What a beat counts as, by its true class (rows) and by what it was called:

    true     figures of V            figures of S            figures of F
    class    V      another class    S      another class    F      another class
    -----    --     -------------    --     -------------    --     -------------
    N        FP     TN               FP     TN               FP     TN
    S        FP     TN               TP     FN               FP     TN
    V        TP     FN               FP     TN               FP     TN
    F        .      TN               FP     TN               TP     FN
    Q        .      TN               .      TN               FP     TN

    .  not counted: a fusion beat is partly ventricular, and of an unknown or paced beat nobody knows

    Se  = TP / (TP + FN)   sensitivity
    +P  = TP / (TP + FP)   positive predictivity
    FPR = FP / (FP + TN)   false positive rate

The standard has no figures for F. The literature reports them all the same, each other class being a mistake.

Sources: ANSI/AAMI EC57:2012; de Chazal, O'Dwyer and Reilly 2004, IEEE Trans Biomed Eng 51(7):1196-1206,
doi:10.1109/TBME.2004.827359, which tabulates the rules so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation.predictions import Predictions

# By class, the true classes that may be called so without counting as a false positive.
NOT_COUNTED: dict[str, tuple[str, ...]] = {"S": ("Q",), "V": ("F", "Q"), "F": ()}


class Counts(NamedTuple):
    """Beats of each kind, from one confusion matrix."""

    tp: int
    fn: int
    fp: int
    tn: int


def ec57(predictions: Predictions) -> dict[str, Any]:
    """Se, +P and FPR of S and V: over all beats, as the mean over records, and record by record.

    Args:
        predictions: of n beats; the classes are the four of the inter-patient protocol (N S V F) or all five.
            One of S, V and F that is not among them is left out of the answer.

    Returns:
        {"S": {"gross": R, "record_mean": R, "per_record": {"100": R and "n": int, ...}}, "V": {...},
        "F": {"gross": R}}, where R = {"Se": float | None, "+P": float | None, "FPR": float | None}.
        A figure that would divide by zero is None, and such a record does not enter the mean of that figure.
        "n" counts the beats of the class in the record.
    """
    matrices = confusion_by_record(predictions)
    answer: dict[str, Any] = {}
    for name in NOT_COUNTED:
        if name not in predictions.classes:
            continue
        answer[name] = {"gross": _figures(count(sum(matrices.values()), predictions.classes, name))}
        if name != "F":
            answer[name] |= _by_record(matrices, predictions.classes, name)
    return answer


def confusion_by_record(predictions: Predictions) -> dict[str, NDArray[np.int64]]:
    """By record, in alphabetical order: its (n_classes, n_classes) counts, row truth, column prediction."""
    n_classes = len(predictions.classes)
    records, index = np.unique(predictions.record, return_inverse=True)
    cell = (index * n_classes + predictions.label) * n_classes + predictions.probability.argmax(axis=1)
    counts = np.bincount(cell, minlength=len(records) * n_classes**2).reshape(-1, n_classes, n_classes)
    return {str(record): matrix for record, matrix in zip(records, counts, strict=True)}


def count(matrix: NDArray[np.int64] | int, classes: Sequence[str], name: str) -> Counts:
    """Reads class `name` out of a confusion matrix by the table at the head of this module.

    Args:
        matrix: (n_classes, n_classes), row truth, column prediction.
        classes: names of the rows.
        name: one of S, V and F.
    """
    table = np.asarray(matrix)
    k = classes.index(name)
    called = table[:, k]
    others = [i for i in range(len(classes)) if i != k]
    mistaken = [i for i in others if classes[i] not in NOT_COUNTED[name]]
    tp = int(called[k])
    return Counts(
        tp=tp,
        fn=int(table[k].sum()) - tp,
        fp=int(called[mistaken].sum()),
        tn=int(table[others].sum() - called[others].sum()),
    )


def _by_record(matrices: dict[str, NDArray[np.int64]], classes: Sequence[str], name: str) -> dict[str, Any]:
    counts = {record: count(matrix, classes, name) for record, matrix in matrices.items()}
    figures = {record: _figures(c) for record, c in counts.items()}
    mean = {key: _mean([f[key] for f in figures.values()]) for key in ("Se", "+P", "FPR")}
    per_record = {record: {**figures[record], "n": c.tp + c.fn} for record, c in counts.items()}
    return {"record_mean": mean, "per_record": per_record}


def _figures(c: Counts) -> dict[str, float | None]:
    return {
        "Se": _ratio(c.tp, c.tp + c.fn),
        "+P": _ratio(c.tp, c.tp + c.fp),
        "FPR": _ratio(c.fp, c.fp + c.tn),
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
