"""SMOTE with removal of Tomek links.

Source: Batista et al. 2004, SIGKDD Explorations 6(1):20-29.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from ecg.augmentation.balance.smote import Smote
from ecg.data.beats import Positions

log = logging.getLogger(__name__)


class SmoteTomek(Smote):
    """SMOTE, then removal of beats of the largest class that are in a Tomek link.

    A Tomek link is a pair of beats of different classes that are nearest neighbours of each other. Beats of the other
    classes are not removed, because they are rare or have just been added.

    Args:
        neighbours: number of nearest neighbours of SMOTE.
    """

    def _remaining(self, vectors: NDArray[np.float32], label: NDArray[np.int64]) -> Positions:
        """Returns the positions of the beats that remain."""
        from imblearn.under_sampling import TomekLinks  # takes a second to import

        log.info("Comparing all pairs of %s beats, which takes minutes for 100,000 beats", f"{len(label):,}")
        links = TomekLinks(sampling_strategy="majority", n_jobs=-1)
        links.fit_resample(vectors, label)
        return np.sort(links.sample_indices_)
