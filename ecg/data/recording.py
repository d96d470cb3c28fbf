"""An annotated ECG recording, independent of its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recording:
    """Signals and annotations of one record.

    Attributes:
        name: name of the record, unique within its source, e.g. "100".
        patient: name of the patient; shared by all records of one patient.
        sfreq: sampling rate in Hz.
        leads: names of the signals, e.g. ("MLII", "V5").
        signal: (n_leads, n_samples) raw ADC values (integer).
        sample: (n_annotations,) int64, ascending: sample of each annotation, including rhythm and noise annotations.
        symbol: (n_annotations,) str, PhysioNet symbol of each annotation.
        preferred_lead: the lead that `data.lead=auto` selects where the record has it.
    """

    name: str
    patient: str
    sfreq: float
    leads: tuple[str, ...]
    signal: NDArray[Any]
    sample: NDArray[np.int64]
    symbol: NDArray[np.str_]
    preferred_lead: str = "MLII"
