"""EC57 rates against sums by hand and published numbers."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from prediction_factories import CLASSES, predictions_with_confusion, random_predictions

from ecg.evaluation.ec57 import evaluate_ec57
from ecg.evaluation.scores import Rates, RecordRates

# Rows are the true classes N S V F Q, columns the predicted ones.
MATRICES = {
    "a": [[80, 6, 4, 3, 7], [2, 10, 3, 4, 1], [1, 2, 20, 5, 2], [3, 1, 9, 7, 0], [1, 8, 5, 1, 5]],
    "b": [[50, 0, 0, 0, 0], [0, 0, 0, 0, 0], [4, 0, 6, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}


def assert_equal(result: Rates | RecordRates | None, expected: Rates | RecordRates) -> None:
    assert result is not None
    assert type(result) is type(expected)
    assert astuple(result) == pytest.approx(astuple(expected))


def test_ventricular_rates_of_given_confusion_matrices() -> None:
    v = evaluate_ec57(predictions_with_confusion(MATRICES, CLASSES))["V"]
    # V in a: TP 20, FN 1+2+5+2 = 10, FP from N and S 4+3 = 7; F and Q predicted as V (9 and 5) do not count.
    # TN: N 100-4, S 20-3, F 20-9, Q 20-5 = 96+17+11+15 = 139.
    assert_equal(v.per_record["a"], RecordRates(n=30, se=20 / 30, ppv=20 / 27, fpr=7 / 146))
    # V in b: TP 6, FN 4, FP 0, TN 50.
    assert_equal(v.per_record["b"], RecordRates(n=10, se=0.6, ppv=1, fpr=0))
    assert_equal(v.gross, Rates(se=26 / 40, ppv=26 / 33, fpr=7 / 196))
    assert_equal(v.record_mean, Rates(se=(20 / 30 + 0.6) / 2, ppv=(20 / 27 + 1) / 2, fpr=7 / 292))


def test_supraventricular_rates_of_given_confusion_matrices() -> None:
    s = evaluate_ec57(predictions_with_confusion(MATRICES, CLASSES))["S"]
    # S in a: TP 10, FN 2+3+4+1 = 10, FP from N, V and F 6+2+1 = 9; Q predicted as S (8) does not count.
    # TN: N 100-6, V 30-2, F 20-1, Q 20-8 = 94+28+19+12 = 153.
    assert_equal(s.per_record["a"], RecordRates(n=20, se=0.5, ppv=10 / 19, fpr=9 / 162))
    # b has no S, true or predicted: Se and +P are undefined, and the mean leaves them out; TN 50+10.
    assert s.per_record["b"] == RecordRates(n=0, se=None, ppv=None, fpr=0)
    assert_equal(s.gross, Rates(se=0.5, ppv=10 / 19, fpr=9 / 222))
    assert_equal(s.record_mean, Rates(se=0.5, ppv=10 / 19, fpr=9 / 324))


def test_fusion_rates_count_every_other_class_and_have_no_records() -> None:
    f = evaluate_ec57(predictions_with_confusion(MATRICES, CLASSES))["F"]
    # F: TP 7, FN 3+1+9+0 = 13, FP 3+4+5+1 = 13, TN all other beats 170+60-13 = 217.
    assert_equal(f.gross, Rates(se=7 / 20, ppv=7 / 20, fpr=13 / 230))
    assert f.record_mean is None
    assert f.per_record == {}


def test_rates_of_four_classes() -> None:
    four = {record: [row[:4] for row in matrix[:4]] for record, matrix in MATRICES.items()}
    result = evaluate_ec57(predictions_with_confusion(four, CLASSES[:4]))
    # V: TP 26, FN 8+4, FP 7, TN in a N 93-4, S 19-3, F 20-9 and in b 50: 89+16+11+50 = 166.
    assert_equal(result["V"].gross, Rates(se=26 / 38, ppv=26 / 33, fpr=7 / (7 + 166)))
    # S: TP 10, FN 9, FP 9, TN in a N 93-6, V 28-2, F 20-1 and in b 60: 87+26+19+60 = 192.
    assert_equal(result["S"].gross, Rates(se=10 / 19, ppv=10 / 19, fpr=9 / 201))


def test_rates_equal_the_published_ones_of_de_chazal() -> None:
    """A confusion matrix with the class counts of DS2 that gives the published rates of de Chazal 2004."""
    matrix = [
        [38444, 1904, 303, 3509, 99],
        [173, 1395, 252, 16, 1],
        [117, 321, 2504, 176, 103],
        [33, 1, 7, 347, 0],
        [7, 0, 0, 0, 0],
    ]
    result = evaluate_ec57(predictions_with_confusion({"DS2": matrix}, CLASSES))
    percent = {
        name: [round(100 * rate, 1) for rate in astuple(result[name].gross) if rate is not None] for name in "SVF"
    }
    assert percent["S"][:2] == [75.9, 38.5]
    assert percent["V"] == [77.7, 81.9, 1.2]
    assert percent["F"][:2] == [89.4, 8.6]


def test_classes_that_the_classifier_does_not_distinguish_have_no_rates() -> None:
    assert list(evaluate_ec57(random_predictions(50, classes=("N", "V")))) == ["V"]
