"""Figures of a fitted generator: real and synthetic beats, the training as it evolves, and the gates.

    ECG_DATA_DIR=... python studies/synthesis_figures.py RUN_DIR docs/synthesis

Writes beats.png, training.png and gates.png from the run folder of synth.py. The real beats are those that the
generator was fitted on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from ecg import build
from ecg.callbacks import Gallery
from ecg.checkpoints import read_checkpoint
from ecg.config.schema import SynthConfig, register
from ecg.config.stored import load_config
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.fidelity import Fidelity
from ecg.files import atomic_write
from ecg.reading import read_json
from ecg.reports import synthesis_plots as plots
from ecg.synthesis import FIDELITY, read_generator

N_DRAWN = 100  # beats of each class, a few of which are shown


def figures(run: Path) -> dict[str, Figure]:
    """The figures of a run folder, by file name."""
    cfg = load_config(run, SynthConfig)
    data, (synthesizer, _, _) = build.synthesis_data(cfg), read_generator(run, cfg)
    classes = data.split.classes
    label = torch.arange(len(classes)).repeat_interleave(N_DRAWN)
    signal = torch.cat([chunk.signal for chunk in synthesizer.draw(label, seed=cfg.seed)])
    drawn = BeatSet(signal.numpy(), label.numpy())
    callbacks = read_checkpoint(run / "checkpoints" / "last.ckpt")["callbacks"]
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
