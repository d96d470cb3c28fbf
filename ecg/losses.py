"""Losses of the classifiers, with class weights.

Input: logits (B, n_classes); labels (B,), of which negative ones are ignored, or class probabilities (B, n_classes) of
mixed beats. Output: a scalar.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def compute_class_weights(counts: Tensor, kind: str) -> Tensor:
    """Returns the weight (n_classes,) of each class in the loss; that of the largest class is 1.

    Args:
        counts: (n_classes,) number of training beats of each class, n.
        kind: "none" for 1, "fourth_root" for (n_max / n)**0.25, "log" for 1 + ln(n_max / n), "inverse" for n_max / n.
    """
    ratio = counts.max() / counts.clamp(min=1).float()  # n_max / n, (n_classes,)
    return {"none": ratio**0, "fourth_root": ratio**0.25, "log": 1 + torch.log(ratio), "inverse": ratio}[kind]


class CrossEntropy(nn.Module):
    """Cross-entropy with class weights and label smoothing.

    Args:
        counts: (n_classes,) number of training beats of each class.
        class_weights: kind of the weights, see `compute_class_weights`.
        label_smoothing: fraction of the target probability that is spread over all classes.
    """

    weight: Tensor

    def __init__(self, *, counts: Tensor, class_weights: str, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weight", compute_class_weights(counts, class_weights), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, n_classes), labels (B,) or class probabilities (B, n_classes) -> scalar."""
        logits = logits.float()
        if target.ndim == 1:
            return F.cross_entropy(logits, target, self.weight, label_smoothing=self.label_smoothing)
        # For class probabilities, PyTorch's mean divides by B. For labels it divides by the sum of the weights.
        total = F.cross_entropy(logits, target, self.weight, reduction="sum", label_smoothing=self.label_smoothing)
        return total / (target @ self.weight).sum()


class Focal(CrossEntropy):
    """Focal loss: FL(p_t) = -alpha_t (1 - p_t)^gamma log p_t.

    Source: Lin et al. 2017, ICCV, arXiv:1708.02002.

    Args:
        counts: (n_classes,) number of training beats of each class.
        class_weights: kind of the weights alpha, see `compute_class_weights`.
        label_smoothing: fraction of the target probability that is spread over all classes.
        gamma: focusing parameter; 0 gives the cross-entropy.
    """

    def __init__(self, *, counts: Tensor, class_weights: str, label_smoothing: float, gamma: float) -> None:
        super().__init__(counts=counts, class_weights=class_weights, label_smoothing=label_smoothing)
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, n_classes), labels (B,) or class probabilities (B, n_classes) -> scalar."""
        log_p = torch.log_softmax(logits.float(), dim=-1)  # (B, n_classes)
        probability = target if target.ndim == 2 else _one_hot(target, logits.shape[1])  # (B, n_classes)
        # The smoothed cross-entropy of each class, as if it were the label.
        ce = -(1 - self.label_smoothing) * log_p - self.label_smoothing * log_p.mean(dim=-1, keepdim=True)
        alpha = probability * self.weight
        return (alpha * (1 - log_p.exp()) ** self.gamma * ce).sum() / alpha.sum()


def _one_hot(label: Tensor, n_classes: int) -> Tensor:
    """Returns the probabilities (B, n_classes) of labels (B,); zeros for a negative label."""
    return F.one_hot(label.clamp(min=0), n_classes) * (label >= 0).unsqueeze(1)
