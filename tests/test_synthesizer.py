from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from model_factories import (
    ConstantEvaluator,
    make_synthesis_loader,
    make_synthesizer,
    make_trainer,
    variants,
)
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from ecg.callbacks import BatchSeed
from ecg.errors import UserError
from ecg.synthesizer import Synthesizer


class Recorder(pl.Callback):
    """Keeps the learning rates and the weights of all players after every step."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.weights: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])
        self.weights.append({name: p.detach().clone() for name, p in pl_module.generator.named_parameters()})

    def updated(self, step: int) -> set[str]:
        """The players whose weights a step changes."""
        before, after = self.weights[step - 1], self.weights[step]
        return {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}


class StopAfterFirstEpoch(pl.Callback):
    """Interrupts the fit."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


def fit(
    synthesizer: Synthesizer, *callbacks: pl.Callback, epochs: int = 1, n_batches: int = 6, **arguments: Any
) -> None:
    loaders = make_synthesis_loader(n_batches), make_synthesis_loader(2)
    make_trainer(*callbacks, epochs=epochs, **arguments).fit(synthesizer, *loaders)


@pytest.mark.parametrize("name", variants("generator"))
def test_each_step_updates_one_player_in_order(name: str) -> None:
    recorder, synthesizer = Recorder(), make_synthesizer(name)
    fit(synthesizer, recorder)
    order = synthesizer.generator.update_order
    assert [recorder.updated(step) for step in range(1, 6)] == [{order[step % len(order)]} for step in range(1, 6)]


def test_learning_rate_is_constant_then_a_cosine_to_zero() -> None:
    recorder = Recorder()
    fit(make_synthesizer("wgan_gp", n_critic=2), recorder, n_batches=15)  # 10 steps of the critic, 5 of the generator
    critic, generator = zip(*recorder.rates, strict=True)
    for rates, total, last in ((critic, 10, 13), (generator, 5, 14)):
        factors = [(1 + math.cos(math.pi * max(0, 2 * step / total - 1))) / 2 for step in range(total + 1)]
        assert sorted(set(rates), reverse=True) == pytest.approx(sorted({1e-3 * f for f in factors}, reverse=True))
        assert rates[last] == 0


@pytest.mark.parametrize("name", ["lstm_gan", "rectified_flow"])  # two optimizers, one optimizer
def test_a_resumed_fit_continues_exactly(name: str, tmp_path: Path) -> None:
    uninterrupted, first, second = Recorder(), Recorder(), Recorder()
    fit(make_synthesizer(name), BatchSeed(0), uninterrupted, epochs=2)
    checkpoint = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    callbacks = (BatchSeed(0), first, StopAfterFirstEpoch(), checkpoint)
    fit(make_synthesizer(name), *callbacks, epochs=2, enable_checkpointing=True)
    trainer = make_trainer(BatchSeed(0), second, epochs=2)
    loaders = make_synthesis_loader(6), make_synthesis_loader(2)
    trainer.fit(make_synthesizer(name), *loaders, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert first.rates + second.rates == uninterrupted.rates
    for weights, expected in zip(first.weights + second.weights, uninterrupted.weights, strict=True):
        assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_beats_of_all_classes_are_evaluated_once_an_epoch() -> None:
    evaluator = ConstantEvaluator()
    synthesizer = make_synthesizer(evaluator=evaluator)
    trainer = make_trainer(epochs=2)
    trainer.fit(synthesizer, make_synthesis_loader(1), make_synthesis_loader(2))
    assert [beats.label.tolist() for beats in evaluator.beats] == [[0] * 4 + [1] * 4] * 2
    assert evaluator.beats[0].signal.shape == (8, 1, 187)
    assert float(trainer.callback_metrics["val/frechet"]) == 2
    assert synthesizer.gallery_samples is not None
    assert synthesizer.gallery_samples.shape == (2, 3, 187)


def test_a_loss_that_is_not_finite_stops_the_fit() -> None:
    synthesizer = make_synthesizer()
    with torch.no_grad():
        next(synthesizer.generator.get_submodule("critic").parameters()).fill_(math.nan)
    with pytest.raises(
        UserError, match=r"loss of the critic is not a finite number in epoch 0, batch 0\. Decrease generator\.lr"
    ):
        fit(synthesizer)


def test_drawn_beats_depend_on_labels_and_seed_only() -> None:
    synthesizer = make_synthesizer("wgan_gp")
    label = torch.arange(10) % 2
    first, same, other = (torch.cat([drawn.signal for drawn in synthesizer.draw(label, seed)]) for seed in (1, 1, 2))
    assert first.shape == (10, 1, 187)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert synthesizer.generator.training


def test_records_of_drawn_beats_follow_their_counts_in_the_training_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    synthesizer = make_synthesizer()
    records: list[Tensor] = []
    sample = synthesizer.generator.sample

    def spy(label: Tensor, record: Tensor, rng: torch.Generator) -> Tensor:
        records.append(record)
        return sample(label, record, rng)

    monkeypatch.setattr(synthesizer.generator, "sample", spy)
    label = torch.arange(2000) % 2
    assert sum(len(drawn.signal) for drawn in synthesizer.draw(label, seed=0)) == 2000
    record = torch.cat(records)
    assert record[label == 0].float().mean() == pytest.approx(0.5, abs=0.05)
    assert (record[label == 1] == 1).all()
