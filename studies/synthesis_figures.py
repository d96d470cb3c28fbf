"""Figures of a fitted generator: real and synthetic beats, the training as it evolves, and the gates.

    ECG_DATA_DIR=... python studies/synthesis_figures.py RUN_DIR docs/synthesis

Writes beats.png, training.png and gates.png from the run folder of synth.py. The synthetic beats are those of its
synthetic set; the real ones are the beats that the generator was fitted on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ecg import build
from ecg.callbacks import Gallery
from ecg.checkpoints import AtomicCheckpointIO
from ecg.config.schema import SynthConfig, register
from ecg.config.stored import load_config
from ecg.data.aami import CLASSES
from ecg.data.synthetic_set import read_set
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.fidelity import Fidelity
from ecg.files import atomic_write
from ecg.reading import read_json
from ecg.reports import synthesis_plots as plots
from ecg.synthesis import FIDELITY


def figures(run: Path) -> dict[str, Figure]:
    """The figures of a run folder, by file name."""
    cfg = load_config(run, SynthConfig)
    data, synthetic = build.synthesis_data(cfg), read_set(run)
    classes = data.split.classes
    index = np.array([classes.index(name) if name in classes else -1 for name in CLASSES])
    drawn = BeatSet(synthetic.signal, index[synthetic.label])
    callbacks = AtomicCheckpointIO().load_checkpoint(run / "checkpoints" / "last.ckpt", torch.device("cpu"))[
        "callbacks"
    ]
    gallery = Gallery()
    gallery.load_state_dict(callbacks[gallery.state_key])
    fidelity = Fidelity.from_json(read_json(run / FIDELITY, dict[str, Any], "")["subsets"]["test"])
    return {
        "beats.png": plots.real_and_synthetic(drawn, build.beat_set(data, data.split.train), classes),
        "training.png": plots.gallery(gallery.signals(), classes),
        "gates.png": plots.gates(fidelity),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of synth.py")
    parser.add_argument("out", type=Path, help="folder of the figures")
    options = parser.parse_args(arguments)
    register()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures(options.run).items():
        with atomic_write(options.out / name) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
        print(options.out / name)


if __name__ == "__main__":
    main()
