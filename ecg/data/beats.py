"""Beats as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Positions: TypeAlias = NDArray[np.int64]  # (m,) indices into n beats


@dataclass(frozen=True)
class Beats:
    """n beats, one array for each property.

    Attributes:
        signal: (n, C, T) float32.
        rr: (n, R) float32, the RR features; R is 0 for a window without them.
        label: (n,) int64, index into `aami.CLASSES`.
        record: (n,) str, name of the record.
        patient: (n,) str, name of the patient.
        sample: (n,) int64, sample of the beat's annotation, at the record's own sampling rate.
        time: (n,) float64, the same in seconds from the start of the record; NaN where the sampling rate is not known.
        last: (n,) bool, whether the beat's annotation is the last one of its record.
        sfreq: sampling rate of `signal` in Hz.
    """

    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]
    record: NDArray[np.str_]
    patient: NDArray[np.str_]
    sample: NDArray[np.int64]
    time: NDArray[np.float64]
    last: NDArray[np.bool_]
    sfreq: float

    def __len__(self) -> int:
        return len(self.label)

    def take(self, positions: Positions) -> Beats:
        """Returns the beats at `positions`, in that order."""
        return Beats(**{name: getattr(self, name)[positions] for name in _ARRAYS}, sfreq=self.sfreq)

    def digest(self) -> str:
        """Returns the sha256 of signals, RR features, labels, samples and records, in hexadecimal."""
        sha256 = hashlib.sha256()
        for array in (self.signal, self.rr, self.label, self.sample):
            sha256.update(np.ascontiguousarray(array).data)
        sha256.update("\n".join(self.record).encode())
        return sha256.hexdigest()

    @staticmethod
    def concatenate(parts: Sequence[Beats]) -> Beats:
        """Returns the beats of all parts, in order.

        Raises:
            ValueError: the parts differ in sampling rate.
        """
        (sfreq,) = {part.sfreq for part in parts}
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return Beats(**arrays, sfreq=sfreq)


_ARRAYS = tuple(field.name for field in fields(Beats) if field.name != "sfreq")
