"""Recorded noise: the MIT-BIH Noise Stress Test Database, electrodes on people where no heart is to be seen.

bw baseline wander, em motion of the electrode, ma muscle artefact; half an hour each, two leads, 360 Hz
(Moody, Muldrow, Mark 1984, Computers in Cardiology 11:381-384).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ecg.data.sources import data_root
from ecg.data.wfdb_records import read_signals
from ecg.errors import UserError

RECORDS = ("bw", "em", "ma")


def noise_folder(given: str | None) -> Path:
    """The folder of the records: `given`, else `nstdb/` in the data root."""
    return Path(given).expanduser() if given else data_root() / "nstdb"


def read_noise(folder: Path, sfreq: float, n_times: int, highpass_hz: float | None) -> NDArray[np.float32]:
    """All leads of all records, (n_leads, n), each with a standard deviation of 1; as long as the shortest.

    Args:
        folder: of the records.
        sfreq: Hz to resample to.
        n_times: samples of a beat.
        highpass_hz: what the beats have lost below it, the noise loses as well; None leaves it.

    Raises:
        UserError: a record is absent, broken or shorter than a beat.
    """
    if absent := [name for name in RECORDS if not (folder / f"{name}.hea").is_file()]:
        raise UserError(
            f"augmentation.transforms.recorded_snr needs the noise records bw, em and ma, and {folder} lacks "
            f"{', '.join(absent)}: get them from https://physionet.org/content/nstdb/1.0.0/ and name their folder with "
            "augmentation.noise_dir."
        )
    leads = [lead for name in RECORDS for lead in _leads(folder, name, sfreq, highpass_hz)]
    if (shortest := min(map(len, leads))) < n_times:
        raise UserError(f"The noise records in {folder} last {shortest} samples, and a beat lasts {n_times}.")
    return np.stack([lead[:shortest] for lead in leads]).astype(np.float32)


def _leads(folder: Path, name: str, sfreq: float, highpass_hz: float | None) -> NDArray[np.float64]:
    record = read_signals(folder, name)
    x = record.signal.astype(np.float64)  # (n_leads, n)
    x -= np.median(x, axis=1, keepdims=True)
    if highpass_hz:
        x = dsp.sosfiltfilt(dsp.butter(2, highpass_hz, "highpass", fs=record.sfreq, output="sos"), x)
    ratio = Fraction(sfreq / record.sfreq).limit_denominator(1000)
    x = dsp.resample_poly(x, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    return x / np.maximum(x.std(axis=1, keepdims=True), 1e-12)
