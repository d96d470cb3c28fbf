from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from test_distances import HELD_OUT, TRAIN, cohort

from ecg.evaluation.fidelity import GATES, MEASURES, judge
from ecg.evaluation.fidelity_report import CEILINGS
from ecg.evaluation.judges import Cohort, fit_classifier

CLASSES = ("N", "V")
STEPS = 100


def judged(synthetic: Cohort, held_out: Cohort = HELD_OUT, steps: int = STEPS) -> dict[str, Any]:
    classifier = fit_classifier(TRAIN, 2, steps=steps)
    options: dict[str, Any] = {"classifier": classifier, "steps": steps, "sfreq": 120.0, "peak": 0}
    return judge(synthetic, TRAIN, {"test": held_out}, CLASSES, **options)["test"]


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return judged(cohort(400, 3))


def test_beats_as_good_as_real_ones_pass_every_gate(good: dict[str, Any]) -> None:
    assert good["trusted"], [gate["sentence"] for gate in good["gates"]]
    assert len(good["gates"]) == len(GATES) - 3  # neither S nor F takes part
    assert good["n"]["synthetic"] == {"N": 200, "V": 200}


# Which ceilings each measure puts far from its floor. A copy is what memorisation is for; a classifier can learn from
# beats of the wrong height, and one beat has nearest neighbours like any other.
ALL = {"noise", "flat", "amplitude x5", "one beat"}
FAR = {
    "tstr_macro_f1": {"noise", "flat"},
    "discriminative": ALL,
    "frechet": ALL,
    "mmd": ALL,
    "mmd_p": ALL,
    "coverage": ALL,
    "density": {"noise", "flat", "amplitude x5"},
    "memorised_share": {"copy", "one beat"},
    "memorisation": {"copy", "one beat"},
}


@pytest.mark.parametrize("key", FAR)
def test_each_measure_tells_bad_beats_from_its_floor(good: dict[str, Any], key: str) -> None:
    found, sign = good["measures"][key]["overall"], 1 if MEASURES[key].better == "higher" else -1
    floor = found["floor"]
    # Far: beyond what chance or one bad class would explain.
    far = {"discriminative": 0.3, "frechet": 5 * floor, "mmd": 0.01, "memorised_share": 0.2}.get(key, 0.7 * floor)
    for name in FAR[key]:
        assert sign * found["ceilings"][name] < sign * far, (name, found)
    assert sign * found["value"] > sign * far, found


@pytest.mark.parametrize("name", ["copy", *sorted(ALL)])
def test_every_ceiling_misses_a_gate(good: dict[str, Any], name: str) -> None:
    measures = deepcopy(good["measures"])
    for measure in measures.values():
        for row in (measure["overall"], *measure["per_class"].values()):
            row["value"] = row["ceilings"][name]
    read = [gate.read(measures) for gate in GATES]
    missed = {gate["measure"] for gate in read if gate and not gate["passed"]}
    assert missed == {"memorisation", "memorised_share"} if name == "copy" else len(missed) >= 3, missed


def test_a_judge_that_has_learnt_nothing_lets_nobody_pass() -> None:
    found = judged(cohort(400, 3), steps=1)
    discriminative = next(gate for gate in found["gates"] if gate["measure"] == "discriminative")
    assert discriminative["blind"]
    assert "cannot be read" in discriminative["sentence"]
    assert not found["trusted"]


def test_nothing_passes_where_real_beats_reach_nothing() -> None:
    def reading(key: str, value: float, floor: float) -> Any:
        row = {"value": value, "floor": floor, "ceilings": dict.fromkeys(CEILINGS, 0.0 if key == "coverage" else 9.0)}
        gate = next(gate for gate in GATES if gate.measure == key)
        return gate.read({key: {"title": key, "overall": row, "per_class": {}}})

    assert not reading("coverage", 0.5, 0.0)["passed"]
    assert not reading("frechet", 0.5, 0.0)["passed"]
    assert reading("coverage", 0.5, 0.5)["passed"]
    assert reading("frechet", 0.5, 0.5)["passed"]


def test_waveform_statistics_tell_the_height(good: dict[str, Any]) -> None:
    height = good["measures"]["ks_r_amplitude"]["overall"]
    assert height["value"] < 0.25 < 0.9 < height["ceilings"]["amplitude x5"]


def test_a_class_of_few_beats_is_left_out_and_said_so(good: dict[str, Any]) -> None:
    few = np.concatenate([np.flatnonzero(HELD_OUT.label == 0), np.flatnonzero(HELD_OUT.label == 1)[:5]])
    found = judged(cohort(400, 3), HELD_OUT.take(few), steps=5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for key in ("frechet", "coverage", "tstr_recall"):
        assert found["measures"][key]["per_class"]["V"]["value"] is None
        assert found["measures"][key]["overall"]["value"] == found["measures"][key]["per_class"]["N"]["value"]
