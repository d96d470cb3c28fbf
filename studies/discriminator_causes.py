"""Study: which properties of synthetic beats does a discriminator use?

    ECG_DATA_DIR=... python studies/discriminator_causes.py RUN_DIR

One property of the synthetic beats at a time is replaced by that of the nearest real training beat of their class. If
the discriminative score falls, the discriminator used the property. The generator is one of beats of the window
`kaggle`. The result is results/discriminator_causes.json: the score of each class, for each replaced property.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from ecg import build
from ecg.config.schema import SynthConfig, register
from ecg.config.stored import load_config
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import BEATS_PER_CLASS, nearest
from ecg.evaluation.networks import discriminator_accuracy, run_in_threads
from ecg.files import write_json
from ecg.generators.canvas import adc_steps, beat_length
from ecg.synthesis import read_generator

ROOT = Path(__file__).parents[1]
FIRST = 8  # samples from the R peak
TAIL = 0.2  # fraction of the beat before its end
BANDS = {  # limits in Hz
    "below 10 Hz": (0.0, 10.0),
    "10 to 20 Hz": (10.0, 20.0),
    "20 to 40 Hz": (20.0, 40.0),
    "above 40 Hz": (40.0, np.inf),
}

Signals = NDArray[np.float32]  # (n, 1, T)


def lattice(synthetic: Signals, real: Signals) -> Signals:
    """The number of ADC steps that a beat spans."""
    steps = adc_steps(torch.from_numpy(real)).numpy()[:, None, None]
    return np.asarray(np.round(synthetic * steps) / steps, np.float32)


def first_samples(synthetic: Signals, real: Signals) -> Signals:
    """The samples from the R peak on."""
    return np.where(np.arange(synthetic.shape[2]) < FIRST, real, synthetic)


def length(synthetic: Signals, real: Signals) -> Signals:
    """The length: what lacks is taken from the real beat."""
    time, ends = np.arange(synthetic.shape[2]), _lengths(real)
    return np.where((time >= _lengths(synthetic)) | (time >= ends), real, synthetic)


def tail(synthetic: Signals, real: Signals) -> Signals:
    """The last fifth of the beat and its length, which contain the next P wave and QRS complex."""
    return np.where(np.arange(synthetic.shape[2]) < (1 - TAIL) * _lengths(real), synthetic, real)


def middle(synthetic: Signals, real: Signals) -> Signals:
    """All samples between the first ones and the tail."""
    time = np.arange(synthetic.shape[2])
    inside = (time >= FIRST) & (time < (1 - TAIL) * np.minimum(_lengths(real), _lengths(synthetic)))
    return np.where(inside, real, synthetic)


def band(synthetic: Signals, real: Signals, *, limits: tuple[float, float], sfreq: float) -> Signals:
    """The frequencies between two limits in Hz, within the beat."""

    def part(signal: Signals) -> Signals:
        low, high = (_below(signal, limit, sfreq) for limit in limits)
        return high - low

    signal = synthetic - part(synthetic) + part(real)
    inside = np.arange(signal.shape[2]) < _lengths(synthetic)
    return np.where(inside, signal.clip(0, 1), 0).astype(np.float32)


def _lengths(signal: Signals) -> NDArray[np.float32]:
    return beat_length(torch.from_numpy(signal)).numpy()[:, None, None]


def _below(signal: Signals, limit: float, sfreq: float) -> Signals:
    """The signals below about `limit` Hz; a Gaussian filter has half of the amplitude there."""
    if limit == 0:
        return np.zeros_like(signal)
    if limit == np.inf:
        return signal
    sigma = np.sqrt(2 * np.log(2)) * sfreq / (2 * np.pi * limit)
    return np.asarray(gaussian_filter1d(signal, sigma, axis=2, mode="nearest"), np.float32)


def replaced(synthetic: BeatSet, real: BeatSet, sfreq: float) -> dict[str, BeatSet]:
    """Returns the synthetic beats with one property of the real beats (n each) at a time, by property."""
    changes: dict[str, Callable[[Signals, Signals], Signals]] = {
        "nothing": lambda x, _: x,
        "ADC steps": lattice,
        f"first {FIRST} samples": first_samples,
        "length": length,
        "last fifth": tail,
        "between": middle,
        **{name: partial(band, limits=limits, sfreq=sfreq) for name, limits in BANDS.items()},
        # What remains is the choice of the beats: some real beats are the nearest of many, others of none.
        "everything": lambda _, x: x,
    }
    return {name: BeatSet(change(synthetic.signal, real.signal), real.label) for name, change in changes.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the discriminative score after each replacement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of synth.py")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "discriminator_causes.json")
    options = parser.parse_args(arguments)
    register()
    cfg = load_config(options.run, SynthConfig)
    cfg.trainer.accelerator = "auto"  # that of this machine; the generator may have been fitted on another
    data, (synthesizer, _, _) = build.synthesis_data(cfg), read_generator(options.run, cfg)
    if not data.window.padded:
        parser.error("the generator is not one of beats of the window kaggle")
    training, settings = build.beat_set(data, data.split.train), build.evaluation_settings(cfg, data)
    tasks, names, rng = [], [], np.random.default_rng(0)
    for c, class_name in enumerate(data.split.classes):
        label = torch.full((BEATS_PER_CLASS,), c)
        signal = torch.cat([drawn.signal for drawn in synthesizer.draw(label, 0)]).numpy()
        own = training.of_class(c)
        drawn = BeatSet(signal, label.numpy())
        closest = own.take(nearest(drawn, own)[1])
        for name, beats in replaced(drawn, closest, data.beats.sfreq).items():
            names.append((name, class_name))
            tasks.append(partial(discriminator_accuracy, own.sample(BEATS_PER_CLASS, rng), beats, settings))
    accuracies = run_in_threads(tasks, lambda: print(".", end="", flush=True))
    scores: dict[str, dict[str, float]] = {}
    for (name, class_name), accuracy in zip(names, accuracies, strict=True):
        scores.setdefault(name, {})[class_name] = abs(accuracy - 0.5)
    write_json(options.out, {"generator": str(cfg.generator._target_).rpartition(".")[2], "scores": scores})
    print(options.out)


if __name__ == "__main__":
    main()
