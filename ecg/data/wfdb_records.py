"""Records in WFDB files, the format of PhysioNet: a header, signal files and an annotation file each.

Format: https://physionet.org/physiotools/wag/header-5.htm and annot-5.htm. The reading itself is the `wfdb`
package's; this module adds the checks without which a broken download becomes a strange beat.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import wfdb
from numpy.typing import NDArray

from ecg.data import aami
from ecg.data.recording import Recording
from ecg.errors import UserError

# Bits that one sample takes, by signal format. 310 and 311 pad every third sample to 32 bits, so 10 is their
# lower bound; compressed formats are absent because their size says nothing about the number of samples.
_BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 10, "311": 10}
_REPLACE = "replace it with a fresh copy"


class Signals(NamedTuple):
    """The signals of one record.

    Attributes:
        sfreq: sampling rate in Hz.
        leads: names of the signals.
        signal: (n_leads, n_samples) raw ADC values, contiguous int16, or int32 where a value does not fit.
    """

    sfreq: float
    leads: tuple[str, ...]
    signal: NDArray[Any]


def read_recording(folder: Path, name: str, *, patient: str | None = None, annotator: str = "atr") -> Recording:
    """Reads one annotated record and checks it.

    Args:
        folder: where the files of the record are.
        name: the record's name, the stem of its header.
        patient: the person; None where every record is another person.
        annotator: suffix of the annotation file, or its whole name where that is not the record's.

    Returns:
        The recording, raw ADC values.

    Raises:
        UserError: a file is missing, unreadable or truncated, a signal does not match its checksum, an
            annotation lies outside the signal, or no annotation is a beat.
    """
    sfreq, leads, signal = read_signals(folder, name)
    sample, symbol = _read_annotations(folder, name, annotator, n_samples=signal.shape[1])
    return Recording(name, patient or name, sfreq, leads, signal, sample, symbol)


def read_signals(folder: Path, name: str) -> Signals:
    """Reads the signals of one record, which needs no annotations (a noise record has none).

    Args:
        folder: where the files of the record are.
        name: the record's name, the stem of its header.

    Returns:
        Its signals, raw ADC values.

    Raises:
        UserError: a file is missing, unreadable or truncated, or a signal does not match its checksum.
    """
    header = _read_header(folder, name)
    path = _header_path(folder, name)
    for file_name in dict.fromkeys(header.file_name):
        _check_size(_existing(path.parent / file_name, "signal file"), header)
    with _readable(path, f"the signals of {path}"):
        record = wfdb.rdrecord(str(path.with_name(path.name.removesuffix(".hea"))), physical=False)
    _check_signals(record, header, path)
    leads = tuple(lead or f"signal {i}" for i, lead in enumerate(header.sig_name))
    return Signals(float(header.fs), leads, _compact(record.d_signal.T))


def list_records(folder: Path) -> list[str]:
    """Names of the records in a folder: those of its RECORDS file, or of its headers where there is none.

    Args:
        folder: where to look.

    Returns:
        The names, in the order of RECORDS or sorted.

    Raises:
        UserError: there is none.
    """
    index = folder / "RECORDS"
    with _readable(index):
        if index.is_file():
            names = index.read_text(encoding="utf-8").split()
        else:
            names = sorted(path.name.removesuffix(".hea") for path in folder.glob("*.hea"))
    if not names:
        raise UserError(f"no WFDB records in {folder}: choose a folder that holds .hea, .dat and annotation files.")
    return names


def stamp(folder: Path, name: str, annotator: str = "atr") -> str:
    """A cheap fingerprint of the files of one record: it changes when one of them is edited or replaced.

    Header and annotations count by content, the signal files, which are large, by size and time of change.

    Args:
        folder: where the files of the record are.
        name: the record's name, the stem of its header.
        annotator: suffix of the annotation file, or its whole name where that is not the record's.

    Returns:
        A sha256 in hexadecimal.

    Raises:
        UserError: a file is missing or the header is unreadable.
    """
    path = _header_path(folder, name)
    parts: list[object] = []
    for file_name in dict.fromkeys(_read_header(folder, name).file_name):
        status = _existing(path.parent / file_name, "signal file").stat()
        parts.append((file_name, status.st_size, status.st_mtime_ns))
    for text_path in (path, _annotation_path(folder, name, annotator)):
        with _readable(text_path):
            parts.append(text_path.read_bytes())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _header_path(folder: Path, name: str) -> Path:
    return _existing(folder / f"{name}.hea", "header")


def _annotation_path(folder: Path, name: str, annotator: str) -> Path:
    file_name = annotator if "." in annotator else f"{name}.{annotator}"
    return _existing(folder / file_name, "annotation file")


def _existing(path: Path, what: str) -> Path:
    with _readable(path, f"{what} {path}"):
        found = path.is_file()
    if not found:
        raise UserError(f"{what} {path} is missing: put it there, or choose the folder that holds it.")
    return path


@contextmanager
def _readable(path: Path, what: str | None = None) -> Iterator[None]:
    """Says in one sentence what failed, since a damaged file makes wfdb raise nearly anything."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = f"check its permissions, or {_REPLACE}" if isinstance(error, OSError) else _REPLACE
        raise UserError(f"{what or path} cannot be read ({reason}): {remedy}.") from error


def _read_header(folder: Path, name: str) -> Any:
    path = _header_path(folder, name)
    with _readable(path, f"header {path}"):
        header = wfdb.rdheader(str(path).removesuffix(".hea"))
    if isinstance(header, wfdb.MultiRecord):
        raise UserError(f"{path} describes several segments: name one of its single segments instead.")
    if not header.n_sig or len(header.file_name or ()) != header.n_sig:
        raise UserError(f"{path} promises {header.n_sig} signals and does not describe them: {_REPLACE}.")
    # WFDB allows a header without a length, but a truncated signal then looks whole; wfdb skips what it does
    # not understand on this line and assumes 250 Hz.
    if not (header.sig_len and header.fs > 0):
        raise UserError(
            f"{path} states {header.sig_len or 'no number of'} samples at {header.fs} Hz:"
            " mend its first line, or replace it with a fresh copy."
        )
    # Either would need resampling, after which the values are no longer those that were recorded.
    if any((count or 1) != 1 for count in header.samps_per_frame) or any(header.skew):
        raise UserError(
            f"{path} describes signals that differ in sampling rate or start: convert the record with xform first."
        )
    return header


def _check_size(path: Path, header: Any) -> None:
    """Refuses a truncated file before wfdb reads it, which pads one that is nearly empty without a word."""
    signals = [i for i, file_name in enumerate(header.file_name) if file_name == path.name]
    bits = sum(_BITS.get(header.fmt[i], 0) for i in signals) * header.sig_len
    expected = (header.byte_offset[signals[0]] or 0) + bits // 8
    if (size := path.stat().st_size) < expected:
        raise UserError(f"signal file {path} is truncated ({size} bytes, its header promises {expected}): {_REPLACE}.")


def _check_signals(record: Any, header: Any, path: Path) -> None:
    n_samples = record.d_signal.shape[0]
    if n_samples != header.sig_len:
        raise UserError(f"{path} promises {header.sig_len} samples and {n_samples} are there: {_REPLACE}.")
    for i, (found, stated) in enumerate(zip(record.calc_checksum(), header.checksum, strict=True)):
        # 16 bits that some headers write signed (-28574) and others unsigned (36962).
        if stated is not None and (found - stated) % 65536:
            file = path.with_name(header.file_name[i])
            raise UserError(
                f"signal {i} of {file} does not match its checksum in {path.name}"
                f" ({found} instead of {stated % 65536}): {_REPLACE}."
            )


def _compact(signal: NDArray[Any]) -> NDArray[Any]:
    limits = np.iinfo(np.int16)
    fits = limits.min <= signal.min() and signal.max() <= limits.max
    return np.ascontiguousarray(signal, dtype=np.int16 if fits else np.int32)


def _read_annotations(
    folder: Path, name: str, annotator: str, n_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    path = _annotation_path(folder, name, annotator)
    with _readable(path, f"annotation file {path}"):
        whole = path.read_bytes().endswith(b"\0\0")
        annotation = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
        sample = np.asarray(annotation.sample, dtype=np.int64)
        symbol = np.array(annotation.symbol, dtype=np.str_)
    # wfdb takes the last two bytes for the end mark unseen: it reads what is left of a truncated file.
    if not whole:
        raise UserError(f"annotation file {path} is truncated (its end mark is missing): {_REPLACE}.")
    _check_annotations(sample, symbol, path, n_samples)
    return sample, symbol


def _check_annotations(sample: NDArray[np.int64], symbol: NDArray[np.str_], path: Path, n_samples: int) -> None:
    outside = sample[(sample < 0) | (sample >= n_samples)]
    if outside.size:
        raise UserError(
            f"annotation file {path} marks sample {outside[0]}, outside the signal of {n_samples} samples:"
            f" {_REPLACE}, of the signal too if it is short."
        )
    if (np.diff(sample) < 0).any():
        raise UserError(f"annotation file {path} is not in the order of time: sort it with sortann.")
    if not (aami.labels_of(symbol) >= 0).any():
        found = ", ".join(f"{key!r} {count} times" for key, count in Counter(symbol.tolist()).most_common(5))
        raise UserError(
            f"annotation file {path} holds no beat (it holds {found or 'nothing'}): leave this record out,"
            " or choose another annotator."
        )
