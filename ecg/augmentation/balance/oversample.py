"""Random oversampling."""

from __future__ import annotations

import numpy as np

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.data.balanced import BalancedBeats


class Oversample(Balance):
    """Repeats beats of the smaller classes, sampled with replacement."""

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`."""
        rng = np.random.default_rng(training.seed)
        sampled = [rng.choice(training.positions(name), n) for name, n in training.missing().items()]
        positions = np.concatenate([np.empty(0, np.int64), *sampled])
        return BalancedBeats(
            np.arange(len(training.label)),
            training.signal[positions],
            training.rr[positions],
            training.label[positions],
            training.record[positions],
        )
