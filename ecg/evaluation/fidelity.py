"""Fidelity of synthetic heartbeats: measures, each with a real reference and failure controls, and gates.

The real reference of a measure is its value for real training beats in place of synthetic ones. A failure
control is its value for deliberately bad beats: a copy of the training beats, noise, a flat line, beats of five times
the amplitude, one beat repeated. A useful measure separates the controls from the reference. Only the two measures of
memorisation detect the copy. `ecg.evaluation.fidelity_evaluation` computes the measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ecg.reading import parse

CONTROLS = {
    "copy": "copy of training beats",
    "noise": "noise",
    "flat": "flat line",
    "amplitude x5": "amplitude x 5",
    "one beat": "one beat repeated",
}


# -- results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureValue:
    """A measure of the synthetic beats, with its reference. None: too few beats.

    Attributes:
        value: of the synthetic beats.
        reference: real reference, of training beats.
        controls: of the failure controls, by the keys of `CONTROLS`.
    """

    value: float | None
    reference: float | None
    controls: dict[str, float | None]


@dataclass(frozen=True)
class MeasureResult:
    """A measure of one set of synthetic beats.

    Attributes:
        title: name of the measure.
        description: one sentence that defines it.
        better: "higher" or "lower".
        overall: mean over the classes with enough beats.
        per_class: values by class.
    """

    title: str
    description: str
    better: str
    overall: MeasureValue
    per_class: dict[str, MeasureValue]


@dataclass(frozen=True)
class GateResult:
    """The outcome of one gate.

    Attributes:
        measure: key in `MEASURES`.
        class_name: class of the value; None for the mean over the classes.
        value: of the synthetic beats.
        reference: real reference.
        reached: the number that is compared with the limit: the value, or its ratio to the reference.
        limit: the number to reach.
        bound: the condition in words, such as "at least 0.95 x reference".
        passed: whether the condition holds and no failure control is undetected.
        undetected: failure controls that should fail the gate, but pass it.
        sentence: the outcome in words.
    """

    measure: str
    class_name: str | None
    value: float
    reference: float
    reached: float
    limit: float
    bound: str
    passed: bool
    undetected: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class Fidelity:
    """Fidelity of synthetic beats, relative to one held-out subset.

    Attributes:
        classes: names of the classes.
        counts: number of beats by set ("synthetic", "train", "held_out") and class.
        measures: results by the keys of `MEASURES`.
        gates: results of the gates that could be evaluated.
        passed: whether at least one gate was evaluated and all evaluated gates passed.
    """

    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    measures: dict[str, MeasureResult]
    gates: tuple[GateResult, ...]
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as dictionaries, sequences and numbers, without NaN."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fidelity:
        """Returns the result that `to_json` has converted.

        Raises:
            ValueError: a field is missing, unknown, or has another type.
        """
        fidelity: Fidelity = parse(cls, data)
        return fidelity


# -- measures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """Title of a measure, its definition in one sentence, and whether "higher" or "lower" values are better."""

    title: str
    description: str
    better: str


_KS = "Kolmogorov-Smirnov distance to real held-out beats: 0 for equal distributions, 1 for disjoint ones."
MEASURES = {
    "tstr_macro_f1": Measure(
        "F1, trained on synthetic beats",
        "F1 on real held-out beats of a classifier that is trained on synthetic beats (TSTR). Reference: the same "
        "classifier trained on real beats (TRTR).",
        "higher",
    ),
    "tstr_recall": Measure(
        "Recall, trained on synthetic beats",
        "Recall on real held-out beats of a classifier that is trained on synthetic beats. Reference: trained on real "
        "beats.",
        "higher",
    ),
    "discriminative": Measure(
        "Discriminative score",
        "Absolute difference from 0.5 of the accuracy of a network that separates synthetic from real training beats: "
        "0 is chance, 0.5 is perfect separation. Reference: other real training beats instead of synthetic ones. Both "
        "are the same for every held-out subset.",
        "lower",
    ),
    "frechet": Measure(
        "Fréchet distance",
        "Fréchet distance to real held-out beats, between Gaussians fitted to the features of a classifier.",
        "lower",
    ),
    "mmd": Measure("MMD", "Squared maximum mean discrepancy to real held-out beats, in the same features.", "lower"),
    "mmd_p": Measure(
        "MMD, p value",
        "Fraction of the random divisions of real and synthetic beats with at least the same MMD. Below 0.05 the "
        "difference is significant.",
        "higher",
    ),
    "density": Measure(
        "Density",
        "Mean number of neighbourhoods of real held-out beats that contain a synthetic beat, divided by the number of "
        "neighbours.",
        "higher",
    ),
    "coverage": Measure("Coverage", "Fraction of the real held-out beats with a synthetic neighbour.", "higher"),
    "memorisation": Measure(
        "Distance to the nearest training beat",
        "Median distance to the nearest training beat, divided by that between a training beat and the nearest other "
        "one: 0 for copies, 1 for real beats of the same patients.",
        "higher",
    ),
    "too_close_fraction": Measure(
        "Fraction too close to a training beat",
        "Fraction of the synthetic beats that are closer to a training beat than 99 % of the training beats to the "
        "nearest other one.",
        "lower",
    ),
    "ks_qrs_width": Measure("QRS width", _KS, "lower"),
    "ks_r_amplitude": Measure("R amplitude", _KS, "lower"),
    "ks_length": Measure("Length", _KS, "lower"),
    "ks_spectral_centre": Measure("Spectral centre", _KS, "lower"),
    "ks_roughness": Measure("Roughness", _KS, "lower"),
}


# -- gates ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """A condition on a measure.

    Attributes:
        measure: key in `MEASURES`.
        limit: the number to reach.
        at_least: whether the limit is a lower bound; else it is an upper bound.
        detects: failure controls that must fail the gate. If one of them passes, the gate fails.
        relative: whether the ratio of the value to the reference is compared with the limit, instead of the value.
        class_name: class of the value; None for the mean over the classes.
    """

    measure: str
    limit: float
    at_least: bool
    detects: tuple[str, ...]
    relative: bool = False
    class_name: str | None = None

    def evaluate(self, measures: Mapping[str, MeasureResult]) -> GateResult | None:
        """Returns the outcome, or None where the class is absent or has too few beats."""
        measure = measures[self.measure]
        row = measure.overall if self.class_name is None else measure.per_class.get(self.class_name)
        if row is None or row.value is None or row.reference is None:
            return None
        reached = self._reached(row.value, row.reference)
        undetected = tuple(
            name
            for name in self.detects
            if (control := row.controls[name]) is not None and self._holds(self._reached(control, row.reference))
        )
        passed = self._holds(reached) and not undetected
        unit = " x reference" if self.relative else ""
        bound = f"{'at least' if self.at_least else 'at most'} {self.limit:g}{unit}"
        where = f"class {self.class_name}" if self.class_name else "all classes"
        outcome = "passed" if passed else "failed"
        if undetected:
            outcome += f", because these failure controls are not detected: {', '.join(undetected)}"
        return GateResult(
            measure=self.measure,
            class_name=self.class_name,
            value=row.value,
            reference=row.reference,
            reached=reached,
            limit=self.limit,
            bound=bound,
            passed=passed,
            undetected=undetected,
            sentence=f"{measure.title}, {where}: {reached:.3g}{unit} ({bound}): {outcome}",
        )

    def _reached(self, value: float, reference: float) -> float:
        if not self.relative:
            return value
        if self.at_least and not reference:
            return 0.0  # without a reference the gate fails
        return value / max(reference, 1e-12)

    def _holds(self, reached: float) -> bool:
        return bool(reached >= self.limit if self.at_least else reached <= self.limit)


_NOT_REAL = ("noise", "flat", "amplitude x5", "one beat")
GATES = (
    # A classifier can be trained on beats of the wrong amplitude, and even on one beat of each class. Recall has no
    # controls, because a classifier that predicts F for every beat has a recall of 1; the F1 detects it.
    Gate("tstr_macro_f1", 0.95, True, ("noise", "flat"), relative=True),
    Gate("tstr_recall", 0.90, True, (), relative=True, class_name="S"),
    Gate("tstr_recall", 0.90, True, (), relative=True, class_name="F"),
    Gate("discriminative", 0.10, False, _NOT_REAL),
    Gate("discriminative", 0.15, False, _NOT_REAL, class_name="F"),
    Gate("frechet", 2.0, False, _NOT_REAL, relative=True),
    Gate("coverage", 0.90, True, _NOT_REAL, relative=True),
    Gate("memorisation", 0.90, True, ("copy",)),
    # The expected value for real beats is 0.01, so that a limit of 0.01 would fail half of the time.
    Gate("too_close_fraction", 0.02, False, ("copy",)),
)
