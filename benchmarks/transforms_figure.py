"""A figure of what each transform of `augmentation` does to a beat.

    python benchmarks/transforms_figure.py OUT.png                   # beats of the simulated recordings
    ECG_DATA_DIR=... python benchmarks/transforms_figure.py OUT.png --data mitbih

A panel a transform, in the window of the Kaggle set: the beat as it was in grey, six drawings of it in colour, at
strengths that can be seen. Recorded noise is shown where its records are, in nstdb/ of ECG_DATA_DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from ecg import build
from ecg.augmentation.transforms import Mix, Waveform
from ecg.config import check, register
from ecg.data.aami import CLASSES
from ecg.data.beats import Beats
from ecg.data.noise import noise_folder, read_noise

ROOT = Path(__file__).parents[1]
N_DRAWN = 6
STRENGTHS: dict[str, tuple[float, str]] = {
    "noise_snr": (10, "dB"), "wander_snr": (5, "dB"), "hum_snr": (10, "dB"), "recorded_snr": (5, "dB"),
    "scale": (0.2, ""), "offset": (0.5, "standard deviations"), "shift": (0.05, "s"), "warp": (0.2, ""),
    "mask": (0.1, "s"), "mixup": (0.5, ""), "cutmix": (0.5, ""),
}  # fmt: skip


def beats_of(data: str) -> Beats:
    """The training beats."""
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        chosen = ["protocol=random", "name=figure", "logger=none", "paths.run_dir=unused", "data.window=kaggle"]
        cfg = compose("train", [f"data={data}", *chosen])
    check(cfg)
    module = build.datamodule(cfg)
    return module.beats.take(module.split_of.train)


def typical(beats: Beats, name: str) -> Tensor:
    """(C, T) the beat of a class that is closest to the class's median, among those that end in the window."""
    signal = beats.signal[(beats.label == CLASSES.index(name)) & (beats.signal[:, 0, -1] == 0)]
    distance = ((signal - np.median(signal, axis=0)) ** 2).sum(axis=(1, 2))
    return torch.from_numpy(signal[distance.argmin()])


def drawn(name: str, strength: float, normal: Tensor, other: Tensor, sfreq: float, noise: Tensor | None) -> Tensor:
    """(N_DRAWN, T) the beat after one transform, only drawings that changed it."""
    torch.manual_seed(0)
    n = 200
    signal = normal.expand(n, -1, -1).clone()
    chosen: dict[str, Any] = {name: strength}
    if name in ("mixup", "cutmix"):
        signal[n // 2 :] = other
        changed = Mix(2, padded=True, **chosen)(signal, torch.zeros(n, 0), torch.arange(n) // (n // 2))[0]
        signal, changed = signal[: n // 2], changed[: n // 2]
    else:
        changed = Waveform(sfreq=sfreq, padded=True, peak=0, recorded=noise, **chosen)(signal, torch.zeros(n, 0))[0]
    touched = (changed != signal).flatten(1).any(dim=1)
    return changed[touched][:N_DRAWN, 0]


def figure(beats: Beats, noise: Tensor | None) -> Figure:
    """A panel a transform."""
    normal, other = typical(beats, "N"), typical(beats, "V")
    shown = [name for name in STRENGTHS if name != "recorded_snr" or noise is not None]
    fig = Figure(figsize=(12, 10), layout="constrained")
    axes = fig.subplots(-(-len(shown) // 3), 3, sharex=True, sharey=True)
    t = np.arange(normal.shape[1]) / beats.sfreq
    colours = colormaps["viridis"](np.linspace(0.1, 0.85, N_DRAWN))
    for ax, name in zip(axes.flat, shown, strict=False):
        strength, unit = STRENGTHS[name]
        for colour, trace in zip(colours, drawn(name, strength, normal, other, beats.sfreq, noise), strict=True):
            ax.plot(t, trace, color=colour, lw=0.8)
        ax.plot(t, normal[0], color="0.5", lw=2.5, alpha=0.6, zorder=0)
        ax.set_title(f"{name}={strength:g} {unit}".strip(), fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    fig.supxlabel("s from the R peak")
    fig.supylabel("amplitude, scaled by the beat")
    return fig


def main() -> None:
    """Draws it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="PNG, SVG or PDF")
    parser.add_argument("--data", choices=("simulated", "mitbih"), default="simulated")
    arguments = parser.parse_args()
    beats, folder = beats_of(arguments.data), noise_folder(None)
    noise = None
    if folder.is_dir():
        noise = torch.from_numpy(read_noise(folder, beats.sfreq, beats.signal.shape[2], None))
    figure(beats, noise).savefig(arguments.out, dpi=130)


if __name__ == "__main__":
    main()
