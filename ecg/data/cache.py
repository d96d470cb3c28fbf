"""Prepared beats on disk: an npz without pickles under a fingerprint of everything that shaped them."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from ecg.data.beats import Beats
from ecg.errors import UserError
from ecg.files import whole

log = logging.getLogger(__name__)


def code_stamp() -> str:
    """Fingerprint of the code that makes beats: a change of it makes the cache stale."""
    sources = sorted(p for p in Path(__file__).parent.glob("*.py") if p.name not in ("splits.py", "datamodule.py"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()


def fingerprint(shape: Mapping[str, Any]) -> str:
    """Twenty hexadecimal digits that stand for `shape` (JSON-able) and for the code that makes beats."""
    text = json.dumps({**shape, "code": code_stamp()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def load_or_make(folder: Path, key: str, make: Callable[[], Beats]) -> Beats:
    """The beats under `key`, read from `folder` or made and written there.

    Two processes that want the same beats at once share one preparation; a damaged file is made anew.

    Args:
        folder: the cache folder; made if absent.
        key: from `fingerprint`.
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
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write the prepared beats to {folder} ({error.strerror or error}): "
            "choose another folder with paths.cache_dir=..."
        ) from error


def _read(path: Path) -> Beats | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            names, patients = file["names"], file["patients"]
            index = file["record"]
            columns = {k: file[k] for k in ("signal", "rr", "label", "sample", "last")}
            return Beats(**columns, record=names[index], patient=patients[index], sfreq=float(file["sfreq"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile) as error:
        log.warning("The prepared beats in %s are damaged (%s) and are made anew.", path, error)
        return None


def _write(path: Path, beats: Beats) -> None:
    names, first, index = np.unique(beats.record, return_index=True, return_inverse=True)
    columns = {f.name: getattr(beats, f.name) for f in fields(Beats) if f.name not in ("record", "patient")}
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **columns, names=names, patients=beats.patient[first], record=index.astype(np.int32))
