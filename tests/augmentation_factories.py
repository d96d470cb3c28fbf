"""Balance methods, transforms, training beats and synthetic sets for tests, taken from the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from factories import make_beats
from hydra.utils import instantiate
from numpy.typing import NDArray
from torch import Tensor

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.augmentation.transforms.noise import Noise
from ecg.augmentation.transforms.transform import BeatFormat, MixTransform, Transform
from ecg.augmentation.transforms.waveform import Waveform
from ecg.config.schema import SCHEMAS, TransformsConfig
from ecg.data.aami import CLASSES
from ecg.data.balanced import BalancedBeats
from ecg.data.beats import Beats
from ecg.data.datamodule import BeatDataModule
from ecg.data.protocols.protocol import Split
from ecg.data.protocols.random_split import RandomSplit
from ecg.data.simulated import Simulated
from ecg.data.synthetic_set import Chunk, beat_locations, write_set
from ecg.data.window import KaggleWindow, Window

# -- balance ------------------------------------------------------------------------------------------------------

BALANCES = SCHEMAS["augmentation/balance"]
KAGGLE = KaggleWindow(lead="first")
PER_CLASS = {0: 60, 1: 6, 2: 20, 3: 4, 4: 5}


def make_balance(name: str, **settings: Any) -> Balance:
    """A balance method with its default settings, except for the given ones."""
    balance: Balance = instantiate({**asdict(BALANCES[name]()), **settings})
    return balance


def make_training(
    beats: Beats | None = None,
    *,
    train: Sequence[int] | None = None,
    classes: Sequence[str] = CLASSES,
    balance_to: str | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    synthetic_set: Path | None = None,
    window: Window = KAGGLE,
) -> TrainingBeats:
    """The training beats of `beats`: those at `train`, by default every second one."""
    beats = make_beats(6, PER_CLASS, n_times=16) if beats is None else beats
    index = np.arange(len(beats))
    positions = index[::2] if train is None else np.array(train)
    split = Split(positions, index[1::4], index[3::4], tuple(classes), by_patient=False)
    return TrainingBeats(beats, split, "simulated", window, balance_to, fraction, seed, synthetic_set)


def make_arrays_training(
    signal: NDArray[np.float32],
    label: Sequence[int] | NDArray[np.int64],
    rr: NDArray[np.float32] | None = None,
    *,
    classes: str,
    **settings: Any,
) -> TrainingBeats:
    """Training beats with these signals (n, C, T), labels (n,) and RR features (n, R), without other subsets."""
    n, text = len(label), np.full(len(label), "x")
    rr = np.zeros((n, 0), np.float32) if rr is None else rr
    index = np.array([CLASSES.index(classes[c]) for c in label])
    beats = Beats(signal, rr, index, text, text, np.arange(n), 0.8 * np.arange(n), np.zeros(n, bool), 120.0)
    return make_training(beats, train=range(n), classes=classes, **settings)


def make_set(folder: Path, training: TrainingBeats, n: int, **provenance: Any) -> Path:
    """A synthetic set with n beats of noise for each class, fitted on the training beats."""
    shape, m = training.signal.shape[1:], n * len(CLASSES)
    signal = np.random.default_rng(5).random((m, *shape), dtype=np.float32)
    records = np.unique(training.beats.record).tolist()
    chunk = Chunk(signal, np.arange(m) % len(CLASSES), np.arange(m) % len(records))
    known = {
        "classes": list(training.split.classes),
        "source": training.source,
        "window": training.window.settings(),
        "records": records,
        "fitted_on": beat_locations(training.beats, training.split.train),
        "chosen_on": beat_locations(training.beats, training.split.validation),
        "generator": "none",
    }
    return write_set(folder, [chunk], n=m, shape=shape, provenance=known | provenance)


def make_datamodule(
    training: TrainingBeats, *, balanced: BalancedBeats | None = None, class_power: float = 1.0
) -> BeatDataModule:
    """The data module of the beats, with the result of a balance method."""
    protocol = RandomSplit(
        classes=training.split.classes, exclude=[], validation_fraction=0.2, split_seed=0, keep={}, test_fraction=0.2
    )
    return BeatDataModule(
        training.beats,
        training.split,
        source=Simulated(name="simulated", records=None, n_patients=6, minutes=1, seed=0),
        window=KaggleWindow(lead="first"),
        protocol=protocol,
        batch_size=32,
        seed=0,
        class_power=class_power,
        balanced=balanced,
    )


# -- transforms ---------------------------------------------------------------------------------------------------

SFREQ, N_TIMES, PEAK = 120.0, 96, 20
CONFIGS: dict[str, Any] = {field.name: field.default_factory for field in fields(TransformsConfig)}


def make_transform(name: str, **settings: Any) -> Any:
    """A transform with its default settings, except for the given ones."""
    return instantiate({**asdict(CONFIGS[name]()), **settings})


def _strengths(config: type) -> dict[str, float]:
    """A valid value of each setting that switches a transform on."""
    return {
        field.name: next(value for value in (0.1, 1.0, 10.0, 100.0) if value in field.metadata["range"])
        for field in fields(config)
        if field.metadata.get("range") is not None and not field.default
    }


STRENGTHS = {name: _strengths(config) for name, config in CONFIGS.items()}
NAMES = [name for name in CONFIGS if isinstance(make_transform(name), Transform)]
NOISES = [name for name in NAMES if isinstance(make_transform(name), Noise)]
MIXES = [name for name in CONFIGS if isinstance(make_transform(name), MixTransform)]
SETTINGS = [(name, setting) for name in NAMES for setting in STRENGTHS[name]]


def make_waveform(*transforms: Transform, padded: bool = True) -> Waveform:
    """The pipeline of these transforms, for the beats of `make_signals`."""
    return Waveform(transforms, BeatFormat(SFREQ, N_TIMES, 0 if padded else PEAK, padded, None))


def all_transforms() -> list[Transform]:
    """Every transform of single beats, switched on."""
    return [make_transform(name, **STRENGTHS[name]) for name in NAMES]


def make_signals(n: int = 400) -> tuple[Tensor, Tensor]:
    """Padded beats of 40 to 95 samples (n, 1, T) with a wave at sample 20, and RR features (n, 8)."""
    torch.manual_seed(1)
    time = torch.arange(N_TIMES)
    end = torch.randint(40, 96, (n, 1))
    signal = torch.exp(-time / 3) + 0.5 * torch.exp(-(((time - 20) / 4) ** 2)) + 0.1
    return torch.where(time < end, signal, 0.0)[:, None], torch.rand(n, 8) + 0.5


def transformed(*transforms: Transform, padded: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Signals and RR features before and after the pipeline of these transforms."""
    signal, rr = make_signals()
    torch.manual_seed(2)
    return signal, rr, *make_waveform(*transforms, padded=padded)(signal, rr)


def lengths(signal: Tensor) -> Tensor:
    """Samples of each beat before its padding (B,)."""
    return ((signal != 0).any(dim=1) * torch.arange(1, N_TIMES + 1)).amax(dim=1)
