"""Whether synthetic heartbeats can be trusted: measures that each stand between a floor and ceilings.

A measure is read between its floor, what real training beats reach against real beats that were held out (no
generator can be asked for more), and its ceilings, what bad beats reach: a copy of the training beats, noise, a flat
line, beats of five times the amplitude, one beat repeated. A copy passes every measure but the two of memorisation,
which are there for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.metrics import precision_recall_fscore_support

from ecg.evaluation.distances import FEWEST, PER_CLASS, Points, density_coverage, frechet, mmd, nearest, waveform
from ecg.evaluation.judges import Cohort, features, fit_classifier, held_out_accuracy, predict
from ecg.models.cnn import CNN

Values = dict[str, list[float]]  # measure: a value for each class, NaN where there are too few beats


@dataclass(frozen=True)
class Measure:
    """What a figure means: its name, a sentence for a reader who meets it first, and which way is better."""

    title: str
    what: str
    better: str  # higher | lower


MEASURES = {
    "tstr_macro_f1": Measure(
        "F1, trained on synthetic beats",
        "F1 on real held-out beats of a classifier that was trained on synthetic beats alone (TSTR); floor: of the "
        "same classifier trained on real beats (TRTR).",
        "higher",
    ),
    "tstr_recall": Measure(
        "Recall, trained on synthetic beats",
        "Share of the real held-out beats of a class that this classifier finds; floor: trained on real beats.",
        "higher",
    ),
    "discriminative": Measure(
        "Discriminative score",
        "How much more often than by guessing a network tells synthetic beats from real training beats: 0 is a guess, "
        "0.5 is always right; floor: training against held-out beats. The value is the same on every side, the floor "
        "is not.",
        "lower",
    ),
    "frechet": Measure(
        "Fréchet distance",
        "How far mean and covariance lie from those of real held-out beats, in the features of a classifier.",
        "lower",
    ),
    "mmd": Measure("MMD", "Squared maximum mean discrepancy to real held-out beats, in the same features.", "lower"),
    "mmd_p": Measure(
        "MMD, p value",
        "How often a random division of real and synthetic beats differs as much; below 0.05 they are told apart.",
        "higher",
    ),
    "density": Measure(
        "Density", "How crowded the surroundings of real held-out beats are with synthetic ones.", "higher"
    ),
    "coverage": Measure("Coverage", "Share of the real held-out beats that have a synthetic neighbour.", "higher"),
    "memorisation": Measure(
        "Distance to the nearest training beat",
        "Its median, over that of real held-out beats: 0 is a copy, 1 is as new as a real beat.",
        "higher",
    ),
    "memorised_share": Measure(
        "Share that is too close",
        "Share of the beats that are closer to a training beat than 99 % of the real held-out beats are.",
        "lower",
    ),
}
KS_TITLES = {
    "ks_qrs_width": "QRS width",
    "ks_r_amplitude": "R amplitude",
    "ks_length": "Length",
    "ks_spectral_centre": "Centre of the spectrum",
    "ks_roughness": "Roughness",
}
KS = "Kolmogorov-Smirnov distance to real held-out beats: 0 where both are distributed alike, 1 where they never meet."


@dataclass(frozen=True)
class Gate:
    """What has to be reached: the value, or its ratio to the floor, at least or at most `limit`.

    `caught` are the ceilings that the measure has to keep out: where one of them gets through, the measure is blind
    here, and nobody passes.
    """

    measure: str
    limit: float
    at_least: bool
    caught: tuple[str, ...]
    of_floor: bool = False
    class_name: str | None = None  # None: the mean over the classes

    def read(self, measures: Mapping[str, Any]) -> dict[str, Any] | None:
        """Whether it is passed; None where its class has too few beats."""
        measure = measures[self.measure]
        row = measure["overall"] if self.class_name is None else measure["per_class"].get(self.class_name)
        if row is None or row["value"] is None or row["floor"] is None:
            return None
        reached = self._reached(row["value"], row["floor"])
        blind = [name for name in self.caught if self._passes(self._reached(row["ceilings"][name], row["floor"]))]
        passed = self._passes(reached) and not blind
        of = f"class {self.class_name}" if self.class_name else "overall"
        bound = f"{'at least' if self.at_least else 'at most'} {self.limit:g}{' of the floor' if self.of_floor else ''}"
        said = "passed" if passed else "missed"
        if blind:
            said = f"cannot be read, since {', '.join(blind)} would pass as well"
        return {
            "measure": self.measure,
            "class": self.class_name,
            "value": row["value"],
            "floor": row["floor"],
            "reached": reached,
            "limit": self.limit,
            "bound": bound,
            "passed": passed,
            "blind": blind,
            "sentence": f"{measure['title']}, {of}: {reached:.3g}, {bound}: {said}",
        }

    def _reached(self, value: float, floor: float) -> float:
        if not self.of_floor:
            return value
        if self.at_least and not floor:
            return 0.0  # what real beats do not reach, no beats can show
        return value / max(floor, 1e-12)

    def _passes(self, reached: float) -> bool:
        return bool(reached >= self.limit if self.at_least else reached <= self.limit)


UNLIKE = ("noise", "flat", "amplitude x5", "one beat")
GATES = (
    # Beats of the wrong height, and even one beat a class, can teach a classifier something; and whoever calls all
    # beats F finds every one of them, which the F1 does not let pass.
    Gate("tstr_macro_f1", 0.95, True, ("noise", "flat"), of_floor=True),
    Gate("tstr_recall", 0.90, True, (), of_floor=True, class_name="S"),
    Gate("tstr_recall", 0.90, True, (), of_floor=True, class_name="F"),
    Gate("discriminative", 0.10, False, UNLIKE),
    Gate("discriminative", 0.15, False, UNLIKE, class_name="F"),
    Gate("frechet", 2.0, False, UNLIKE, of_floor=True),
    Gate("coverage", 0.90, True, UNLIKE, of_floor=True),
    Gate("memorisation", 0.90, True, ("copy",)),
    # Real beats reach 0.01 by definition, and would miss it half of the time.
    Gate("memorised_share", 0.02, False, ("copy",)),
)


def bad_beats(train: Cohort, n_classes: int, rng: np.random.Generator) -> dict[str, Cohort]:
    """Beats that nobody should trust, by name, at most `PER_CLASS` of each class."""
    real = Cohort.concatenate(*(train.of(c).some(PER_CLASS, rng) for c in range(n_classes)))
    first = {c: at for at, c in reversed(list(enumerate(real.label.tolist())))}
    one = np.array([first[c] for c in real.label.tolist()])
    mean, spread = real.signal.mean(axis=(0, 2), keepdims=True), real.signal.std(axis=(0, 2), keepdims=True)
    noise = mean + spread * rng.standard_normal(real.signal.shape)
    rr = np.repeat(real.rr.mean(axis=0, keepdims=True), len(real), axis=0)

    def with_signal(signal: NDArray[Any], rr: NDArray[np.float32]) -> Cohort:
        return Cohort(signal.astype(np.float32), rr, real.label)

    return {
        "copy": real,
        "noise": with_signal(noise, rr),
        "flat": with_signal(mean + 0 * real.signal, rr),
        "amplitude x5": with_signal(5 * real.signal, real.rr),
        "one beat": real.take(one),
    }


@dataclass(frozen=True)
class Looks:
    """What the measures see of n beats of one class, in random order."""

    cloud: Points  # (n, d) features
    near: NDArray[np.float64]  # (n,) distance to the nearest training beat
    shape: dict[str, NDArray[np.float64]]  # waveform statistics (n,)

    def first(self, n: int) -> Looks:
        """The first n of them."""
        return Looks(self.cloud[:n], self.near[:n], {name: column[:n] for name, column in self.shape.items()})


def judge(
    synthetic: Cohort,
    train: Cohort,
    sides: Mapping[str, Cohort],
    classes: Sequence[str],
    *,
    classifier: CNN,
    steps: int,
    sfreq: float,
    peak: int,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Judges synthetic beats by every measure, against each side of held-out real beats.

    Args:
        synthetic: the beats on trial; `PER_CLASS` of each class are compared.
        train: the beats that the generator was fitted on.
        sides: by name, real beats that it was not fitted on.
        classes: names of the classes.
        classifier: fitted on `train` for as many `steps`.
        steps: of every network that is fitted.
        sfreq: Hz.
        peak: sample of the R peak.
        seed: of every draw and network.

    Returns:
        By side: "classes", "n" (beats by class), "measures" (by key: title, what, better, "overall" and "per_class",
        each with value, floor and ceilings), "gates" and "trusted", whether all gates are passed. None stands where a
        class has fewer than `FEWEST` beats.
    """
    rng, k = np.random.default_rng(seed), len(classes)
    bad, by_class = bad_beats(train, k, rng), [train.of(c) for c in range(k)]
    suspects = {"value": synthetic, **bad}
    networks = {
        name: classifier if name == "copy" else fit_classifier(beats, k, steps=steps, seed=seed)
        for name, beats in suspects.items()
    }
    told = {name: _told_apart(bad["copy"], beats, by_class, steps, seed) for name, beats in suspects.items()}
    seen = {name: _look(beats, by_class, classifier, sfreq, peak, rng) for name, beats in suspects.items()}
    judged = {}
    for side, held_out in sides.items():
        real = _look(held_out, by_class, classifier, sfreq, peak, rng)
        values = {
            name: {**_lesson(networks[name], held_out, k), **told[name], **_compare(real, seen[name], rng)}
            for name in suspects
        }
        floor = {**_lesson(classifier, held_out, k), **_told_apart(bad["copy"], held_out, by_class, steps, seed)}
        floor |= _compare(real, seen["copy"], rng) | {"memorisation": [1.0] * k, "memorised_share": [0.01] * k}
        n = {"synthetic": synthetic, "train": train, "held_out": held_out}
        judged[side] = _told(values, floor, classes) | {
            "n": {
                name: dict(zip(classes, np.bincount(c.label, minlength=k).tolist(), strict=True))
                for name, c in n.items()
            }
        }
    return judged


def _look(
    beats: Cohort, train: Sequence[Cohort], classifier: CNN, sfreq: float, peak: int, rng: np.random.Generator
) -> list[Looks]:
    """What the measures see of the beats of each class."""
    looks = []
    for c, of_class in enumerate(train):
        some = beats.of(c).some(PER_CLASS, rng)
        if not len(some) or not len(of_class):
            looks.append(Looks(np.empty((0, 1)), np.empty(0), {}))
            continue
        near = nearest(some, of_class)[0]
        looks.append(Looks(features(classifier, some), near, waveform(some, sfreq, peak)))
    return looks


def _lesson(network: CNN, held_out: Cohort, k: int) -> Values:
    """What a classifier makes of real held-out beats."""
    _, recall, f1, n = precision_recall_fscore_support(
        held_out.label, predict(network, held_out), labels=range(k), zero_division=0
    )
    few = n < FEWEST
    return {
        "tstr_macro_f1": np.where(few, np.nan, f1).tolist(),
        "tstr_recall": np.where(few, np.nan, recall).tolist(),
    }


def _told_apart(real: Cohort, beats: Cohort, train: Sequence[Cohort], steps: int, seed: int) -> Values:
    """How well a network tells the beats of each class from real training beats."""
    rng, scores = np.random.default_rng(seed), []
    for c, of_class in enumerate(train):
        some, others = beats.of(c).some(PER_CLASS, rng), real.of(c)
        if beats is real:
            # A copy: of other beats than it is compared with, or whoever learnt one is wrong on its twin.
            both = of_class.some(2 * PER_CLASS, rng)
            some, others = both.take(np.arange(0, len(both), 2)), both.take(np.arange(1, len(both), 2))
        enough = min(len(some), len(others)) >= FEWEST
        scores.append(abs(held_out_accuracy(others, some, seed=seed, steps=steps) - 0.5) if enough else np.nan)
    return {"discriminative": scores}


def _compare(real: Sequence[Looks], fake: Sequence[Looks], rng: np.random.Generator) -> Values:
    """Distances between as many real held-out beats as others, class by class."""
    rows = []
    for a, b in zip(real, fake, strict=True):
        n = min(len(a.near), len(b.near))
        rows.append(dict(_distances(a.first(n), b.first(n), rng)) if n >= FEWEST else {})
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, np.nan) for row in rows] for name in names}


def _distances(real: Looks, fake: Looks, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    yield "frechet", frechet(real.cloud, fake.cloud)
    yield from zip(("mmd", "mmd_p"), mmd(real.cloud, fake.cloud, rng), strict=True)
    yield from zip(("density", "coverage"), density_coverage(real.cloud, fake.cloud), strict=True)
    yield "memorisation", float(np.median(fake.near) / max(np.median(real.near), 1e-12))
    yield "memorised_share", float((fake.near < np.quantile(real.near, 0.01)).mean())
    for name, column in real.shape.items():
        yield f"ks_{name.lower().replace(' ', '_')}", float(ks_2samp(column, fake.shape[name]).statistic)


def _told(values: Mapping[str, Values], floor: Values, classes: Sequence[str]) -> dict[str, Any]:
    """Numbers as the report and the JSON file hold them."""
    measures: dict[str, Any] = {}
    for key in values["value"]:
        known = MEASURES.get(key) or Measure(KS_TITLES[key], KS, "lower")

        def row(pick: Any, key: str = key) -> dict[str, Any]:
            ceilings = {name: _number(pick(v[key])) for name, v in values.items() if name != "value"}
            return {
                "value": _number(pick(values["value"][key])),
                "floor": _number(pick(floor[key])),
                "ceilings": ceilings,
            }

        measures[key] = {
            "title": known.title,
            "what": known.what,
            "better": known.better,
            "overall": row(lambda column: np.nanmean(column) if not np.isnan(column).all() else np.nan),
            "per_class": {name: row(lambda column, c=c: column[c]) for c, name in enumerate(classes)},
        }
    gates = [read for gate in GATES if (read := gate.read(measures))]
    return {
        "classes": list(classes),
        "measures": measures,
        "gates": gates,
        "trusted": bool(gates) and all(gate["passed"] for gate in gates),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.6g}")
