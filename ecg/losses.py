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
        """Logits (B, n_classes), labels (B,) -> scalar."""
        return F.cross_entropy(logits.float(), label, self.weight, label_smoothing=self.label_smoothing)


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
        """Logits (B, n_classes), labels (B,) -> scalar."""
        logits = logits.float()
        p_t = torch.softmax(logits, dim=-1).gather(1, label[:, None]).squeeze(1)  # (B,)
        ce = F.cross_entropy(logits, label, reduction="none", label_smoothing=self.label_smoothing)  # (B,)
        alpha_t = self.weight[label]  # (B,)
        return (alpha_t * (1 - p_t) ** self.gamma * ce).sum() / alpha_t.sum()
