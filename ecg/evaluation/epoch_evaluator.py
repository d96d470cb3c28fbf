"""Evaluation of a generator after each epoch, by real beats that it should resemble."""

from __future__ import annotations

import numpy as np

from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import BEATS_PER_CLASS, MIN_BEATS, Points, density_coverage, frechet
from ecg.evaluation.networks import embed
from ecg.models.network import Network


class EpochEvaluator:
    """Compares generated beats with held-out beats, class by class, and averages over the classes.

    The Fréchet distance of each class is divided by that of real training beats, because the distances of the classes
    differ by a factor of ten; the mean over the classes is geometric. Classes with fewer than `MIN_BEATS` validation
    beats are left out.

    Attributes:
        classifier: the network whose features are compared.
        held_out: the real beats that generated ones are compared with.

    Args:
        classifier: network fitted on training beats, in evaluation mode.
        train: training beats of the reference.
        held_out: real beats that generated ones are compared with: validation beats, or training beats that are not in
            `train`.
        n_classes: number of classes.
        n_compared: number of beats of each class that `evaluate` receives.
        seed: seed of the sampling of the real beats.
    """

    def __init__(
        self, classifier: Network, train: BeatSet, held_out: BeatSet, n_classes: int, n_compared: int, seed: int = 0
    ) -> None:
        self.classifier, self.held_out = classifier, held_out
        rng = np.random.default_rng(seed)
        self._real: dict[int, tuple[Points, float]] = {}  # class: features of held-out beats, reference distance
        for c in range(n_classes):
            validation = held_out.of_class(c).sample(BEATS_PER_CLASS, rng)
            training = train.of_class(c).sample(n_compared, rng)
            if len(validation) >= MIN_BEATS:
                real = embed(classifier, validation)
                self._real[c] = real, max(frechet(real, embed(classifier, training)), 1e-12)

    def evaluate(self, beats: BeatSet) -> dict[str, float]:
        """Evaluates generated beats.

        Args:
            beats: generated beats, `n_compared` of each class.

        Returns:
            Means over the classes; NaN where every class is left out:
            "frechet", the Fréchet distance divided by that of real training beats;
            "coverage", the fraction of the held-out beats that have a generated neighbour;
            "spread", the standard deviation of the features divided by that of the held-out beats, near 0 where the
            generator has collapsed.
        """
        rows = [self._evaluate_class(beats.of_class(c), *real) for c, real in self._real.items()]
        log_frechet, coverage, spread = np.mean(rows, axis=0).tolist() if rows else [float("nan")] * 3
        return {"frechet": float(np.exp(log_frechet)), "coverage": coverage, "spread": spread}

    def _evaluate_class(self, beats: BeatSet, real: Points, reference: float) -> tuple[float, float, float]:
        """Returns the logarithm of the relative Fréchet distance, coverage and spread of the beats of one class."""
        fake = embed(self.classifier, beats)
        log_frechet = np.log(max(frechet(real, fake), 1e-12) / reference)
        spread = fake.std(axis=0).mean() / max(real.std(axis=0).mean(), 1e-12)
        return float(log_frechet), density_coverage(real, fake)[1], float(spread)
