"""Filters of whole leads without phase shift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

BLOCK, MARGIN = 3600.0, 30.0  # s
LONG = 2 * BLOCK  # s; longer leads are filtered in blocks


def working_type(n_samples: int, sfreq: float) -> type[np.float32] | type[np.float64]:
    """The type for the samples of a lead. Leads of many hours are float32: a day of float64 would need gigabytes."""
    return np.float32 if n_samples > LONG * sfreq else np.float64


def in_blocks(function: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any], sfreq: float) -> NDArray[Any]:
    """Returns the result of a function of a lead (n_samples,), which has the same length, with its `working_type`.

    A long lead is divided into blocks of an hour with margins: a value must not depend on samples that are more than
    half a minute away.

    Args:
        function: the function.
        x: (n_samples,) the lead.
        sfreq: sampling rate in Hz.
    """
    kind = working_type(len(x), sfreq)
    block, margin = len(x) if kind is np.float64 else round(BLOCK * sfreq), round(MARGIN * sfreq)
    result = np.empty(len(x), kind)
    for start in range(0, len(x), block):
        first = max(0, start - margin)
        part = function(x[first : start + block + margin])
        result[start : start + block] = part[start - first : start - first + block]
    return result


def filter_zero_phase(sos: NDArray[np.float64], x: NDArray[Any], sfreq: float) -> NDArray[Any]:
    """Returns a lead (n_samples,) that is filtered forward and backward, see `in_blocks`.

    Args:
        sos: the filter, as second-order sections. It must settle within half a minute.
        x: (n_samples,) the lead.
        sfreq: sampling rate in Hz.
    """
    return in_blocks(lambda part: dsp.sosfiltfilt(sos, part.astype(np.float64)), x, sfreq)
