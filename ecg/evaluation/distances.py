"""Distances between real and synthetic heartbeats, each a figure that `ecg.evaluation.fidelity` puts into words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from ecg.evaluation.judges import Cohort, features
from ecg.models.cnn import CNN

Points = NDArray[np.float64]

PER_CLASS = 1000  # beats of a class that a measure compares: more are slower and say the same
FEWEST = 20  # beats of a class below which nothing is said of it
NEIGHBOURS = 5  # of density and coverage; the paper's
QRS_S = 0.12  # seconds around the R peak where the QRS complex is looked for


def frechet(a: Points, b: Points) -> float:
    """Fréchet distance of two clouds of features (n, d) and (m, d), each taken as a Gaussian.

    Heusel et al. 2017, NeurIPS, arXiv:1706.08500. Its bias grows as the clouds shrink: compare clouds of equal size.
    """
    mean = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product equals the sum of the roots of its eigenvalues, real and not negative.
    roots = np.sqrt(np.clip(linalg.eigvals(first @ second).real, 0, None)).sum()
    return float(max(0.0, mean + np.trace(first) + np.trace(second) - 2 * roots))


def mmd(a: Points, b: Points, rng: np.random.Generator, permutations: int = 200) -> tuple[float, float]:
    """Squared maximum mean discrepancy, unbiased, and the p value of a permutation test.

    The kernel is the mean of Gaussians of half, one and two times the median distance (Gretton et al. 2012, JMLR).

    Args:
        a: (n, d) features.
        b: (m, d) features.
        rng: of the permutations.
        permutations: how many.
    """
    both, n, m = np.concatenate([a, b]), len(a), len(b)
    squared = cdist(both, both, "sqeuclidean")
    median = np.median(squared[squared > 0]) if (squared > 0).any() else 1.0
    kernel = np.mean([np.exp(-squared / (2 * scale**2 * median)) for scale in (0.5, 1.0, 2.0)], axis=0)
    np.fill_diagonal(kernel, 0)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """For rows of memberships (p, n+m), 1 in the first sample and 0 in the second."""
        first, second = weights, 1 - weights
        within = ((first @ kernel) * first).sum(1) / (n * (n - 1)) + ((second @ kernel) * second).sum(1) / (m * (m - 1))
        return within - 2 * ((first @ kernel) * second).sum(1) / (n * m)

    membership = np.repeat([1.0, 0.0], [n, m])
    value = float(statistic(membership[None])[0])
    shuffled = statistic(rng.permuted(np.tile(membership, (permutations, 1)), axis=1))
    return value, float((1 + (shuffled >= value).sum()) / (1 + permutations))


def density_coverage(real: Points, fake: Points, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage of Naeem et al. 2020, ICML, arXiv:2002.09797.

    Around every real point lies the ball that reaches its k-th real neighbour. Density is how many balls a synthetic
    point lies in, over k: 1 where both are alike, more where synthetic points crowd the middle. Coverage is the share
    of the balls that hold a synthetic point.
    """
    radius = np.asarray(cKDTree(real).query(real, k + 1)[0])[:, k]  # the nearest is the point itself
    inside = cdist(real, fake) <= radius[:, None]  # (n real, n fake)
    return float(inside.sum() / (k * len(fake))), float(inside.any(axis=1).mean())


def memorisation(synthetic: Cohort, train: Cohort, held_out: Cohort) -> tuple[float, float]:
    """How close synthetic beats come to training beats, measured by how close held-out real beats come.

    Returns:
        The ratio of the median distances to the nearest training beat (root mean square over the signal; 1 as real
        beats, 0 for a copy), and the share of the synthetic beats that are closer than 99 % of the held-out ones.
    """
    near, usual = nearest(synthetic, train)[0], nearest(held_out, train)[0]
    return float(np.median(near) / np.median(usual)), float((near < np.quantile(usual, 0.01)).mean())


def nearest(beats: Cohort, train: Cohort) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance (n,) of each beat to the nearest training beat, root mean square over the signal, and its position."""
    a, b = beats.signal.reshape(len(beats), -1), train.signal.reshape(len(train), -1)
    squared = np.maximum(0, np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T)  # (n, n train)
    at = squared.argmin(axis=1)
    # Anew for the nearest alone: the difference of large sums loses the digits that tell a copy.
    return np.sqrt(np.square(a.astype(np.float64) - b[at]).mean(axis=1)), at


def waveform(cohort: Cohort, sfreq: float, peak: int) -> dict[str, NDArray[np.float64]]:
    """Statistics (n,) of each beat by name.

    Args:
        cohort: the beats; the first channel counts.
        sfreq: Hz.
        peak: sample of the R peak; 0 where only the second half of the QRS complex is in the beat.
    """
    x = cohort.signal[:, 0].astype(np.float64)  # (n, T)
    slope = np.abs(np.diff(x, axis=1))
    reach = max(2, round(QRS_S * sfreq))
    around = slope[:, max(0, peak - reach) : peak + reach]
    # As much time around the peak as has at least a fifth of the steepest slope.
    steep = around > 0.2 * around.max(axis=1, keepdims=True)
    length = ((x != 0) * np.arange(1, x.shape[1] + 1)).max(axis=1) / sfreq
    power = np.square(np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1)))  # (n, T/2+1)
    frequency = np.fft.rfftfreq(x.shape[1], 1 / sfreq)
    centre = (power * frequency).sum(1) / np.maximum(power.sum(1), 1e-12)
    rough = np.square(np.diff(x, n=3, axis=1)).mean(axis=1) ** 0.5
    statistics = {"QRS width": steep.sum(1) / sfreq, "R amplitude": x[:, peak : peak + 3].max(axis=1) - np.median(x, 1)}
    return statistics | {"length": length, "spectral centre": centre, "roughness": rough}


class EpochJudge:
    """A quick look at a generator's beats after each epoch: how far from the validation beats they are.

    Every class counts alike: its Fréchet distance is taken relative to that of as many real training beats, since the
    distances of classes differ by a factor of ten, and the mean over the classes is geometric. Classes with few
    held-out beats are left out.

    Attributes:
        classifier: the network in whose features beats are compared.
        held_out: the validation beats.

    Args:
        classifier: fitted on training beats.
        train: training beats.
        held_out: validation beats.
        n_classes: number of classes.
        n_compared: beats a class that will be drawn.
        seed: of the choice among many beats.
    """

    def __init__(
        self, classifier: CNN, train: Cohort, held_out: Cohort, n_classes: int, n_compared: int, seed: int = 0
    ) -> None:
        self.classifier, self.held_out = classifier, held_out
        rng = np.random.default_rng(seed)
        self._real: dict[int, tuple[Points, float]] = {}  # by class, features of held-out beats and the floor
        for c in range(n_classes):
            real, learnt = held_out.of(c).some(PER_CLASS, rng), train.of(c).some(n_compared, rng)
            if len(real) >= FEWEST:
                at = features(classifier, real)
                self._real[c] = at, max(frechet(at, features(classifier, learnt)), 1e-12)

    def compare(self, synthetic: Cohort) -> dict[str, float]:
        """Means over the classes: "frechet" over its floor, "coverage", and "spread".

        The spread is the standard deviation of the features over that of real beats: near 0, all beats are alike.
        """
        found: list[tuple[float, float, float]] = []
        for c, (real, floor) in self._real.items():
            fake = features(self.classifier, synthetic.of(c))
            spread = fake.std(axis=0).mean() / max(real.std(axis=0).mean(), 1e-12)
            found.append(
                (np.log(max(frechet(real, fake), 1e-12) / floor), density_coverage(real, fake)[1], float(spread))
            )
        relative, coverage, spread = np.mean(found, axis=0).tolist() if found else [float("nan")] * 3
        return {"frechet": float(np.exp(relative)), "coverage": coverage, "spread": spread}
