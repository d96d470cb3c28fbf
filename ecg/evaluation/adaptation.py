"""Adaptation of predictions to a record. It needs no labels, but all beats of the record.

The functions use what the beats of one record have in common, so they cannot be used while a record is being taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

SAME_SHAPE = 0.9  # correlation of the QRS complexes above which two beats have one shape
MIN_BEATS = 3  # shapes with fewer beats keep their probabilities
MAX_SHAPES = 40  # of a record

Floats = NDArray[np.floating]


def adapt(
    logits: Floats, record: NDArray[np.str_], qrs: Floats, classes: Sequence[str], *, to: float | None, by_shape: bool
) -> Floats:
    """Returns logits (n, n_classes) after the adaptations to their records that are switched on.

    Args:
        logits: (n, n_classes).
        record: (n,) name of the record.
        qrs: (n, m) QRS complexes of all leads.
        classes: names of the classes.
        to: see `recentre`; None for none.
        by_shape: whether to `vote`.
    """
    if to is not None:
        logits = recentre(logits, record, classes, to)
    if by_shape:
        voted = vote(softmax(logits, axis=1), record, qrs, classes)
        logits = np.log(np.maximum(voted, np.finfo(np.float32).tiny))
    return logits


def recentre(logits: Floats, record: NDArray[np.str_], classes: Sequence[str], to: float) -> Floats:
    """Returns logits (n, n_classes) in which the median of S minus N is the same in every record.

    Most beats of every record are no S beats. If the median is higher in one record than in others, its rhythm or its
    shapes are unusual, and the record would have many false S beats.

    Args:
        logits: (n, n_classes).
        record: (n,) name of the record.
        classes: names of the classes, with N and S.
        to: the median.
    """
    n, s = classes.index("N"), classes.index("S")
    logits = logits.copy()
    for name in np.unique(record):
        beats = record == name
        logits[beats, s] += to - np.median(logits[beats, s] - logits[beats, n])
    return logits


def vote(probability: Floats, record: NDArray[np.str_], qrs: Floats, classes: Sequence[str]) -> Floats:
    """Returns probabilities (n, n_classes) that are the same for all beats of one shape, except for N and S.

    The probabilities of V, F and Q are replaced by their means over the beats of a record that have the same shape. N
    and S differ in the rhythm: they share what remains in their own ratio.

    Args:
        probability: (n, n_classes).
        record: (n,) name of the record.
        qrs: (n, m) QRS complexes of all leads.
        classes: names of the classes, with N and S.
    """
    by_rhythm = [classes.index(name) for name in ("N", "S")]
    by_shape = [c for c in range(len(classes)) if c not in by_rhythm]
    probability = probability.copy()
    for name in np.unique(record):
        beats = np.flatnonzero(record == name)
        shape = shapes(qrs[beats])
        for k in range(shape.max() + 1):
            same = beats[shape == k]
            if len(same) < MIN_BEATS:
                continue
            mean = probability[np.ix_(same, by_shape)].mean(axis=0)
            rest = probability[np.ix_(same, by_rhythm)]
            ratio = rest / np.maximum(rest.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
            probability[np.ix_(same, by_rhythm)] = ratio * (1 - mean.sum())
            probability[np.ix_(same, by_shape)] = mean
    return probability


def shapes(qrs: Floats) -> NDArray[np.int64]:
    """Returns the shape (n,) of each QRS complex of a record, the most common one first; -1 for rare shapes.

    A shape is all complexes that correlate by more than `SAME_SHAPE` with its most typical one: the one that is most
    similar to the median of the complexes that have no shape yet.

    Args:
        qrs: (n, m).
    """
    centred = qrs - qrs.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    shape, left = np.full(len(qrs), -1), np.arange(len(qrs))
    for k in range(MAX_SHAPES):
        if not len(left):
            break
        typical = unit[left[np.argmax(unit[left] @ np.median(unit[left], axis=0))]]
        same = unit[left] @ typical > SAME_SHAPE
        if not same.any():  # constant beats
            break
        shape[left[same]] = k
        left = left[~same]
    return shape
