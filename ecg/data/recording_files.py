"""Reads recordings to annotate: WFDB, EDF, CSV, NumPy and Parquet files.

A WFDB record is named by its header, or by its path without a suffix. CSV and Parquet files have a column for each
lead; a NumPy file has an array (n_samples,) or (n_leads, n_samples). These three do not state a sampling rate.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecg.data import wfdb_reader
from ecg.data.recording import Recording
from ecg.errors import UserError

SFREQ_RANGE = (50.0, 20_000.0)  # Hz, as for WFDB records
PREFERRED_LEADS = ("MLII", "II", "ML2", "ECG II", "ECGII", "LEAD II")  # by name, in this order
MOST_LEADS = 64
TABLES = (".csv", ".parquet", ".npy")
HEADER, EDF = ".hea", ".edf"
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
    if suffix == EDF:
        stated, leads, signal = _read_edf(path)
    elif suffix in TABLES:
        leads, signal = _read_table(path)
        stated = _given_rate(path, sfreq)
    else:
        return _with_lead(_read_wfdb(path, annotator), path, sfreq, lead)
    if annotator is not None:
        raise UserError(f"{path} is no WFDB record, and --reference needs WFDB annotations. Leave it out.")
    none = np.empty(0, np.int64)
    recording = Recording(path.stem, path.stem, stated, _unique(leads), signal, none, none.astype(np.str_))
    return _with_lead(recording, path, sfreq, lead)


def find_recordings(names: Sequence[str]) -> list[Path]:
    """Returns the recordings that paths, folders and patterns name, each once.

    Args:
        names: WFDB records, files, folders of them, or patterns such as "data/*.edf". In a folder or pattern, a WFDB
            record is found by its header.

    Raises:
        UserError: a folder or pattern has no recordings.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
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
        raise UserError(f"{path} has no lead {lead}. Its leads: {', '.join(names)}.")
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
    if annotator is not None:
        recording = wfdb_reader.read_recording(path.parent, name, annotator=annotator)
        return replace(recording, leads=_unique(recording.leads))
    signals, none = wfdb_reader.read_signals(path.parent, name), np.empty(0, np.int64)
    return Recording(name, name, signals.sfreq, _unique(signals.leads), signals.signal, none, none.astype(np.str_))


def _read_edf(path: Path) -> tuple[float, tuple[str, ...], Signal]:
    """Rate, leads and signals of the ECG channels of an EDF or EDF+ file: those with the most common sampling rate."""
    try:
        import edfio
    except ImportError as error:
        raise UserError(f"{path} is an EDF file. Reading it needs: pip install edfio.") from error
    try:
        channels = edfio.read_edf(path).signals
        labels = [channel.label for channel in channels]
        ecg = [channel for channel in channels if "ECG" in channel.label.upper() or "EKG" in channel.label.upper()]
        ecg = ecg or [channel for channel in channels if channel.label.upper() in PREFERRED_LEADS]
        chosen = [channel for channel in ecg if channel.sampling_frequency == ecg[0].sampling_frequency][:MOST_LEADS]
        data = [np.asarray(channel.data, np.float64) for channel in chosen]
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(f"Cannot read {path} ({_reason(error)}). Replace it with a fresh copy.") from error
    if not chosen:
        raise UserError(f"{path} has no ECG channel. Its channels: {', '.join(labels) or 'none'}.")
    return float(chosen[0].sampling_frequency), tuple(channel.label for channel in chosen), np.stack(data)


def _read_table(path: Path) -> tuple[tuple[str, ...], Signal]:
    """Leads and signals of a CSV, Parquet or NumPy file."""
    readers: dict[str, Callable[[Path], Any]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".npy": np.load}
    if not path.is_file():
        raise UserError(f"{path} is missing.")
    try:
        content = readers[path.suffix.lower()](path)
    except ImportError as error:
        raise UserError(f"Reading {path} needs: pip install pyarrow.") from error
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(f"Cannot read {path} ({_reason(error)}). Replace it with a fresh copy.") from error
    if isinstance(content, pd.DataFrame):
        if len(content) and (
            texts := [str(name) for name in content if not pd.api.types.is_numeric_dtype(content[name])]
        ):
            raise UserError(f"{path} has text in the columns {', '.join(texts[:5])}. Keep columns of numbers only.")
        return tuple(map(str, content)), _checked(path, content.to_numpy(np.float64).T)
    if content.ndim not in (1, 2) or content.dtype.kind not in "iuf":
        raise UserError(
            f"{path} holds {content.dtype} {content.shape}. Valid: numbers (n_samples,) or (n_leads, n_samples)."
        )
    signal = _checked(path, np.atleast_2d(content))
    return _numbered(len(signal)), signal


def _checked(path: Path, signal: Signal) -> Signal:
    n_leads, n_samples = signal.shape
    if not 1 <= n_leads <= MOST_LEADS or not n_samples:
        raise UserError(
            f"{path} has {n_leads} leads of {n_samples} samples. Valid: 1 to {MOST_LEADS} leads, not empty."
        )
    return signal


def _reason(error: Exception) -> str:
    """Returns an error as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names, with a number behind those that occur before."""
    return tuple(f"{name} {names[:i].count(name) + 1}" if name in names[:i] else name for i, name in enumerate(names))
