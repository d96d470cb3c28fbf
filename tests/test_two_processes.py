"""Fits on two processes, with gloo on the CPU."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from model_factories import make_loader, make_synthesizer, make_trainer, make_window_beats
from programs import TINY_TRAIN, composed, folders, run
from torch import Tensor, multiprocessing

from ecg import build
from ecg.callbacks import AveragedWeights, BatchSeed
from ecg.classifier import Classifier
from ecg.config.schema import SCHEMAS
from ecg.data.batch import Batch
from ecg.synthesizer import Synthesizer

N_STEPS = 3


def join_processes(rank: int, port: int) -> None:
    """Sets what Lightning needs to know about the other process."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def free_port() -> int:
    """A port that no other process uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def make_gan(name: str) -> Synthesizer:
    """A synthesizer that updates every player within `N_STEPS`."""
    return make_synthesizer(name, **({"n_critic": 1} if name == "wgan_gp" else {}))


def make_batch(step: int, rank: int) -> Batch:
    """A batch of a process; those of the second process hold one class only, as may happen with a rare class."""
    label = torch.arange(12) % 2 * (1 - rank)
    return Batch(*make_window_beats("kaggle", seed=2 * step + rank), label, label)


class Recorder(pl.Callback):
    """Keeps the weights and the gradients before every step of an optimizer."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.gradients: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        generator = pl_module.generator
        self.weights.append({name: value.clone() for name, value in generator.state_dict().items()})
        self.gradients.append({n: p.grad.clone() for n, p in generator.named_parameters() if p.grad is not None})


def fit(rank: int, generator: str, strategy: str, port: int, folder: Path) -> None:
    """The work of a process: fits a generator and saves what it recorded."""
    join_processes(rank, port)
    recorder, averaged = Recorder(), AveragedWeights(0.9)
    trainer = make_trainer(
        BatchSeed(0), recorder, averaged, epochs=1, devices=2, strategy=strategy, use_distributed_sampler=False
    )
    synthesizer = make_gan(generator)
    trainer.fit(synthesizer, make_loader([make_batch(step, rank) for step in range(N_STEPS)]))
    result = {"weights": recorder.weights, "gradients": recorder.gradients, "averaged": synthesizer.state_dict()}
    torch.save(result, folder / f"{rank}.pt")


def joint_gradients(name: str, step: int, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of the mean loss over the batches of both processes."""
    generator = make_gan(name).generator
    generator.load_state_dict(weights)
    player = generator.update_order[step % len(generator.update_order)]
    for other in generator.players:
        getattr(generator, other).requires_grad_(other == player)
    for rank in (0, 1):
        process: Any = SimpleNamespace(current_epoch=0, global_rank=rank)
        BatchSeed(0).on_train_batch_start(process, process, None, step)
        signal, _, label, record = make_batch(step, rank)
        real = generator.canvas.encode(signal)
        (generator.loss(player, real, label, record, step)["loss"] / 2).backward()
    return {n: p.grad for n, p in generator.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("name", SCHEMAS["generator"])
def test_processes_fit_a_generator_to_the_batches_of_both(name: str, tmp_path: Path) -> None:
    strategy = build.synthesis_strategy(composed("synth", "trainer.accelerator=cpu", "trainer.devices=2"))
    multiprocessing.start_processes(fit, (name, strategy, free_port(), tmp_path), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(first["weights"]) == N_STEPS
    for key in ("weights", "gradients"):
        for ours, theirs in zip(first[key], second[key], strict=True):
            assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert all(torch.equal(first["averaged"][n], second["averaged"][n]) for n in first["averaged"])
    for step, (weights, gradients) in enumerate(zip(first["weights"], first["gradients"], strict=True)):
        expected = joint_gradients(name, step, weights)
        updated = {n: gradient for n, gradient in gradients.items() if n in expected}
        torch.testing.assert_close(updated, expected)


def train(rank: int, port: int, overrides: list[str]) -> None:
    """The work of a process: runs `train.py`; the second process fails in its first step."""
    join_processes(rank, port)

    def fail(*_: Any) -> None:
        raise RuntimeError("broken in the second process")

    if rank == 1:
        Classifier.training_step = fail  # type: ignore[method-assign, assignment]
    ended = run("train", *overrides)
    assert ended.returncode == 1, ended.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_run_ends_with_the_reason_of_the_process_that_failed(tmp_path: Path, cache_dir: Path) -> None:
    overrides = [*TINY_TRAIN, "logger=none", "trainer.devices=2", *folders(tmp_path, cache_dir)]
    multiprocessing.start_processes(train, (free_port(), overrides), nprocs=2, start_method="fork")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", "broken in the second process")
