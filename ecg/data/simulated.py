"""Simulated patients as a source of beats. The model is in `simulator.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecg.data.recording import Recording
from ecg.data.simulator import record_name, simulate
from ecg.data.source import RecordSource
from ecg.data.window import Window


@dataclass(frozen=True, kw_only=True)
class Simulated(RecordSource):
    """One simulated recording for each patient.

    Attributes:
        n_patients: number of patients.
        minutes: length of each recording in minutes.
        seed: seed of the patients.
    """

    simulated = True
    how_to_shrink = "Decrease data.n_patients, data.minutes, data.sfreq, data.before or data.after."

    n_patients: int
    minutes: float
    seed: int

    def record_names(self) -> Sequence[str]:
        """See `RecordSource`."""
        return [record_name(patient) for patient in range(self.n_patients)]

    def fingerprint(self, record: str, window: Window) -> str:
        """See `RecordSource`."""
        return f"{record} {self.minutes} {self.seed}"

    def read(self, record: str, window: Window) -> Recording:
        """See `RecordSource`."""
        return simulate(int(record.removeprefix("sim")), minutes=self.minutes, seed=self.seed)
