"""Every window with every protocol on the real records of MIT-BIH."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from beats_factories import assert_disjoint, make_protocol

from ecg.config.schema import SCHEMAS
from ecg.data import mitbih
from ecg.data.physionet import PhysioNet
from ecg.data.window import CenteredWindow, KaggleWindow, Window

# In the window kaggle, the last annotation of each of the 22 records of DS2 gives no beat.
N_TEST = {("kaggle", "kaggle"): 21892, ("centered", "kaggle"): 21892, ("centered", "inter_patient"): 49705}
N_LOST = 22
WINDOWS: dict[str, Window] = {
    "kaggle": KaggleWindow("first"),
    "centered": CenteredWindow("auto", before=0.7, after=0.9, sfreq=120.0, difference=True),
}


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    "option", [name for name in SCHEMAS["protocol"] if name not in ("cross_database", "all_records")]
)
@pytest.mark.parametrize("name", WINDOWS)
def test_every_window_works_with_every_protocol(name: str, option: str, real_data: Path, cache_dir: Path) -> None:
    window, inter_patient = WINDOWS[name], option == "inter_patient"
    source = PhysioNet(name="mitbih", records=None, dir=str(real_data / "mitdb"), url=None)
    protocol = make_protocol(option, classes=list("NSVF" if inter_patient else "NSVFQ"))
    beats = source.load_beats(window, cache_dir)
    split = protocol.split(beats, source)
    assert_disjoint(beats, split)
    if inter_patient and name == "kaggle":
        assert 49705 - N_LOST <= len(split.test) <= 49705
    else:
        assert len(split.test) == N_TEST.get((name, option), len(split.test))
    assert set(split.labels(beats)[split.train]) == set(range(len(split.classes)))
    assert np.isfinite(beats.signal).all()
    assert beats.signal.shape[1:] == (window.n_channels, window.n_times)


@pytest.mark.real
@pytest.mark.slow
def test_all_records_that_the_inter_patient_protocol_reads_have_mlii(real_data: Path, cache_dir: Path) -> None:
    source = PhysioNet(name="mitbih", records=None, dir=str(real_data / "mitdb"), url=None)
    excluded = make_protocol("inter_patient").excluded_records(source)
    beats = source.load_beats(KaggleWindow("MLII"), cache_dir, excluded)
    assert set(beats.record) == set(mitbih.RECORDS) - set(mitbih.PACED)
