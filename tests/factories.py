"""Small recordings and beats for tests."""

from __future__ import annotations

import numpy as np

from ecg.data.beats import Beats
from ecg.data.recording import Recording


def make_recording(
    sample: list[int], symbol: list[str], *, n: int = 4000, seed: int = 0, name: str = "x", sfreq: float = 360.0
) -> Recording:
    """A recording of noise with the given annotations."""
    signal = np.random.default_rng(seed).integers(0, 2048, (2, n)).astype(np.int16)
    return Recording(
        name=name,
        patient=name,
        sfreq=sfreq,
        leads=("V5", "MLII"),
        signal=signal,
        sample=np.array(sample, np.int64),
        symbol=np.array(symbol),
    )


def make_beats(n_patients: int, per_class: dict[int, int], *, seed: int = 0, n_times: int = 187) -> Beats:
    """Beats of noise: every patient has `per_class` beats of each class, and two records."""
    rng = np.random.default_rng(seed)
    label = np.tile(np.repeat(list(per_class), list(per_class.values())), n_patients).astype(np.int64)
    each = sum(per_class.values())
    n = len(label)
    patient = np.repeat([f"p{i}" for i in range(n_patients)], each)
    return Beats(
        signal=rng.random((n, 1, n_times), dtype=np.float32),
        rr=np.zeros((n, 0), np.float32),
        label=label,
        record=np.char.add(patient, np.where(np.arange(n) % 2, "a", "b")),
        patient=patient,
        sample=np.arange(n) * 100,
        time=np.arange(n) * 0.8,
        last=np.zeros(n, bool),
        sfreq=120.0,
    )
