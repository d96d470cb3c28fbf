"""Recorded noise: the MIT-BIH Noise Stress Test Database.

Records of electrodes that are placed where the ECG is not visible: bw (baseline wander), em (electrode motion) and ma
(muscle artefact), each 30 min, 2 leads, 360 Hz. Source: Moody, Muldrow & Mark, "A noise stress test for arrhythmia
detectors", Computers in Cardiology 11:381-384, 1984.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ecg.data.source import data_root
from ecg.data.wfdb_reader import read_signals
from ecg.errors import UserError

RECORDS = ("bw", "em", "ma")


def noise_folder(folder: str | None) -> Path:
    """Returns the folder of the noise records: `folder`, or `nstdb/` in the data root for None."""
    return Path(folder).expanduser() if folder else data_root() / "nstdb"


def read_noise(folder: Path, sfreq: float, n_times: int, highpass_hz: float | None) -> NDArray[np.float32]:
    """Returns all leads of the noise records, each with a standard deviation of 1.

    Args:
        folder: folder of the records.
        sfreq: sampling rate of the result in Hz.
        n_times: samples of a beat, the minimum length.
        highpass_hz: cut-off of the high-pass filter of the beats in Hz, which is applied to the noise too; None
            without a filter.

    Returns:
        (n_leads, n_samples), as long as the shortest record.

    Raises:
        UserError: a record is missing, damaged or shorter than a beat.
    """
    if missing := [name for name in RECORDS if not (folder / f"{name}.hea").is_file()]:
        raise UserError(
            f"The noise records {', '.join(missing)} are missing in {folder}. Get bw, em and ma from "
            "https://physionet.org/content/nstdb/1.0.0/ and set augmentation.transforms.recorded_noise.dir to their "
            "folder."
        )
    leads = [lead for name in RECORDS for lead in _read_leads(folder, name, sfreq, highpass_hz)]
    shortest = min(map(len, leads))
    if shortest < n_times:
        raise UserError(
            f"The noise records in {folder} have {shortest} samples at {sfreq:g} Hz, and a beat has {n_times}. Use "
            "longer noise records."
        )
    return np.stack([lead[:shortest] for lead in leads]).astype(np.float32)


def _read_leads(folder: Path, name: str, sfreq: float, highpass_hz: float | None) -> NDArray[np.float64]:
    """Returns the leads (n_leads, n_samples) of one record, filtered, resampled and scaled."""
    record = read_signals(folder, name)
    x = record.signal.astype(np.float64)  # (n_leads, n_samples of the record)
    x -= np.median(x, axis=1, keepdims=True)
    if highpass_hz:
        x = dsp.sosfiltfilt(dsp.butter(2, highpass_hz, "highpass", fs=record.sfreq, output="sos"), x)
    ratio = Fraction(sfreq / record.sfreq).limit_denominator(1000)
    x = dsp.resample_poly(x, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    scaled: NDArray[np.float64] = x / np.maximum(x.std(axis=1, keepdims=True), 1e-12)
    return scaled
