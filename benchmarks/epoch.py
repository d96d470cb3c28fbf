"""Time of an epoch of `cnn`: with Lightning, in a plain PyTorch loop, and as the original project trained it.

    ECG_DATA_DIR=... python benchmarks/epoch.py

Plain loop: a permutation, batches indexed from tensors in memory, forward, loss, backward, clipping, AdamW, schedule;
the same network, precision and batch size as Lightning. Original: one row of a pandas table is looked up for each
beat, four workers, Conv1d, float32, softmax before the cross-entropy, batches of 96. The three take turns, so that a
change of the machine's speed affects all of them. The ratios are medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
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
from ecg.config.schema import register
from ecg.data.datamodule import BeatDataModule
from ecg.runs import Run

ROOT = Path(__file__).parents[1]


class Clock(pl.Callback):
    """Seconds from the start of a training epoch to its last batch."""

    seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts."""
        self.start = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops before the validation, which the other two loops do not have."""
        self.seconds = time.perf_counter() - self.start


def lightning_epoch(cfg: DictConfig, data: BeatDataModule, folder: Path) -> float:
    """Seconds of an epoch of `train.py`, with averaged weights, history and checkpoints."""
    trainer = build.classification_trainer(cfg, Run(folder, choices={}, overrides=[], sweep=None, provenance={}))
    clock = Clock()
    trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    trainer.fit(build.classifier(cfg, data), data)
    return clock.seconds


def plain_epoch(cfg: DictConfig, data: BeatDataModule, n_batches: int, bf16: bool) -> float:
    """Seconds of the same steps without Lightning."""
    classifier = build.classifier(cfg, data)
    network, loss = classifier.network.train(), classifier.loss
    optimizer = torch.optim.AdamW(network.parameters(), lr=cfg.optimizer.lr, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_batches)
    positions = torch.from_numpy(data.split.train)
    start = time.perf_counter()
    order = positions[torch.randperm(len(positions))]
    for index in order.split(cfg.optimizer.batch_size)[:n_batches]:
        signal, rr, label, _ = (column[index] for column in data.tensors)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(network(signal, rr), label)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - start


class TableRows(Dataset[tuple[Tensor, Tensor]]):
    """The rows of a pandas table: samples and label."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.columns = table.columns[:-1].tolist()

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        signal = self.table.loc[index, self.columns].astype("float32")
        return torch.FloatTensor(np.array([signal.values])), torch.tensor(cast(int, self.table.loc[index, "label"]))


def original_epoch(table: pd.DataFrame, hidden: int, n_workers: int) -> float:
    """Seconds of an epoch as the original project trained it."""
    network = Conv1dCNN(hidden).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    start = time.perf_counter()
    for signal, label in DataLoader(TableRows(table), batch_size=96, shuffle=True, num_workers=n_workers):
        optimizer.zero_grad()
        probability = torch.softmax(network(signal, signal), dim=1)
        F.cross_entropy(probability, label).backward()
        optimizer.step()
    return time.perf_counter() - start


def compose_config(folder: str, n_batches: int, tiny: bool) -> DictConfig:
    """The configuration of the epoch."""
    overrides = ["data=mitbih", "protocol=kaggle", "logger=none", "name=epoch", f"paths.run_dir={folder}"]
    if tiny:
        overrides = ["data.window=kaggle", "data.minutes=0.5", "model.hidden=8", f"paths.cache_dir={folder}/cache"]
        overrides += ["protocol=random", "protocol.classes=[N,V]", *("logger=none", "name=epoch")]
        overrides += [f"paths.run_dir={folder}", "optimizer.batch_size=16", "trainer.accelerator=cpu"]
    overrides += ["trainer.max_epochs=1", f"trainer.limit_train_batches={n_batches}"]
    overrides += ["trainer.limit_val_batches=1", "trainer.enable_progress_bar=false"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", overrides)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the seconds of each round, and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100, help="batches of Lightning's epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    n_batches, rounds = (2, 1) if options.tiny else (options.batches, options.rounds)
    register()
    with tempfile.TemporaryDirectory() as folder:
        cfg = compose_config(folder, n_batches, options.tiny)
        data = build.classification_data(cfg)
        n = n_batches * cfg.optimizer.batch_size
        rows = np.random.default_rng(0).choice(data.split.train, n, replace=False)
        table = pd.DataFrame(data.beats.signal[rows, 0])
        table["label"] = data.labels[rows]
        bf16 = build.precision(cfg) == "bf16-mixed"
        times = []
        for i in range(rounds + 1):
            seconds = (
                lightning_epoch(cfg, data, Path(folder)),
                plain_epoch(cfg, data, n_batches, bf16),
                original_epoch(table, cfg.model.hidden, 0 if options.tiny else 4),
            )
            if i:  # the first round is a warm-up
                times.append(seconds)
                print("Lightning {:.1f} s, plain {:.1f} s, original {:.1f} s".format(*seconds), flush=True)
    print(f"{n} beats: Lightning / plain {statistics.median(a / b for a, b, _ in times):.2f}")
    print(f"{n} beats: original / Lightning {statistics.median(c / a for a, _, c in times):.2f}")


if __name__ == "__main__":
    main()
