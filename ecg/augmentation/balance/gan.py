"""Beats of a generator."""

from __future__ import annotations

import numpy as np

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.data.balanced import BalancedBeats
from ecg.data.synthetic_set import check_compatible, read_set

PROVENANCE = ("sha256", "generator", "checkpoint", "artifact", "gates_on_validation")


class Gan(Balance):
    """Adds beats of a synthetic set. Each belongs to the record that it was drawn for."""

    inserts = True

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`.

        Raises:
            UserError: the synthetic set is missing, damaged, too small or does not fit the beats.
        """
        folder = training.synthetic_set
        if folder is None:
            raise ValueError("TrainingBeats.synthetic_set is None")
        synthetic = read_set(folder)
        window = training.window.settings()
        check_compatible(synthetic, training.beats, training.split, source=training.source, window=window)
        positions = synthetic.first(training.missing(), str(folder))
        return BalancedBeats(
            np.arange(len(training.label)),
            synthetic.signal[positions],
            np.zeros((len(positions), 0), np.float32),
            training.missing_labels(),
            np.array(synthetic.provenance["records"])[synthetic.record[positions]],
            {key: synthetic.provenance.get(key) for key in PROVENANCE},
        )
