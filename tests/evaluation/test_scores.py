"""Conversion of the result types to JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_factories import random_predictions

from ecg.evaluation.metrics import evaluate
from ecg.evaluation.scores import (
    CLASS_SCORES,
    ClassScores,
    EC57Class,
    MacroScores,
    Metrics,
    Rates,
    RecordRates,
    RunMetrics,
    Score,
)

NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 10**6)
SCORES = st.builds(Score, NUMBERS, NUMBERS, NUMBERS)
MACRO = st.builds(MacroScores, **dict.fromkeys(CLASS_SCORES, SCORES))
CLASS = st.builds(ClassScores, support=COUNTS, **dict.fromkeys(CLASS_SCORES, SCORES))
RATES = st.builds(Rates, NUMBERS, NUMBERS, NUMBERS)
RECORD_RATES = st.builds(RecordRates, COUNTS, NUMBERS, NUMBERS, NUMBERS)


def by_name(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from("NSVFQ"), values, max_size=2)


EC57 = st.builds(EC57Class, RATES, st.none() | RATES, by_name(RECORD_RATES))
METRICS = st.builds(
    Metrics,
    n_beats=COUNTS,
    n_patients=COUNTS,
    interval=st.sampled_from(["", "95 % percentile bootstrap over beats"]),
    accuracy=SCORES,
    mcc=SCORES,
    ece=SCORES,
    macro=MACRO,
    per_class=by_name(CLASS),
    confusion_matrix=st.lists(st.lists(COUNTS, max_size=2), max_size=2),
    classes=st.lists(st.sampled_from("NSVFQ"), max_size=2).map(tuple),
    ec57=st.none() | by_name(EC57),
)
RUN_METRICS = st.builds(RunMetrics, st.booleans(), st.floats(0, 1), by_name(METRICS), st.floats(0.1, 10))
RESULTS = [SCORES, MACRO, CLASS, RATES, RECORD_RATES, EC57, METRICS, RUN_METRICS]
NAMES = ["Score", "MacroScores", "ClassScores", "Rates", "RecordRates", "EC57Class", "Metrics", "RunMetrics"]


@pytest.mark.parametrize("results", RESULTS, ids=NAMES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_from_json_reverses_to_json(results: st.SearchStrategy[Any], data: st.DataObject) -> None:
    result = data.draw(results)
    text = json.dumps(result.to_json(), allow_nan=False)
    assert type(result).from_json(json.loads(text)) == result
    assert type(result).from_json(result.to_json()) == result


@pytest.mark.parametrize("ec57", [True, False])
def test_evaluated_metrics_are_restored_from_json(ec57: bool) -> None:
    metrics = evaluate(random_predictions(prior=[0.6, 0.3, 0.1, 0, 0]), by_patient=True, ec57=ec57, n_bootstrap=5)
    run = RunMetrics(
        simulated=False, logit_shift=0.5, temperature=1.5, subsets={"validation": metrics, "test": metrics}
    )
    assert RunMetrics.from_json(json.loads(json.dumps(run.to_json(), allow_nan=False))) == run
