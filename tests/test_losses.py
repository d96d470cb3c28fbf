from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from model_factories import make, variants

from ecg.losses import CrossEntropy, Focal, compute_class_weights

COUNTS = torch.tensor([1000, 100, 10])
LOSSES = variants("loss")


def cross_entropy(class_weights: str = "none", label_smoothing: float = 0.0) -> CrossEntropy:
    return CrossEntropy(counts=COUNTS, class_weights=class_weights, label_smoothing=label_smoothing)


def focal(gamma: float, class_weights: str = "none", label_smoothing: float = 0.0) -> Focal:
    return Focal(counts=COUNTS, class_weights=class_weights, label_smoothing=label_smoothing, gamma=gamma)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", torch.ones(3)),
        ("inverse", torch.tensor([1.0, 10, 100])),
        ("log", 1 + torch.log(torch.tensor([1.0, 10, 100]))),
        ("fourth_root", torch.tensor([1.0, 10, 100]) ** 0.25),
    ],
)
def test_class_weights_follow_their_formula(kind: str, expected: torch.Tensor) -> None:
    torch.testing.assert_close(compute_class_weights(COUNTS, kind), expected)


def test_a_class_without_beats_has_a_finite_weight() -> None:
    assert compute_class_weights(torch.tensor([10, 0]), "inverse").tolist() == [1, 10]


@pytest.mark.parametrize("weights", ["none", "log"])
def test_focal_loss_with_gamma_0_is_the_cross_entropy(weights: str) -> None:
    logits, label = torch.randn(50, 3), torch.randint(3, (50,))
    torch.testing.assert_close(focal(0.0, weights)(logits, label), cross_entropy(weights)(logits, label))


def test_focal_loss_follows_its_formula() -> None:
    logits, label = torch.randn(50, 3), torch.randint(3, (50,))
    p_t = torch.softmax(logits, 1)[torch.arange(50), label]
    torch.testing.assert_close(focal(2.0)(logits, label), (-((1 - p_t) ** 2) * p_t.log()).mean())


def test_label_smoothing_is_that_of_torch() -> None:
    logits, label = torch.randn(20, 3), torch.randint(3, (20,))
    expected = F.cross_entropy(logits, label, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy("none", 0.1)(logits, label), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_accept_half_precision_and_decrease_along_the_gradient(name: str) -> None:
    loss = make(LOSSES[name], counts=COUNTS)
    logits = torch.zeros(30, 3, requires_grad=True)
    label = torch.arange(30) % 3
    first = loss(logits.bfloat16(), label)
    first.backward()
    assert first.dtype == torch.float32
    assert logits.grad is not None
    assert loss(logits.detach() - 0.5 * logits.grad.sign(), label) < first


@pytest.mark.parametrize("name", LOSSES)
def test_class_probabilities_are_weighted_like_labels(name: str) -> None:
    loss = make(LOSSES[name], counts=COUNTS)
    logits, label, other = torch.randn(20, 3), torch.randint(3, (20,)), torch.randint(3, (20,))
    one_hot, other_one_hot = F.one_hot(label, 3).float(), F.one_hot(other, 3).float()
    torch.testing.assert_close(loss(logits, one_hot), loss(logits, label))
    # With two labels of probability 1/2, the loss is the mean of both losses, weighted by their class weights.
    weights = compute_class_weights(COUNTS, LOSSES[name]["class_weights"])
    first, second = weights[label].sum(), weights[other].sum()
    expected = (first * loss(logits, label) + second * loss(logits, other)) / (first + second)
    torch.testing.assert_close(loss(logits, (one_hot + other_one_hot) / 2), expected)
