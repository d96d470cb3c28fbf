"""What the transforms of `augmentation` cost: microseconds a batch, and their share of a training step of `cnn`.

    python benchmarks/augmentation.py --out results/augmentation.json

Batches of 128 beats of the Kaggle window, the tensors in memory; the step is forward, loss, backward and AdamW. The
recorded noise is made up: what it holds does not change how long it takes. Medians of many turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ecg.augmentation.transforms import Mix, Waveform
from ecg.build import best_precision
from ecg.models.cnn import CNN

BATCH_SIZE, N_TIMES, SFREQ = 128, 187, 120.0
STRENGTHS = {
    "noise_snr": 20, "wander_snr": 10, "hum_snr": 20, "recorded_snr": 10, "scale": 0.1, "offset": 0.1,
    "shift": 0.01, "warp": 0.05, "mask": 0.1,
}  # fmt: skip
WAVEFORM = ("noise_snr", "wander_snr", "scale", "shift", "warp")  # of augmentation=waveform


def seconds(call: Callable[[], object], n: int) -> float:
    """Median of `n` turns, after three that warm up."""
    found = []
    for turn in range(n + 3):
        start = time.perf_counter()
        call()
        if turn >= 3:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def step_of(precision: str) -> Callable[[], None]:
    """One training step of `cnn` as it comes."""
    network = CNN(1, N_TIMES, 5)
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


def calls() -> dict[str, Callable[[], object]]:
    """Each transform alone, those of `augmentation=waveform`, and all together, on one batch."""
    length = torch.randint(60, N_TIMES, (BATCH_SIZE, 1, 1))
    signal = torch.rand(BATCH_SIZE, 1, N_TIMES) * (torch.arange(N_TIMES) < length)
    rr, label = torch.zeros(BATCH_SIZE, 0), torch.randint(5, (BATCH_SIZE,))
    recorded = torch.randn(6, round(1800 * SFREQ))

    def waveform(*names: str) -> Waveform:
        chosen: dict[str, Any] = {name: STRENGTHS[name] for name in names}
        return Waveform(sfreq=SFREQ, padded=True, peak=0, recorded=recorded, **chosen)

    groups = {name: (name,) for name in STRENGTHS} | {"waveform": WAVEFORM}
    made: dict[str, Callable[[], object]] = {
        name: partial(waveform(*names), signal, rr) for name, names in groups.items()
    }
    for name in ("mixup", "cutmix"):
        strength: dict[str, Any] = {name: 0.5}
        made[name] = partial(Mix(5, padded=True, **strength), signal, rr, label)
    every, mix = waveform(*STRENGTHS), Mix(5, padded=True, mixup=0.5, cutmix=0.5)
    made["all together"] = lambda: mix(*every(signal, rr), label)
    return made


def main() -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="counted training steps")
    parser.add_argument("--turns", type=int, default=100, help="counted turns of each transform")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    precision = best_precision("cpu")
    step = seconds(step_of(precision), arguments.steps)
    print(f"a training step of cnn in {precision}: {1e3 * step:.1f} ms")
    rows = []
    for name, call in calls().items():
        took = seconds(call, arguments.turns)
        rows.append({"transform": name, "microseconds": round(1e6 * took), "share_of_step": round(took / step, 4)})
        print(f"{name:<16}{1e6 * took:8.0f} microseconds{100 * took / step:7.1f} % of the step", flush=True)
    if arguments.out:
        told = {"torch": torch.__version__, "threads": torch.get_num_threads(), "precision": precision}
        content = {**told, "step_milliseconds": round(1e3 * step, 2), "rows": rows}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
