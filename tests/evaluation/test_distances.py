from __future__ import annotations

import numpy as np
import pytest
from evaluation_factories import BAD_BEATS, TRAIN, make_beat_set
from numpy.typing import NDArray
from scipy.stats import kstest

from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import density_coverage, frechet, memorisation, mmd, nearest, waveform_statistics


def test_frechet_distance_of_two_gaussians() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200_000, 3)), rng.standard_normal((200_000, 3)) * 2 + np.array([1, 2, 0])
    assert frechet(a, b) == pytest.approx(1 + 4 + 3, rel=0.02)  # |mean|^2 + 3 (2 - 1)^2
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_mmd_detects_a_shift_and_its_p_value_is_uniform_without_one() -> None:
    rng = np.random.default_rng(0)

    def normal(n: int, shift: float = 0.0) -> NDArray[np.float64]:
        return rng.standard_normal((n, 2)) + shift

    assert mmd(normal(80), normal(60, 1.0), rng)[1] < 0.01
    p = [mmd(normal(25), normal(20), rng, permutations=99)[1] for _ in range(60)]
    assert kstest(p, "uniform").pvalue > 0.001


def test_density_and_coverage_of_points_on_a_line() -> None:
    real = np.array([[0.0], [1.0], [3.0]])
    # With one neighbour the radii are 1, 1 and 2, and the neighbourhoods [-1, 1], [0, 2] and [1, 5].
    assert density_coverage(real, np.array([[0.5], [4.0]]), k=1) == (1.5, 1.0)
    assert density_coverage(real, np.array([[-0.5]]), k=1) == (1.0, 1 / 3)


def test_nearest_returns_the_distance_and_position_of_a_copy() -> None:
    positions = np.array([5, 3, 8])
    noise = np.full((3, 1, 1), 0.01, np.float32)
    copies = TRAIN.take(positions)
    distance, at = nearest(BeatSet(copies.signal + noise, copies.label), TRAIN)
    assert at.tolist() == positions.tolist()
    assert distance == pytest.approx([0.01] * 3, rel=1e-4)


def test_a_training_beat_is_not_nearest_to_itself() -> None:
    own = np.array([3, 50, 7])
    distance, at = nearest(TRAIN.take(own), TRAIN, own)
    assert (at != own).all()
    assert (distance > 1e-3).all()


@pytest.mark.parametrize(
    ("beats", "ratios", "fractions"),
    [
        pytest.param(TRAIN, (0, 1e-3), (1, 1), id="copy"),
        pytest.param(make_beat_set(160, 3), (0.9, 1.1), (0, 0.05), id="real"),
        pytest.param(BAD_BEATS["noise"], (2, np.inf), (0, 0), id="noise"),
    ],
)
def test_memorisation_separates_copies_from_real_beats(
    beats: BeatSet, ratios: tuple[float, float], fractions: tuple[float, float]
) -> None:
    own = np.arange(len(TRAIN))
    ratio, too_close = memorisation(nearest(beats, TRAIN)[0], nearest(TRAIN, TRAIN, own)[0])
    assert ratios[0] <= ratio <= ratios[1]
    assert fractions[0] <= too_close <= fractions[1]


def test_waveform_statistics_of_a_known_beat() -> None:
    t = np.arange(120) / 120
    beat = np.where(t < 0.5, np.sin(2 * np.pi * 10 * t), 0.0)
    beats = BeatSet(beat[None, None].astype(np.float32), np.zeros(1, np.int64))
    statistics = waveform_statistics(beats, sfreq=120, peak=0)
    assert statistics["length"][0] == pytest.approx(0.5, abs=0.02)
    assert statistics["spectral_centre"][0] == pytest.approx(10, abs=1.5)
    assert statistics["r_amplitude"][0] == pytest.approx(np.sin(2 * np.pi * 10 * 2 / 120), abs=1e-6)
