"""Three sentences about synthetic beats: whether they can be used, for what, and what is wrong with them."""

from __future__ import annotations

from ecg.evaluation.fidelity import Fidelity, MeasureResult

SUFFICIENT_RECALL = 0.9  # relative to the reference


def verdict(fidelity: Fidelity) -> list[str]:
    """Returns the three sentences that follow from the gates and measures; one if no gate could be evaluated."""
    if not fidelity.gates:
        return ["Every class has too few real or synthetic beats, so it is not known whether these beats can be used."]
    return [_whether(fidelity), _for_what(fidelity), _what_is_wrong(fidelity)]


def _whether(fidelity: Fidelity) -> str:
    if _fails(fidelity, "memorisation") or _fails(fidelity, "too_close_fraction"):
        return "These beats should not be used: many of them are nearly copies of training beats."
    if fidelity.passed:
        return "These beats can be used like real beats of the same patients."
    if _fails(fidelity, "tstr_macro_f1") or _fails(fidelity, "tstr_recall"):
        return "These beats should not be used: a classifier learns less from them than from real beats."
    return "These beats can be used as training data, but not where they have to look like real beats."


def _for_what(fidelity: Fidelity) -> str:
    f1, recall = fidelity.measures["tstr_macro_f1"].overall, fidelity.measures["tstr_recall"].per_class
    if f1.value is None or not f1.reference:
        return "There are too few real beats to measure what a classifier learns from them."
    ratios = {
        name: row.value / row.reference for name, row in recall.items() if row.value is not None and row.reference
    }
    good = [name for name, ratio in ratios.items() if ratio >= SUFFICIENT_RECALL]
    bad = [name for name in ratios if name not in good]
    by_class = f"It finds the beats of {_classes(good)} nearly as well" if good else "It finds no class nearly as well"
    end = f", but not those of {_classes(bad)}." if good and bad else "."
    ratio = 100 * f1.value / f1.reference
    return (
        f"A classifier trained on them alone has {ratio:.0f} % of the F1 of one trained on real beats. {by_class}{end}"
    )


def _what_is_wrong(fidelity: Fidelity) -> str:
    measures = fidelity.measures
    if fidelity.passed:
        return "No gate detects a difference from real beats."
    if _fails(fidelity, "discriminative"):
        accuracy = {
            name: 100 * (0.5 + row.value)
            for name, row in measures["discriminative"].per_class.items()
            if row.value is not None
        }
        worst = max(accuracy, key=lambda name: accuracy[name])
        mean = sum(accuracy.values()) / len(accuracy)
        return (
            f"A network separates them from real beats in {mean:.0f} % of the cases (50 % is chance), and best in "
            f"class {worst}, in {accuracy[worst]:.0f} %."
        )
    if _fails(fidelity, "coverage"):
        return f"They are less diverse: they cover {100 * _ratio(measures['coverage']):.0f} % of what real beats cover."
    if _fails(fidelity, "frechet"):
        ratio = _ratio(measures["frechet"])
        return (
            f"A classifier's features of them are {ratio:.1f} times as far from real beats as those of training beats."
        )
    failed = next(gate for gate in fidelity.gates if not gate.passed)
    return f"They fail a gate: {failed.sentence}."


def _fails(fidelity: Fidelity, measure: str) -> bool:
    return any(gate.measure == measure and not gate.passed for gate in fidelity.gates)


def _ratio(measure: MeasureResult) -> float:
    value, reference = measure.overall.value, measure.overall.reference
    assert value is not None
    assert reference is not None  # the gate was evaluated
    return value / max(reference, 1e-12)


def _classes(names: list[str]) -> str:
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return f"class{'es' if len(names) > 1 else ''} {listed}"
