"""SMOTE: interpolation between neighbouring beats of a class.

Source: Chawla et al. 2002, JAIR 16:321-357.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.data.balanced import BalancedBeats
from ecg.data.beats import Positions
from ecg.errors import UserError


class Smote(Balance):
    """Adds beats between a training beat and one of its nearest neighbours of the same class.

    Signal and RR features are one vector. An interpolation of two padded beats of different length fades at the end of
    the longer one. This is not corrected, because this is the published baseline. An added beat belongs to the record
    of the training beat of its class that is closest to it.

    Args:
        neighbours: number of nearest neighbours; fewer if the class is smaller.
    """

    def __init__(self, *, neighbours: int) -> None:
        self.neighbours = neighbours

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`.

        Raises:
            UserError: a class has a single beat.
        """
        n, shape = training.signal.shape[0], training.signal.shape[1:]
        vectors = np.concatenate([training.signal.reshape(n, -1), training.rr], axis=1)  # (n, C * T + R)
        added = [self._interpolate(training, vectors, name, m) for name, m in training.missing().items()]
        vectors = np.concatenate([vectors, *added])  # (n + m, C * T + R)
        label = np.concatenate([training.label, training.missing_labels()])  # (n + m,)
        kept = self._remaining(vectors, label)
        new, width = kept[kept >= n], int(np.prod(shape))
        signal = vectors[new, :width].reshape(-1, *shape)  # (m, C, T)
        record = training.record[self._closest(vectors[:n], training.label, vectors[new], label[new])]
        return BalancedBeats(kept[kept < n], signal, vectors[new, width:], label[new], record)

    def _interpolate(
        self, training: TrainingBeats, vectors: NDArray[np.float32], name: str, m: int
    ) -> NDArray[np.float32]:
        """Returns m interpolations of the beats of a class (m, C * T + R)."""
        from imblearn.over_sampling import SMOTE  # takes a second to import

        own = training.positions(name)
        if len(own) < 2:
            raise UserError(
                f"SMOTE needs at least two training beats of a class, and class {name} has {len(own)}. Use another "
                "augmentation, or remove the class from protocol.classes."
            )
        # imbalanced-learn requires a second class. SMOTE does not use its beats.
        c = training.split.classes.index(name)
        other = np.flatnonzero(training.label != c)[:1]
        used = np.r_[own, other]
        smote = SMOTE(
            sampling_strategy={c: len(own) + m},
            k_neighbors=min(self.neighbours, len(own) - 1),
            random_state=training.seed,
        )
        resampled, _ = smote.fit_resample(vectors[used], training.label[used])
        return np.asarray(resampled[len(used) :], np.float32)

    def _closest(
        self,
        vectors: NDArray[np.float32],
        label: NDArray[np.int64],
        of_added: NDArray[np.float32],
        label_of_added: NDArray[np.int64],
    ) -> Positions:
        """Returns, for each added beat (m,), the position of the closest training beat of its class."""
        from sklearn.neighbors import NearestNeighbors  # imblearn imports it as well

        closest = np.zeros(len(of_added), np.int64)
        for c in np.unique(label_of_added):
            own, added = np.flatnonzero(label == c), label_of_added == c
            search = NearestNeighbors(n_neighbors=1).fit(vectors[own])
            closest[added] = own[search.kneighbors(of_added[added], return_distance=False)[:, 0]]
        return closest

    def _remaining(self, vectors: NDArray[np.float32], label: NDArray[np.int64]) -> Positions:
        """Returns the positions of the beats that remain: all of them."""
        return np.arange(len(label))
