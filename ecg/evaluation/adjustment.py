"""Adjustments of the logits of a classifier: shifts of classes, temperature, and two adjustments by record.

The adjustments by record use no labels, but all beats of a record: they cannot be made while a record is being taken.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torchmetrics.functional.classification import multiclass_f1_score

LOGIT_SHIFTS = np.arange(0, 1.01, 0.1)


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
