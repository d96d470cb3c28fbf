"""Speed of a training step: beats a second by network, precision and batch size, and of variants of `cnn`.

    python benchmarks/step.py --out results/step.json

A step is forward, loss, backward, clipping and AdamW, with beats of 187 samples in memory. The speed is that of the
median step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from ecg.config.schema import SCHEMAS, CNNConfig
from ecg.models.blocks import SqueezeExcitation

PRECISIONS = {"32-true": False, "bf16-mixed": True}


class Conv1dBlock(nn.Module):
    """`ecg.models.blocks.ResidualBlock` with Conv1d in place of the (1, k) Conv2d."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm1d(out_channels),
            nn.SiLU(),
            nn.Conv1d(out_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm1d(out_channels),
        )
        self.excitation = SqueezeExcitation(out_channels).scale
        self.skip = nn.Sequential()
        if stride > 1:
            self.skip.append(nn.AvgPool1d(stride, ceil_mode=True))
        if in_channels != out_channels:
            self.skip.append(nn.Conv1d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, T) -> (B, out, ceil(T / stride))."""
        h = self.convs(x)
        return F.silu(h * self.excitation(h.mean(dim=2)).unsqueeze(2) + self.skip(x))


class Conv1dCNN(nn.Module):
    """`ecg.models.cnn.CNN` with Conv1d."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Conv1d(1, hidden, 15, 2, 7, bias=False), nn.BatchNorm1d(hidden), nn.SiLU())
        widths = (hidden, hidden, hidden * 3 // 2, hidden * 2)
        for (n_in, n_out), stride in zip(itertools.pairwise(widths), (1, 2, 2), strict=True):
            self.stages.extend([Conv1dBlock(n_in, n_out, 7, stride), Conv1dBlock(n_out, n_out, 7, 1)])
        self.linear = nn.Linear(4 * hidden, 5)

    def forward(self, signal: Tensor, rr: Tensor) -> Tensor:
        """(B, 1, T) -> (B, 5)."""
        x = self.stages(signal)
        logits: Tensor = self.linear(torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1))
        return logits


def make_network(name: str, hidden: int | None = None) -> nn.Module:
    """A network with its default configuration, or of another width."""
    config = OmegaConf.structured(SCHEMAS["model"][name])
    config.hidden = hidden or config.hidden
    network: nn.Module = instantiate(config, n_channels=1, n_times=187, n_classes=5, n_rr=0, _convert_="all")
    return network


def beats_per_second(network: nn.Module, batch_size: int, bf16: bool, n_steps: int) -> float:
    """Speed of the median of `n_steps` training steps, after three warm-up steps."""
    optimizer = torch.optim.AdamW(network.parameters(), foreach=True)
    signal, rr, label = torch.rand(batch_size, 1, 187), torch.zeros(batch_size, 0), torch.randint(5, (batch_size,))
    seconds = []
    for step in range(n_steps + 3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(signal, rr)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), label).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step >= 3:
            seconds.append(time.perf_counter() - start)
    return batch_size / statistics.median(seconds)


def measure_all(n_steps: int, batch_sizes: Sequence[int], hidden: int | None) -> list[dict[str, Any]]:
    """All rows of the table, printed one by one."""
    rows: list[dict[str, Any]] = []

    def measure(module: Any, batch_size: int, precision: str, **row: Any) -> None:
        speed = beats_per_second(module, batch_size, PRECISIONS[precision], n_steps)
        rows.append({**row, "precision": precision, "batch_size": batch_size, "beats_per_second": round(speed)})
        print(" ".join(f"{value!s:<16}" for value in rows[-1].values()), flush=True)

    for precision in PRECISIONS:
        for batch_size, name in itertools.product(batch_sizes, SCHEMAS["model"]):
            measure(make_network(name, hidden), batch_size, precision, network=name, variant="default")
        for batch_size in batch_sizes[1::2]:
            measure(
                Conv1dCNN(hidden or CNNConfig.hidden),
                batch_size,
                precision,
                network="cnn",
                variant="Conv1d",
            )
        if hidden is None:
            compiled = torch.compile(make_network("cnn"))
            measure(compiled, 128, precision, network="cnn", variant="torch.compile")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measure(make_network("cnn", hidden), batch_sizes[-1], "bf16-mixed", network="cnn", variant="one thread")
    torch.set_num_threads(threads)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="measured steps of each row")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    rows = measure_all(1, (2, 4), 8) if options.tiny else measure_all(options.steps, (64, 128, 256, 512), None)
    if options.out:
        machine = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        options.out.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
