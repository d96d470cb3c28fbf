"""Cache of prepared beats: one npz file, without pickles, for each key.

A key is a fingerprint of everything that determines the beats: records, window and code.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ecg.data.beats import Beats
from ecg.data.npz import read_arrays
from ecg.errors import UserError
from ecg.files import atomic_write

_COLUMNS = ("signal", "rr", "label", "sample", "time", "last")  # arrays that are stored as they are

log = logging.getLogger(__name__)

# Modules of ecg.data that use beats. A change of any other module makes the cache stale.
_USERS_OF_BEATS = ("balanced.py", "datamodule.py", "synthetic_set.py")


def code_fingerprint() -> str:
    """Returns a fingerprint of the code that makes beats."""
    modules = sorted(path for path in Path(__file__).parent.glob("*.py") if path.name not in _USERS_OF_BEATS)
    return hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Returns a cache key of 20 hexadecimal digits.

    Args:
        settings: everything besides the code that determines the beats, JSON-able.
    """
    text = json.dumps({**settings, "code": code_fingerprint()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def load_or_make(folder: Path, key: str, make: Callable[[], Beats]) -> Beats:
    """Returns the beats of a key, from the cache or else from `make`.

    Several processes may call this at once with the same key: one of them makes the beats, the others wait. A damaged
    file is replaced.

    Args:
        folder: the cache folder; created if missing.
        key: the key, from `fingerprint`.
        make: prepares the beats.

    Raises:
        UserError: the folder cannot be written.
    """
    path = folder / f"beats-{key}.npz"
    if (beats := _read(path)) is not None:
        return beats
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
    try:
        if (beats := _read(path)) is None:
            beats = make()
            with _writing(folder):
                _write(path, beats)
        return beats
    finally:
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Translates errors of the file system into user errors."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write the prepared beats to {folder} ({error.strerror or error}). "
            "Choose another folder with paths.cache_dir=FOLDER."
        ) from error


def _read(path: Path) -> Beats | None:
    try:
        file = read_arrays(path, (*_COLUMNS, "record", "names", "patients", "sfreq"))
        columns = {name: file[name] for name in _COLUMNS}
        record, patient = (file[name][file["record"]] for name in ("names", "patients"))
        return Beats(**columns, record=record, patient=patient, sfreq=float(file["sfreq"]))
    except FileNotFoundError:
        return None
    except (ValueError, IndexError) as error:
        log.warning("The prepared beats in %s are damaged (%s). They are prepared again.", path, error)
        return None


def _write(path: Path, beats: Beats) -> None:
    # Names are stored once per record: arrays of strings are large.
    names, first, index = np.unique(beats.record, return_index=True, return_inverse=True)
    columns = {name: getattr(beats, name) for name in (*_COLUMNS, "sfreq")}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **columns, names=names, patients=beats.patient[first], record=index.astype(np.int32))
