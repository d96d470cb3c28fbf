"""Synthetic sets on disk: `beats.npz`, without pickles, and `provenance.json`.

The provenance lists the real beats that the generator was fitted on and those that selected its epoch, so that
`check_compatible` can refuse a set with leakage.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg.config.installation import program
from ecg.data.aami import CLASSES
from ecg.data.beats import Beats, Positions
from ecg.data.kaggle import write_rows
from ecg.data.npz import read_arrays
from ecg.data.protocols.protocol import Split
from ecg.data.window import KAGGLE_TIMES
from ecg.errors import UserError

log = logging.getLogger(__name__)

BEATS, PROVENANCE, CSV = "beats.npz", "provenance.json", "synthetic.csv"
MAX_VALUE = 1000.0  # beats are standardised or lie in [0, 1]
CREATE_AGAIN = f"Create the set again with: {program('synth')} checkpoint=RUN_DIR."
FIT_AGAIN = f"Fit a generator with the data and protocol of this run: {program('synth')} data=... protocol=..."


class Chunk(NamedTuple):
    """m synthetic beats.

    Attributes:
        signal: (m, C, T) float32.
        label: (m,) int64, index into `aami.CLASSES`.
        record: (m,) int64, index into the records of the generator.
    """

    signal: NDArray[np.float32]
    label: NDArray[np.int64]
    record: NDArray[np.int64]


DTYPES: dict[str, np.dtype[Any]] = {
    "signal": np.dtype(np.float32),
    "label": np.dtype(np.int64),
    "record": np.dtype(np.int64),
}


@dataclass(frozen=True)
class SyntheticSet:
    """n synthetic beats.

    Attributes:
        signal: (n, C, T) float32.
        label: (n,) int64, index into `aami.CLASSES`.
        record: (n,) int64, record that each beat was drawn for, index into `provenance["records"]`.
        provenance: content of `provenance.json`.
    """

    signal: NDArray[np.float32]
    label: NDArray[np.int64]
    record: NDArray[np.int64]
    provenance: dict[str, Any]

    def first(self, wanted: Mapping[str, int], folder: str) -> Positions:
        """Returns the positions of the first beats of each class, class by class.

        Args:
            wanted: class -> number of beats.
            folder: run folder or folder of the set, for the error message.

        Raises:
            UserError: a class has too few beats.
        """
        parts = [np.empty(0, np.int64)]
        for name, n in wanted.items():
            of_class = np.flatnonzero(self.label == CLASSES.index(name))
            if len(of_class) < n:
                numbers = ", ".join(f"{c}: {m}" for c, m in wanted.items())
                raise UserError(
                    f"The synthetic set has {len(of_class):,} beats of class {name}, but {n:,} are needed. Sample more "
                    f"with: {program('synth')} checkpoint={folder} 'synth.per_class={{{numbers}}}', "
                    "or decrease augmentation.fraction."
                )
            parts.append(of_class[:n])
        return np.concatenate(parts)


def beat_locations(beats: Beats, positions: Positions) -> dict[str, Any]:
    """Returns the identity of beats as {"patients": [...], "samples": {record: [sample of each annotation]}}."""
    record, sample = beats.record[positions], beats.sample[positions]
    samples = {str(name): sorted(sample[record == name].tolist()) for name in np.unique(record)}
    return {"patients": np.unique(beats.patient[positions]).tolist(), "samples": samples}


# -- write --------------------------------------------------------------------------------------------------------


def write_set(
    folder: Path,
    chunks: Iterable[Chunk],
    *,
    n: int,
    shape: tuple[int, int],
    provenance: Mapping[str, Any],
    csv: bool = False,
) -> Path:
    """Writes a synthetic set atomically, with one chunk at a time in memory.

    Args:
        folder: folder of the set; created if missing.
        chunks: n beats in total.
        n: number of beats.
        shape: (C, T).
        provenance: provenance of the set; sha256, shape and counts are added.
        csv: whether to write `synthetic.csv` as well, in the format of the Kaggle files.

    Returns:
        The folder.

    Raises:
        UserError: `csv` is set, but the beats are not those of the window `kaggle`.
        ValueError: the chunks do not contain n beats.
    """
    c, t = shape
    if csv and (c, t) != (1, KAGGLE_TIMES):
        raise UserError(
            f"synth.csv=true needs beats of 1 x {KAGGLE_TIMES} samples, but these have {c} x {t}. "
            "Use the window kaggle (data.window=kaggle), or synth.csv=false."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
        partial = Path(temporary)
        counts = _write_arrays(partial, chunks, {"signal": (n, c, t), "label": (n,), "record": (n,)}, csv)
        with zipfile.ZipFile(partial / BEATS, "w", zipfile.ZIP_STORED) as archive:
            for name in DTYPES:
                archive.write(partial / f"{name}.npy", f"{name}.npy")
        content = {**provenance, "n": n, "shape": list(shape), "counts": counts, "sha256": sha256(partial / BEATS)}
        (partial / PROVENANCE).write_text(json.dumps(content) + "\n", encoding="utf-8")
        # A set without provenance is refused, so the old provenance is removed first and the new one is moved last.
        (folder / PROVENANCE).unlink(missing_ok=True)
        for name in (BEATS, *([CSV] if csv else []), PROVENANCE):
            os.replace(partial / name, folder / name)
    return folder


def _write_arrays(
    folder: Path, chunks: Iterable[Chunk], shapes: Mapping[str, tuple[int, ...]], csv: bool
) -> dict[str, int]:
    """Writes one .npy file for each array, and the CSV file; returns the number of beats of each class."""
    counts = np.zeros(len(CLASSES), np.int64)
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in DTYPES}
        table = stack.enter_context((folder / CSV).open("w", encoding="utf-8")) if csv else None
        for name, dtype in DTYPES.items():
            header = {"descr": dtype.str, "fortran_order": False, "shape": shapes[name]}
            np.lib.format.write_array_header_1_0(files[name], header)
        for chunk in chunks:
            counts += np.bincount(chunk.label, minlength=len(CLASSES))
            for name, array in chunk._asdict().items():
                files[name].write(np.asarray(array, DTYPES[name]).tobytes())
            if table:
                write_rows(table, chunk.signal, chunk.label)
    n = shapes["label"][0]
    if counts.sum() != n:
        raise ValueError(f"The chunks contain {counts.sum()} beats instead of {n}.")
    return _by_class(counts)


def _by_class(counts: NDArray[np.int64]) -> dict[str, int]:
    """Returns the number of beats (n_classes,) of each class that has any."""
    return {name: int(count) for name, count in zip(CLASSES, counts, strict=True) if count}


def sha256(path: Path) -> str:
    """Returns the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- read ---------------------------------------------------------------------------------------------------------


def read_set(folder: Path) -> SyntheticSet:
    """Returns a synthetic set.

    Args:
        folder: folder of the set, or a run folder that contains it as `synthetic/`.

    Raises:
        UserError: the set is missing, damaged or modified, its arrays do not match its provenance, or a value is not
            finite or too large.
    """
    set_folder = folder / "synthetic" if (folder / "synthetic").is_dir() else folder
    path = set_folder / BEATS
    if not path.is_file():
        raise UserError(f"{folder} contains no synthetic set: {BEATS} is missing. {CREATE_AGAIN}")
    provenance = read_provenance(set_folder)
    if sha256(path) != provenance["sha256"]:
        raise UserError(f"{path} is damaged: its sha256 differs from that in {PROVENANCE}. {CREATE_AGAIN}")
    try:
        arrays = read_arrays(path, tuple(DTYPES))
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}). {CREATE_AGAIN}") from error
    if problem := _problem_of_arrays(arrays, provenance):
        raise UserError(f"{path} is not a synthetic set: {problem}. {CREATE_AGAIN}")
    return SyntheticSet(**arrays, provenance=provenance)


def _problem_of_arrays(arrays: Mapping[str, NDArray[Any]], provenance: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with the arrays of a set; None if they match its provenance and can be trained on."""
    n, (c, t), n_records = provenance["n"], provenance["shape"], len(provenance["records"])
    shapes = {"signal": (n, c, t), "label": (n,), "record": (n,)}
    for name, array in arrays.items():
        if (array.dtype, array.shape) != (DTYPES[name], shapes[name]):
            return f"{name} is {array.dtype} {array.shape} instead of {DTYPES[name]} {shapes[name]}"
    # min and max are NaN if a value is.
    low, high = arrays["signal"].min(initial=0), arrays["signal"].max(initial=0)
    if not -MAX_VALUE <= low <= high <= MAX_VALUE:
        diverged = "The generator may have diverged"
        return f"the values of signal are between {low:g} and {high:g}, beyond ±{MAX_VALUE:g}. {diverged}"
    for name, n_valid in (("label", len(CLASSES)), ("record", n_records)):
        index = arrays[name]
        if not 0 <= index.min(initial=0) <= index.max(initial=0) < n_valid:
            return f"the values of {name} are between {index.min()} and {index.max()}. Valid: 0 to {n_valid - 1}"
    if (counts := _by_class(np.bincount(arrays["label"], minlength=len(CLASSES)))) != provenance["counts"]:
        return f"it contains the beats {counts}, which differ from counts in {PROVENANCE}"
    return None


def read_provenance(folder: Path) -> dict[str, Any]:
    """Returns the provenance of the set in a folder.

    Raises:
        UserError: the file is missing, not JSON or incomplete, or a value has the wrong type.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        raise UserError(f"{path} is missing. Without it, leakage cannot be excluded. {CREATE_AGAIN}")
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON object: {error}. {CREATE_AGAIN}") from error
    if not isinstance(provenance, dict):
        raise UserError(f"{path} is not a JSON object. {CREATE_AGAIN}")
    if missing := [key for key in _VALID if key not in provenance]:
        raise UserError(f"{path} lacks {', '.join(missing)}. {CREATE_AGAIN}")
    for key, (is_valid, description) in _VALID.items():
        if not is_valid(provenance[key]):
            text = json.dumps(provenance[key])
            raise UserError(f"{path}: {key} is {text[:60]}, which is not {description}. {CREATE_AGAIN}")
    return provenance


def _is_integer(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63  # a bool is not an integer here


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_classes(value: object) -> bool:
    return isinstance(value, list) and all(item in CLASSES for item in value)


def _is_locations(value: object) -> bool:
    """Whether a value is a result of `beat_locations`."""
    if not (isinstance(value, dict) and _is_text_list(value.get("patients"))):
        return False
    samples = value.get("samples")
    return isinstance(samples, dict) and all(
        isinstance(listed, list) and all(map(_is_integer, listed)) for listed in samples.values()
    )


_LOCATIONS = "{patients: [names], samples: {record: [integers]}}"
# The keys of the provenance that this program reads: whether a value is valid, and a description of the valid ones.
_VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "sha256": (lambda value: isinstance(value, str), "text"),
    "n": (_is_integer, "a number of beats"),
    "shape": (lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_integer, value)), "[C, T]"),
    "counts": (lambda value: isinstance(value, dict), "a number of beats for each class"),
    "classes": (_is_classes, f"a list of the classes {', '.join(CLASSES)}"),
    "records": (_is_text_list, "a list of names"),
    "source": (lambda value: isinstance(value, str), "text"),
    "window": (lambda value: isinstance(value, dict), "the settings of a window"),
    "fitted_on": (_is_locations, _LOCATIONS),
    "chosen_on": (_is_locations, _LOCATIONS),
}


# -- check --------------------------------------------------------------------------------------------------------


def check_compatible(
    synthetic: SyntheticSet, beats: Beats, split: Split, *, source: str, window: Mapping[str, Any]
) -> None:
    """Refuses a synthetic set that does not match the real beats, or whose generator used validation or test beats.

    Args:
        synthetic: the synthetic set.
        beats: the real beats.
        split: their subsets.
        source: name of their source.
        window: settings of their window, `Window.settings()`.

    Raises:
        UserError: the set does not match, or there is leakage.
    """
    _check_kind(synthetic, beats, {"source": source, "window": dict(window), "classes": list(split.classes)})
    _check_leakage(synthetic, beats, split)
    fitted_on = synthetic.provenance["fitted_on"]
    n_fitted = sum(len(samples) for samples in fitted_on["samples"].values())
    if (n_other := n_fitted - _n_listed(fitted_on, beats, split.train)) > 0:
        log.warning(
            "The generator was fitted on %s beats that are not training beats of this run. Comparisons with runs "
            "without synthetic beats are unfair.",
            f"{n_other:,}",
        )


def _check_kind(synthetic: SyntheticSet, beats: Beats, expected: Mapping[str, Any]) -> None:
    """Refuses beats of another source, window, classes or shape."""
    for key, value in expected.items():
        if (actual := synthetic.provenance[key]) != value:
            difference = f"{key} {_text(actual)} instead of {_text(value)}"
            raise UserError(f"The synthetic set does not match this run: {difference}. {FIT_AGAIN}")
    shape, real = synthetic.signal.shape[1:], beats.signal.shape[1:]
    if shape != real:
        raise UserError(f"Synthetic beats have shape {shape}, real beats {real}. {FIT_AGAIN}")


def _check_leakage(synthetic: SyntheticSet, beats: Beats, split: Split) -> None:
    """Refuses a set whose generator used validation or test beats of this split."""
    fitted_on, chosen_on = synthetic.provenance["fitted_on"], synthetic.provenance["chosen_on"]
    for subset, positions in {"validation": split.validation, "test": split.test}.items():
        if n := _n_listed(fitted_on, beats, positions):
            raise UserError(f"Leakage: the generator was fitted on {n:,} {subset} beats of this run. {FIT_AGAIN}")
        patients = sorted(set(fitted_on["patients"]) & set(beats.patient[positions].tolist()))
        if split.by_patient and patients:
            names = ", ".join(patients[:3])
            raise UserError(f"Leakage: the generator was fitted on {subset} patients of this run: {names}. {FIT_AGAIN}")
    if n := _n_listed(chosen_on, beats, split.test):
        raise UserError(f"Leakage: the generator's epoch was chosen on {n:,} test beats of this run. {FIT_AGAIN}")


def _n_listed(locations: Mapping[str, Any], beats: Beats, positions: Positions) -> int:
    """Returns how many of the beats at `positions` are listed in the result of `beat_locations`."""
    record, sample = beats.record[positions], beats.sample[positions]
    listed = locations["samples"]
    return sum(int(np.isin(sample[record == name], listed[name]).sum()) for name in set(record.tolist()) & set(listed))


def _text(value: str | Mapping[str, Any] | Sequence[str]) -> str:
    """Returns a value of the provenance as text for a message."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return value if isinstance(value, str) else ", ".join(value)
