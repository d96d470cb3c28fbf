"""Filters of whole leads without phase shift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

BLOCK, MARGIN = 3600.0, 30.0  # s
LONG = 2 * BLOCK  # s; longer leads are filtered in blocks


def working_type(n_samples: int, sfreq: float) -> type[np.float32] | type[np.float64]:
    """The type for the samples of a lead. Leads of many hours are float32: a day of float64 would need gigabytes."""
    return np.float32 if n_samples > LONG * sfreq else np.float64


def filter_zero_phase(sos: NDArray[np.float64], x: NDArray[Any], sfreq: float) -> NDArray[Any]:
    """Returns a lead (n_samples,) that is filtered forward and backward, with its `working_type`.

    A long lead is filtered in blocks of an hour, each with margins in which the filter settles.

    Args:
        sos: the filter, as second-order sections. It must settle within half a minute.
        x: (n_samples,) the lead.
        sfreq: sampling rate in Hz.
    """
    if working_type(len(x), sfreq) is np.float64:
        return np.asarray(dsp.sosfiltfilt(sos, np.asarray(x, np.float64)))
    block, margin = round(BLOCK * sfreq), round(MARGIN * sfreq)
    filtered = np.empty(len(x), np.float32)
    for start in range(0, len(x), block):
        first = max(0, start - margin)
        part = dsp.sosfiltfilt(sos, x[first : start + block + margin].astype(np.float64))
        filtered[start : start + block] = part[start - first : start - first + block]
    return filtered
