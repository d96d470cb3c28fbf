"""Fusion beats as sums of normal and ventricular beats.

In a fusion beat, a normal and a ventricular activation excite the ventricles at nearly the same time. In the leads, the
two add up:

    x(t) = a N(t) + b V(t - d),    with random a, b and d

N and V are beats of one record, aligned by their R peaks. The ranges of a, b and d contain most of the values that fit
the fusion beats of record 208 of MIT-BIH, which is in the training subset of every published split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.data.balanced import BalancedBeats
from ecg.errors import UserError

N_WEIGHT, V_WEIGHT = (0.5, 1.1), (0.2, 1.0)  # a, b
LARGEST_DELAY = 0.03  # s, of d


class Fusion(Balance):
    """Adds sums of an N beat and a V beat of one record to class F; other classes remain as they are.

    A padded beat has the length of its N beat, and is scaled to [0, 1] again.
    """

    inserts = True

    def balance(self, training: TrainingBeats) -> BalancedBeats:
        """See `Balance`.

        Raises:
            UserError: no record has training beats of both classes.
        """
        return fused_beats(training, training.missing().get("F", 0))


def fused_beats(training: TrainingBeats, n: int) -> BalancedBeats:
    """Returns n sums of an N and a V beat. The records that have both classes give equally many.

    Raises:
        UserError: no record has training beats of both classes.
    """
    rng = np.random.default_rng(training.seed)
    of_class = {name: training.label == training.split.classes.index(name) for name in ("N", "V")}
    records = np.intersect1d(training.record[of_class["N"]], training.record[of_class["V"]])
    if not len(records):
        raise UserError("No record has training beats of the classes N and V, whose sums are fusion beats.")
    pairs = np.zeros((n, 2), np.int64)
    for i, record in enumerate(records):
        own = slice(i, None, len(records))
        for column, name in enumerate(("N", "V")):
            beats = np.flatnonzero(of_class[name] & (training.record == record))
            pairs[own, column] = rng.choice(beats, len(pairs[own]))
    normal, ventricular = training.signal[pairs[:, 0]], training.signal[pairs[:, 1]]
    of_n, of_v = (rng.uniform(*limits, (n, 1, 1)).astype(np.float32) for limits in (N_WEIGHT, V_WEIGHT))
    signal = of_n * normal + of_v * _delayed(ventricular, training.beats.sfreq, rng)
    return BalancedBeats(
        np.arange(len(training.label)),
        _padded(signal, normal) if training.window.padded else signal,
        training.rr[pairs[:, 0]],
        np.full(n, training.split.classes.index("F")),
        training.record[pairs[:, 0]],
    )


def _delayed(signal: NDArray[np.float32], sfreq: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns signals (n, C, T), each delayed by a random number of samples; the first or last value is repeated."""
    largest, n_times = round(LARGEST_DELAY * sfreq), signal.shape[2]
    delay = rng.integers(-largest, largest + 1, (len(signal), 1, 1))
    return np.take_along_axis(signal, np.clip(np.arange(n_times) - delay, 0, n_times - 1), axis=2)


def _padded(signal: NDArray[np.float32], like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns signals (n, C, T) that are zero where the padded beats `like` (n, C, T) end, and span [0, 1] before."""
    n_times = signal.shape[2]
    length = (np.where(like != 0, np.arange(1, n_times + 1), 0)).max(axis=(1, 2), keepdims=True)  # (n, 1, 1)
    inside = np.arange(n_times) < length
    low = np.where(inside, signal, np.inf).min(axis=2, keepdims=True)
    high = np.where(inside, signal, -np.inf).max(axis=2, keepdims=True)
    scaled = (signal - low) / np.maximum(high - low, 1e-6)
    return np.where(inside, scaled, 0).astype(np.float32)
