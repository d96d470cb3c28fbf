from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from ecg.evaluation.adjustment import (
    CLASS_SHIFTS,
    LOGIT_SHIFTS,
    best_logit_shift,
    best_shifts,
    best_temperature,
    f1_scores,
)


def test_best_logit_shift_has_the_highest_macro_f1() -> None:
    # One beat in 20 is of class 1. The logits contain the log prior three times, which lowers the recall of class 1.
    torch.manual_seed(0)
    label = (torch.arange(4000) % 20 == 0).long()
    log_prior = torch.log(torch.tensor([0.95, 0.05]))
    evidence = torch.randn(4000) * 1.5 + 2 * (2 * label - 1)
    logits = torch.stack([-evidence / 2, evidence / 2], dim=1) + 3 * log_prior
    assert best_logit_shift(logits, label, log_prior) == 1.0
    weaker = logits - 2.5 * log_prior
    f1 = [f1_score(label, (weaker - tau * log_prior).argmax(dim=1), average="macro") for tau in LOGIT_SHIFTS]
    best = best_logit_shift(weaker, label, log_prior)
    assert f1[list(LOGIT_SHIFTS).index(best)] == pytest.approx(max(f1))
    assert max(f1) > min(f1)


def test_best_logit_shift_is_0_for_a_perfect_classifier() -> None:
    label = (torch.arange(400) % 20 == 0).long()
    logits = torch.stack([1 - label, label], dim=1).float() * 20
    assert best_logit_shift(logits, label, torch.log(torch.tensor([0.95, 0.05]))) == 0.0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_best_temperature_is_the_one_that_the_labels_were_drawn_with(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(3 * rng.standard_normal((20_000, 3)))
    probability = torch.softmax(logits / temperature, dim=1).numpy()
    label = (rng.random((20_000, 1)) > probability.cumsum(axis=1)).sum(axis=1).clip(max=2)
    assert best_temperature(logits, torch.from_numpy(label)) == pytest.approx(temperature, rel=0.05)


def test_f1_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label, predicted = (torch.from_numpy(rng.integers(0, 3, 200)) for _ in range(2))
    expected = f1_score(label, predicted, labels=range(4), average=None, zero_division=0)
    np.testing.assert_allclose(f1_scores(predicted, label, 4), expected)


def test_best_shifts_restore_logits_that_were_shifted() -> None:
    torch.manual_seed(0)
    label = torch.arange(3000) % 3
    logits = torch.randn(3000, 3) + 4 * torch.nn.functional.one_hot(label, 3)
    expected = f1_scores(logits.argmax(dim=1), label, 3).mean()
    shifted = logits - torch.tensor([0.0, 2.0, -1.5])
    shifts = best_shifts(shifted, label, [1, 2])
    assert shifts[0] == 0
    assert best_shifts(shifted, label, [2])[1] == 0
    assert f1_scores((shifted + shifts).argmax(dim=1), label, 3).mean() >= expected - 0.002
    assert shifts.tolist() == pytest.approx([0.0, 2.0, -1.5], abs=0.5)


def test_best_shifts_are_0_where_no_shift_helps() -> None:
    label = torch.arange(90) % 3
    assert best_shifts(20.0 * torch.nn.functional.one_hot(label, 3), label, [1, 2]).tolist() == [0, 0, 0]


def test_shifts_of_two_classes_are_nearly_as_good_as_the_best_of_a_grid() -> None:
    rng = np.random.default_rng(0)
    n = 6000
    label = torch.from_numpy(rng.choice(4, n, p=[0.9, 0.03, 0.05, 0.02]))
    logits = torch.from_numpy(rng.normal(0, 1, (n, 4))).float()
    logits[torch.arange(n), label] += 2.5
    logits += torch.tensor([0.0, 0.0, 2.0, -2.0])
    shifts = best_shifts(logits, label, [2, 3])
    best = max(
        float(f1_scores((logits + torch.tensor([0.0, 0.0, v, f])).argmax(dim=1), label, 4).mean())
        for v in CLASS_SHIFTS
        for f in CLASS_SHIFTS
    )
    assert float(f1_scores((logits + shifts).argmax(dim=1), label, 4).mean()) > best - 0.01
