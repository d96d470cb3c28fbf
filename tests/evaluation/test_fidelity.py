"""Tests of the measures and gates with real beats as synthetic ones; `test_networks` tests the networks alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation_factories import HELD_OUT, STEPS, TRAIN, make_beat_set

from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.fidelity import CONTROLS, GATES, MEASURES, Fidelity, GateResult, MeasureResult, MeasureValue
from ecg.evaluation.fidelity_evaluation import evaluate_fidelity
from ecg.evaluation.networks import FitSettings, fit_classifier
from ecg.models.network import Network

CLASSES = ("N", "V")
Stages = list[tuple[int, int]]


def evaluate(
    classifier: Network, steps: int, held_out: dict[str, BeatSet], synthetic: BeatSet
) -> tuple[dict[str, Fidelity], Stages]:
    """Returns the fidelity and the reported stages."""
    stages: Stages = []
    fidelity = evaluate_fidelity(
        synthetic,
        TRAIN,
        held_out,
        CLASSES,
        classifier=classifier,
        settings=FitSettings(steps=steps, seed=0),
        sfreq=120.0,
        peak=0,
        progress=lambda done, total: stages.append((done, total)),
    )
    return fidelity, stages


@pytest.fixture(scope="module")
def good(classifier: Network) -> Fidelity:
    """The fidelity of real beats."""
    return evaluate(classifier, STEPS, {"test": HELD_OUT}, make_beat_set(160, 3))[0]["test"]


@pytest.fixture(scope="module")
def unfitted() -> tuple[dict[str, Fidelity], Stages]:
    """The fidelity of real beats, measured by networks that are not fitted; "few" has five beats of class V."""
    few = np.concatenate([np.flatnonzero(HELD_OUT.label == 0), np.flatnonzero(HELD_OUT.label == 1)[:5]])
    classifier = fit_classifier(TRAIN, 2, FitSettings(steps=1, seed=0))
    return evaluate(classifier, 1, {"test": HELD_OUT, "few": HELD_OUT.take(few)}, make_beat_set(160, 3))


@pytest.mark.slow
def test_real_beats_pass_every_gate(good: Fidelity) -> None:
    assert good.passed, [gate.sentence for gate in good.gates]
    assert len(good.gates) == sum(gate.class_name in (None, *CLASSES) for gate in GATES)
    assert good.counts["synthetic"] == {"N": 80, "V": 80}


# The failure controls that each measure separates from its reference. Only the measures of memorisation detect the
# copy. A classifier can be trained on beats of the wrong amplitude, and one beat has as many neighbours as any other.
NOT_REAL = {"noise", "flat", "amplitude x5", "one beat"}
DETECTED = {
    "tstr_macro_f1": {"noise", "flat"},
    "discriminative": NOT_REAL,
    "frechet": NOT_REAL,
    "mmd": NOT_REAL,
    "mmd_p": NOT_REAL,
    "coverage": NOT_REAL,
    "density": {"noise", "flat", "amplitude x5"},
    "too_close_fraction": {"copy", "one beat"},
    "memorisation": {"copy", "one beat"},
}


@pytest.mark.slow
@pytest.mark.parametrize("key", DETECTED)
def test_each_measure_separates_bad_beats_from_its_reference(good: Fidelity, key: str) -> None:
    row, sign = good.measures[key].overall, 1 if MEASURES[key].better == "higher" else -1
    assert row.value is not None
    assert row.reference is not None
    # Beyond what chance or one bad class explains.
    limits = {"discriminative": 0.2, "frechet": 5 * row.reference, "mmd": 0.01, "too_close_fraction": 0.2}
    # A network that is fitted on one input for both classes is a random function, which can separate two classes.
    limits["tstr_macro_f1"] = 0.95 * row.reference  # the limit of the gate
    limit = sign * limits.get(key, 0.7 * row.reference)
    for name in DETECTED[key]:
        control = row.controls[name]
        assert control is not None
        assert sign * control < limit, (name, row)
    assert sign * row.value > limit, row


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_every_failure_control_fails_a_gate(good: Fidelity, name: str) -> None:
    def with_control(value: MeasureValue) -> MeasureValue:
        return replace(value, value=value.controls[name])

    measures = {
        key: replace(
            measure,
            overall=with_control(measure.overall),
            per_class={c: with_control(value) for c, value in measure.per_class.items()},
        )
        for key, measure in good.measures.items()
    }
    results = [gate.evaluate(measures) for gate in GATES]
    failed = {result.measure for result in results if result and not result.passed}
    assert failed == {"memorisation", "too_close_fraction"} if name == "copy" else len(failed) >= 3, failed


@pytest.mark.slow
def test_the_r_amplitude_differs_for_scaled_beats(good: Fidelity) -> None:
    row = good.measures["ks_r_amplitude"].overall
    assert row.value is not None
    assert row.value < 0.25
    assert row.controls["amplitude x5"] is not None
    assert row.controls["amplitude x5"] > 0.9


def test_a_gate_with_undetected_failure_controls_fails(unfitted: tuple[dict[str, Fidelity], Stages]) -> None:
    fidelity = unfitted[0]["test"]
    discriminative = next(gate for gate in fidelity.gates if gate.measure == "discriminative")
    assert discriminative.reached <= discriminative.limit
    assert discriminative.undetected
    assert "not detected: " + ", ".join(discriminative.undetected) in discriminative.sentence
    assert not discriminative.passed
    assert not fidelity.passed


def test_a_class_with_few_beats_has_no_value(unfitted: tuple[dict[str, Fidelity], Stages]) -> None:
    few = unfitted[0]["few"]
    assert few.counts["held_out"]["V"] == 5
    for key in ("frechet", "coverage", "tstr_recall"):
        measure = few.measures[key]
        assert measure.per_class["V"].value is None
        assert measure.overall.value is not None
        assert measure.overall.value == measure.per_class["N"].value


def test_no_gate_is_evaluated_where_every_class_has_few_beats() -> None:
    fidelity, _ = evaluate(
        fit_classifier(TRAIN, 2, FitSettings(steps=1, seed=0)),
        1,
        {"test": HELD_OUT.take(np.arange(4))},
        make_beat_set(4, 3),
    )
    assert fidelity["test"].gates == ()
    assert not fidelity["test"].passed
    assert fidelity["test"].measures["frechet"].overall.value is None


def test_progress_counts_every_stage(unfitted: tuple[dict[str, Fidelity], Stages]) -> None:
    stages = unfitted[1]
    assert stages == [(done, len(stages)) for done in range(1, len(stages) + 1)]


def test_fidelity_survives_json(unfitted: tuple[dict[str, Fidelity], Stages]) -> None:
    for fidelity in unfitted[0].values():
        assert Fidelity.from_json(json.loads(json.dumps(fidelity.to_json(), allow_nan=False))) == fidelity


def evaluate_gate(key: str, value: float, reference: float) -> GateResult:
    """Returns the outcome of the gate of a measure; its failure controls fail it."""
    row = MeasureValue(value, reference, controls=dict.fromkeys(CONTROLS, 0.0 if key == "coverage" else 9.0))
    measure = MeasureResult(title=key, description="", better="", overall=row, per_class={})
    result = next(gate for gate in GATES if gate.measure == key).evaluate({key: measure})
    assert result is not None
    return result


def test_a_gate_fails_where_the_reference_is_zero() -> None:
    assert not evaluate_gate("coverage", 0.5, 0.0).passed
    assert not evaluate_gate("frechet", 0.5, 0.0).passed
    assert evaluate_gate("coverage", 0.5, 0.5).passed
    assert evaluate_gate("frechet", 0.5, 0.5).passed


def test_a_gate_states_its_bound_in_words() -> None:
    relative, absolute = evaluate_gate("coverage", 0.25, 0.5), evaluate_gate("discriminative", 0.05, 0.0)
    assert (relative.bound, absolute.bound) == ("at least 0.9 x reference", "at most 0.1")
    assert relative.sentence == "coverage, all classes: 0.5 x reference (at least 0.9 x reference): failed"
    assert absolute.sentence == "discriminative, all classes: 0.05 (at most 0.1): passed"
