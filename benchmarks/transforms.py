"""Time of the augmentation transforms: microseconds a batch, and as a fraction of a training step of `cnn`.

    python benchmarks/transforms.py --out results/transforms.json

A batch has 128 beats of the Kaggle window, in memory. A step is forward, loss, backward and AdamW. The recorded noise
is random, since its values do not change the time. All times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from ecg.augmentation.transforms.mix import Mix
from ecg.augmentation.transforms.recorded_noise import RecordedNoise
from ecg.augmentation.transforms.transform import BeatFormat, Transform
from ecg.augmentation.transforms.waveform import Waveform
from ecg.build import best_precision
from ecg.config.schema import CNNConfig, TransformsConfig
from ecg.models.cnn import CNN

BATCH_SIZE, N_TIMES, SFREQ = 128, 187, 120.0
FORMAT = BeatFormat(sfreq=SFREQ, n_times=N_TIMES, peak=0, padded=True, highpass_hz=None)
STRENGTHS: dict[str, dict[str, float]] = {
    "resample": {"warp": 0.05, "shift": 0.01},
    "white_noise": {"snr": 20},
    "wander": {"snr": 10},
    "hum": {"snr": 20},
    "recorded_noise": {"snr": 10},
    "scale": {"limit": 0.1},
    "offset": {"limit": 0.1},
    "mask": {"duration": 0.1},
    "mixup": {"limit": 0.5},
    "cutmix": {"limit": 0.5},
}


def median_seconds(call: Callable[[], object], n: int) -> float:
    """Median of `n` calls, after three warm-up calls."""
    seconds = []
    for i in range(n + 3):
        start = time.perf_counter()
        call()
        if i >= 3:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def training_step(precision: str) -> Callable[[], None]:
    """One training step of `cnn` with the default configuration."""
    config = CNNConfig()
    network = CNN(
        n_channels=1,
        n_times=N_TIMES,
        n_classes=5,
        n_rr=0,
        hidden=config.hidden,
        kernel_size=config.kernel_size,
        dropout=config.dropout,
    )
    optimizer = torch.optim.AdamW(network.parameters(), foreach=True)
    signal, rr = torch.rand(BATCH_SIZE, 1, N_TIMES), torch.zeros(BATCH_SIZE, 0)
    label = torch.randint(5, (BATCH_SIZE,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            logits = network(signal, rr)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), label).backward()
        optimizer.step()

    return step


class RandomNoise(RecordedNoise):
    """Recorded noise, with random numbers in place of the records."""

    def prepare(self, beat_format: BeatFormat) -> None:
        """Fills the recording with random numbers."""
        self.register_buffer("recording", torch.randn(6, round(1800 * SFREQ)), persistent=False)


def make_transform(name: str) -> Any:
    """A transform with the strength of `STRENGTHS`, or 0.1 for a new one."""
    field = next(field for field in fields(TransformsConfig) if field.name == name)
    config: Any = field.default_factory
    values = {key.name: getattr(config(), key.name) for key in fields(config)}
    strengths = STRENGTHS.get(name, {key: 0.1 for key in values if key != "_target_"})
    if name == "recorded_noise":
        return RandomNoise(snr=strengths["snr"], dir=None)
    return instantiate({**values, **strengths})


def calls() -> dict[str, Callable[[], object]]:
    """Each transform alone, and all together, on one batch."""
    length = torch.randint(60, N_TIMES, (BATCH_SIZE, 1, 1))
    signal = torch.rand(BATCH_SIZE, 1, N_TIMES) * (torch.arange(N_TIMES) < length)
    rr, label = torch.zeros(BATCH_SIZE, 0), torch.randint(5, (BATCH_SIZE,))
    transforms = {field.name: make_transform(field.name) for field in fields(TransformsConfig)}
    single = {name: transform for name, transform in transforms.items() if isinstance(transform, Transform)}
    mixing = {name: transform for name, transform in transforms.items() if name not in single}
    timed: dict[str, Callable[[], object]] = {
        name: partial(Waveform([transform], FORMAT), signal, rr) for name, transform in single.items()
    }
    for name, transform in mixing.items():
        timed[name] = partial(Mix([transform], n_classes=5, padded=True), signal, rr, label)
    waveform, mix = Waveform([*single.values()], FORMAT), Mix([*mixing.values()], n_classes=5, padded=True)
    timed["all together"] = lambda: mix(*waveform(signal, rr), label)
    return timed


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="measured training steps")
    parser.add_argument("--repetitions", type=int, default=100, help="measured calls of each transform")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    precision, _ = best_precision("cpu")
    step = median_seconds(training_step(precision), 1 if options.tiny else options.steps)
    print(f"a training step of cnn in {precision}: {1e3 * step:.1f} ms")
    rows = []
    for name, call in calls().items():
        seconds = median_seconds(call, 1 if options.tiny else options.repetitions)
        rows.append(
            {"transform": name, "microseconds": round(1e6 * seconds), "fraction_of_step": round(seconds / step, 4)}
        )
        print(f"{name:<16}{1e6 * seconds:8.0f} microseconds{100 * seconds / step:7.1f} % of the step", flush=True)
    if options.out:
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "precision": precision}
        content = {**machine, "step_milliseconds": round(1e3 * step, 2), "rows": rows}
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
