"""Chooses class shifts and a temperature from the test beats of cross-validations.

The predictions of all folds of a seed are one set of beats, so that every patient is in it once. A shift is chosen on
the beats of all seeds together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecg.comparison.run_records import FOLD, RunRecord
from ecg.errors import UserError
from ecg.evaluation.adjustment import best_shifts, best_temperature, f1_scores


@dataclass(frozen=True)
class Calibration:
    """Shifts and temperature, with the scores before and after.

    Attributes:
        shifts: number added to the logits of each class.
        temperature: the shifted logits are divided by it.
        n_beats: number of predictions they were chosen on.
        n_runs: number of runs.
        before: F1 of each class without shifts.
        after: F1 of each class with them.
    """

    shifts: dict[str, float]
    temperature: float
    n_beats: int
    n_runs: int
    before: dict[str, float]
    after: dict[str, float]

    @property
    def overrides(self) -> list[str]:
        """The overrides of train.py that apply them."""
        shifts = ", ".join(f"{name}: {shift:g}" for name, shift in self.shifts.items() if shift)
        return [f"prediction.shifts={{{shifts}}}", f"prediction.temperature={self.temperature:.3g}"]


def calibrate(records: Sequence[RunRecord], shifted: Sequence[str] | None = None) -> Calibration:
    """Returns the shifts with the highest macro-F1 of the test beats of all runs, and the temperature after them.

    Args:
        records: finished runs of protocol=patient_kfold.
        shifted: classes whose logits are shifted; None for all but the first one.

    Raises:
        UserError: a run is not finished, not part of a cross-validation or already shifted, a fold is missing, the
            runs have different classes, or a class is unknown.
    """
    for record in records:
        if record.state != "finished":
            raise UserError(f"The run in {record.folder} is not finished: {record.state_label}.")
        if FOLD not in record.config:
            raise UserError(
                f"The run in {record.folder} is no fold of a cross-validation. Shifts chosen on its test beats would "
                "make its scores optimistic. Use runs of protocol=patient_kfold."
            )
        if record.config.get("prediction.temperature", 1) != 1 or any(
            key.startswith("prediction.shifts.") for key in record.config
        ):
            raise UserError(
                f"The run in {record.folder} was evaluated with prediction.shifts or prediction.temperature already. "
                "Evaluate it without them: repeat its command with checkpoint=RUN_DIR."
            )
    _require_all_folds(records)
    parts = [record.predictions for record in records if record.predictions]
    if len(sets := {part.classes for part in parts}) > 1:
        raise UserError(f"The runs have different classes: {' and '.join(sorted(map(', '.join, sets)))}.")
    (classes,) = sets
    logits = torch.from_numpy(np.concatenate([_log(part.probability) for part in parts]))
    label = torch.from_numpy(np.concatenate([part.label for part in parts]))
    chosen = classes[1:] if shifted is None else shifted
    if unknown := [name for name in chosen if name not in classes]:
        raise UserError(f"Unknown classes: {', '.join(unknown)}. Valid classes: {', '.join(classes)}.")
    shifts = best_shifts(logits, label, [classes.index(name) for name in chosen])
    return Calibration(
        shifts=dict(zip(classes, shifts.tolist(), strict=True)),
        temperature=best_temperature(logits + shifts, label),
        n_beats=len(label),
        n_runs=len(parts),
        before=dict(zip(classes, f1_scores(logits.argmax(dim=1), label, len(classes)).tolist(), strict=True)),
        after=dict(zip(classes, f1_scores((logits + shifts).argmax(dim=1), label, len(classes)).tolist(), strict=True)),
    )


def _require_all_folds(records: Sequence[RunRecord]) -> None:
    """Refuses a cross-validation that lacks a fold, since some patients would have no part in the choice."""
    folds: dict[tuple[int, Any], set[int]] = {}
    for record in records:
        folds.setdefault((record.seed, record.config.get("protocol.split_seed")), set()).add(record.fold)
    n_folds = int(records[0].config["protocol.n_folds"])
    for (seed, _), present in folds.items():
        if missing := sorted(set(range(n_folds)) - present):
            raise UserError(
                f"The cross-validation of seed {seed} lacks the folds {', '.join(map(str, missing))} of {n_folds}. "
                f"Run them with -m protocol.fold={','.join(map(str, missing))}."
            )


def _log(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(np.maximum(probability, np.finfo(np.float32).tiny))
