"""Adjustments of the logits of a classifier: shifts of classes, and a temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchmetrics.functional.classification import multiclass_f1_score

LOGIT_SHIFTS = np.arange(0, 1.01, 0.1)
CLASS_SHIFTS = np.arange(-3, 3.01, 0.25).tolist()
SHIFT_COST = 0.002
STARTS = (-2.0, 2.0)  # of the search, for each class
SEARCHES = 3  # rounds of the coordinate search


def best_logit_shift(logits: Tensor, label: Tensor, log_prior: Tensor) -> float:
    """Returns the tau in [0, 1] with the highest macro-F1 of the logits minus tau times the log prior.

    Post-hoc logit adjustment of Menon et al. 2021, ICLR, arXiv:2007.07314.

    Args:
        logits: (n, n_classes).
        label: (n,) index of the class.
        log_prior: (n_classes,) logarithm of the fraction of the training beats of each class.
    """
    f1 = [
        float(multiclass_f1_score(logits - tau * log_prior, label, logits.shape[1], average="macro"))
        for tau in LOGIT_SHIFTS
    ]
    return float(LOGIT_SHIFTS[int(np.argmax(f1))])


def best_temperature(logits: Tensor, label: Tensor) -> float:
    """Returns the temperature in [0.05, 20] with the smallest cross-entropy of the logits divided by it.

    Guo et al. 2017, ICML, arXiv:1706.04599.

    Args:
        logits: (n, n_classes).
        label: (n,) index of the class.
    """

    def cross_entropy(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits.double() / np.exp(log_temperature), label))

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def best_shifts(logits: Tensor, label: Tensor, shifted: Sequence[int]) -> Tensor:
    """Returns the shifts (n_classes,) of the logits with the highest macro-F1.

    Coordinate searches over `CLASS_SHIFTS`, from 0 and from shifts of one class. A shift of 1 has to increase macro-F1
    by `SHIFT_COST`: where the score hardly depends on a shift, the best one is chance.

    Args:
        logits: (n, n_classes).
        label: (n,) index of the class.
        shifted: classes whose logits are shifted; the shifts of the others are 0.
    """
    n_classes = logits.shape[1]
    starts = [torch.zeros(n_classes)]
    for c in shifted:
        starts += [starts[0].index_fill(0, torch.tensor(c), shift) for shift in STARTS]
    found = [_search_shifts(logits, label, shifted, start) for start in starts]
    return max(found, key=lambda each: each[1])[0]


def _search_shifts(logits: Tensor, label: Tensor, shifted: Sequence[int], start: Tensor) -> tuple[Tensor, float]:
    """Returns the shifts that a coordinate search finds from `start`, and their macro-F1 minus their cost."""
    n_classes, shifts, value = logits.shape[1], start.clone(), 0.0
    for _ in range(SEARCHES):
        for c in shifted:
            shifts[c] = 0
            others = (logits + shifts).index_fill(1, torch.tensor(c), -torch.inf)
            best_other, other = others.max(dim=1)
            # The class is predicted where its logit, shifted, is larger than all others.
            needed = best_other - logits[:, c]
            f1 = [
                float(f1_scores(torch.where(shift > needed, c, other), label, n_classes).mean())
                for shift in CLASS_SHIFTS
            ]
            values = np.array(f1) - SHIFT_COST * (np.abs(CLASS_SHIFTS) + float(shifts.abs().sum()))
            shifts[c], value = CLASS_SHIFTS[int(values.argmax())], float(values.max())
    return shifts, value


def f1_scores(predicted: Tensor, label: Tensor, n_classes: int) -> Tensor:
    """Returns the F1 (n_classes,) of predicted classes (n,) and labels (n,); 0 for a class that is in neither."""
    matrix = torch.bincount(label * n_classes + predicted, minlength=n_classes**2).view(n_classes, n_classes).double()
    return 2 * matrix.diagonal() / (matrix.sum(dim=0) + matrix.sum(dim=1)).clamp(min=1)
