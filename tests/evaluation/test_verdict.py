"""The three sentences about synthetic beats."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports_factories import make_fidelity

from ecg.evaluation.fidelity import Fidelity
from ecg.evaluation.verdict import verdict


def with_value(fidelity: Fidelity, measure: str, value: float, *, of_class: str | None = None) -> Fidelity:
    """The same result with another value of a measure."""
    old = fidelity.measures[measure]
    changed = replace(old.overall, value=value)
    per_class = old.per_class | ({of_class: changed} if of_class else dict.fromkeys(old.per_class, changed))
    return replace(fidelity, measures=fidelity.measures | {measure: replace(old, overall=changed, per_class=per_class)})


def test_beats_that_pass_all_gates_can_be_used_like_real_beats() -> None:
    sentences = verdict(make_fidelity(value=0.5, reference=0.5))
    assert sentences == [
        "These beats can be used like real beats of the same patients.",
        "A classifier trained on them alone has 100 % of the F1 of one trained on real beats. It finds the beats of "
        "classes N, S, V, F and Q nearly as well.",
        "No gate detects a difference from real beats.",
    ]


@pytest.mark.parametrize(
    ("failed", "whether", "wrong"),
    [
        (("discriminative",), "can be used as training data, but not where", "in 90 % of the cases (50 % is chance)"),
        (("tstr_macro_f1", "frechet"), "a classifier learns less from them", "0.8 times as far from real beats"),
        (("tstr_recall", "coverage"), "a classifier learns less from them", "they cover 80 % of what real beats"),
        (("memorisation",), "nearly copies of training beats", "They fail a gate: Distance to the nearest training"),
        (("too_close_fraction", "discriminative"), "nearly copies of training beats", "best in class N, in 90 %"),
    ],
)
def test_failed_gates_decide_the_sentences(failed: tuple[str, ...], whether: str, wrong: str) -> None:
    first, _, third = verdict(make_fidelity(value=0.4, reference=0.5, failed=failed))
    assert whether in first
    assert wrong in third


def test_the_second_sentence_names_the_classes_that_are_learned() -> None:
    fidelity = with_value(make_fidelity(value=0.5, reference=0.5), "tstr_recall", 0.1, of_class="F")
    assert verdict(fidelity)[1].endswith("of classes N, S, V and Q nearly as well, but not those of class F.")
    assert verdict(with_value(fidelity, "tstr_recall", 0.1))[1].endswith("It finds no class nearly as well.")


def test_the_third_sentence_names_the_class_that_is_separated_best() -> None:
    fidelity = make_fidelity(value=0.2, reference=0.1, failed=("discriminative",))
    third = verdict(with_value(fidelity, "discriminative", 0.4, of_class="F"))[2]
    assert "best in class F, in 90 %" in third


def test_too_few_beats_give_one_sentence() -> None:
    (sentence,) = verdict(replace(make_fidelity(), gates=(), passed=False))
    assert "too few real or synthetic beats" in sentence
    without_f1 = make_fidelity(value=None, failed=("discriminative",))
    assert "too few real beats to measure" in verdict(replace(without_f1, gates=without_f1.gates[:1], passed=True))[1]
