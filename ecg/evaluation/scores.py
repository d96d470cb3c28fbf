"""Types of the results of a classifier: scores with intervals, EC57 rates, and the metrics of a run.

`to_json` returns dictionaries, lists and numbers, with the fields as keys. `from_json` reverses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ecg.reading import parse

# The scores of each class, and of the mean over the classes.
CLASS_SCORES = ("precision", "recall", "f1", "auroc", "auprc")


@dataclass(frozen=True)
class _Result:
    """Base of the result types."""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, converted for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Returns the result that `to_json` has converted.

        Raises:
            ValueError: a field is missing, unknown, or has another type.
        """
        result: Self = parse(cls, data)
        return result


@dataclass(frozen=True)
class Score(_Result):
    """A score with its 95 % interval.

    Attributes:
        value: None if the score is undefined.
        low: lower limit of the interval; None without an interval.
        high: upper limit of the interval; None without an interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MacroScores(_Result):
    """Unweighted means over the classes that occur in the truth."""

    precision: Score
    recall: Score
    f1: Score
    auroc: Score
    auprc: Score


@dataclass(frozen=True)
class ClassScores(_Result):
    """Scores of one class against all others.

    Attributes:
        support: number of beats of the class in the truth.
        precision: positive predictive value.
        recall: sensitivity.
        f1: harmonic mean of precision and recall.
        auroc: area under the ROC curve.
        auprc: area under the precision-recall curve, computed as average precision.
    """

    support: int
    precision: Score
    recall: Score
    f1: Score
    auroc: Score
    auprc: Score


@dataclass(frozen=True)
class Rates(_Result):
    """The rates of ANSI/AAMI EC57 for one class. A rate with a denominator of 0 is None.

    Attributes:
        se: sensitivity.
        ppv: positive predictive value, written +P in the standard.
        fpr: false positive rate.
    """

    se: float | None
    ppv: float | None
    fpr: float | None


@dataclass(frozen=True)
class RecordRates(_Result):
    """The rates of one class in one record.

    Attributes:
        n: number of beats of the class in the record.
        se: sensitivity.
        ppv: positive predictive value.
        fpr: false positive rate.
    """

    n: int
    se: float | None
    ppv: float | None
    fpr: float | None


@dataclass(frozen=True)
class EC57Class(_Result):
    """The EC57 results of one class.

    Attributes:
        gross: rates over all beats.
        record_mean: mean of each rate over the records in which it is defined; None for class F.
        per_record: rates by record, empty for class F.
    """

    gross: Rates
    record_mean: Rates | None
    per_record: dict[str, RecordRates]


@dataclass(frozen=True)
class Metrics(_Result):
    """Metrics of one set of beats.

    Attributes:
        n_beats: number of beats.
        n_patients: number of patients.
        interval: how the intervals are computed, in words.
        accuracy: fraction of beats with the correct class.
        mcc: Matthews correlation coefficient.
        ece: expected calibration error of the predicted class.
        macro: means over the classes.
        per_class: scores by class.
        confusion_matrix: counts (n_classes, n_classes), row truth, column prediction.
        classes: names of the classes, in the order of the rows.
        ec57: EC57 results by class; None if they were not requested.
    """

    n_beats: int
    n_patients: int
    interval: str
    accuracy: Score
    mcc: Score
    ece: Score
    macro: MacroScores
    per_class: dict[str, ClassScores]
    confusion_matrix: list[list[int]]
    classes: tuple[str, ...]
    ec57: dict[str, EC57Class] | None

    @property
    def by_patient(self) -> bool:
        """Whether the intervals are those of patients, not of beats."""
        return self.interval.endswith("patients")


@dataclass(frozen=True)
class RunMetrics(_Result):
    """Metrics of one training run, stored in metrics.json.

    Attributes:
        simulated: whether the beats are simulated.
        logit_shift: multiple of the log class prior that is subtracted from the logits; 0 without adjustment.
        subsets: metrics by subset: "test", "validation" if there is one, and parts of the test beats such as
            "test without 202".
        temperature: the logits are divided by it.
    """

    simulated: bool
    logit_shift: float
    subsets: dict[str, Metrics]
    temperature: float = 1.0
