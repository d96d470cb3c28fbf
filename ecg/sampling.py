"""Samples beats of a fitted generator, without the data that it was fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecg import build
from ecg.config.schema import SynthConfig
from ecg.config.stored import load_config
from ecg.data import synthetic_set
from ecg.data.aami import CLASSES
from ecg.data.kaggle import write_rows
from ecg.data.synthetic_set import Chunk
from ecg.errors import UserError
from ecg.files import atomic_write
from ecg.model_files import read_model_file, write_model_file
from ecg.pretrained import find_model
from ecg.reading import parse
from ecg.synthesis import Fitted, read_fitted, read_generator
from ecg.synthesizer import Synthesizer

CRITIC = "generator.critic."  # start of the names of weights that sampling does not need
LARGE = 1000  # values; larger tensors are stored in float16, since their rounding is invisible in a beat


@dataclass(frozen=True)
class BeatGenerator:
    """A fitted generator of beats.

    Attributes:
        synthesizer: the generator with its weights.
        fitted: what it was fitted on.
        weights: file with its weights.
    """

    synthesizer: Synthesizer
    fitted: Fitted
    weights: Path

    def sample(self, name: str, n: int, *, seed: int = 0, record: str | None = None) -> NDArray[np.float32]:
        """Returns beats (n, C, T) at `fitted.sfreq` Hz. The same arguments give the same beats.

        Args:
            name: the class: N, S, V, F or Q.
            n: number of beats.
            seed: seed of the noise and of the records.
            record: the record that the beats are drawn for; None for the records of the training beats of the class, in
                their frequencies.

        Raises:
            UserError: the generator does not have the class, or cannot draw it for the record, or n is not positive.
        """
        chunks = list(self.draw({name: n}, seed=seed, record=record))
        return np.concatenate([chunk.signal for chunk in chunks])

    def draw(self, counts: Mapping[str, int], *, seed: int = 0, record: str | None = None) -> Iterator[Chunk]:
        """Yields beats of several classes, see `sample`.

        Args:
            counts: class -> number of beats.
            seed: seed of the noise and of the records.
            record: the record that the beats are drawn for.
        """
        for name, n in counts.items():
            self._require_class(name, n)
        for name, n in counts.items():
            c = self.fitted.classes.index(name)
            weight = self.synthesizer.record_counts.clone()
            if record is not None:
                self._require_pair(c, record)
                weight[c] = 0
                weight[c, self.fitted.records.index(record)] = 1
            for signal, of_record in self.synthesizer.draw(torch.full((n,), c), seed, weight):
                label = np.full(len(signal), CLASSES.index(name))
                yield Chunk(signal.numpy(), label, of_record.numpy())

    def _require_class(self, name: str, n: int) -> None:
        if name not in self.fitted.classes:
            raise UserError(f"This generator has no class {name}. Its classes: {', '.join(self.fitted.classes)}.")
        if n < 1:
            raise UserError(f"The number of beats is {n}. It must be at least 1.")

    def _require_pair(self, c: int, record: str) -> None:
        if record not in self.fitted.records:
            raise UserError(f"This generator has no record {record}. Its records: {', '.join(self.fitted.records)}.")
        if not self.synthesizer.drawable[c, self.fitted.records.index(record)]:
            raise UserError(
                f"This generator cannot draw beats of class {self.fitted.classes[c]} for record {record}, which has "
                "none among its training beats."
            )


def load_generator(model: str | Path) -> BeatGenerator:
    """Returns a fitted generator.

    Args:
        model: name of a released model, a run folder of synth.py, a model file, or hf://USER/NAME.

    Raises:
        UserError: there is no such model, it is not a generator, or a file is damaged.
    """
    path = find_model(model)
    if path.is_dir():
        return _generator_of_run(path)
    file = read_model_file(path, "generator")
    try:
        fitted: Fitted = parse(Fitted, file.fitted)
        problem = fitted.problem()
    except ValueError as error:
        problem = str(error)
    if problem:
        raise UserError(f"{path} is damaged: {problem}.")
    file.config.trainer.accelerator = "cpu"
    shape, n_records = fitted.shape, len(fitted.records)
    synthesizer = build.unfitted_synthesizer(file.config, shape, fitted.classes, n_records, fitted.padded)
    file.load_into(synthesizer, left_out=CRITIC)
    return BeatGenerator(synthesizer, fitted, path)


def _generator_of_run(folder: Path) -> BeatGenerator:
    cfg = load_config(folder, SynthConfig)
    cfg.trainer.accelerator = "cpu"
    synthesizer, _, checkpoint = read_generator(folder, cfg)
    return BeatGenerator(synthesizer, read_fitted(folder), checkpoint)


def write_beats(
    generator: BeatGenerator, counts: Mapping[str, int], path: Path, *, seed: int, record: str | None
) -> None:
    """Draws beats and writes them to a file or folder.

    Args:
        generator: the generator.
        counts: class -> number of beats.
        path: .csv for the format of the Kaggle set, 187 samples and the label a row; .npy for the array (n, C, T) of
            the beats of one class; no suffix for the folder of a synthetic set, which `train.py` reads.
        seed: seed of the noise and of the records.
        record: the record that the beats are drawn for; None for the records of the training beats.

    Raises:
        UserError: the suffix is another one, the beats do not fit the format, or the file cannot be written.
    """
    if path.suffix not in (".csv", ".npy", ""):
        raise UserError(f"{path} does not end in .csv or .npy. Without a suffix, it is the folder of a synthetic set.")
    if path.suffix == ".csv" and not generator.fitted.padded:
        raise UserError("A CSV file needs beats of the window kaggle. Write these beats to a file .npy.")
    if path.suffix == ".npy" and len(counts) > 1:
        raise UserError("A file .npy holds the beats of one class. Write several classes to a file .csv or a folder.")
    chunks = generator.draw(counts, seed=seed, record=record)
    try:
        if not path.suffix:
            _write_set(generator, chunks, path, n=sum(counts.values()), seed=seed)
            return
        with atomic_write(path) as temporary:
            if path.suffix == ".npy":
                with temporary.open("wb") as file:
                    np.save(file, np.concatenate([chunk.signal for chunk in chunks]))
            else:
                with temporary.open("w", encoding="utf-8") as file:
                    for chunk in chunks:
                        write_rows(file, chunk.signal, chunk.label)
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}). Choose another file.") from error


def _write_set(generator: BeatGenerator, chunks: Iterator[Chunk], folder: Path, *, n: int, seed: int) -> None:
    """Writes a synthetic set whose provenance lists the beats that the generator was fitted on."""
    fitted, weights = generator.fitted, generator.weights
    if not fitted.fitted_on.samples:
        raise UserError(
            f"{weights.name} does not list the beats that its generator was fitted on, so leakage could not be "
            "excluded. Export the generator again."
        )
    provenance = {
        **{key: value for key, value in asdict(fitted).items() if key not in ("shape", "counts", "padded")},
        "checkpoint": {"path": weights.name, "sha256": synthetic_set.sha256(weights)},
        "seed": seed,
    }
    synthetic_set.write_set(folder, chunks, n=n, shape=fitted.shape, provenance=provenance)


def export_generator(folder: Path, path: Path) -> None:
    """Writes the generator of a run folder to a model file, without its critics.

    The file lists the beats that the generator was fitted on, as samples of their records.

    Raises:
        UserError: the folder holds no fitted generator, or a file is damaged.
    """
    cfg, generator = load_config(folder, SynthConfig), _generator_of_run(folder)
    weights = {
        name: value.half() if value.is_floating_point() and value.numel() > LARGE else value
        for name, value in generator.synthesizer.state_dict().items()
        if not name.startswith(CRITIC)
    }
    write_model_file(path, "generator", cfg, weights, asdict(generator.fitted))
