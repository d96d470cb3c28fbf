"""Figure of the augmentation transforms.

    python studies/transforms_figure.py OUT.png                     # beats of the simulated recordings
    ECG_DATA_DIR=... python studies/transforms_figure.py OUT.png --data mitbih

One panel for each transform, in the Kaggle window: the original beat in grey, six transformed ones in colour, at
strengths that are visible. Recorded noise is shown if its records are in nstdb/ of ECG_DATA_DIR.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from ecg import build
from ecg.config.schema import register
from ecg.data.aami import CLASSES
from ecg.data.beats import Beats
from ecg.data.datamodule import BeatDataModule
from ecg.data.noise import noise_folder

ROOT = Path(__file__).parents[1]
N_SHOWN = 6
# Key under augmentation.transforms, strength, unit.
STRENGTHS = (
    ("white_noise.snr", 10, "dB"),
    ("wander.snr", 5, "dB"),
    ("hum.snr", 10, "dB"),
    ("recorded_noise.snr", 5, "dB"),
    ("scale.limit", 0.2, ""),
    ("offset.limit", 0.5, "standard deviations"),
    ("resample.shift", 0.05, "s"),
    ("resample.warp", 0.2, ""),
    ("mask.duration", 0.1, "s"),
    ("mixup.limit", 0.5, ""),
    ("cutmix.limit", 0.5, ""),
)


def load(data: str) -> tuple[BeatDataModule, Tensor]:
    """The data module, and 100 typical N and 100 typical V beats (200, C, T)."""
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = ["protocol=random", "name=figure", "logger=none", "paths.run_dir=unused", "data.window=kaggle"]
        cfg = compose("train", [f"data={data}", *overrides])
    module = build.classification_data(cfg)
    training = module.beats.take(module.split.train)
    return module, torch.cat([typical_beat(training, name).expand(100, -1, -1) for name in "NV"])


def typical_beat(beats: Beats, name: str) -> Tensor:
    """The beat (C, T) of a class closest to the median of the class, among those that end within the window."""
    signal = beats.signal[(beats.label == CLASSES.index(name)) & (beats.signal[:, 0, -1] == 0)]
    distance = ((signal - np.median(signal, axis=0)) ** 2).sum(axis=(1, 2))
    return torch.from_numpy(signal[distance.argmin()])


def transformed(module: BeatDataModule, signal: Tensor, key: str, strength: float) -> Tensor:
    """The first beats (N_SHOWN, T) of class N that a transform changed."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"augmentation.transforms.{key}={strength}", "name=x", "paths.run_dir=x"])
    torch.manual_seed(0)
    rr, label = torch.zeros(len(signal), 0), torch.arange(len(signal)) // (len(signal) // 2)
    if (waveform := build.transforms(cfg, module)) is not None:
        changed = waveform(signal, rr)[0]
    else:
        mix = build.mix(cfg, module)
        assert mix is not None
        changed = mix(signal, rr, label)[0]
    differs = (changed != signal).flatten(1).any(dim=1) & (label == 0)
    shown: Tensor = changed[differs][:N_SHOWN, 0]
    return shown


def draw(module: BeatDataModule, signal: Tensor) -> Figure:
    """The figure, a panel for each transform."""
    has_noise = noise_folder(None).is_dir()
    panels = [panel for panel in STRENGTHS if has_noise or not panel[0].startswith("recorded_noise")]
    figure = Figure(figsize=(12, 10), layout="constrained")
    axes = figure.subplots(-(-len(panels) // 3), 3, sharex=True, sharey=True)
    t = np.arange(signal.shape[2]) / module.beats.sfreq
    colours = colormaps["viridis"](np.linspace(0.1, 0.85, N_SHOWN))
    for ax, (key, strength, unit) in zip(axes.flat, panels, strict=False):
        for colour, trace in zip(colours, transformed(module, signal, key, strength), strict=True):
            ax.plot(t, trace, color=colour, lw=0.8)
        ax.plot(t, signal[0, 0], color="0.5", lw=2.5, alpha=0.6, zorder=0)
        ax.set_title(f"{key}={strength:g} {unit}".strip(), fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel("s from the R peak")
    figure.supylabel("amplitude, scaled to the beat")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="PNG, SVG or PDF")
    parser.add_argument("--data", default="simulated", help="option of the group data")
    options = parser.parse_args(arguments)
    draw(*load(options.data)).savefig(options.out, dpi=130)


if __name__ == "__main__":
    main()
