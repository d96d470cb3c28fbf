"""What an epoch of `cnn` costs: through Lightning, in a bare PyTorch loop, and the original's way, on the same beats.

    ECG_DATA_DIR=... python benchmarks/epoch.py

Bare: a permutation, batches indexed out of tensors in memory, forward, loss, backward, clipping, AdamW, schedule;
the same network, precision and batch size as Lightning. The original's way: a row of a pandas table looked up for
every item, 4 workers, Conv1d, float32, softmax into the cross-entropy, batch 96. The three take turns, so that a
change of the machine's speed meets all; the ratios are medians over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from step import Conv1dCNN
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ecg import build
from ecg.callbacks import History
from ecg.config import register
from ecg.data.datamodule import BeatDataModule

ROOT = Path(__file__).parents[1]


class Clock(pl.Callback):
    """Seconds from the first training batch of an epoch to its end."""

    seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts."""
        self.start = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops before the validation, which the other two ways do not have."""
        self.seconds = time.perf_counter() - self.start


def lightning_epoch(cfg: DictConfig, data: BeatDataModule, folder: Path) -> float:
    """One epoch as `train.py` runs it, averaged weights, history and checkpoints included."""
    run = SimpleNamespace(folder=folder, history=History(), sweep=None, choices={})
    trainer = build.trainer(cfg, run)  # type: ignore[arg-type]
    clock = Clock()
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    trainer.fit(build.classifier(cfg, data), data)
    return clock.seconds


def bare_epoch(cfg: DictConfig, data: BeatDataModule, n_batches: int, bf16: bool) -> float:
    """The same steps without Lightning."""
    classifier = build.classifier(cfg, data)
    network, loss = classifier.network.train(), classifier.loss
    optimizer = torch.optim.AdamW(network.parameters(), lr=cfg.optimizer.lr, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_batches)
    positions = torch.from_numpy(data.split_of.train)
    start = time.perf_counter()
    order = positions[torch.randperm(len(positions))]
    for index in order.split(cfg.optimizer.batch_size)[:n_batches]:
        signal, rr, label = (column[index] for column in data.tensors)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(network(signal, rr), label)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - start


class TableRows(Dataset[tuple[Tensor, Tensor]]):
    """A pandas table, a row an item."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.columns = table.columns[:-1].tolist()

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        signal = self.table.loc[index, self.columns].astype("float32")
        return torch.FloatTensor(np.array([signal.values])), torch.tensor(cast(int, self.table.loc[index, "label"]))


def original_epoch(table: pd.DataFrame) -> float:
    """A row look-up per item, four workers, float32, batch 96."""
    network = Conv1dCNN().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    start = time.perf_counter()
    for signal, label in DataLoader(TableRows(table), batch_size=96, shuffle=True, num_workers=4):
        optimizer.zero_grad()
        probability = torch.softmax(network(signal, signal), dim=1)
        F.cross_entropy(probability, label).backward()
        optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    """Prints the seconds of every turn and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100, help="batches of Lightning's epoch")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    register()
    with tempfile.TemporaryDirectory() as folder, initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        fixed = ["data=mitbih", "protocol=kaggle", "logger=none", "name=epoch", f"paths.run_dir={folder}"]
        fixed += ["trainer.max_epochs=1", f"trainer.limit_train_batches={arguments.batches}"]
        fixed += ["trainer.limit_val_batches=1", "trainer.enable_progress_bar=false"]
        cfg = compose("train", fixed)
        data = build.datamodule(cfg)
        n = arguments.batches * cfg.optimizer.batch_size
        rows = np.random.default_rng(0).choice(data.split_of.train, n, replace=False)
        table = pd.DataFrame(data.beats.signal[rows, 0])
        table["label"] = data.label[rows]
        bf16 = build.best_precision(cfg.trainer.accelerator) == "bf16-mixed"
        turns = []
        for turn in range(arguments.turns + 1):
            seconds = (
                lightning_epoch(cfg, data, Path(folder)),
                bare_epoch(cfg, data, arguments.batches, bf16),
                original_epoch(table),
            )
            if turn:  # the first turn warms up
                turns.append(seconds)
                print("Lightning {:.1f} s, bare {:.1f} s, original {:.1f} s".format(*seconds), flush=True)
    print(f"{n} beats: Lightning / bare {statistics.median(a / b for a, b, _ in turns):.2f}")
    print(f"{n} beats: original / Lightning {statistics.median(c / a for a, _, c in turns):.2f}")


if __name__ == "__main__":
    main()
