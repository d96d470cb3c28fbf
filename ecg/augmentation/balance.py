"""Balancing: which training beats are left out and which are added, decided once, before the training.

Every method that adds beats adds the same number of each class for the same `balance_to` and `share`, so that they can
be compared. Validation and test beats are never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg.errors import UserError


@dataclass(frozen=True)
class Balanced:
    """What balancing made of n training beats.

    Attributes:
        kept: positions among the n, those that go on to train.
        signal: (m, C, T) float32, added beats.
        rr: (m, R) float32.
        label: (m,) int64, as those of the training beats.
        origin: of a synthetic set, what is worth writing down.
    """

    kept: NDArray[np.int64]
    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]
    origin: dict[str, Any] = field(default_factory=dict)


def missing(counts: Mapping[str, int], balance_to: str | None, share: float = 1.0) -> dict[str, int]:
    """How many beats the smaller classes lack.

    Args:
        counts: training beats by class.
        balance_to: the class they are filled up to; None is the second largest, since filling all classes up to the
            normal beats would multiply the rare ones a hundred times.
        share: of what is lacking.
    """
    target = target_of(counts, balance_to)
    return {name: round(share * (target - n)) for name, n in counts.items() if round(share * (target - n)) > 0}


def target_of(counts: Mapping[str, int], balance_to: str | None) -> int:
    """The beats of the class `balance_to`, of the second largest where it is None."""
    return counts[balance_to] if balance_to else sorted(counts.values())[-2:][0]


def oversample(
    signal: NDArray[np.float32],
    rr: NDArray[np.float32],
    label: NDArray[np.int64],
    added: Mapping[int, int],
    rng: np.random.Generator,
) -> Balanced:
    """Repeats training beats, drawn with replacement.

    Args:
        signal: (n, C, T).
        rr: (n, R).
        label: (n,).
        added: beats to add by label.
        rng: of the draw.
    """
    drawn = [rng.choice(np.flatnonzero(label == c), m) for c, m in added.items()]
    at = np.concatenate([np.empty(0, np.int64), *drawn])
    return Balanced(np.arange(len(label)), signal[at], rr[at], label[at])


def undersample(label: NDArray[np.int64], target: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions that are kept where no class may have more than `target` beats."""
    kept = [rng.permutation(np.flatnonzero(label == c))[:target] for c in np.unique(label)]
    return np.sort(np.concatenate(kept))


def smote(
    signal: NDArray[np.float32],
    rr: NDArray[np.float32],
    label: NDArray[np.int64],
    added: Mapping[int, int],
    seed: int,
    *,
    names: Sequence[str],
    tomek: bool = False,
    neighbours: int = 5,
) -> Balanced:
    """Adds beats between a training beat and one of its nearest neighbours of the same class (Chawla et al. 2002).

    Signal and RR features are one vector. Between two beats of different length the end of the longer one fades: that
    is what SMOTE does, and it is not mended here, since this is the baseline that others report.

    Args:
        signal: (n, C, T).
        rr: (n, R).
        label: (n,).
        added: beats to add by label.
        seed: of the draws.
        names: of the classes, by label.
        tomek: afterwards removes the beat of the largest class of each pair of mutual nearest neighbours of different
            classes (Batista et al. 2004). Beats of other classes stay: they are rare, or have just been added. It
            compares all beats with all, which takes minutes for a hundred thousand.
        neighbours: how many; fewer where a class is smaller.

    Raises:
        UserError: a class has a single beat.
    """
    from imblearn.over_sampling import SMOTE
    from imblearn.under_sampling import TomekLinks

    n, flat = len(label), np.concatenate([signal.reshape(len(label), -1), rr], axis=1)
    x, y = [flat], [label]
    for c, m in added.items():
        at = np.flatnonzero(label == c)
        if len(at) < 2:
            raise UserError(
                f"SMOTE needs two training beats of a class, and {names[c]} has {len(at)}: use another "
                "augmentation.balance, or leave the class out of protocol.classes."
            )
        # Beats of one class alone, beside a class that is not touched: SMOTE looks at no other.
        others = np.flatnonzero(label != c)[:1]
        made = SMOTE(sampling_strategy={c: len(at) + m}, k_neighbors=min(neighbours, len(at) - 1), random_state=seed)
        resampled, _ = made.fit_resample(flat[np.r_[at, others]], label[np.r_[at, others]])
        x.append(resampled[len(at) + len(others) :].astype(np.float32))
        y.append(np.full(m, c))
    beats, labels = np.concatenate(x), np.concatenate(y)
    kept = np.arange(len(labels))
    if tomek:
        links = TomekLinks(sampling_strategy="majority", n_jobs=-1)
        links.fit_resample(beats, labels)
        kept = np.sort(links.sample_indices_)
    new = kept[kept >= n]
    width = signal[0].size
    signals = beats[new, :width].reshape(-1, *signal.shape[1:])
    return Balanced(kept[kept < n], signals, beats[new, width:], labels[new])
