"""No balance."""

from __future__ import annotations

from ecg.augmentation.balance.balance import Balance, TrainingBeats


class NoBalance(Balance):
    """Leaves the training beats unchanged."""

    def balance(self, training: TrainingBeats) -> None:
        """See `Balance`."""
        return None
