"""Figures against scikit-learn and slow loops, intervals against simulation, EC57 against sums by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ecg.errors import UserError
from ecg.evaluation import metrics
from ecg.evaluation.ec57 import ec57
from ecg.evaluation.metrics import areas_under_curves, bootstrap, evaluate, rank, without_records
from ecg.evaluation.predictions import Predictions

CLASSES = ("N", "S", "V", "F", "Q")
PER_CLASS = ("precision", "recall", "f1", "auroc", "auprc")


def predictions_of(
    n: int = 600,
    *,
    classes: tuple[str, ...] = CLASSES,
    prior: Sequence[float] | None = None,
    n_patients: int = 12,
    decimals: int = 2,
    seed: int = 0,
) -> Predictions:
    """Random beats; probabilities rounded to few decimals tie often."""
    rng = np.random.default_rng(seed)
    label = rng.choice(len(classes), n, p=prior)
    probability = rng.dirichlet(np.ones(len(classes)), n) + 0.6 * np.eye(len(classes))[label]
    probability = np.round(probability / probability.sum(axis=1, keepdims=True), decimals)
    patient = rng.integers(0, n_patients, n).astype(str)
    return build(label, probability, patient, classes)


def build(
    label: NDArray[Any],
    probability: NDArray[Any],
    patient: NDArray[np.str_],
    classes: tuple[str, ...] = CLASSES,
) -> Predictions:
    sample = np.arange(len(label))
    return Predictions(label.astype(np.int64), probability.astype(np.float32), patient, patient, sample, classes)


def from_confusion(matrices: dict[str, list[list[int]]], classes: tuple[str, ...]) -> Predictions:
    """Beats that give these confusion matrices, one for each record."""
    label, called, record = [], [], []
    for name, matrix in matrices.items():
        for truth, row in enumerate(matrix):
            for prediction, n in enumerate(row):
                label += [truth] * n
                called += [prediction] * n
                record += [name] * n
    return build(np.array(label), np.eye(len(classes))[called], np.array(record), classes)


def values(scores: dict[str, Any], names: Sequence[str] = PER_CLASS) -> list[float]:
    return [scores[name]["value"] for name in names]


def scores_in(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every {"value", "low", "high"} of a result, by where it stands."""
    found = {name: result[name] for name in ("accuracy", "mcc", "ece")}
    found |= {f"macro {name}": result["macro"][name] for name in PER_CLASS}
    for name, row in result["per_class"].items():
        found |= {f"{name} {key}": row[key] for key in PER_CLASS}
    return found


# --- point values


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:4], CLASSES[:2]])
def test_figures_are_those_of_sklearn(classes: tuple[str, ...], seed: int) -> None:
    p = predictions_of(classes=classes, decimals=1 + seed, seed=seed)
    result = evaluate(p, by_patient=False, n_bootstrap=0)
    called = p.probability.argmax(axis=1)
    expected = {
        "precision": precision_score(p.label, called, average=None),
        "recall": recall_score(p.label, called, average=None),
        "f1": f1_score(p.label, called, average=None),
        "auroc": [roc_auc_score(p.label == k, p.probability[:, k]) for k in range(len(classes))],
        "auprc": [average_precision_score(p.label == k, p.probability[:, k]) for k in range(len(classes))],
    }
    for name, by_class in expected.items():
        assert [result["per_class"][c][name]["value"] for c in classes] == pytest.approx(by_class, abs=1e-5)
        assert result["macro"][name]["value"] == pytest.approx(np.mean(by_class), abs=1e-5)
    assert result["accuracy"]["value"] == pytest.approx(accuracy_score(p.label, called), abs=1e-6)
    assert result["mcc"]["value"] == pytest.approx(matthews_corrcoef(p.label, called), abs=1e-6)
    assert result["confusion_matrix"] == confusion_matrix(p.label, called).tolist()
    assert [result["per_class"][c]["support"] for c in classes] == np.bincount(p.label).tolist()
    assert (result["n_beats"], result["n_patients"], result["classes"]) == (600, 12, list(classes))


def ece_by_loop(p: Predictions, n_bins: int = 15) -> float:
    total = 0.0
    for i in range(n_bins):
        inside = [
            (float(row.max()), int(row.argmax()) == truth)
            for row, truth in zip(p.probability, p.label, strict=True)
            if i / n_bins < row.max() <= (i + 1) / n_bins
        ]
        if inside:
            confidence, right = np.mean([c for c, _ in inside]), np.mean([r for _, r in inside])
            total += len(inside) / len(p.label) * abs(right - confidence)
    return total


@pytest.mark.parametrize("decimals", [1, 6])
def test_calibration_error_is_that_of_a_slow_loop(decimals: int) -> None:
    p = predictions_of(500, decimals=decimals, seed=3)
    assert evaluate(p, by_patient=False, n_bootstrap=0)["ece"]["value"] == pytest.approx(ece_by_loop(p), abs=1e-6)


def test_calibration_error_of_many_sure_beats_is_exact() -> None:
    """Single precision sums of 45,000 numbers close to 1 would be wrong in the fourth decimal."""
    n, sure = 45_000, 0.9995
    label = (np.arange(n) < 22).astype(np.int64)
    p = build(label, np.tile([sure, 1 - sure], (n, 1)), np.zeros(n, str), ("N", "V"))
    expected = abs((n - 22) / n - float(np.float32(sure)))
    assert evaluate(p, by_patient=False, n_bootstrap=0)["ece"]["value"] == pytest.approx(expected, abs=1e-7)


def test_probabilities_that_round_above_one_are_still_probabilities() -> None:
    p = predictions_of(300, seed=1)
    above = p.probability.copy()
    above[0] = np.eye(5)[p.label[0]] * np.nextafter(np.float32(1), np.float32(2))
    exact = np.clip(above, 0, 1)
    one, two = (evaluate(build(p.label, x, p.patient), by_patient=False, n_bootstrap=20) for x in (above, exact))
    assert one == two


def test_class_absent_from_the_truth_is_left_out_of_the_means() -> None:
    p = predictions_of(400, prior=[0.7, 0.2, 0.1, 0, 0], seed=2)
    probability = p.probability.copy()
    probability[:, 4] = 0  # Q is neither true nor predicted; F is predicted for some beats
    p = build(p.label, probability, p.patient)
    result = evaluate(p, by_patient=True, n_bootstrap=50)
    called = p.probability.argmax(axis=1)
    assert (called == 3).any()
    assert values(result["per_class"]["F"]) == [0, None, None, None, None]
    assert values(result["per_class"]["Q"]) == [None] * 5
    assert result["per_class"]["F"]["precision"]["low"] is None
    expected = f1_score(p.label, called, average="macro", labels=[0, 1, 2])
    assert result["macro"]["f1"]["value"] == pytest.approx(expected, abs=1e-6)
    assert result["macro"]["f1"]["low"] < expected < result["macro"]["f1"]["high"]


def test_class_never_predicted_scores_zero() -> None:
    p = predictions_of(300, classes=("N", "V"), seed=4)
    p = build(p.label, np.tile([0.9, 0.1], (300, 1)), p.patient, ("N", "V"))
    result = evaluate(p, by_patient=False, n_bootstrap=50)
    assert values(result["per_class"]["V"], ("precision", "recall", "f1")) == [0, 0, 0]
    assert result["mcc"] == {"value": 0, "low": 0, "high": 0}
    assert result["per_class"]["V"]["auroc"]["value"] == 0.5


def test_truth_of_one_class_leaves_correlation_and_auroc_undefined() -> None:
    p = predictions_of(100, prior=[1, 0, 0, 0, 0])
    result = evaluate(p, by_patient=False, n_bootstrap=20)
    undefined = {"value": None, "low": None, "high": None}
    assert result["mcc"] == result["macro"]["auroc"] == result["per_class"]["N"]["auroc"] == undefined
    assert result["per_class"]["N"]["recall"]["value"] == result["accuracy"]["value"]


def test_refuses_what_cannot_be_judged() -> None:
    p = predictions_of(20)
    with pytest.raises(UserError, match="no beats"):
        evaluate(without_records(p, set(p.record)), by_patient=True)
    nan = np.where(np.arange(20)[:, None] == 3, np.nan, p.probability)
    with pytest.raises(UserError, match="diverged"):
        evaluate(build(p.label, nan, p.patient), by_patient=True)


def test_without_records_drops_their_beats_alone() -> None:
    p = predictions_of(200)
    rest = without_records(p, ("3", "absent"))
    keep = p.record != "3"
    assert set(p.record) - set(rest.record) == {"3"}
    np.testing.assert_array_equal(rest.sample, p.sample[keep])
    np.testing.assert_array_equal(rest.probability, p.probability[keep])
    np.testing.assert_array_equal(rest.label, p.label[keep])


# --- intervals


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 10**6))
def test_weighted_areas_are_those_of_sklearn(n: int, levels: int, seed: int) -> None:
    """Few levels of probability tie often; a weight of 0 is a beat that was not drawn."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    positive[rng.integers(n)] = True
    score = (rng.integers(0, levels + 1, n) / levels).astype(np.float32)
    unit = rng.integers(0, max(1, n // 2), n)
    counts = rng.integers(0, 3, (4, int(unit.max()) + 1)).astype(np.int32)
    areas = areas_under_curves(rank(score, positive, unit), counts)
    for d, count in enumerate(counts):
        weight = count[unit]
        if not weight[positive].sum():
            assert np.isnan(areas.auroc[d])
            assert np.isnan(areas.auprc[d])
            continue
        expected = average_precision_score(positive, score, sample_weight=weight)
        assert areas.auprc[d] == pytest.approx(expected)
        if weight[~positive].sum():
            assert areas.auroc[d] == pytest.approx(roc_auc_score(positive, score, sample_weight=weight))
        else:
            assert np.isnan(areas.auroc[d])


@pytest.mark.parametrize("by_patient", [True, False])
def test_draws_are_those_of_resampled_copies(monkeypatch: pytest.MonkeyPatch, by_patient: bool) -> None:
    """Weighting by counts gives the figures of the set in which the beats are copied that many times."""
    monkeypatch.setattr(metrics, "CHUNK", 900)
    p = predictions_of(300, seed=5)
    unit = np.unique(p.patient, return_inverse=True)[1] if by_patient else np.arange(300)
    n_units = int(unit.max()) + 1
    draws = bootstrap(p, unit, 7, np.random.default_rng(8))
    assert draws is not None
    assert draws.accuracy.shape == (7,)
    assert draws.auprc.shape == (7, 5)
    rng = np.random.default_rng(8)
    chunks = list(metrics._unit_counts(n_units, 7, max(1, 900 // 300), rng))
    assert [len(c) for c in chunks] == [3, 3, 1]
    counts = np.concatenate(chunks)
    assert (counts.sum(axis=1) == n_units).all()
    for d, count in enumerate(counts):
        copy = np.repeat(np.arange(300), count[unit])
        point = metrics.figures_of(build(p.label[copy], p.probability[copy], p.patient[copy]))
        for name in ("accuracy", "mcc", "ece", *PER_CLASS):
            np.testing.assert_allclose(getattr(draws, name)[d], getattr(point, name), atol=2e-6, err_msg=name)


@pytest.mark.parametrize("by_patient", [True, False])
def test_intervals_contain_the_value_and_pass_as_json(by_patient: bool) -> None:
    p = predictions_of(8000, prior=[0.8, 0.05, 0.08, 0.02, 0.05], n_patients=40, decimals=4, seed=6)
    result = evaluate(p, by_patient=by_patient, ec57=True, n_bootstrap=300)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    assert result["interval"].endswith("patients" if by_patient else "beats")
    scores = scores_in(result)
    assert len(scores) == 3 + 5 + 25
    for name, s in scores.items():
        assert s["low"] < s["value"] < s["high"], name
        assert s["high"] - s["low"] < 0.2, name


def test_calibration_interval_contains_the_value_of_a_calibrated_classifier() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([0.3] * 3, 4000)
    label = (probability.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    ece = evaluate(build(label, probability, np.zeros(4000, str), ("N", "S", "V")), by_patient=False, n_bootstrap=300)[
        "ece"
    ]
    assert 0 <= ece["low"] < ece["value"] < ece["high"] < 0.05


def cluster(n_patients: int, spread: float, rng: np.random.Generator) -> Predictions:
    """Two classes; each patient's beats are called right at a rate of the patient's own, about .8."""
    rate = np.clip(rng.normal(0.8, spread, n_patients), 0, 1)
    patient = np.repeat(np.arange(n_patients), 20)
    label = rng.integers(0, 2, len(patient))
    right = rng.random(len(patient)) < rate[patient]
    probability = np.where((label == right)[:, None], [0.3, 0.7], [0.7, 0.3])
    return build(label, probability, patient.astype(str), ("N", "V"))


@pytest.mark.parametrize(("by_patient", "spread"), [(False, 0.0), (True, 0.06)])
def test_intervals_cover_the_truth_about_95_times_of_100(by_patient: bool, spread: float) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(200):
        s = evaluate(cluster(40, spread, rng), by_patient=by_patient, n_bootstrap=200, seed=i)["accuracy"]
        covered += s["low"] <= 0.8 <= s["high"]
    assert 0.88 <= covered / 200 <= 0.99


def test_drawing_patients_is_wider_where_patients_differ() -> None:
    p = cluster(40, 0.15, np.random.default_rng(2))
    beats, patients = (evaluate(p, by_patient=b, n_bootstrap=300) for b in (False, True))
    for name in ("accuracy", "mcc"):
        wide, narrow = (r[name]["high"] - r[name]["low"] for r in (patients, beats))
        assert wide > 1.4 * narrow
        assert beats[name]["value"] == patients[name]["value"]


def test_same_seed_same_result() -> None:
    p = predictions_of()
    one, same, other = (evaluate(p, by_patient=True, n_bootstrap=50, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one["accuracy"]["low"] != other["accuracy"]["low"]
    assert one["accuracy"]["value"] == other["accuracy"]["value"]


@pytest.mark.parametrize(("n_patients", "n_bootstrap"), [(1, 50), (12, 0)])
def test_no_interval_from_one_patient_or_without_draws(n_patients: int, n_bootstrap: int) -> None:
    result = evaluate(predictions_of(n_patients=n_patients), by_patient=True, n_bootstrap=n_bootstrap)
    for s in scores_in(result).values():
        assert s["value"] is not None
        assert s["low"] is s["high"] is None


def test_no_interval_for_a_class_of_one_patient() -> None:
    p = predictions_of(prior=[0.5, 0.3, 0.2, 0, 0])
    label = np.where((p.patient == "0") & (p.label == 0), 3, p.label)
    p = build(label, p.probability, p.patient)
    by_patient, by_beat = (evaluate(p, by_patient=b, n_bootstrap=50)["per_class"] for b in (True, False))
    assert by_patient["F"]["recall"]["value"] is not None
    assert by_patient["F"]["recall"]["low"] is None
    assert by_patient["S"]["recall"]["low"] is not None
    assert by_beat["F"]["recall"]["low"] is not None


# --- EC57

# Rows are the truth N S V F Q, columns what the beats were called.
HAND = {
    "a": [[80, 6, 4, 3, 7], [2, 10, 3, 4, 1], [1, 2, 20, 5, 2], [3, 1, 9, 7, 0], [1, 8, 5, 1, 5]],
    "b": [[50, 0, 0, 0, 0], [0, 0, 0, 0, 0], [4, 0, 6, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}


def test_ec57_of_hand_made_confusions() -> None:
    result = ec57(from_confusion(HAND, CLASSES))
    v, s, f = result["V"], result["S"], result["F"]
    # V in a: TP 20, FN 1+2+5+2 = 10, FP from N and S 4+3 = 7; F and Q called V (9 and 5) do not count.
    # TN: N 100-4, S 20-3, F 20-9, Q 20-5 = 96+17+11+15 = 139.
    assert v["per_record"]["a"] == pytest.approx({"Se": 20 / 30, "+P": 20 / 27, "FPR": 7 / 146, "n": 30})
    # V in b: TP 6, FN 4, FP 0, TN 50.
    assert v["per_record"]["b"] == pytest.approx({"Se": 0.6, "+P": 1, "FPR": 0, "n": 10})
    assert v["gross"] == pytest.approx({"Se": 26 / 40, "+P": 26 / 33, "FPR": 7 / 196})
    assert v["record_mean"] == pytest.approx({"Se": (20 / 30 + 0.6) / 2, "+P": (20 / 27 + 1) / 2, "FPR": 7 / 292})
    # S in a: TP 10, FN 2+3+4+1 = 10, FP from N, V and F 6+2+1 = 9; Q called S (8) does not count.
    # TN: N 100-6, V 30-2, F 20-1, Q 20-8 = 94+28+19+12 = 153.
    assert s["per_record"]["a"] == pytest.approx({"Se": 0.5, "+P": 10 / 19, "FPR": 9 / 162, "n": 20})
    # b has no S and none called so: Se and +P are undefined and stay out of the mean; TN 50+10.
    assert s["per_record"]["b"] == {"Se": None, "+P": None, "FPR": 0, "n": 0}
    assert s["gross"] == pytest.approx({"Se": 0.5, "+P": 10 / 19, "FPR": 9 / 222})
    assert s["record_mean"] == pytest.approx({"Se": 0.5, "+P": 10 / 19, "FPR": 9 / 324})
    # F, plainly: TP 7, FN 3+1+9+0 = 13, FP 3+4+5+1 = 13, TN all other beats 170+60-13 = 217.
    assert f == {"gross": pytest.approx({"Se": 7 / 20, "+P": 7 / 20, "FPR": 13 / 230})}


def test_ec57_of_four_classes() -> None:
    four = {record: [row[:4] for row in matrix[:4]] for record, matrix in HAND.items()}
    result = ec57(from_confusion(four, CLASSES[:4]))
    # V: TP 26, FN 8+4, FP 7, TN in a N 93-4, S 19-3, F 20-9 and in b 50: 89+16+11+50 = 166.
    assert result["V"]["gross"] == pytest.approx({"Se": 26 / 38, "+P": 26 / 33, "FPR": 7 / (7 + 166)})
    # S: TP 10, FN 9, FP 9, TN in a N 93-6, V 28-2, F 20-1 and in b 60: 87+26+19+60 = 192.
    assert result["S"]["gross"] == pytest.approx({"Se": 10 / 19, "+P": 10 / 19, "FPR": 9 / 201})


def test_ec57_gives_the_published_figures_of_de_chazal() -> None:
    """A confusion matrix with DS2's class counts to which the rules give the figures of de Chazal 2004."""
    matrix = [
        [38444, 1904, 303, 3509, 99],
        [173, 1395, 252, 16, 1],
        [117, 321, 2504, 176, 103],
        [33, 1, 7, 347, 0],
        [7, 0, 0, 0, 0],
    ]
    result = ec57(from_confusion({"DS2": matrix}, CLASSES))
    percent = {name: [round(100 * result[name]["gross"][key], 1) for key in ("Se", "+P")] for name in ("S", "V", "F")}
    assert percent == {"S": [75.9, 38.5], "V": [77.7, 81.9], "F": [89.4, 8.6]}
    assert round(100 * result["V"]["gross"]["FPR"], 1) == 1.2


def test_ec57_leaves_out_classes_that_are_not_told_apart() -> None:
    p = predictions_of(50, classes=("N", "V"))
    assert list(ec57(p)) == ["V"]
    result = evaluate(p, by_patient=True, ec57=True, n_bootstrap=0)
    assert result["ec57"] == ec57(p)
    assert "ec57" not in evaluate(p, by_patient=True, n_bootstrap=0)
