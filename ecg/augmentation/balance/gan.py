"""Beats of a generator."""

from __future__ import annotations

import numpy as np

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.data.balanced import BalancedBeats
from ecg.data.synthetic_set import check_compatible, read_set

PROVENANCE = ("sha256", "generator", "checkpoint", "artifact", "gates_on_validation")


class Gan(Balance):
    """Adds beats of a synthetic set."""

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`.

        Raises:
            UserError: the synthetic set is missing, damaged, too small or does not fit the beats.
        """
        folder = training.synthetic_set
        if folder is None:
            raise ValueError("TrainingBeats.synthetic_set is None")
        synthetic = read_set(folder)
        check_compatible(synthetic, training.beats, training.split, source=training.source, window=training.window)
        positions = synthetic.first(training.missing(), str(folder))
        return BalancedBeats(
            np.arange(len(training.label)),
            synthetic.signal[positions],
            synthetic.rr[positions],
            training.missing_labels(),
            {key: synthetic.provenance.get(key) for key in PROVENANCE},
        )
