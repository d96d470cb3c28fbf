from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecg.data import mitdb
from ecg.data.recording import Recording
from ecg.data.simulated import simulate
from ecg.data.sources import MitBih, Simulated, WfdbFolder, data_root
from ecg.errors import UserError

CENTERED = ("centered", "auto", 0.7, 0.9, 120.0, True)


def write(recording: Recording, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    n = len(recording.leads)
    options = {"fmt": ["16"] * n, "adc_gain": [200.0] * n, "baseline": [1024] * n, "write_dir": str(folder)}
    wfdb.wrsamp(
        name, recording.sfreq, ["mV"] * n, list(recording.leads), d_signal=recording.signal.T.astype(int), **options
    )
    wfdb.wrann(name, "atr", recording.sample, list(recording.symbol), write_dir=str(folder))


def test_ones_own_records_give_the_beats_that_were_recorded(tmp_path: Path) -> None:
    for patient in range(3):
        write(simulate(patient, minutes=0.5), tmp_path / "records", f"sim{patient:02d}")
    own = WfdbFolder("wfdb", *CENTERED, str(tmp_path / "records"), "atr", {"sim01": "sim00"}).beats(tmp_path / "cache")
    same = Simulated("simulated", *CENTERED, 3, 0.5, 0).beats(tmp_path / "cache")
    np.testing.assert_array_equal(own.signal, same.signal)
    np.testing.assert_array_equal(own.label, same.label)
    assert set(own.patient) == {"sim00", "sim02"}


def test_a_changed_record_is_cut_anew(tmp_path: Path) -> None:
    source = WfdbFolder("wfdb", *CENTERED, str(tmp_path / "records"), "atr")
    write(simulate(0, minutes=0.5), tmp_path / "records", "a")
    first = source.beats(tmp_path / "cache")
    write(simulate(1, minutes=0.5), tmp_path / "records", "a")
    assert source.beats(tmp_path / "cache").digest() != first.digest()


def test_every_record_excluded_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Every record is excluded"):
        Simulated("simulated", *CENTERED, 1, 0.5, 0).beats(tmp_path, exclude=["sim00"])


@pytest.fixture
def physionet(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server with 48 short records under the names of MIT-BIH, and the paths that were asked of it."""
    recording = simulate(0, minutes=0.2)
    for name in mitdb.RECORDS:
        write(recording, tmp_path / "server", name)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "server")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def test_missing_records_are_downloaded_once(tmp_path: Path, physionet: tuple[str, list[str]]) -> None:
    url, asked = physionet
    source = MitBih("mitbih", *CENTERED, str(tmp_path / "mitdb"), url)
    beats = source.beats(tmp_path / "cache")
    assert sorted(set(beats.record)) == sorted(mitdb.RECORDS)
    # 201 and 202 are one person.
    assert len(set(beats.patient)) == 47
    n = len(asked)
    assert source.beats(tmp_path / "cache").digest() == beats.digest()
    assert len(asked) == n


def test_data_root_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("ECG_DATA_DIR")
    assert data_root().name == "data"
