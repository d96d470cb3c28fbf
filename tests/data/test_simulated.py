from __future__ import annotations

from pathlib import Path

import numpy as np

from ecg.data.simulated import Simulated
from ecg.data.simulator import simulate
from ecg.data.window import CenteredWindow

WINDOW = CenteredWindow(lead="auto", before=0.3, after=0.4, sfreq=120.0, difference=False)


def test_each_patient_has_one_simulated_recording(tmp_path: Path) -> None:
    source = Simulated(name="simulated", records=["sim00", "sim101"], n_patients=102, minutes=0.2, seed=4)
    assert source.simulated
    assert len(source.record_names()) == 102
    beats = source.load_beats(WINDOW, tmp_path)
    assert set(beats.patient) == {"sim00", "sim101"}
    recording = source.read("sim101", WINDOW)
    np.testing.assert_array_equal(recording.signal, simulate(101, minutes=0.2, seed=4).signal)
