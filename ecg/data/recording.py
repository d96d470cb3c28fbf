"""One annotated ECG recording, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recording:
    """Signals and annotations of one record.

    Attributes:
        name: the record's name, unique within its source, e.g. "100".
        patient: the person; records of one person share it.
        sfreq: sampling rate in Hz.
        leads: names of the signals, e.g. ("MLII", "V5").
        signal: (n_leads, n_samples) raw ADC values (integer).
        sample: (n_annotations,) int64, ascending: where each annotation sits, rhythm and noise marks included.
        symbol: (n_annotations,) str, the PhysioNet symbol of each annotation.
    """

    name: str
    patient: str
    sfreq: float
    leads: tuple[str, ...]
    signal: NDArray[Any]
    sample: NDArray[np.int64]
    symbol: NDArray[np.str_]
