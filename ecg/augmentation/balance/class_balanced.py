"""Class-balanced sampling."""

from __future__ import annotations

from ecg.augmentation.balance.balance import Balance, TrainingBeats


class ClassBalanced(Balance):
    """Leaves the training beats unchanged; batches sample all classes equally often, with replacement."""

    class_power = 0.0

    def balance(self, training: TrainingBeats) -> None:
        """See `Balance`."""
        return None
