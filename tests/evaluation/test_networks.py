from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from evaluation_factories import BAD_BEATS, HELD_OUT, TRAIN

from ecg.evaluation.networks import (
    FitSettings,
    discriminator_accuracy,
    embed,
    fit_classifier,
    predict_labels,
    run_in_threads,
)
from ecg.models.network import Network


def test_the_classifier_generalises_to_held_out_beats(classifier: Network) -> None:
    assert not classifier.training
    assert (predict_labels(classifier, HELD_OUT) == HELD_OUT.label).mean() > 0.95


def test_fitting_a_classifier_leaves_the_global_random_state_unchanged() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    fit_classifier(TRAIN, 2, FitSettings(steps=1, seed=0))
    assert torch.equal(torch.rand(1), expected)


def test_fitting_a_classifier_does_not_seed_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    fit_classifier(TRAIN, 2, FitSettings(steps=1, seed=0))
    assert not seeds


def test_the_seed_determines_the_classifier() -> None:
    first, second, other = (
        embed(fit_classifier(TRAIN, 2, FitSettings(steps=2, seed=seed)), HELD_OUT) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_a_discriminator_does_not_separate_real_from_real_beats() -> None:
    assert abs(discriminator_accuracy(TRAIN, HELD_OUT, FitSettings(steps=60, seed=0)) - 0.5) < 0.12


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_BEATS)
def test_a_discriminator_separates_bad_from_real_beats(name: str) -> None:
    assert discriminator_accuracy(TRAIN, BAD_BEATS[name], FitSettings(steps=60, seed=0)) > 0.9


def test_networks_in_threads_equal_those_that_are_fitted_one_after_the_other() -> None:
    fits = [partial(fit_classifier, TRAIN, 2, FitSettings(steps=3, seed=seed)) for seed in range(3)]
    done: list[None] = []
    with two_threads():
        networks = run_in_threads(fits, lambda: done.append(None))
    assert len(done) == 3
    for network, fit in zip(networks, fits, strict=True):
        assert np.array_equal(embed(network, TRAIN), embed(fit(), TRAIN))


def test_threads_pass_on_an_error_and_restore_the_number_of_threads() -> None:
    def fail() -> None:
        raise ValueError("a defect")

    with two_threads():
        with pytest.raises(ValueError, match="a defect"):
            run_in_threads([fail, fail], lambda: None)
        assert torch.get_num_threads() == 2


@contextmanager
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)
