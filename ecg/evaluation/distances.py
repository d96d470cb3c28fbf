"""Distances between sets of real and synthetic heartbeats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist, pdist, squareform

from ecg.evaluation.beat_set import BeatSet

Points = NDArray[np.float64]  # (n, D) features

BEATS_PER_CLASS = 1000  # at most so many beats of a class are compared; more beats change the distances little
MIN_BEATS = 20  # a class with fewer beats has no value
N_NEIGHBOURS = 5  # of density and coverage, as in the paper
QRS_SECONDS = 0.12  # the QRS complex is measured within this distance of the R peak


def frechet(a: Points, b: Points) -> float:
    """Returns the Fréchet distance between Gaussians fitted to two sets of features.

    The bias of the estimate grows as the sets shrink, so only distances between sets of equal size are comparable.

    Args:
        a: (n, D) features.
        b: (m, D) features.

    Source: Heusel et al. 2017, NeurIPS, arXiv:1706.08500.
    """
    mean = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr((cov_a cov_b)^(1/2)) is the sum of the square roots of the eigenvalues, which are real and not negative.
    roots = np.sqrt(np.clip(linalg.eigvals(cov_a @ cov_b).real, 0, None)).sum()
    return float(max(0.0, mean + np.trace(cov_a) + np.trace(cov_b) - 2 * roots))


def mmd(a: Points, b: Points, rng: np.random.Generator, permutations: int = 200) -> tuple[float, float]:
    """Returns the unbiased squared maximum mean discrepancy and the p value of its permutation test.

    The kernel is the mean of three Gaussian kernels, whose widths are 0.5, 1 and 2 times the median distance.

    Args:
        a: (n, D) features.
        b: (m, D) features.
        rng: random generator of the permutations.
        permutations: number of permutations.

    Source: Gretton et al. 2012, JMLR 13.
    """
    n, m = len(a), len(b)
    squared = pdist(np.concatenate([a, b]), "sqeuclidean")
    median = np.median(squared[squared > 0]) if (squared > 0).any() else 1.0
    wide = np.exp(-squared / (2 * 2**2 * median))
    middle = np.square(np.square(wide))  # half the width is the fourth power
    narrow = np.square(np.square(middle))
    kernel = squareform((wide + middle + narrow) / 3)  # the diagonal is zero
    total = kernel.sum()

    def statistic(in_a: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the statistic (p,) for p memberships (p, n+m): 1 in the first sample, 0 in the second."""
        to_a = in_a @ kernel  # (p, n+m) summed kernel between each point and the first sample
        within_a = (to_a * in_a).sum(1)
        between = to_a.sum(1) - within_a
        within_b = total - within_a - 2 * between
        return np.asarray(within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m))

    membership = np.repeat([1.0, 0.0], [n, m])
    value = float(statistic(membership[None])[0])
    permuted = statistic(rng.permuted(np.tile(membership, (permutations, 1)), axis=1))
    return value, float((1 + (permuted >= value).sum()) / (1 + permutations))


def density_coverage(real: Points, fake: Points, k: int = N_NEIGHBOURS) -> tuple[float, float]:
    """Returns density and coverage.

    The neighbourhood of a real point is the ball up to its k-th nearest real neighbour. Density is the mean number of
    neighbourhoods that contain a synthetic point, divided by k; it is 1 where both distributions are equal, and greater
    where synthetic points concentrate in dense regions. Coverage is the fraction of the neighbourhoods that contain a
    synthetic point.

    Args:
        real: (n, D) features of real beats.
        fake: (m, D) features of synthetic beats.
        k: number of neighbours.

    Source: Naeem et al. 2020, ICML, arXiv:2002.09797.
    """
    radius = np.asarray(cKDTree(real).query(real, k + 1)[0])[:, k]  # column 0 is the point itself
    inside = cdist(real, fake) <= radius[:, None]  # (n, m)
    return float(inside.sum() / (k * len(fake))), float(inside.any(axis=1).mean())


def nearest(
    beats: BeatSet, train: BeatSet, own: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the distance (n,) of each beat to the nearest training beat, and the position (n,) of that beat.

    The distance is the root mean square of the difference of the signals.

    Args:
        beats: n beats.
        train: the training beats.
        own: (n,) positions of `beats` in `train`, which do not count; None for beats that are not in `train`.
    """
    a, b = beats.signal.reshape(len(beats), -1), train.signal.reshape(len(train), -1)  # (n, C*T), (m, C*T)
    squared = np.maximum(0, np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T)  # (n, m)
    if own is not None:
        squared[np.arange(len(own)), own] = np.inf
    at = squared.argmin(axis=1)
    # Computed again, since the expanded square above is not precise enough for distances near 0.
    return np.sqrt(np.square(a.astype(np.float64) - b[at]).mean(axis=1)), at


def memorisation(distance: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """Compares the distances of synthetic beats to the nearest training beats with those among the training beats.

    Args:
        distance: (n,) distances of synthetic beats, from `nearest`.
        reference: (m,) distances of training beats to the nearest other training beats.

    Returns:
        The ratio of the medians, 0 for copies and 1 for real beats; and the fraction of the synthetic beats that are
        closer than the first percentile of the reference.
    """
    ratio = np.median(distance) / max(np.median(reference), 1e-12)
    return float(ratio), float((distance < np.quantile(reference, 0.01)).mean())


def waveform_statistics(beats: BeatSet, sfreq: float, peak: int) -> dict[str, NDArray[np.float64]]:
    """Returns statistics (n,) of the first channel of each beat.

    Args:
        beats: the beats.
        sfreq: sampling rate in Hz.
        peak: sample of the R peak; 0 where a beat starts at its R peak.

    Returns:
        qrs_width: seconds near the R peak in which the slope exceeds a fifth of its maximum.
        r_amplitude: maximum of three samples from the R peak on, minus the median of the beat.
        length: seconds up to the last sample that is not zero.
        spectral_centre: mean frequency in Hz, weighted by power.
        roughness: root mean square of the third difference.
    """
    x = beats.signal[:, 0].astype(np.float64)  # (n, T)
    reach = max(2, round(QRS_SECONDS * sfreq))
    slope = np.abs(np.diff(x, axis=1))[:, max(0, peak - reach) : peak + reach]
    steep = slope > 0.2 * slope.max(axis=1, keepdims=True)
    power = np.square(np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1)))  # (n, T//2+1)
    frequency = np.fft.rfftfreq(x.shape[1], 1 / sfreq)
    return {
        "qrs_width": steep.sum(1) / sfreq,
        "r_amplitude": x[:, peak : peak + 3].max(axis=1) - np.median(x, 1),
        "length": ((x != 0) * np.arange(1, x.shape[1] + 1)).max(axis=1) / sfreq,
        "spectral_centre": (power * frequency).sum(1) / np.maximum(power.sum(1), 1e-12),
        "roughness": np.square(np.diff(x, n=3, axis=1)).mean(axis=1) ** 0.5,
    }
