"""Evaluation of synthetic heartbeats by the measures and gates of `ecg.evaluation.fidelity`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.metrics import precision_recall_fscore_support

from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import (
    BEATS_PER_CLASS,
    MIN_BEATS,
    Points,
    density_coverage,
    frechet,
    memorisation,
    mmd,
    nearest,
    waveform_statistics,
)
from ecg.evaluation.fidelity import GATES, MEASURES, Fidelity, MeasureResult, MeasureValue
from ecg.evaluation.networks import (
    FitSettings,
    discriminator_accuracy,
    embed,
    fit_classifier,
    predict_labels,
    run_in_threads,
)
from ecg.models.network import Network

Values = dict[str, list[float]]  # measure: one value for each class, NaN for a class with too few beats


def failure_controls(train: BeatSet, n_classes: int, rng: np.random.Generator) -> dict[str, BeatSet]:
    """Returns deliberately bad beats by the keys of `CONTROLS`, at most `BEATS_PER_CLASS` of each class.

    Noise has the mean and the standard deviation of each channel of the training beats; a flat line has the mean.

    Args:
        train: training beats.
        n_classes: number of classes.
        rng: random generator of the sampling and of the noise.
    """
    real = BeatSet.concatenate(*(train.of_class(c).sample(BEATS_PER_CLASS, rng) for c in range(n_classes)))
    _, first, class_index = np.unique(real.label, return_index=True, return_inverse=True)
    mean, spread = real.signal.mean(axis=(0, 2), keepdims=True), real.signal.std(axis=(0, 2), keepdims=True)
    noise = mean + spread * rng.standard_normal(real.signal.shape)

    def with_signal(signal: NDArray[Any]) -> BeatSet:
        return BeatSet(signal.astype(np.float32), real.label)

    return {
        "copy": real,
        "noise": with_signal(noise),
        "flat": with_signal(mean + 0 * real.signal),
        "amplitude x5": with_signal(5 * real.signal),
        "one beat": real.take(first[class_index]),
    }


def evaluate_fidelity(
    synthetic: BeatSet,
    train: BeatSet,
    held_out: Mapping[str, BeatSet],
    classes: Sequence[str],
    *,
    classifier: Network,
    settings: FitSettings,
    sfreq: float,
    peak: int,
    progress: Callable[[int, int], None],
) -> dict[str, Fidelity]:
    """Evaluates synthetic beats by every measure, relative to each held-out subset of real beats.

    Args:
        synthetic: synthetic beats; `BEATS_PER_CLASS` of each class are compared.
        train: the beats that the generator was fitted on.
        held_out: subsets of real beats that the generator was not fitted on, by name.
        classes: names of the classes.
        classifier: network fitted on `train` with the same `settings`, in evaluation mode.
        settings: of every network that is fitted. The seed also determines the samples.
        sfreq: sampling rate in Hz.
        peak: sample of the R peak.
        progress: receives the number of completed stages and the number of stages after each stage. A stage is one fit
            of a classifier, the discriminative score of one class, or one comparison with a held-out subset.

    Returns:
        The fidelity by the names of `held_out`.
    """
    rng, n_classes = np.random.default_rng(settings.seed), len(classes)
    controls = failure_controls(train, n_classes, rng)
    sets = {"synthetic": synthetic, **controls}
    of_class = [train.of_class(c) for c in range(n_classes)]
    evaluator = _Evaluator(
        train=of_class,
        train_distance=[_distances_within(beats, rng) for beats in of_class],
        copy=controls["copy"],
        classifier=classifier,
        settings=settings,
        sfreq=sfreq,
        peak=peak,
        rng=rng,
        stages=_Stages(_n_stages(len(sets), len(held_out), n_classes), progress),
    )
    networks, scores = evaluator.fit_networks(sets)
    features = {name: evaluator.features(beats) for name, beats in sets.items()}
    results = {}
    for subset, real in held_out.items():
        real_features = evaluator.features(real)
        values = {
            name: evaluator.values(networks[name], real, features[name], real_features) | scores[name] for name in sets
        }
        # The copy is real. It has no distance to the training beats, but that of other real beats is known.
        reference = values["copy"] | {"memorisation": [1.0] * n_classes, "too_close_fraction": [0.01] * n_classes}
        counts = {"synthetic": synthetic, "train": train, "held_out": real}
        results[subset] = _summarise(
            values, reference, classes, {name: _class_counts(beats, classes) for name, beats in counts.items()}
        )
    return results


def _n_stages(n_sets: int, n_subsets: int, n_classes: int) -> int:
    fits = n_sets - 1  # the classifier of the copy is given
    discriminative_scores = n_sets * n_classes
    comparisons = n_sets * n_subsets
    return fits + discriminative_scores + comparisons


@dataclass
class _Stages:
    """Counts completed stages and reports them."""

    total: int
    report: Callable[[int, int], None]
    done: int = 0

    def advance(self) -> None:
        self.done += 1
        self.report(self.done, self.total)


@dataclass(frozen=True)
class ClassFeatures:
    """Cached features of the beats of one class, in random order.

    Attributes:
        embedding: (n, D) features before the head of the classifier.
        distance: (n,) distance to the nearest training beat.
        waveform: waveform statistics (n,) by name.
    """

    embedding: Points
    distance: NDArray[np.float64]
    waveform: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.distance)

    def first(self, n: int) -> ClassFeatures:
        """Returns the features of the first n beats."""
        waveform = {name: values[:n] for name, values in self.waveform.items()}
        return ClassFeatures(self.embedding[:n], self.distance[:n], waveform)


@dataclass(frozen=True)
class _Evaluator:
    """Fits networks on sets of beats and compares sets of beats.

    Attributes:
        train: training beats of each class.
        train_distance: distances of training beats of each class to the nearest other one.
        copy: the training beats that the failure controls are made from.
        classifier: network fitted on the training beats.
        settings: of every network.
        sfreq: sampling rate in Hz.
        peak: sample of the R peak.
        rng: random generator of the samples and permutations.
        stages: completed stages.
    """

    train: Sequence[BeatSet]
    train_distance: Sequence[NDArray[np.float64]]
    copy: BeatSet
    classifier: Network
    settings: FitSettings
    sfreq: float
    peak: int
    rng: np.random.Generator
    stages: _Stages

    def fit_networks(self, sets: Mapping[str, BeatSet]) -> tuple[dict[str, Network], dict[str, Values]]:
        """Fits all networks.

        Args:
            sets: synthetic beats and failure controls, by name.

        Returns:
            A classifier and the discriminative scores of each set, by name.
        """
        n_classes = len(self.train)
        fitted = [name for name in sets if name != "copy"]  # that of the copy is given
        fits = [partial(fit_classifier, sets[name], n_classes, self.settings) for name in fitted]
        pairs = [partial(self._discriminative_score, beats, c) for beats in sets.values() for c in range(n_classes)]
        done: list[Any] = run_in_threads([*fits, *pairs], self.stages.advance)
        networks, scores = done[: len(fits)], np.reshape(done[len(fits) :], (-1, n_classes))
        return (
            {"copy": self.classifier, **dict(zip(fitted, networks, strict=True))},
            {name: {"discriminative": row.tolist()} for name, row in zip(sets, scores, strict=True)},
        )

    def _discriminative_score(self, beats: BeatSet, c: int) -> float:
        """Returns the discriminative score of beats against real training beats of class c; NaN for too few beats."""
        rng = np.random.default_rng((self.settings.seed, c))
        sample, real = beats.of_class(c).sample(BEATS_PER_CLASS, rng), self.copy.of_class(c)
        if beats is self.copy:
            # Uses disjoint halves, so that no beat appears in both.
            both = self.train[c].sample(2 * BEATS_PER_CLASS, rng)
            sample, real = both.take(np.arange(0, len(both), 2)), both.take(np.arange(1, len(both), 2))
        if min(len(sample), len(real)) < MIN_BEATS:
            return float("nan")
        return abs(discriminator_accuracy(real, sample, self.settings) - 0.5)

    def values(
        self, network: Network, held_out: BeatSet, features: Sequence[ClassFeatures], real: Sequence[ClassFeatures]
    ) -> Values:
        """Returns the measures of a set relative to a held-out subset, except for the discriminative scores.

        Args:
            network: classifier fitted on the set.
            held_out: held-out subset.
            features: features of the set, by class.
            real: features of the held-out subset, by class.
        """
        values = _tstr_scores(network, held_out, len(self.train)) | self._compare(real, features)
        self.stages.advance()
        return values

    def features(self, beats: BeatSet) -> list[ClassFeatures]:
        """Returns the features of the beats of each class."""
        return [self._class_features(beats.of_class(c), train) for c, train in enumerate(self.train)]

    def _class_features(self, beats: BeatSet, train: BeatSet) -> ClassFeatures:
        sample = beats.sample(BEATS_PER_CLASS, self.rng)
        if not len(sample) or not len(train):
            return ClassFeatures(np.empty((0, 1)), np.empty(0), {})
        return ClassFeatures(
            embedding=embed(self.classifier, sample),
            distance=nearest(sample, train)[0],
            waveform=waveform_statistics(sample, self.sfreq, self.peak),
        )

    def _compare(self, real: Sequence[ClassFeatures], fake: Sequence[ClassFeatures]) -> Values:
        """Returns the distances between equally many real held-out and other beats, class by class."""
        rows = []
        for a, b, within in zip(real, fake, self.train_distance, strict=True):
            n = min(len(a), len(b))
            rows.append(_distances(a.first(n), b.first(n), within, self.rng) if n >= MIN_BEATS else {})
        names = {name for row in rows for name in row}
        return {name: [row.get(name, np.nan) for row in rows] for name in names}


def _tstr_scores(network: Network, held_out: BeatSet, n_classes: int) -> Values:
    """Returns F1 and recall of each class of a classifier on real held-out beats."""
    _, recall, f1, n = precision_recall_fscore_support(
        held_out.label, predict_labels(network, held_out), labels=range(n_classes), zero_division=0
    )
    few = n < MIN_BEATS
    return {
        "tstr_macro_f1": np.where(few, np.nan, f1).tolist(),
        "tstr_recall": np.where(few, np.nan, recall).tolist(),
    }


def _distances_within(train: BeatSet, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the distances of training beats, at most `BEATS_PER_CLASS`, to the nearest other one."""
    own = rng.permutation(len(train))[:BEATS_PER_CLASS]
    return nearest(train.take(own), train, own)[0] if len(own) > 1 else np.empty(0)


def _distances(
    real: ClassFeatures, fake: ClassFeatures, train_distance: NDArray[np.float64], rng: np.random.Generator
) -> dict[str, float]:
    """Returns the measures of one class that compare distributions."""
    mmd_value, mmd_p = mmd(real.embedding, fake.embedding, rng)
    density, coverage = density_coverage(real.embedding, fake.embedding)
    ratio, too_close = memorisation(fake.distance, train_distance)
    return {
        "frechet": frechet(real.embedding, fake.embedding),
        "mmd": mmd_value,
        "mmd_p": mmd_p,
        "density": density,
        "coverage": coverage,
        "memorisation": ratio,
        "too_close_fraction": too_close,
        **{f"ks_{name}": float(ks_2samp(x, fake.waveform[name]).statistic) for name, x in real.waveform.items()},
    }


def _class_counts(beats: BeatSet, classes: Sequence[str]) -> dict[str, int]:
    return dict(zip(classes, np.bincount(beats.label, minlength=len(classes)).tolist(), strict=True))


def _summarise(
    values: Mapping[str, Values], reference: Values, classes: Sequence[str], counts: dict[str, dict[str, int]]
) -> Fidelity:
    """Returns measures and gates from the values of each set, by the names "synthetic" and those of `CONTROLS`."""
    too_few = [np.nan] * len(classes)
    measures = {}
    for key, measure in MEASURES.items():
        columns = {name: of_set.get(key, too_few) for name, of_set in values.items()}
        columns["reference"] = reference.get(key, too_few)
        per_class = {name: _measure_value(columns, itemgetter(c)) for c, name in enumerate(classes)}
        overall = _measure_value(columns, _mean)
        measures[key] = MeasureResult(measure.title, measure.description, measure.better, overall, per_class)
    gates = tuple(result for gate in GATES if (result := gate.evaluate(measures)))
    return Fidelity(tuple(classes), counts, measures, gates, passed=bool(gates) and all(gate.passed for gate in gates))


def _measure_value(columns: Mapping[str, Sequence[float]], reduce: Callable[[Sequence[float]], float]) -> MeasureValue:
    """Returns the reduced columns, to six significant digits; None for NaN."""
    reduced = {name: reduce(column) for name, column in columns.items()}
    rounded = {name: None if np.isnan(value) else float(f"{value:.6g}") for name, value in reduced.items()}
    return MeasureValue(rounded.pop("synthetic"), rounded.pop("reference"), controls=rounded)


def _mean(values: Sequence[float]) -> float:
    """Returns the mean without NaN; NaN where all are NaN."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
