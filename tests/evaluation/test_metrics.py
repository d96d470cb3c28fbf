"""Scores against scikit-learn and loops, undefined scores, and selection of records."""

from __future__ import annotations

import numpy as np
import pytest
from prediction_factories import CLASSES, make_predictions, random_predictions
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
from ecg.evaluation.metrics import evaluate, without_records
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import CLASS_SCORES, ClassScores, Score


def values(scores: ClassScores) -> list[float | None]:
    return [getattr(scores, name).value for name in CLASS_SCORES]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:4], CLASSES[:2]])
def test_scores_equal_those_of_sklearn(classes: tuple[str, ...], seed: int) -> None:
    p = random_predictions(classes=classes, decimals=1 + seed, seed=seed)
    result = evaluate(p, by_patient=False, n_bootstrap=0)
    predicted = p.probability.argmax(axis=1)
    expected = {
        "precision": precision_score(p.label, predicted, average=None),
        "recall": recall_score(p.label, predicted, average=None),
        "f1": f1_score(p.label, predicted, average=None),
        "auroc": [roc_auc_score(p.label == k, p.probability[:, k]) for k in range(len(classes))],
        "auprc": [average_precision_score(p.label == k, p.probability[:, k]) for k in range(len(classes))],
    }
    for name, by_class in expected.items():
        assert [getattr(result.per_class[c], name).value for c in classes] == pytest.approx(by_class, abs=1e-5)
        assert getattr(result.macro, name).value == pytest.approx(np.mean(by_class), abs=1e-5)
    assert result.accuracy.value == pytest.approx(accuracy_score(p.label, predicted), abs=1e-6)
    assert result.mcc.value == pytest.approx(matthews_corrcoef(p.label, predicted), abs=1e-6)
    assert result.confusion_matrix == confusion_matrix(p.label, predicted).tolist()
    assert [result.per_class[c].support for c in classes] == np.bincount(p.label).tolist()
    assert (result.n_beats, result.n_patients, result.classes) == (600, 12, classes)


def calibration_error(p: Predictions, n_bins: int = 15) -> float:
    """The expected calibration error, computed with loops."""
    total = 0.0
    for i in range(n_bins):
        inside = [
            (float(row.max()), int(row.argmax()) == truth)
            for row, truth in zip(p.probability, p.label, strict=True)
            if i / n_bins < row.max() <= (i + 1) / n_bins
        ]
        if inside:
            confidence, accuracy = np.mean([c for c, _ in inside]), np.mean([correct for _, correct in inside])
            total += len(inside) / len(p.label) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("decimals", [1, 6])
def test_calibration_error_equals_that_of_a_loop(decimals: int) -> None:
    p = random_predictions(500, decimals=decimals, seed=3)
    ece = evaluate(p, by_patient=False, n_bootstrap=0).ece
    assert ece.value == pytest.approx(calibration_error(p), abs=1e-6)


def test_calibration_error_of_many_confident_predictions_is_exact() -> None:
    """A sum of 45,000 float32 numbers close to 1 would have an error in the fourth decimal."""
    n, confidence = 45_000, 0.9995
    label = (np.arange(n) < 22).astype(np.int64)
    p = make_predictions(label, np.tile([confidence, 1 - confidence], (n, 1)), np.zeros(n, str), ("N", "V"))
    expected = abs((n - 22) / n - float(np.float32(confidence)))
    assert evaluate(p, by_patient=False, n_bootstrap=0).ece.value == pytest.approx(expected, abs=1e-7)


def test_probabilities_that_round_above_one_are_clipped() -> None:
    p = random_predictions(300, seed=1)
    above = p.probability.copy()
    above[0] = np.eye(5)[p.label[0]] * np.nextafter(np.float32(1), np.float32(2))
    results = [
        evaluate(make_predictions(p.label, probability, p.patient), by_patient=False, n_bootstrap=20)
        for probability in (above, np.clip(above, 0, 1))
    ]
    assert results[0] == results[1]


def test_macro_means_leave_out_a_class_that_is_absent_from_the_truth() -> None:
    p = random_predictions(400, prior=[0.7, 0.2, 0.1, 0, 0], seed=2)
    probability = p.probability.copy()
    probability[:, 4] = 0  # Q is neither true nor predicted; F is predicted for some beats
    p = make_predictions(p.label, probability, p.patient)
    result = evaluate(p, by_patient=True, n_bootstrap=50)
    predicted = p.probability.argmax(axis=1)
    assert (predicted == 3).any()
    assert values(result.per_class["F"]) == [0, None, None, None, None]
    assert values(result.per_class["Q"]) == [None] * 5
    assert result.per_class["F"].precision.low is None
    f1 = result.macro.f1
    assert f1.value == pytest.approx(f1_score(p.label, predicted, average="macro", labels=[0, 1, 2]), abs=1e-6)
    assert f1.value is not None
    assert f1.low is not None
    assert f1.high is not None
    assert f1.low < f1.value < f1.high


def test_a_class_that_is_never_predicted_scores_zero() -> None:
    p = random_predictions(300, classes=("N", "V"), seed=4)
    p = make_predictions(p.label, np.tile([0.9, 0.1], (300, 1)), p.patient, ("N", "V"))
    result = evaluate(p, by_patient=False, n_bootstrap=50)
    assert values(result.per_class["V"])[:3] == [0, 0, 0]
    assert result.mcc == Score(0, 0, 0)
    assert result.per_class["V"].auroc.value == 0.5


def test_correlation_and_auroc_of_a_single_true_class_are_undefined() -> None:
    p = random_predictions(100, prior=[1, 0, 0, 0, 0])
    result = evaluate(p, by_patient=False, n_bootstrap=20)
    assert result.mcc == result.macro.auroc == result.per_class["N"].auroc == Score(None)
    assert result.per_class["N"].recall.value == result.accuracy.value


def test_no_beats_are_an_error() -> None:
    p = random_predictions(20)
    with pytest.raises(UserError, match="no beats"):
        evaluate(without_records(p, set(p.record)), by_patient=True, n_bootstrap=0)


def test_probabilities_that_are_not_finite_are_an_error() -> None:
    p = random_predictions(20)
    probability = np.where(np.arange(20)[:, None] == 3, np.nan, p.probability)
    with pytest.raises(UserError, match=r"1 of 20 beats are not finite.*diverged.*optimizer\.lr"):
        evaluate(make_predictions(p.label, probability, p.patient), by_patient=True, n_bootstrap=0)


def test_without_records_removes_only_the_beats_of_these_records() -> None:
    p = random_predictions(200)
    rest = without_records(p, ("3", "absent"))
    keep = p.record != "3"
    assert set(p.record) - set(rest.record) == {"3"}
    np.testing.assert_array_equal(rest.sample, p.sample[keep])
    np.testing.assert_array_equal(rest.probability, p.probability[keep])
    np.testing.assert_array_equal(rest.label, p.label[keep])


def test_ec57_rates_are_included_only_on_request() -> None:
    p = random_predictions(50)
    with_rates = evaluate(p, by_patient=True, ec57=True, n_bootstrap=0).ec57
    assert with_rates is not None
    assert list(with_rates) == ["S", "V", "F"]
    assert evaluate(p, by_patient=True, n_bootstrap=0).ec57 is None
