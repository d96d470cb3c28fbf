"""Sets of simple beats for tests of the fidelity of synthetic beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecg.evaluation.beat_set import BeatSet

STEPS = 60  # of the networks; with fewer, the discriminators do not detect every failure control
N_TIMES = 24  # the shortest beat that the CNN accepts


def make_beat_set(n: int, seed: int, n_classes: int = 2) -> BeatSet:
    """Beats that start at the R peak and end in zeros; class c has a wave of height 0.6 c at sample 14."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % n_classes
    t = np.arange(N_TIMES)
    signal = np.exp(-t) + 0.3 * rng.uniform(0.7, 1.3, (n, 1)) * np.exp(-(((t - 8) / 2) ** 2))
    signal += label[:, None] * 0.6 * np.exp(-(((t - 14) / 1.5) ** 2)) + 0.03 * rng.standard_normal((n, N_TIMES))
    signal[t >= rng.integers(18, 24, n)[:, None]] = 0
    return BeatSet(signal[:, None].astype(np.float32), label)


def make_bad_beats(train: BeatSet) -> dict[str, BeatSet]:
    """Beats that are not like the beats of `train`, by name; `train` has the classes 0 and 1."""

    def with_signal(signal: NDArray[np.float64] | NDArray[np.float32]) -> BeatSet:
        return BeatSet(signal.astype(np.float32), train.label)

    first = np.array([train.label.tolist().index(c) for c in (0, 1)])
    return {
        "noise": with_signal(np.random.default_rng(0).random(train.signal.shape)),
        "flat": with_signal(np.full(train.signal.shape, 0.5)),
        "amplitude x5": with_signal(train.signal * 5),
        "one beat": train.take(first[train.label]),
    }


TRAIN, HELD_OUT = make_beat_set(160, 1), make_beat_set(160, 2)
BAD_BEATS = make_bad_beats(TRAIN)
