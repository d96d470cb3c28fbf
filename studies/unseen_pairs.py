"""Study: how well does a generator draw beats of a class that it has not seen in a record?

    ECG_DATA_DIR=... python synth.py experiment=inter_patient_generator 'fit.leave_out=[V:106,V:119,V:223,S:209,F:208]'
    ECG_DATA_DIR=... python studies/unseen_pairs.py RUN_DIR

Each pair that was left out of the fit is drawn, and compared with its real beats by the Fréchet distance in the
features of a classifier. The same distance is given for beats that could be used instead: beats of the class of other
training records, sums of N and V beats of the record (class F), and other real beats of the pair, which no generator
can surpass. The result is results/unseen_pairs.json, and docs/synthesis/unseen_pairs.png shows the beats.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from ecg import build
from ecg.augmentation.balance.balance import TrainingBeats
from ecg.augmentation.balance.fusion import fused_beats
from ecg.config.schema import SynthConfig, register
from ecg.config.stored import load_config
from ecg.data.datamodule import BeatDataModule
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.distances import frechet
from ecg.evaluation.networks import embed, fit_classifier
from ecg.files import atomic_write, write_json
from ecg.reports.synthesis_plots import unseen_pairs
from ecg.synthesis import read_generator

ROOT = Path(__file__).parents[1]
MOST = 1000  # beats that are compared
N_SHOWN = 4  # normal beats of a pair in the figure


def compared_beats(pair: str, data: BeatDataModule, drawn: BeatSet, rng: np.random.Generator) -> dict[str, BeatSet]:
    """Returns the sets of beats that are compared with the real beats of a pair CLASS:RECORD; "real" is one of them.

    Args:
        pair: the pair, which is not among the training beats.
        data: data of the fit.
        drawn: generated beats of the pair.
        rng: source of the random numbers.
    """
    name, record = pair.split(":")
    c, of_record = data.split.classes.index(name), data.beats.record == record
    real = build.beat_set(data, rng.permutation(np.flatnonzero(of_record & (data.labels == c))))
    half = len(real) // 2
    others = data.split.train[data.labels[data.split.train] == c]
    sets = {
        "real": real.take(np.arange(half)),
        "other real beats of the pair": real.take(np.arange(half, 2 * half)),
        "generated": drawn,
        "beats of the class of other records": build.beat_set(data, rng.permutation(others)),
    }
    if name == "F":
        signal = fused_beats(training_beats(data, record), MOST).signal
        sets["sums of N and V beats of the record"] = BeatSet(signal, np.full(MOST, c))
    return sets


def training_beats(data: BeatDataModule, record: str) -> TrainingBeats:
    """The training beats of one record."""
    train = data.split.train[data.beats.record[data.split.train] == record]
    split = type(data.split)(train, train[:0], train[:0], data.split.classes, data.split.by_patient)
    return TrainingBeats(data.beats, split, data.source.name, data.window, "N", 1.0, 0, None)


def evaluate_pair(network: Any, sets: dict[str, BeatSet]) -> dict[str, Any]:
    """Returns the number of real beats, and the distance of every other set to them, for equal numbers of beats."""
    n = min(MOST, *map(len, sets.values()))
    features: dict[str, NDArray[np.float64]] = {
        name: embed(network, beats.take(np.arange(n))) for name, beats in sets.items()
    }
    real = features.pop("real")
    return {"n": n, "frechet": {name: frechet(real, others) for name, others in features.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates the pairs that a generator has not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of synth.py")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "unseen_pairs.json")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "synthesis" / "unseen_pairs.png")
    options = parser.parse_args(arguments)
    register()
    cfg = load_config(options.run, SynthConfig)
    data, (synthesizer, fitted, _) = build.synthesis_data(cfg), read_generator(options.run, cfg)
    classes, rng = data.split.classes, np.random.default_rng(0)
    training = build.beat_set(data, data.split.train)
    network = fit_classifier(training, len(classes), build.evaluation_settings(cfg, data))
    rows, shown = {}, {}
    for pair in cfg.fit.leave_out:
        name, record = pair.split(":")
        weight = torch.zeros_like(synthesizer.record_counts)
        weight[:, fitted["records"].index(record)] = 1
        label = torch.full((MOST,), classes.index(name))
        signal = torch.cat([drawn.signal for drawn in synthesizer.draw(label, 0, weight)])
        drawn = BeatSet(signal.numpy(), label.numpy())
        sets = compared_beats(pair, data, drawn, rng)
        normal = build.beat_set(
            data, np.flatnonzero((data.beats.record == record) & (data.labels == classes.index("N")))
        )
        shown[pair] = (normal.sample(N_SHOWN, rng), drawn, sets["real"])
        rows[pair] = evaluate_pair(network, sets)
    generator = OmegaConf.to_container(cfg.generator, resolve=True, enum_to_str=True)
    write_json(options.out, {"generator": generator, "pairs": rows})
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(options.figure) as temporary:
        unseen_pairs(shown, classes).savefig(temporary, dpi=110, format="png")
    print(options.out)


if __name__ == "__main__":
    main()
