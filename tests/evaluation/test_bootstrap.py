"""Areas under the curves against scikit-learn, draws against copied beats, intervals against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_factories import make_predictions, random_predictions
from sklearn.metrics import average_precision_score, roc_auc_score

from ecg.evaluation import metrics
from ecg.evaluation.bootstrap import areas_under_curves, draw_counts, rank, with_interval
from ecg.evaluation.metrics import bootstrap_scores, evaluate, point_scores
from ecg.evaluation.predictions import Predictions
from ecg.evaluation.scores import CLASS_SCORES, Metrics, Score


def scores_by_name(result: Metrics) -> dict[str, Score]:
    """Every score of the metrics."""
    scores = {name: getattr(result, name) for name in ("accuracy", "mcc", "ece")}
    scores |= {f"macro {name}": getattr(result.macro, name) for name in CLASS_SCORES}
    for class_name, row in result.per_class.items():
        scores |= {f"{class_name} {name}": getattr(row, name) for name in CLASS_SCORES}
    return scores


def width(score: Score) -> float:
    assert score.low is not None
    assert score.high is not None
    return score.high - score.low


def contains(score: Score, value: float | None) -> bool:
    assert score.low is not None
    assert score.high is not None
    assert value is not None
    return score.low <= value <= score.high


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 8), st.integers(0, 10**6))
def test_weighted_areas_equal_those_of_sklearn(n: int, levels: int, seed: int) -> None:
    """Few distinct probabilities give many groups of equal ones. A weight of 0 is a beat that was not drawn."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    positive[rng.integers(n)] = True
    probability = (rng.integers(0, levels + 1, n) / levels).astype(np.float32)
    unit = rng.integers(0, max(1, n // 2), n)
    counts = rng.integers(0, 3, (4, int(unit.max()) + 1)).astype(np.int32)
    areas = areas_under_curves(rank(probability, positive, unit), counts)
    for d, count in enumerate(counts):
        weight = count[unit]
        if not weight[positive].sum():
            assert np.isnan(areas.auroc[d])
            assert np.isnan(areas.auprc[d])
            continue
        expected = average_precision_score(positive, probability, sample_weight=weight)
        assert areas.auprc[d] == pytest.approx(expected)
        if weight[~positive].sum():
            assert areas.auroc[d] == pytest.approx(roc_auc_score(positive, probability, sample_weight=weight))
        else:
            assert np.isnan(areas.auroc[d])


def test_draws_are_counted_in_chunks() -> None:
    chunks = list(draw_counts(12, 7, 3, np.random.default_rng(8)))
    assert [chunk.shape for chunk in chunks] == [(3, 12), (3, 12), (1, 12)]
    assert (np.concatenate(chunks).sum(axis=1) == 12).all()


@pytest.mark.parametrize("by_patient", [True, False])
def test_draws_equal_the_scores_of_copied_beats(monkeypatch: pytest.MonkeyPatch, by_patient: bool) -> None:
    """The scores weighted by counts equal those of a set in which each beat is repeated as often as it was drawn."""
    monkeypatch.setattr(metrics, "CHUNK", 900)
    p = random_predictions(300, seed=5)
    unit = np.unique(p.patient, return_inverse=True)[1] if by_patient else np.arange(300)
    draws = bootstrap_scores(p, unit, 7, np.random.default_rng(8))
    assert draws is not None
    assert draws.accuracy.shape == (7,)
    assert draws.auprc.shape == (7, 5)
    counts = np.concatenate(list(draw_counts(int(unit.max()) + 1, 7, 900 // 300, np.random.default_rng(8))))
    for d, count in enumerate(counts):
        copy = np.repeat(np.arange(300), count[unit])
        point = point_scores(make_predictions(p.label[copy], p.probability[copy], p.patient[copy]))
        for name in ("accuracy", "mcc", "ece", *CLASS_SCORES):
            np.testing.assert_allclose(getattr(draws, name)[d], getattr(point, name), atol=2e-6, err_msg=name)


def test_interval_ignores_undefined_draws() -> None:
    draws = np.append(np.linspace(0, 1, 101), [np.nan] * 50)
    assert with_interval(0.5, draws) == Score(0.5, 0.025, 0.975)
    assert with_interval(0.5, np.full(3, np.nan)) == with_interval(0.5, None) == Score(0.5)
    assert with_interval(np.nan, draws) == Score(None)


@pytest.mark.parametrize("by_patient", [True, False])
def test_intervals_contain_the_value(by_patient: bool) -> None:
    p = random_predictions(8000, prior=[0.8, 0.05, 0.08, 0.02, 0.05], n_patients=40, decimals=4, seed=6)
    result = evaluate(p, by_patient=by_patient, n_bootstrap=300)
    assert result.interval.endswith("patients" if by_patient else "beats")
    scores = scores_by_name(result)
    assert len(scores) == 3 + 5 + 25
    for name, score in scores.items():
        assert contains(score, score.value), name
        assert 0 < width(score) < 0.2, name


def test_interval_of_the_calibration_error_contains_the_value_of_a_calibrated_classifier() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([0.3] * 3, 4000)
    label = (probability.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    p = make_predictions(label, probability, np.zeros(4000, str), ("N", "S", "V"))
    ece = evaluate(p, by_patient=False, n_bootstrap=300).ece
    assert contains(ece, ece.value)
    assert ece.low is not None
    assert ece.high is not None
    assert ece.low >= 0
    assert ece.high < 0.05


def clustered_predictions(n_patients: int, spread: float, rng: np.random.Generator) -> Predictions:
    """Predictions of two classes. The accuracy differs between patients, with a mean of 0.8."""
    rate = np.clip(rng.normal(0.8, spread, n_patients), 0, 1)
    patient = np.repeat(np.arange(n_patients), 20)
    label = rng.integers(0, 2, len(patient))
    correct = rng.random(len(patient)) < rate[patient]
    probability = np.where((label == correct)[:, None], [0.3, 0.7], [0.7, 0.3])
    return make_predictions(label, probability, patient.astype(str), ("N", "V"))


@pytest.mark.slow
@pytest.mark.parametrize(("by_patient", "spread"), [(False, 0.0), (True, 0.06)])
def test_intervals_cover_the_true_value_in_about_95_of_100_cases(by_patient: bool, spread: float) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(200):
        p = clustered_predictions(40, spread, rng)
        covered += contains(evaluate(p, by_patient=by_patient, n_bootstrap=200, seed=i).accuracy, 0.8)
    assert 0.88 <= covered / 200 <= 0.99


def test_intervals_over_patients_are_wider_if_patients_differ() -> None:
    p = clustered_predictions(40, 0.15, np.random.default_rng(2))
    beats, patients = (evaluate(p, by_patient=by_patient, n_bootstrap=300) for by_patient in (False, True))
    for over_beats, over_patients in ((beats.accuracy, patients.accuracy), (beats.mcc, patients.mcc)):
        assert width(over_patients) > 1.4 * width(over_beats)
        assert over_beats.value == over_patients.value


def test_the_seed_determines_the_intervals_and_not_the_values() -> None:
    p = random_predictions()
    first, same, other = (evaluate(p, by_patient=True, n_bootstrap=50, seed=seed) for seed in (0, 0, 1))
    assert first == same
    assert first.accuracy.low != other.accuracy.low
    assert first.accuracy.value == other.accuracy.value


@pytest.mark.parametrize(("n_patients", "n_bootstrap"), [(1, 50), (12, 0)])
def test_one_patient_or_no_draws_give_no_intervals(n_patients: int, n_bootstrap: int) -> None:
    result = evaluate(random_predictions(n_patients=n_patients), by_patient=True, n_bootstrap=n_bootstrap)
    for score in scores_by_name(result).values():
        assert score.value is not None
        assert score.low is score.high is None


def test_a_class_of_one_patient_has_no_intervals_over_patients() -> None:
    p = random_predictions(prior=[0.5, 0.3, 0.2, 0, 0])
    label = np.where((p.patient == "0") & (p.label == 0), 3, p.label)
    p = make_predictions(label, p.probability, p.patient)
    over_patients, over_beats = (evaluate(p, by_patient=b, n_bootstrap=50).per_class for b in (True, False))
    assert over_patients["F"].recall.value is not None
    assert over_patients["F"].recall.low is None
    assert over_patients["S"].recall.low is not None
    assert over_beats["F"].recall.low is not None
