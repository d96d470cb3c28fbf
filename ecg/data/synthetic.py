"""The synthetic set on disk: `beats.npz` without pickles, and `provenance.json`, which says what it was fitted on.

A set is written chunk by chunk and read whole. `require_fit` refuses one that has seen beats it must not have seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg.data.aami import CLASSES
from ecg.data.beats import KAGGLE_TIMES, Beats
from ecg.data.splits import Positions, Split
from ecg.errors import UserError

log = logging.getLogger(__name__)

BEATS, PROVENANCE, CSV = "beats.npz", "provenance.json", "synthetic.csv"
NEEDED = ("sha256", "n", "classes", "source", "window", "fitted_on", "chosen_on")
CENTERED_KEYS = ("before", "after", "sfreq", "difference")
REMEDY = "make it anew with python synth.py checkpoint=RUN_DIR"


class Chunk(NamedTuple):
    """Signals (m, C, T) float32, RR features (m, R) float32, labels (m,) int64, indices into `aami.CLASSES`."""

    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]


@dataclass(frozen=True)
class SyntheticSet:
    """n synthetic beats.

    Attributes:
        signal: (n, C, T) float32.
        rr: (n, R) float32.
        label: (n,) int64, index into `aami.CLASSES`.
        provenance: what `provenance.json` says.
    """

    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]
    provenance: dict[str, Any]

    def first(self, wanted: Mapping[str, int], folder: str) -> Positions:
        """Positions of the first beats of each class, as many as are wanted.

        Raises:
            UserError: there are fewer.
        """
        parts = [np.empty(0, np.int64)]
        for name, n in wanted.items():
            at = np.flatnonzero(self.label == CLASSES.index(name))
            if len(at) < n:
                asked = ", ".join(f"{c}: {m}" for c, m in wanted.items())
                raise UserError(
                    f"The synthetic set holds {len(at):,} beats of class {name}, and {n:,} are needed: draw more with "
                    f"python synth.py checkpoint={folder} 'synth.per_class={{{asked}}}', or lower augmentation.share."
                )
            parts.append(at[:n])
        return np.concatenate(parts)


def window_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the group `data` that decide what a beat looks like."""
    keys = ("window", "lead", *(CENTERED_KEYS if str(data["window"]) == "centered" else ()))
    return {key: str(data[key]) if key in ("window", "lead") else data[key] for key in keys if key in data}


def places(beats: Beats, positions: Positions) -> dict[str, Any]:
    """Where beats come from, which identifies them: {"patients": [...], "samples": {record: [annotation samples]}}."""
    record, sample = beats.record[positions], beats.sample[positions]
    samples = {str(name): sorted(sample[record == name].tolist()) for name in np.unique(record)}
    return {"patients": np.unique(beats.patient[positions]).tolist(), "samples": samples}


def write(
    folder: Path,
    chunks: Iterable[Chunk],
    *,
    n: int,
    shape: tuple[int, int, int],
    provenance: Mapping[str, Any],
    csv: bool = False,
) -> Path:
    """Writes a set, holding one chunk in memory; `provenance.json` comes last, so that a set with it is whole.

    Args:
        folder: is made if need be.
        chunks: n beats in all.
        n: how many beats.
        shape: C, T and R.
        provenance: what is known of the set; its sha256, shape and counts are added.
        csv: also `synthetic.csv`, in the Kaggle set's 188 columns.

    Raises:
        UserError: `csv` for beats of another window.
        ValueError: the chunks hold another number of beats.
    """
    c, t, r = shape
    if csv and (c, t) != (1, KAGGLE_TIMES):
        raise UserError(
            f"synth.csv writes beats of {KAGGLE_TIMES} samples, and these have {c} x {t}: use window kaggle."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
        partial = Path(temporary)
        counts = _stream(partial, chunks, {"signal": (n, c, t), "rr": (n, r), "label": (n,)}, csv)
        with zipfile.ZipFile(partial / BEATS, "w", zipfile.ZIP_STORED) as archive:
            for name in ("signal", "rr", "label"):
                archive.write(partial / f"{name}.npy", f"{name}.npy")
        facts = {**provenance, "n": n, "shape": list(shape), "counts": counts, "sha256": sha256(partial / BEATS)}
        (partial / PROVENANCE).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        # Without its provenance a set is refused: at no time does an old one stand beside new beats.
        (folder / PROVENANCE).unlink(missing_ok=True)
        for name in (BEATS, *([CSV] if csv else []), PROVENANCE):
            os.replace(partial / name, folder / name)
    return folder


def _stream(partial: Path, chunks: Iterable[Chunk], shapes: dict[str, tuple[int, ...]], csv: bool) -> dict[str, int]:
    """Writes one .npy file a column, and the CSV file; returns the counts of the classes."""
    kinds: dict[str, np.dtype[Any]] = {
        "signal": np.dtype(np.float32),
        "rr": np.dtype(np.float32),
        "label": np.dtype(np.int64),
    }
    files: dict[str, BinaryIO] = {name: (partial / f"{name}.npy").open("wb") for name in shapes}
    counts, text = np.zeros(len(CLASSES), np.int64), (partial / CSV).open("w", encoding="utf-8") if csv else None
    try:
        for name, file in files.items():
            header = {"descr": kinds[name].str, "fortran_order": False, "shape": shapes[name]}
            np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            counts += np.bincount(chunk.label, minlength=len(CLASSES))
            columns: Iterable[tuple[str, NDArray[Any]]] = zip(Chunk._fields, chunk, strict=True)
            for name, column in columns:
                files[name].write(np.asarray(column, kinds[name]).tobytes())
            if text:
                np.savetxt(text, np.column_stack([chunk.signal[:, 0], chunk.label]), fmt="%.18e", delimiter=",")
    finally:
        for file in files.values():
            file.close()
        if text:
            text.close()
    if (written := int(counts.sum())) != shapes["label"][0]:
        raise ValueError(f"{written} beats came, and {shapes['label'][0]} were announced.")
    return {name: int(m) for name, m in zip(CLASSES, counts, strict=True) if m}


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> SyntheticSet:
    """Reads a set from its folder, or from the run folder that holds it as `synthetic/`.

    Raises:
        UserError: there is none, or it is not as it was written.
    """
    at = folder / "synthetic" if (folder / "synthetic").is_dir() else folder
    if not (at / BEATS).is_file():
        raise UserError(f"There is no synthetic set in {folder} ({BEATS} is missing): {REMEDY}.")
    provenance = read_provenance(at)
    if sha256(at / BEATS) != provenance["sha256"]:
        raise UserError(f"{at / BEATS} is not what was written (its sha256 differs): copy it again, or {REMEDY}.")
    try:
        with np.load(at / BEATS, allow_pickle=False) as columns:
            signal, rr, label = columns["signal"], columns["rr"], columns["label"]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, MemoryError) as error:
        raise UserError(f"{at / BEATS} cannot be read ({error}): {REMEDY}.") from error
    return SyntheticSet(signal, rr, label, provenance)


def read_provenance(folder: Path) -> dict[str, Any]:
    """What a set says of itself.

    Raises:
        UserError: nothing, or not enough.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        raise UserError(f"{path} is missing: nobody can say what these beats were fitted on; {REMEDY}.")
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in NEEDED if key not in provenance]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not JSON ({error}): {REMEDY}.") from error
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: {REMEDY}.")
    return dict(provenance)


def require_fit(synthetic: SyntheticSet, beats: Beats, split: Split, *, source: str, window: Mapping[str, Any]) -> None:
    """Refuses a set of another kind of beats, and one that has seen beats which validate or test here.

    Args:
        synthetic: the set.
        beats: the real beats.
        split: their sides.
        source: name of the option of `data`.
        window: of `window_of`.

    Raises:
        UserError: says what does not fit.
    """
    told = synthetic.provenance
    anew = "fit a generator under this protocol: python synth.py data=... protocol=..."
    for key, here in {"source": source, "window": dict(window), "classes": list(split.classes)}.items():
        if told[key] != here:
            raise UserError(f"The synthetic set has {key} {told[key]}, and here it is {here}: {anew}.")
    if synthetic.signal.shape[1:] != beats.signal.shape[1:] or synthetic.rr.shape[1:] != beats.rr.shape[1:]:
        raise UserError(
            f"Synthetic beats are {synthetic.signal.shape[1:]}, real ones {beats.signal.shape[1:]}: {anew}."
        )
    fitted, chosen = told["fitted_on"], told["chosen_on"]
    sides = {"validation": split.validation, "test": split.test}
    for side, positions in sides.items():
        if n := int(_known(fitted, beats, positions).sum()):
            raise UserError(f"The generator of this set was fitted on {n:,} beats that are {side} beats here: {anew}.")
        people = set(fitted["patients"]) & set(beats.patient[positions].tolist())
        if split.by_patient and people:
            names = ", ".join(sorted(people)[:3])
            raise UserError(f"The generator of this set was fitted on {side} patients ({names}): {anew}.")
    if n := int(_known(chosen, beats, split.test).sum()):
        raise UserError(f"The generator's epoch was chosen on {n:,} beats that are test beats here: {anew}.")
    n_fitted = sum(len(samples) for samples in fitted["samples"].values())
    if (known := int(_known(fitted, beats, split.train).sum())) < n_fitted:
        log.warning(
            "The generator was fitted on %s beats that are no training beats here: comparisons are unfair.",
            f"{n_fitted - known:,}",
        )


def _known(told: Mapping[str, Any], beats: Beats, positions: Positions) -> NDArray[np.bool_]:
    """(n,) whether each beat at `positions` is among the told ones."""
    record, sample = beats.record[positions], beats.sample[positions]
    known = np.zeros(len(positions), bool)
    for name in np.intersect1d(record, list(told["samples"])):
        here = record == name
        known[here] = np.isin(sample[here], told["samples"][str(name)])
    return known
