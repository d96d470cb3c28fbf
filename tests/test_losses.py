from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ecg.losses import CrossEntropy, Focal, weights_of

COUNTS = torch.tensor([1000, 100, 10])


def test_weights_of_the_classes() -> None:
    torch.testing.assert_close(weights_of(COUNTS, "none"), torch.ones(3))
    torch.testing.assert_close(weights_of(COUNTS, "inverse"), torch.tensor([1.0, 10, 100]))
    torch.testing.assert_close(weights_of(COUNTS, "log"), 1 + torch.log(torch.tensor([1.0, 10, 100])))
    torch.testing.assert_close(weights_of(COUNTS, "root"), torch.tensor([1.0, 10, 100]) ** 0.25)


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, label = torch.randn(50, 3), torch.randint(3, (50,))
    for weights in ("none", "log"):
        focal, ce = Focal(COUNTS, 0.0, weights), CrossEntropy(COUNTS, weights)
        torch.testing.assert_close(focal(logits, label), ce(logits, label))


def test_focal_is_its_equation() -> None:
    logits, label = torch.randn(50, 3), torch.randint(3, (50,))
    p_t = torch.softmax(logits, 1)[torch.arange(50), label]
    torch.testing.assert_close(Focal(COUNTS, 2.0)(logits, label), (-((1 - p_t) ** 2) * p_t.log()).mean())


@pytest.mark.parametrize("loss", [CrossEntropy(COUNTS, "log", 0.1), Focal(COUNTS, 2.0, "log", 0.1)])
def test_losses_take_half_precision_and_fall_with_training(loss: torch.nn.Module) -> None:
    logits = torch.zeros(30, 3, requires_grad=True)
    label = torch.arange(30) % 3
    first = loss(logits.bfloat16(), label)
    first.backward()
    assert first.dtype == torch.float32
    better = logits.detach() - 0.5 * logits.grad.sign()
    assert loss(better, label) < first


@pytest.mark.parametrize("loss", [CrossEntropy(COUNTS, "log", 0.1), Focal(COUNTS, 2.0, "log", 0.1)])
def test_shares_of_classes_are_taken_as_labels_are(loss: torch.nn.Module) -> None:
    logits, label, other = torch.randn(20, 3), torch.randint(3, (20,)), torch.randint(3, (20,))
    one, two = F.one_hot(label, 3).float(), F.one_hot(other, 3).float()
    torch.testing.assert_close(loss(logits, one), loss(logits, label))
    # Halves of two labels: the mean of both losses, each with the weight that its labels have.
    weights = [loss.weight[at].sum() for at in (label, other)]  # type: ignore[index]
    both = (weights[0] * loss(logits, label) + weights[1] * loss(logits, other)) / sum(weights)
    torch.testing.assert_close(loss(logits, (one + two) / 2), both)


def test_label_smoothing_is_torchs() -> None:
    logits, label = torch.randn(20, 3), torch.randint(3, (20,))
    expected = F.cross_entropy(logits, label, label_smoothing=0.1)
    torch.testing.assert_close(CrossEntropy(COUNTS, "none", 0.1)(logits, label), expected)
