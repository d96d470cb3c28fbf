"""Reads records in WFDB files, PhysioNet's format: a header, signal files and an annotation file for each record.

Format: https://physionet.org/physiotools/wag/header-5.htm and annot-5.htm. The `wfdb` package reads the files. This
module adds checks for damaged files, which that package reads without an error.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from numpy.typing import NDArray

from ecg.data.aami import labels_from_symbols
from ecg.data.recording import Recording
from ecg.errors import UserError
from ecg.reading import one_line, printable
from ecg.resources import require_memory

log = logging.getLogger(__name__)

# Bits of one sample, by signal format. Formats 310 and 311 pad every third sample to 32 bits; 10 is their lower bound.
# Compressed formats are absent because the size of their files does not depend on the number of samples alone.
_BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 10, "311": 10}
# Hz. Below the lower limit, the waves of a beat are not resolved. The rate also bounds the size of resampled signals.
_SFREQ_RANGE = (50.0, 20_000.0)
# The value for a missing sample, by signal format: the smallest one of its number of bits.
_MISSING = {"16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 10, "311": 10}
_MISSING |= {"508": 8, "516": 16, "524": 24}
_COMPRESSED = ("508", "516", "524")
_LONGEST_NAME = 255  # characters of the name of a file
_LONG_NUMBER = re.compile(r"\d{19}", re.ASCII)
# What wfdb and soundfile raise for damaged files, beside OSError and ValueError.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError)
_SFREQ = re.compile(r"\d+\.?\d*", re.ASCII)
_MAX_OUTSIDE = 0.01  # fraction of annotations beyond the end of the signal; SVDB's record 860 has one
_REPLACE = "Replace it with a fresh copy."


@dataclass(frozen=True)
class Signals:
    """The signals of one record.

    Attributes:
        sfreq: sampling rate in Hz.
        leads: names of the signals.
        signal: (n_leads, n_samples) raw ADC values, contiguous; int16, or int32 where a value does not fit.
        missing: for each signal, the value of its format that stands for a missing sample; None if there is none.
    """

    sfreq: float
    leads: tuple[str, ...]
    signal: NDArray[Any]
    missing: tuple[int | None, ...]

    def with_gaps(self) -> NDArray[Any]:
        """Returns the signal, as floating point numbers with NaN if samples are missing."""
        found = [
            (i, np.flatnonzero(lead == value))
            for i, (lead, value) in enumerate(zip(self.signal, self.missing, strict=True))
            if value is not None
        ]
        if not any(at.size for _, at in found):
            return self.signal
        signal = self.signal.astype(np.float32 if self.signal.dtype == np.int16 else np.float64)
        for i, at in found:
            signal[i, at] = np.nan
        return signal


def read_recording(
    folder: Path, name: str, *, patient: str | None = None, annotator: str = "atr", preferred_lead: str = "MLII"
) -> Recording:
    """Returns an annotated record, with raw ADC values.

    Annotations at or beyond the end of the signal are left out with a warning.

    Args:
        folder: folder of the record's files.
        name: name of the record, the stem of its header.
        patient: name of the patient; None for the name of the record.
        annotator: suffix of the annotation file, or its full name where its stem differs from the record's name.
        preferred_lead: see `Recording`.

    Raises:
        UserError: the signals are refused by `read_signals`, the annotation file is missing, unreadable or truncated,
            more than 1 % of the annotations lie outside the signal, or no annotation is a beat.
    """
    signals = read_signals(folder, name)
    sample, symbol = read_annotations(folder, name, annotator, n_samples=signals.signal.shape[1])
    return Recording(
        name, patient or name, signals.sfreq, signals.leads, signals.signal, sample, symbol, preferred_lead
    )


def read_signals(folder: Path, name: str) -> Signals:
    """Returns the signals of a record, with raw ADC values. No annotation file is needed.

    Args:
        folder: folder of the record's files.
        name: name of the record, the stem of its header.

    Raises:
        UserError: a file is missing, unreadable or truncated, the record is shorter than 1 s, its sampling rate is
            not between 50 and 20,000 Hz, or a signal does not match its checksum.
    """
    header = _read_header(folder, name)
    path = _header_path(folder, name)
    for file_name in dict.fromkeys(header.file_name):
        _check_size(_existing(path.parent / file_name, "signal file"), header)
    with _reading(path, f"signals of {path}"):
        # As one array, and without `return_res`, the samples would be int64.
        record = wfdb.rdrecord(
            str(path.with_name(path.name.removesuffix(".hea"))), physical=False, smooth_frames=False, return_res=32
        )
    _check_signals(record, header, path)
    leads = tuple(lead or f"signal {i}" for i, lead in enumerate(header.sig_name))
    missing = tuple(-(2 ** (_MISSING[fmt] - 1)) if fmt in _MISSING else None for fmt in header.fmt)
    return Signals(float(header.fs), leads, _compact(record.e_d_signal), missing)


def list_records(folder: Path) -> list[str]:
    """Returns the names of the records in a folder: those of its file RECORDS, else those of its headers, sorted.

    Raises:
        UserError: the folder has no records.
    """
    index = folder / "RECORDS"
    with _reading(index, f"list {index}"):
        if index.is_file():
            names = index.read_text(encoding="utf-8").split()
        else:
            names = sorted(path.name.removesuffix(".hea") for path in folder.glob("*.hea"))
    if not names:
        raise UserError(f"{folder} has no WFDB records. Choose a folder with .hea, .dat and annotation files.")
    return names


def fingerprint(folder: Path, name: str, annotator: str = "atr") -> str:
    """Returns a fingerprint of the files of a record, which changes when one of them is edited or replaced.

    It is a sha256 of the contents of the header and of the annotation file, and of the size and modification time of
    the signal files, which are large.

    Args:
        folder: folder of the record's files.
        name: name of the record, the stem of its header.
        annotator: see `read_recording`.

    Raises:
        UserError: a file is missing, or the header is unreadable.
    """
    path = _header_path(folder, name)
    parts: list[object] = []
    for file_name in dict.fromkeys(_read_header(folder, name).file_name):
        status = _existing(path.parent / file_name, "signal file").stat()
        parts.append((file_name, status.st_size, status.st_mtime_ns))
    for small_file in (path, _annotation_path(folder, name, annotator)):
        with _reading(small_file, f"file {small_file}"):
            parts.append(small_file.read_bytes())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _header_path(folder: Path, name: str) -> Path:
    return _existing(folder / f"{name}.hea", "header")


def _annotation_path(folder: Path, name: str, annotator: str) -> Path:
    return _existing(folder / (annotator if "." in annotator else f"{name}.{annotator}"), "annotation file")


def _existing(path: Path, kind: str) -> Path:
    with _reading(path, f"{kind} {path}"):
        exists = path.is_file()
    if not exists:
        raise UserError(f"The {kind} {path} is missing. Add it, or choose another folder.")
    return path


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Translates the errors of damaged files into user errors."""
    try:
        yield
    except MemoryError as error:
        raise UserError(f"The {what} does not fit into memory. Split the record into shorter ones.") from error
    except (OSError, ValueError, *_DAMAGE) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"[:200]
        permissions = f"Check the permissions of {path}. " if isinstance(error, OSError) else ""
        raise UserError(f"Cannot read the {what} ({reason}). {permissions}{_REPLACE}") from error


def _read_header(folder: Path, name: str) -> Any:
    path = _header_path(folder, name)
    _check_text(path)
    with _reading(path, f"header {path}"):
        header = wfdb.rdheader(str(path).removesuffix(".hea"))
    if isinstance(header, wfdb.MultiRecord):
        raise UserError(f"The header {path} describes several segments. Use the records of its segments.")
    described = len(header.file_name or ())
    if not header.n_sig or described != header.n_sig:
        raise UserError(f"The header {path} states {header.n_sig} signals and describes {described}. {_REPLACE}")
    # WFDB permits a header without a length, but then a truncated signal file cannot be detected.
    if not (header.sig_len or 0) >= header.fs:
        raise UserError(
            f"The header {path} states {header.sig_len or 'no number of'} samples at {header.fs:g} Hz. A record must "
            f"be at least 1 s long. Correct its first line or replace it with a fresh copy."
        )
    # Such signals need resampling, which changes the recorded values.
    if any((count or 1) != 1 for count in header.samps_per_frame) or any(header.skew):
        raise UserError(
            f"The signals of the header {path} differ in sampling rate or start. Convert the record with xform."
        )
    return header


def _check_text(path: Path) -> None:
    """Refuses what `wfdb` reads without an error, or with an unclear one.

    These are signal files in other folders, numbers that no file has, and a sampling rate that is negative, zero,
    absent or not a number. `wfdb` reads a rate that it cannot parse, such as -360, as WFDB's default of 250 Hz. A
    header without a rate, for which that default is meant, has no length either and cannot be used.
    """
    with _reading(path, f"header {path}"):
        text = (line.strip() for line in path.read_text("ascii", errors="ignore").splitlines())
        lines = [line.split() for line in text if line and not line.startswith("#")]
    if any(_LONG_NUMBER.search(field) for fields in lines for field in fields[:9]):
        raise UserError(f"The header {path} has a number with more than 18 digits. {_REPLACE}")
    fields = lines[0] if lines else []
    rate = fields[2].partition("/")[0] if len(fields) > 2 else ""
    low, high = _SFREQ_RANGE
    if not (_SFREQ.fullmatch(rate) and low <= float(rate) <= high):
        stated = f"the sampling rate {rate[:20]!r}" if rate else "no sampling rate"
        raise UserError(
            f"The header {path} states {stated}. Valid rates: {low:g} to {high:,g} Hz. Correct its first line or "
            "replace it with a fresh copy."
        )
    for file_name in (fields[0] for fields in lines[1:]):
        if "/" in file_name or "\\" in file_name or len(file_name) > _LONGEST_NAME:
            raise UserError(
                f"The header {path} names the signal file {printable(file_name)[:60]}, which is not in its folder. Put "
                "all files of the record into one folder, and correct the header."
            )


def _check_size(path: Path, header: Any) -> None:
    """Refuses a truncated file, which `wfdb` pads without a warning if it is nearly empty."""
    signals = [i for i, file_name in enumerate(header.file_name) if file_name == path.name]
    bits = sum(_BITS.get(header.fmt[i], 0) for i in signals) * header.sig_len
    expected = (header.byte_offset[signals[0]] or 0) + bits // 8
    if (size := path.stat().st_size) < expected:
        raise UserError(f"The signal file {path} is truncated: {size} bytes instead of {expected}. {_REPLACE}")
    if any(header.fmt[i] in _COMPRESSED for i in signals):
        # A small file can state any number of samples.
        require_memory(
            8 * len(signals) * header.sig_len, f"The {header.sig_len:,} samples of the header {path}", _REPLACE
        )


def _check_signals(record: Any, header: Any, path: Path) -> None:
    n_samples = min(map(len, record.e_d_signal))
    if n_samples != header.sig_len:
        raise UserError(f"The header {path} states {header.sig_len} samples, and there are {n_samples}. {_REPLACE}")
    for i, (actual, stated) in enumerate(zip(record.calc_checksum(expanded=True), header.checksum, strict=True)):
        # Some headers store the 16 bits as signed (-28574), others as unsigned (36962).
        if stated is not None and (actual - stated) % 65536:
            file = path.with_name(header.file_name[i])
            raise UserError(
                f"Signal {i} of {file} does not match its checksum in {path.name}: {actual} instead of "
                f"{stated % 65536}. {_REPLACE}"
            )


def _compact(leads: Sequence[NDArray[np.int32]]) -> NDArray[Any]:
    """Returns leads (n_samples,) as one array, int16 if all values fit."""
    limits = np.iinfo(np.int16)
    fits = all(limits.min <= lead.min() and lead.max() <= limits.max for lead in leads)
    return np.stack([lead.astype(np.int16 if fits else np.int32, copy=False) for lead in leads])


def read_annotations(
    folder: Path, name: str, annotator: str, n_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Returns samples and symbols (n_annotations,) of the annotations within a signal of n_samples.

    Raises:
        UserError: see `read_recording`.
    """
    path = _annotation_path(folder, name, annotator)
    with _reading(path, f"annotation file {path}"):
        complete = path.read_bytes().endswith(b"\0\0")
        annotation = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
        sample = np.asarray(annotation.sample, dtype=np.int64)
        symbol = np.array(annotation.symbol, dtype=np.str_)
    # `wfdb` takes the last two bytes for the end mark without a check, and so reads a truncated file.
    if not complete:
        raise UserError(f"The annotation file {path} is truncated: its end mark is missing. {_REPLACE}")
    if (np.diff(sample) < 0).any():
        raise UserError(f"The annotations in {path} are not in order of time. Sort them with sortann.")
    inside = (sample >= 0) & (sample < n_samples)
    _check_outside(sample[~inside], len(sample), path, n_samples)
    _check_beats(symbol[inside], path)
    return sample[inside], symbol[inside]


def _check_outside(outside: NDArray[np.int64], n_annotations: int, path: Path, n_samples: int) -> None:
    if not outside.size:
        return
    message = f"{outside.size} of {n_annotations} annotations in {path} lie outside the signal of {n_samples} samples"
    if outside.size > _MAX_OUTSIDE * n_annotations or outside[0] < 0:
        raise UserError(
            f"{message}; the first is at sample {outside[0]}. Replace the annotation file and the signal file with "
            "fresh copies."
        )
    log.warning("%s. They are left out.", message)


def _check_beats(symbol: NDArray[np.str_], path: Path) -> None:
    if not (labels_from_symbols(symbol) >= 0).any():
        counts = ", ".join(f"{count} x {key}" for key, count in Counter(symbol.tolist()).most_common(5))
        raise UserError(
            f"No annotation in {path} is a beat. Its annotations: {counts or 'none'}. Choose another annotator."
        )
