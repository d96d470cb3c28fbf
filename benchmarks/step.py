"""Beats a second of one training step: by network, precision and batch size; by back end of the convolutions,
`torch.compile` and threads for `cnn`.

    python benchmarks/step.py --out results/step.json

A step is forward, loss, backward, clipping and AdamW on 187 samples a beat, the tensors in memory; the figure is the
median of the steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg.models.cnn import CNN
from ecg.models.cnn_lstm import CNNLSTM
from ecg.models.cnn_lstm_attn import CNNLSTMAttention

NETWORKS = {"cnn": CNN, "cnn_lstm": CNNLSTM, "cnn_lstm_attn": CNNLSTMAttention}
PRECISIONS = {"32-true": False, "bf16-mixed": True}


class Conv1dBlock(nn.Module):
    """`ecg.models.blocks.ResidualBlock` written with Conv1d: what the (1, k) Conv2d is measured against."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.left = (kernel_size - 1, 0)
        self.convs = nn.ModuleList(
            nn.Conv1d(c, out_channels, kernel_size) for c in (in_channels, out_channels, out_channels)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(out_channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, T) -> (B, out, T // 2)."""
        skip = self.convs[0](x)
        h = F.silu(self.norms[0](skip))
        h = F.silu(self.norms[1](self.convs[1](F.pad(h, self.left))))
        h = F.silu(self.norms[2](skip + self.convs[2](F.pad(h, self.left))))
        return F.max_pool1d(F.pad(h, self.left), 2)


class Conv1dCNN(nn.Module):
    """`ecg.models.cnn.CNN` written with Conv1d."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        widths = (1, hidden, hidden // 2, hidden // 4)
        self.blocks = nn.Sequential(*(Conv1dBlock(a, b, 5) for a, b in itertools.pairwise(widths)))
        self.linear = nn.Linear(hidden // 4, 5)

    def forward(self, signal: Tensor, rr: Tensor) -> Tensor:
        """(B, 1, T) -> (B, 5)."""
        return self.linear(self.blocks(signal).mean(dim=2))


def beats_per_second(network: nn.Module, batch_size: int, bf16: bool, n_steps: int) -> float:
    """Median speed of `n_steps` training steps, after three that warm up."""
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


def rows(n_steps: int) -> list[dict[str, Any]]:
    """All measurements, each printed as it comes."""
    found: list[dict[str, Any]] = []

    def measure(module: nn.Module, batch_size: int, precision: str, **row: Any) -> None:
        speed = beats_per_second(module, batch_size, PRECISIONS[precision], n_steps)
        found.append({**row, "precision": precision, "batch_size": batch_size, "beats_per_second": round(speed)})
        print(" ".join(f"{value!s:<16}" for value in found[-1].values()), flush=True)

    for precision in PRECISIONS:
        for batch_size in (64, 128, 256, 512):
            for name, network in NETWORKS.items():
                measure(network(1, 187, 5), batch_size, precision, network=name, variant="as shipped")
        for batch_size in (128, 512):
            measure(Conv1dCNN(), batch_size, precision, network="cnn", variant="Conv1d")
        compiled = torch.compile(CNN(1, 187, 5))
        measure(compiled, 128, precision, network="cnn", variant="torch.compile")  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measure(CNN(1, 187, 5), 128, "bf16-mixed", network="cnn", variant="one thread")
    torch.set_num_threads(threads)
    return found


def main() -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="counted steps of each row")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    found = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows(arguments.steps)}
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
