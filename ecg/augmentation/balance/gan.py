"""Beats of a generator."""

from __future__ import annotations

import numpy as np

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.augmentation.balance.fusion import fused_beats
from ecg.data.balanced import BalancedBeats
from ecg.data.synthetic_set import SyntheticSet, check_compatible, read_set

PROVENANCE = ("sha256", "generator", "checkpoint", "artifact", "gates_on_validation")


class Gan(Balance):
    """Adds beats of a synthetic set. Each belongs to the record that it was drawn for.

    Args:
        fusion: fraction of the added F beats that are made by `ecg.augmentation.balance.fusion` instead.
    """

    inserts = True

    def __init__(self, *, fusion: float) -> None:
        self.fusion = fusion

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`.

        Raises:
            UserError: the synthetic set is missing, damaged, too small or does not fit the beats.
        """
        synthetic = compatible_set(training)
        missing = training.missing()
        n_fused = round(self.fusion * missing.get("F", 0))
        missing |= {"F": missing["F"] - n_fused} if n_fused else {}
        positions = synthetic.first(missing, str(training.synthetic_set))
        classes = training.split.classes
        added = BalancedBeats(
            np.arange(len(training.label)),
            synthetic.signal[positions],
            np.zeros((len(positions), 0), np.float32),
            np.repeat([classes.index(name) for name in missing], [*missing.values()]).astype(np.int64),
            np.array(synthetic.provenance["records"])[synthetic.record[positions]],
            {key: synthetic.provenance.get(key) for key in PROVENANCE},
        )
        return added.joined(fused_beats(training, n_fused)) if n_fused else added


def compatible_set(training: TrainingBeats) -> SyntheticSet:
    """Returns the synthetic set of an augmentation.

    Raises:
        UserError: the set is missing or damaged, does not fit the beats, or its generator used held-out beats.
    """
    if training.synthetic_set is None:
        raise ValueError("TrainingBeats.synthetic_set is None")
    synthetic, window = read_set(training.synthetic_set), training.window.settings()
    check_compatible(synthetic, training.beats, training.split, source=training.source, window=window)
    return synthetic
