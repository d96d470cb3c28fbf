from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import kstest

from ecg.evaluation.distances import EpochJudge, density_coverage, frechet, memorisation, mmd, waveform
from ecg.evaluation.judges import Cohort, features, fit_classifier, held_out_accuracy, predict

N_TIMES = 96


def cohort(n: int, seed: int, n_classes: int = 2) -> Cohort:
    """Beats like those of the window kaggle: class 1 has a wave that class 0 has not."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % n_classes
    t = np.arange(N_TIMES)
    signal = np.exp(-t / 3) + 0.3 * rng.uniform(0.7, 1.3, (n, 1)) * np.exp(-(((t - 30) / 6) ** 2))
    signal += label[:, None] * 0.6 * np.exp(-(((t - 50) / 4) ** 2)) + 0.03 * rng.standard_normal((n, N_TIMES))
    signal[t >= rng.integers(70, 90, n)[:, None]] = 0
    return Cohort(signal[:, None].astype(np.float32), np.zeros((n, 0), np.float32), label)


TRAIN, HELD_OUT = cohort(400, 1), cohort(400, 2)


def altered(signal: NDArray[np.float32]) -> Cohort:
    return Cohort(signal.astype(np.float32), TRAIN.rr, TRAIN.label)


BAD = {
    "noise": altered(np.random.default_rng(0).random(TRAIN.signal.shape)),
    "flat": altered(np.full(TRAIN.signal.shape, 0.5)),
    "amplitude x5": altered(TRAIN.signal * 5),
    "one beat": altered(np.where(TRAIN.label[:, None, None] == 0, TRAIN.signal[:1], TRAIN.signal[1:2])),
}


@pytest.fixture(scope="module")
def judge():  # type: ignore[no-untyped-def]
    return fit_classifier(TRAIN, 2, steps=60)


def test_the_classifier_learns_and_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    network = fit_classifier(TRAIN, 2, steps=60)
    assert torch.equal(torch.rand(1), expected)
    assert (predict(network, HELD_OUT) == HELD_OUT.label).mean() > 0.95


def test_real_beats_are_not_told_from_real_ones_and_bad_ones_are() -> None:
    assert abs(held_out_accuracy(TRAIN, HELD_OUT, seed=0, steps=60) - 0.5) < 0.12
    for name, bad in BAD.items():
        assert held_out_accuracy(TRAIN, bad, seed=0, steps=200) > 0.9, name


def test_distances_put_bad_beats_beyond_the_floor(judge) -> None:  # type: ignore[no-untyped-def]
    epochs = EpochJudge(judge, TRAIN, HELD_OUT, 2, 200)
    floor = epochs.compare(TRAIN)
    assert 0.3 < floor["frechet"] < 3
    for name, bad in BAD.items():
        found = epochs.compare(bad)
        assert found["frechet"] > 5, name
        assert found["coverage"] < 0.3 * floor["coverage"], name
    assert epochs.compare(BAD["one beat"])["spread"] < 0.1


def test_only_memorisation_catches_a_copy(judge) -> None:  # type: ignore[no-untyped-def]
    copy = TRAIN.take(np.arange(200))
    assert EpochJudge(judge, TRAIN, HELD_OUT, 2, 200).compare(copy)["frechet"] < 5
    ratio, closer = memorisation(copy, TRAIN, HELD_OUT)
    assert ratio < 1e-3
    assert closer == 1
    ratio, closer = memorisation(cohort(400, 3), TRAIN, HELD_OUT)
    assert 0.9 < ratio < 1.1
    assert closer < 0.05
    assert memorisation(BAD["noise"], TRAIN, HELD_OUT)[0] > 2


def test_frechet_of_two_gaussians() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200_000, 3)), rng.standard_normal((200_000, 3)) * 2 + np.array([1, 2, 0])
    assert frechet(a, b) == pytest.approx(1 + 4 + 3, rel=0.02)  # |mean|^2 + 3 (2 - 1)^2
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_mmd_tells_a_shift_and_its_p_value_is_uniform_without_one() -> None:
    rng = np.random.default_rng(0)
    draw = lambda n, shift=0.0: rng.standard_normal((n, 2)) + shift  # noqa: E731
    assert mmd(draw(80), draw(60, 1.0), rng)[1] < 0.01
    p = [mmd(draw(25), draw(20), rng, permutations=99)[1] for _ in range(60)]
    assert kstest(p, "uniform").pvalue > 0.001


def test_density_and_coverage_by_hand() -> None:
    real = np.array([[0.0], [1.0], [3.0]])
    # With one neighbour the balls reach 1, 1 and 2 far: [-1, 1], [0, 2] and [1, 5].
    assert density_coverage(real, np.array([[0.5], [4.0]]), k=1) == (1.5, 1.0)
    assert density_coverage(real, np.array([[-0.5]]), k=1) == (1.0, 1 / 3)


def test_waveform_statistics_of_a_known_beat() -> None:
    t = np.arange(120) / 120
    beat = np.where(t < 0.5, np.sin(2 * np.pi * 10 * t), 0.0)
    found = waveform(
        Cohort(beat[None, None].astype(np.float32), np.zeros((1, 0), np.float32), np.zeros(1, int)), 120, 0
    )
    assert found["length"][0] == pytest.approx(0.5, abs=0.02)
    assert found["spectral centre"][0] == pytest.approx(10, abs=1.5)


def test_features_see_rr_where_there_are_any() -> None:
    with_rr = Cohort(TRAIN.signal, np.random.default_rng(0).random((400, 8), dtype=np.float32), TRAIN.label)
    network = fit_classifier(with_rr, 2, steps=5)
    assert features(network, with_rr).shape[1] == features(fit_classifier(TRAIN, 2, steps=5), TRAIN).shape[1] + 8
