from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import make_beats
from wfdb_factories import error_message

from ecg.data.beats import Beats
from ecg.data.cache import fingerprint, load_or_make
from ecg.data.simulated import Simulated
from ecg.data.window import CenteredWindow, KaggleWindow


def must_not_run() -> Beats:
    raise AssertionError("prepared again although the beats are in the cache")


def test_the_second_call_reads_the_cache(tmp_path: Path) -> None:
    beats = make_beats(3, {0: 4, 2: 2})
    load_or_make(tmp_path, "k", lambda: beats)
    read = load_or_make(tmp_path, "k", must_not_run)
    assert read.digest() == beats.digest()
    for name in ("record", "patient", "sample", "last"):
        np.testing.assert_array_equal(getattr(read, name), getattr(beats, name))
    assert read.sfreq == beats.sfreq


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "foreign", "pickle"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    beats = make_beats(3, {0: 4, 2: 2})
    load_or_make(tmp_path, "k", lambda: beats)
    (path,) = tmp_path.glob("*.npz")
    content = path.read_bytes()
    if damage == "foreign":
        np.savez(path, something=np.zeros(3))
    elif damage == "pickle":
        np.savez(path, signal=np.array([{"a": 1}], dtype=object), names=np.array(["a"]), patients=np.array(["a"]))
    else:
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :]
        path.write_bytes({"truncate": content[:half], "flip": flipped, "empty": b""}[damage])
    assert load_or_make(tmp_path, "k", lambda: beats).digest() == beats.digest()
    assert load_or_make(tmp_path, "k", must_not_run).digest() == beats.digest()


def test_each_setting_that_determines_the_beats_changes_the_key(tmp_path: Path) -> None:
    source = Simulated(name="simulated", records=None, n_patients=2, minutes=0.2, seed=0)
    window = CenteredWindow(lead="auto", before=0.5, after=0.5, sfreq=120.0, difference=True)
    windows = [KaggleWindow(lead="first"), replace(window, lead="first"), replace(window, before=0.4)]
    windows += [replace(window, after=0.4), replace(window, sfreq=100.0), replace(window, difference=False)]
    sources = [replace(source, minutes=0.3), replace(source, seed=1), replace(source, n_patients=3)]
    sources += [replace(source, records=["sim01"])]
    pairs = [(source, window), *((source, other) for other in windows), *((other, window) for other in sources)]
    for pair in pairs:
        pair[0].load_beats(pair[1], tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == len(pairs)
    source.load_beats(window, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == len(pairs)
    source.load_beats(window, tmp_path, exclude=["sim01"])
    assert len(list(tmp_path.glob("*.npz"))) == len(pairs) + 1


def test_the_key_does_not_depend_on_the_order_of_the_settings() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 2})


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    message = error_message(lambda: load_or_make(folder, "k", lambda: make_beats(1, {0: 2})))
    assert f"Cannot write the prepared beats to {folder}" in message
    assert "paths.cache_dir=FOLDER" in message


def test_simultaneous_jobs_prepare_the_beats_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> Beats:
        calls.append(1)
        time.sleep(0.2)
        return make_beats(2, {0: 3})

    digests: list[str] = []
    # The lock is a lock of the file system, so threads exclude each other as processes do.
    jobs = [
        threading.Thread(target=lambda: digests.append(load_or_make(tmp_path, "k", make).digest())) for _ in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert digests == [make_beats(2, {0: 3}).digest()] * 3
    assert len(calls) == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_an_error_while_reading_records_is_not_reported_as_an_error_of_the_cache(tmp_path: Path) -> None:
    def make() -> Beats:
        raise OSError("the disk of the records is not available")

    with pytest.raises(OSError, match="the disk of the records is not available"):
        load_or_make(tmp_path, "k", make)
    assert load_or_make(tmp_path, "k", lambda: make_beats(1, {0: 2}))
