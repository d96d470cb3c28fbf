"""Losses over logits, and the weights of the classes in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def weights_of(counts: Tensor, kind: str) -> Tensor:
    """Weights (n_classes,) of classes with `counts` (n_classes,) training beats, the largest class weighing 1.

    Args:
        counts: training beats of each class.
        kind: "none", "root" for (n_max/n)**0.25, "log" for 1 + ln(n_max/n), "inverse" for n_max/n.
    """
    ratio = counts.max() / counts.clamp(min=1).float()
    return {"none": ratio**0, "root": ratio**0.25, "log": 1 + torch.log(ratio), "inverse": ratio}[kind]


class CrossEntropy(nn.Module):
    """Class-weighted cross-entropy with label smoothing.

    Args:
        counts: (n_classes,) training beats of each class.
        class_weights: see `weights_of`.
        label_smoothing: share of the target that is spread over all classes.
    """

    weight: Tensor

    def __init__(self, counts: Tensor, class_weights: str = "none", label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", weights_of(counts, class_weights), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, n_classes), labels (B,) or shares of the classes (B, n_classes) -> scalar."""
        logits = logits.float()
        if label.ndim == 1:
            return F.cross_entropy(logits, label, self.weight, label_smoothing=self.label_smoothing)
        # For shares torch divides by the number of beats; here, as for labels, by their weights.
        total = F.cross_entropy(logits, label, self.weight, reduction="sum", label_smoothing=self.label_smoothing)
        return total / (label @ self.weight).sum()


class Focal(CrossEntropy):
    """Focal loss, FL(p_t) = -alpha_t (1 - p_t)^gamma log p_t (Lin et al. 2017, ICCV, arXiv:1708.02002).

    Args:
        counts: (n_classes,) training beats of each class.
        gamma: focus; 0 is cross-entropy.
        class_weights: alpha, see `weights_of`.
        label_smoothing: share of the target that is spread over all classes.
    """

    def __init__(
        self, counts: Tensor, gamma: float = 2.0, class_weights: str = "none", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(counts, class_weights, label_smoothing)
        self.gamma = gamma

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, n_classes), labels (B,) or shares of the classes (B, n_classes) -> scalar."""
        log_p = torch.log_softmax(logits.float(), dim=-1)  # (B, n_classes)
        share = F.one_hot(label, logits.shape[1]) if label.ndim == 1 else label  # (B, n_classes)
        # Of each class as if it were the label; the shares then weigh them.
        ce = -(1 - self.label_smoothing) * log_p - self.label_smoothing * log_p.mean(dim=-1, keepdim=True)
        alpha = share * self.weight
        return (alpha * (1 - log_p.exp()) ** self.gamma * ce).sum() / alpha.sum()
