"""Random undersampling."""

from __future__ import annotations

import numpy as np

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.data.balanced import BalancedBeats


class Undersample(Balance):
    """Removes beats of the larger classes, sampled without replacement."""

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`."""
        rng, target = np.random.default_rng(training.seed), training.target()
        kept = [rng.permutation(np.flatnonzero(training.label == c))[:target] for c in np.unique(training.label)]
        none = (training.signal[:0], training.rr[:0], training.label[:0], training.record[:0])
        return BalancedBeats(np.sort(np.concatenate(kept)), *none)
