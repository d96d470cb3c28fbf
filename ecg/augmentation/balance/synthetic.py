"""Beats of a generator in place of the training beats."""

from __future__ import annotations

import numpy as np

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.augmentation.balance.gan import PROVENANCE, compatible_set
from ecg.data.aami import CLASSES
from ecg.data.balanced import BalancedBeats
from ecg.errors import UserError


class Synthetic(Balance):
    """Replaces all training beats by those of a synthetic set. Validation and test beats stay real.

    The classifier is then the one of TSTR (train on synthetic, test on real), see `ecg.evaluation.fidelity`.
    """

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`.

        Raises:
            UserError: the synthetic set is missing, damaged, lacks a class or does not fit the beats.
        """
        synthetic = compatible_set(training)
        classes = training.split.classes
        if missing := [name for name in classes if name not in synthetic.provenance["counts"]]:
            raise UserError(
                f"The synthetic set has no beats of class {', '.join(missing)}, and augmentation=synthetic trains on "
                "synthetic beats alone. Draw beats of every class."
            )
        index = np.full(len(CLASSES), -1)
        index[[CLASSES.index(name) for name in classes]] = np.arange(len(classes))
        return BalancedBeats(
            np.empty(0, np.int64),
            synthetic.signal,
            np.zeros((len(synthetic.signal), training.rr.shape[1]), np.float32),
            index[synthetic.label],
            np.array(synthetic.provenance["records"])[synthetic.record],
            {key: synthetic.provenance.get(key) for key in PROVENANCE},
        )
