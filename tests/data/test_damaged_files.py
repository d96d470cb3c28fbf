"""Each file that is read as data is damaged at random. It is then read, or refused with a message."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import wfdb
from beats_factories import SIMULATED, make_protocol
from factories import make_beats
from mutations import read_mutated
from wfdb_factories import write_signals

from ecg.data.cache import load_or_make
from ecg.data.kaggle import read_csv, write_csv
from ecg.data.noise import RECORDS, read_noise
from ecg.data.synthetic_set import (
    BEATS,
    DTYPES,
    PROVENANCE,
    Chunk,
    beat_locations,
    check_compatible,
    read_set,
    sha256,
    write_set,
)
from ecg.data.wfdb_folder import WfdbFolder
from ecg.data.window import CenteredWindow, KaggleWindow

N_SAMPLES = 1200
WINDOWS = (KaggleWindow("first"), CenteredWindow(lead="auto", before=0.7, after=0.9, sfreq=120.0, difference=True))
REAL_BEATS = make_beats(10, {0: 10, 1: 10, 2: 10, 3: 10, 4: 10})


def write_record(folder: Path, fmt: str) -> None:
    """Writes an annotated record of 10 s and the file RECORDS."""
    rng = np.random.default_rng(0)
    sample = np.arange(20, N_SAMPLES, 100)
    notes = ["", "(N", *[""] * (len(sample) - 2)]
    write_signals(folder, "a", rng.integers(-100, 100, (2, N_SAMPLES)), ["MLII", "V5"], sfreq=120, fmt=fmt)
    wfdb.wrann("a", "atr", sample, ["N", "+", *"VNAFN/NNNN"], aux_note=notes, write_dir=str(folder))
    (folder / "RECORDS").write_text("a\n")


def remove_checksums(header: Path) -> None:
    """Removes the optional fields of the signals, so that a changed signal is not refused for its checksum."""
    first, *signals = header.read_text().splitlines()
    header.write_text("\n".join([first, *(" ".join(line.split()[:3]) for line in signals)]) + "\n")


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("a.hea", "212"),
        ("a.dat", "212"),
        ("a.dat", "16"),
        ("a.hea", "516"),  # compressed with FLAC
        ("a.dat", "516"),
        ("a.atr", "212"),
        ("RECORDS", "212"),
    ],
)
def test_records(tmp_path: Path, name: str, fmt: str) -> None:
    write_record(tmp_path / "records", fmt)
    if name == "a.dat":
        remove_checksums(tmp_path / "records" / "a.hea")
    source = WfdbFolder(name="wfdb", records=None, dir=str(tmp_path / "records"), annotator="atr", patients={})

    def read() -> None:
        for window in WINDOWS:
            source.load_beats(window, tmp_path / "cache")

    read_mutated(tmp_path / "records" / name, read)


@pytest.mark.parametrize("name", ["bw.hea", "bw.dat"])
def test_noise(tmp_path: Path, name: str) -> None:
    write_record(tmp_path, "212")
    for record in RECORDS:
        for suffix in ("hea", "dat"):
            content = (tmp_path / f"a.{suffix}").read_bytes()
            (tmp_path / f"{record}.{suffix}").write_bytes(content.replace(b"a.dat", f"{record}.dat".encode()))
    read_mutated(tmp_path / name, lambda: read_noise(tmp_path, 120.0, 192, highpass_hz=0.5))


def test_kaggle_csv(tmp_path: Path) -> None:
    path = tmp_path / "mitbih_train.csv"
    write_csv(make_beats(2, {0: 2, 4: 2}), path)
    read_mutated(path, lambda: read_csv(path))


def test_prepared_beats(tmp_path: Path) -> None:
    """Damaged prepared beats are prepared again."""
    beats = make_beats(2, {0: 2, 4: 2})
    load_or_make(tmp_path, "k", lambda: beats)
    (path,) = tmp_path.glob("*.npz")

    def read() -> None:
        assert load_or_make(tmp_path, "k", lambda: beats).digest() == beats.digest()

    read_mutated(path, read)


def write_synthetic_set(folder: Path) -> None:
    rng = np.random.default_rng(0)
    chunk = Chunk(rng.random((10, 1, 187), dtype=np.float32), np.arange(10) % 5, np.arange(10) % 2)
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    provenance = {
        "classes": list("NSVFQ"),
        "records": ["a", "b"],
        "source": "simulated",
        "window": WINDOWS[0].settings(),
        "fitted_on": beat_locations(REAL_BEATS, split.train),
        "chosen_on": beat_locations(REAL_BEATS, split.validation),
    }
    write_set(folder, [chunk], n=10, shape=(1, 187), provenance=provenance)


def read_synthetic_set(folder: Path) -> None:
    """Reads a set as `augmentation/balance=gan` does."""
    read = read_set(folder)
    split = make_protocol("random").split(REAL_BEATS, SIMULATED)
    check_compatible(read, REAL_BEATS, split, source="simulated", window=WINDOWS[0].settings())
    read.first({"S": 1, "Q": 2}, str(folder))


def update_sha256(folder: Path) -> None:
    """Makes the provenance match the changed beats, as someone who changes them on purpose does."""
    content = json.loads((folder / PROVENANCE).read_text())
    (folder / PROVENANCE).write_text(json.dumps({**content, "sha256": sha256(folder / BEATS)}))


def test_the_provenance_of_a_synthetic_set(tmp_path: Path) -> None:
    write_synthetic_set(tmp_path)
    read_mutated(tmp_path / PROVENANCE, lambda: read_synthetic_set(tmp_path))


def test_the_beats_of_a_synthetic_set(tmp_path: Path) -> None:
    write_synthetic_set(tmp_path)

    def read() -> None:
        update_sha256(tmp_path)
        read_synthetic_set(tmp_path)

    read_mutated(tmp_path / BEATS, read)


@pytest.mark.parametrize("name", DTYPES)
def test_an_array_of_a_synthetic_set(tmp_path: Path, name: str) -> None:
    """The array is damaged and the checksums of the zip file are right."""
    write_synthetic_set(tmp_path)
    with zipfile.ZipFile(tmp_path / BEATS) as archive:
        arrays = {member: archive.read(member) for member in archive.namelist()}
    path = tmp_path / f"{name}.npy"
    path.write_bytes(arrays[path.name])

    def read() -> None:
        with zipfile.ZipFile(tmp_path / BEATS, "w") as archive:
            for member, content in {**arrays, path.name: path.read_bytes()}.items():
                archive.writestr(member, content)
        update_sha256(tmp_path)
        read_synthetic_set(tmp_path)

    read_mutated(path, read)
