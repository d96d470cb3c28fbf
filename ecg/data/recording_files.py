"""Reads recordings to annotate: WFDB, EDF, CSV, NumPy and Parquet files.

A WFDB record is named by its header, or by its path without a suffix. CSV and Parquet files have a column for each
lead; a NumPy file has an array (n_samples,) or (n_leads, n_samples). These three do not state a sampling rate.
"""

from __future__ import annotations

import glob
import itertools
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg.data import wfdb_reader
from ecg.data.recording import Recording
from ecg.errors import INSTALL, UserError
from ecg.reading import one_line, printable
from ecg.resources import require_memory

SFREQ_RANGE = (50.0, 20_000.0)  # Hz, as for WFDB records
PREFERRED_LEADS = ("MLII", "II", "ML2", "ECG II", "ECGII", "LEAD II")  # by name, in this order
MOST_LEADS = 64
LONGEST_NAME, MOST_LISTED = 40, 20  # characters of the name of a lead; names in a message
TABLES = (".csv", ".parquet", ".npy")
HEADER, EDF = ".hea", ".edf"
# What the libraries raise for damaged files, beside OSError: edfio, pyarrow with pandas, and NumPy, which parses the
# header of an array as Python.
DAMAGE: tuple[type[Exception], ...] = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError)
DAMAGE += (SyntaxError, TypeError, ValueError, tokenize.TokenError)
RESULTS = ".beats.csv"  # end of the names of tables of beats
GLOB = re.compile(r"[*?[]")

Signal = NDArray[Any]  # (n_leads, n_samples) numbers


def read_recording(
    path: Path, *, sfreq: float | None = None, lead: str | None = None, annotator: str | None = None
) -> Recording:
    """Returns the recording in a file.

    Args:
        path: the file, or a WFDB record without suffix.
        sfreq: sampling rate in Hz of a file that does not state one; else it must be the stated one.
        lead: the lead that beats are detected in; None for lead II by name, else the first.
        annotator: suffix of the annotation file of a WFDB record; None for no annotations.

    Raises:
        UserError: the file is missing, damaged or of an unknown format, the sampling rate is missing, not valid or not
            the stated one, or the recording does not have the lead.
    """
    suffix = path.suffix.lower()
    if suffix not in (EDF, *TABLES):
        return _with_lead(_read_wfdb(path, annotator), path, sfreq, lead)
    with _reading(path):
        is_file = path.is_file()
    if not is_file:
        raise UserError(f"{path} is missing.")
    if annotator is not None:
        raise UserError(f"{path} is no WFDB record, and --reference needs WFDB annotations. Leave it out.")
    leads: Sequence[str]
    if suffix == EDF:
        stated, leads, signal = _read_edf(path)
    else:
        leads, signal = _read_table(path)
        stated = _given_rate(path, sfreq)
    none = np.empty(0, np.int64)
    _check_shape(path, signal)
    recording = Recording(path.stem, path.stem, stated, _names(leads), signal, none, none.astype(np.str_))
    return _with_lead(recording, path, sfreq, lead)


def find_recordings(names: Sequence[str]) -> list[Path]:
    """Returns the recordings that paths, folders and patterns name, each once.

    Args:
        names: WFDB records, files, folders of them, or patterns such as "data/*.edf". In a folder or pattern, a WFDB
            record is found by its header.

    Raises:
        UserError: a folder or pattern has no recordings, or cannot be read.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        with _reading(path):
            if not path.is_dir() and not (GLOB.search(name) and not path.exists()):
                found[path] = None
                continue
            files = path.iterdir() if path.is_dir() else map(Path, glob.glob(name, recursive=True))
            recordings = sorted(file for file in files if file.suffix.lower() in (HEADER, EDF, *TABLES))
        # Results of an earlier annotation are no recordings.
        recordings = [file for file in recordings if not file.name.endswith(RESULTS)]
        if not recordings:
            raise UserError(f"{name} has no recordings: files {', '.join((HEADER, EDF, *TABLES))}.")
        found |= {file.with_suffix("") if file.suffix == HEADER else file: None for file in recordings}
    return list(found)


def recording_of_array(
    signal: NDArray[Any], sfreq: float, leads: Sequence[str] | None = None, lead: str | None = None
) -> Recording:
    """Returns an array as a recording.

    Args:
        signal: (n_samples,) or (n_leads, n_samples), in any unit; NaN where a lead has no contact.
        sfreq: sampling rate in Hz.
        leads: names of the leads; None for "lead 1" and so on.
        lead: the lead that beats are detected in; None for lead II by name, else the first.

    Raises:
        UserError: the array, the rate or the names are not valid.
    """
    values, (low, high) = np.asarray(signal), SFREQ_RANGE
    if values.ndim not in (1, 2) or values.dtype.kind not in "iuf" or not values.size:
        raise UserError(
            f"The signal is {values.dtype} {values.shape}. Valid: numbers (n_samples,) or (n_leads, n_samples)."
        )
    values = np.atleast_2d(values)
    names = tuple(leads) if leads is not None else _numbered(len(values))
    if len(values) > MOST_LEADS:
        raise UserError(f"The signal has {len(values)} leads. Valid: at most {MOST_LEADS}, as (n_leads, n_samples).")
    if len(names) != len(values) or len(set(names)) < len(names):
        raise UserError(f"The leads are {', '.join(names)}, but {len(values)} different names are needed.")
    if not low <= sfreq <= high:
        raise UserError(f"sfreq is {sfreq:g}. Valid rates: {low:g} to {high:,g} Hz.")
    if lead is not None and lead not in names:
        raise UserError(f"There is no lead {lead}. The leads: {', '.join(names)}.")
    none = np.empty(0, np.int64)
    recording = Recording("recording", "recording", float(sfreq), names, values, none, none.astype(np.str_))
    return replace(recording, preferred_lead=lead or _preferred(names))


def _numbered(n_leads: int) -> tuple[str, ...]:
    return tuple(f"lead {i + 1}" for i in range(n_leads))


def _preferred(names: Sequence[str]) -> str:
    """The lead that beats are detected in by default: lead II by name, else the first."""
    by_name = {name.upper(): name for name in reversed(names)}
    return next((by_name[name] for name in PREFERRED_LEADS if name in by_name), names[0])


def _with_lead(recording: Recording, path: Path, sfreq: float | None, lead: str | None) -> Recording:
    """Returns the recording with its preferred lead, after the checks of the arguments of `read_recording`."""
    stated, names = recording.sfreq, recording.leads
    if sfreq is not None and abs(sfreq - stated) > 1e-3 * stated:
        raise UserError(f"--sfreq is {sfreq:g}, but {path} states {stated:g} Hz. Leave out --sfreq.")
    if lead is not None and lead not in names:
        raise UserError(f"{path} has no lead {lead}. Its leads: {_listed(names)}.")
    return replace(recording, preferred_lead=lead or _preferred(names))


def _given_rate(path: Path, sfreq: float | None) -> float:
    low, high = SFREQ_RANGE
    if sfreq is None:
        raise UserError(f"{path} does not state its sampling rate. Add --sfreq=HZ.")
    if not low <= sfreq <= high:
        raise UserError(f"--sfreq is {sfreq:g}. Valid rates: {low:g} to {high:,g} Hz.")
    return sfreq


def _read_wfdb(path: Path, annotator: str | None) -> Recording:
    name = path.stem if path.suffix in (HEADER, ".dat") else path.name
    signals = wfdb_reader.read_signals(path.parent, name)
    _check_shape(path, signals.signal)
    sample, symbol = np.empty(0, np.int64), np.empty(0, np.str_)
    if annotator is not None:
        n_samples = signals.signal.shape[1]
        sample, symbol = wfdb_reader.read_annotations(path.parent, name, annotator, n_samples=n_samples)
    return Recording(name, name, signals.sfreq, _names(signals.leads), signals.with_gaps(), sample, symbol)


def _read_edf(path: Path) -> tuple[float, tuple[str, ...], Signal]:
    """Rate, leads and signals of the ECG channels of an EDF or EDF+ file: those with the rate of the first one."""
    try:
        import edfio
    except ImportError as error:
        raise UserError(f"{path} is an EDF file. Reading it needs: {INSTALL.format('formats')}.") from error
    with _reading(path):
        n_records = _stated_records(path)
        edf = edfio.read_edf(path)
        found, in_parts = edf.num_data_records, edf.reserved.startswith("EDF+D") and not edf.is_continuous
    # edfio reads a truncated file as a shorter one, and the parts of a file with pauses without the pauses.
    if found < n_records:
        raise UserError(
            f"{path} is truncated: {found} data records instead of {n_records}. Replace it with a fresh copy."
        )
    if in_parts:
        raise UserError(
            f"{path} is an EDF+D file with pauses. Split it into continuous files, for example with EDFbrowser."
        )
    channels = edf.signals
    ecg = [channel for channel in channels if "ECG" in channel.label.upper() or "EKG" in channel.label.upper()]
    ecg = ecg or [channel for channel in channels if channel.label.upper() in PREFERRED_LEADS]
    if not ecg:
        labels = _listed([channel.label for channel in channels])
        raise UserError(f"{path} has no ECG channel. Its channels: {labels or 'none'}.")
    sfreq, (low, high) = ecg[0].sampling_frequency, SFREQ_RANGE
    if not low <= sfreq <= high:
        raise UserError(f"{path} states {sfreq:g} Hz. Valid rates: {low:g} to {high:,g} Hz.")
    chosen = [channel for channel in ecg if channel.sampling_frequency == sfreq][:MOST_LEADS]
    with _reading(path):
        signal = np.stack([channel.data for channel in chosen])
    return float(sfreq), tuple(channel.label for channel in chosen), signal


def _stated_records(path: Path) -> int:
    """The number of data records in the header of an EDF file; -1 if unknown.

    Raises:
        ValueError: the header has another size than its signals need.
    """
    with path.open("rb") as file:
        header = file.read(256)
    n_bytes, n_records, n_signals = int(header[184:192]), int(header[236:244]), int(header[252:256])
    if n_bytes != 256 * (1 + n_signals):
        raise ValueError(f"its header states {n_bytes} bytes and {n_signals} signals")
    return n_records


def _read_table(path: Path) -> tuple[Sequence[str], Signal]:
    """Leads and signals of a CSV, Parquet or NumPy file."""
    readers: dict[str, Callable[[Path], Any]] = {".csv": _read_csv, ".parquet": _read_parquet, ".npy": _read_array}
    try:
        with _reading(path):
            content = readers[path.suffix.lower()](path)
    except ImportError as error:
        raise UserError(f"Reading {path} needs: {INSTALL.format('formats')}.") from error
    if isinstance(content, pd.DataFrame):
        texts = [str(name) for name in content if not pd.api.types.is_numeric_dtype(content[name])]
        if len(content) and texts:
            raise UserError(
                f"{path} has text in the columns {_listed(texts)}. Keep columns of numbers only, with commas "
                "between them."
            )
        with _reading(path):
            return [str(name) for name in content], content.to_numpy(np.float64).T
    if content.ndim not in (1, 2) or content.dtype.kind not in "iuf":
        raise UserError(
            f"{path} holds {str(content.dtype)[:LONGEST_NAME]} {content.shape}. Valid: numbers (n_samples,) or "
            "(n_leads, n_samples)."
        )
    signal = np.atleast_2d(content)
    return _numbered(len(signal)), signal


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, encoding_errors="replace")  # in the names of leads


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import parquet

    described = parquet.read_metadata(path)
    # A small file can state any number of rows.
    require_memory(
        8 * described.num_rows * described.num_columns,
        f"The {described.num_rows:,} rows that {path} states",
        "Replace it with a fresh copy, or split it.",
    )
    return pd.read_parquet(path, engine="pyarrow")


def _read_array(path: Path) -> NDArray[Any]:
    """The array of a NumPy file. It is mapped before it is copied, since NumPy allocates what the header states."""
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except MemoryError as error:  # of the parser of Python
        raise ValueError("its header is too complex") from error
    return np.array(mapped)


def _check_shape(path: Path, signal: Signal) -> None:
    n_leads, n_samples = signal.shape
    if not 1 <= n_leads <= MOST_LEADS or not n_samples:
        raise UserError(
            f"{path} has {n_leads} leads of {n_samples} samples. Valid: 1 to {MOST_LEADS} leads, not empty."
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Translates the errors of damaged files into user errors, and hides the warnings about them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory. Split it into shorter recordings.") from error
    except OSError as error:
        remedy = "Check its permissions, or replace it with a fresh copy"
        raise UserError(f"Cannot read {path} ({_reason(error)}). {remedy}.") from error
    except DAMAGE as error:
        raise UserError(f"Cannot read {path} ({_reason(error)}). Replace it with a fresh copy.") from error


def _reason(error: Exception) -> str:
    """Returns an error as one short line."""
    return f"{type(error).__name__}: {one_line(error)}"[:200]


def _names(leads: Sequence[str]) -> tuple[str, ...]:
    """Returns names of leads as short printable text, with a number behind those that occur before."""
    short = [_short(lead) or f"lead {i + 1}" for i, lead in enumerate(leads)]
    unique: list[str] = []
    for name in short:
        numbered = (f"{name} {number}" for number in itertools.count(2))
        unique.append(name if name not in unique else next(new for new in numbered if new not in [*unique, *short]))
    return tuple(unique)


def _listed(names: Sequence[str]) -> str:
    """Returns names as text; of many, the first ones."""
    more = [f"and {len(names) - MOST_LISTED} more"] if len(names) > MOST_LISTED else []
    return ", ".join([*map(_short, names[:MOST_LISTED]), *more])


def _short(name: str) -> str:
    return printable(name)[:LONGEST_NAME]
