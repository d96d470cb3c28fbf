from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wfdb_factories import error_message, write_signals

from ecg.data.noise import RECORDS, noise_folder, read_noise

SFREQ, SECONDS = 360.0, 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three records of a 10 Hz sine on a slow drift, at the rate of the recorded noise."""
    t = np.arange(round(SFREQ * SECONDS)) / SFREQ
    x = 1000 * (np.sin(2 * np.pi * 10 * t) + 3 * np.sin(2 * np.pi * 0.05 * t))
    for name in RECORDS:
        write_signals(tmp_path, name, np.rint(np.stack([x, 2 * x])), ["one", "two"], sfreq=SFREQ)
    return tmp_path


def test_noise_has_the_rate_and_the_filter_of_the_beats(folder: Path) -> None:
    noise = read_noise(folder, 120.0, 187, highpass_hz=0.5)
    assert noise.shape == (6, 120 * SECONDS)
    np.testing.assert_allclose(noise.std(axis=1), 1, rtol=1e-3)
    power = np.abs(np.fft.rfft(noise[0, 1200:3600])) ** 2  # 20 s
    assert power.argmax() == 20 * 10
    assert power[200] > 0.95 * power.sum()
    unfiltered = read_noise(folder, 120.0, 187, highpass_hz=None)
    power = np.abs(np.fft.rfft(unfiltered[0, 1200:3600])) ** 2
    assert power[1] == pytest.approx(9 * power[200], rel=0.05)


def test_missing_and_short_noise_records_are_errors(folder: Path) -> None:
    message = error_message(lambda: read_noise(folder, 120.0, 9000, None))
    assert "have 4800 samples at 120 Hz, and a beat has 9000" in message
    (folder / "ma.hea").unlink()
    message = error_message(lambda: read_noise(folder, 120.0, 187, None))
    assert f"The noise records ma are missing in {folder}" in message
    assert "augmentation.transforms.recorded_noise.dir" in message


def test_the_folder_of_the_noise_records_is_given_or_in_the_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_DATA_DIR", "/data")
    assert noise_folder(None) == Path("/data/nstdb")
    assert noise_folder("/noise") == Path("/noise")


@pytest.mark.real
def test_the_noise_stress_test_database_is_read(real_noise: Path) -> None:
    noise = read_noise(real_noise, 120.0, 187, None)
    assert noise.shape[0] == 6
    assert 0.99 < noise.shape[1] / (120 * 1805) < 1.01
    assert np.isfinite(noise).all()
