from __future__ import annotations

import numpy as np
from scipy import signal as dsp

from ecg.data.filters import LONG, filter_zero_phase, working_type

SFREQ = 50.0
HIGHPASS = dsp.butter(2, 0.5, "highpass", fs=SFREQ, output="sos")


def test_blocks_give_the_result_of_the_whole_lead() -> None:
    n = round(LONG * SFREQ) + 1234  # the last of three blocks is short
    x = np.random.default_rng(0).normal(size=n).cumsum()
    filtered, expected = filter_zero_phase(HIGHPASS, x, SFREQ), dsp.sosfiltfilt(HIGHPASS, x)
    assert filtered.dtype == np.float32
    np.testing.assert_allclose(filtered, expected, atol=1e-4 * np.abs(expected).max())
    inside = slice(round(60 * SFREQ), -round(60 * SFREQ))
    np.testing.assert_allclose(filtered[inside], expected[inside], atol=1e-5 * expected.std(), rtol=1e-5)


def test_short_leads_are_filtered_as_a_whole() -> None:
    x = np.random.default_rng(0).integers(-900, 900, 3000).astype(np.int16)
    assert working_type(len(x), SFREQ) is np.float64
    np.testing.assert_array_equal(filter_zero_phase(HIGHPASS, x, SFREQ), dsp.sosfiltfilt(HIGHPASS, x.astype(float)))
