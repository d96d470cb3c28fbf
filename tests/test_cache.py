from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import make_beats

from ecg.data.beats import Beats
from ecg.data.cache import fingerprint, load_or_make
from ecg.data.sources import Simulated
from ecg.errors import UserError


def never() -> Beats:
    raise AssertionError("made anew although it was cached")


def test_second_time_it_is_read(tmp_path: Path) -> None:
    beats = make_beats(3, {0: 4, 2: 2})
    load_or_make(tmp_path, "k", lambda: beats)
    read = load_or_make(tmp_path, "k", never)
    assert read.digest() == beats.digest()
    for name in ("record", "patient", "sample", "last"):
        np.testing.assert_array_equal(getattr(read, name), getattr(beats, name))
    assert read.sfreq == beats.sfreq


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "foreign", "pickle"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
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
    assert load_or_make(tmp_path, "k", never).digest() == beats.digest()


def test_everything_that_shapes_beats_is_in_the_fingerprint(tmp_path: Path) -> None:
    base = {"window": "centered", "lead": "auto", "before": 0.5, "after": 0.5, "sfreq": 120.0, "difference": True}
    base |= {"name": "simulated", "n_patients": 2, "minutes": 0.5, "seed": 0}
    changes = [{}, {"window": "kaggle"}, {"lead": "first"}, {"before": 0.4}, {"sfreq": 100.0}, {"minutes": 0.6}]
    changes += [{"seed": 1}, {"n_patients": 3}, {"difference": False}]
    for change in changes:
        Simulated(**(base | change)).beats(tmp_path)  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("*.npz"))) == len(changes)
    Simulated(**base).beats(tmp_path)  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("*.npz"))) == len(changes)
    Simulated(**base).beats(tmp_path, exclude=["sim00"])  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("*.npz"))) == len(changes) + 1


def test_fingerprint_is_stable_and_depends_on_order_of_nothing() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 2})


def test_unwritable_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write the prepared beats.*paths\.cache_dir"):
        load_or_make(tmp_path / "file" / "cache", "k", lambda: make_beats(1, {0: 2}))


def _slow_job(folder: Path, log: Path) -> None:
    def make() -> Beats:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(1)
        return make_beats(2, {0: 3})

    load_or_make(folder, "k", make)


def test_two_jobs_share_one_preparation(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_slow_job, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
        assert job.exitcode == 0
    assert len((tmp_path / "log").read_text().split()) == 1
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_an_error_of_the_records_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    def make() -> Beats:
        raise OSError("the records' disk is gone")

    with pytest.raises(OSError, match="the records' disk is gone"):
        load_or_make(tmp_path, "k", make)
    assert load_or_make(tmp_path, "k", lambda: make_beats(1, {0: 2}))
