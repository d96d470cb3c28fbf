from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from model_factories import ConstantEvaluator, make_loader, make_synthesis_loader, make_synthesizer, make_trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

import ecg.tracking
from ecg.callbacks import AveragedWeights, BatchSeed, Gallery, History


class Regression(pl.LightningModule):
    """A linear layer fitted to constant targets."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 1)
        self.noise: list[float] = []
        self.weights: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.noise.append(float(torch.rand(())))
        loss = (self.linear(batch) - 1).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        self.weights.append(self.linear.weight.detach().clone())

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/score", torch.tensor(float("nan" if self.current_epoch == 0 else 1)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_batches() -> Any:
    return make_loader(list(torch.rand(3, 8, 4, generator=torch.Generator().manual_seed(0))))


def fit(*callbacks: pl.Callback, epochs: int = 2) -> Regression:
    module = Regression()
    make_trainer(*callbacks, epochs=epochs).fit(module, make_batches(), make_batches())
    return module


def test_averaged_weights_follow_their_formula() -> None:
    module = fit(AveragedWeights(0.5), epochs=4)
    average = module.weights[0]
    for n, weight in enumerate(module.weights[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(module.linear.weight.detach(), average)


def test_history_has_the_logged_values_of_each_epoch() -> None:
    history = History()
    fit(history)
    assert [epoch["epoch"] for epoch in history.epochs] == [0, 1]
    assert all({"train/loss", "val/score", "lr"} <= epoch.keys() for epoch in history.epochs)
    assert history.epochs[1]["train/loss"] < history.epochs[0]["train/loss"]
    assert "val/score" not in history.finite_epochs()[0]
    assert history.finite_epochs()[1]["val/score"] == 1


def test_columns_of_the_history_have_one_value_for_each_epoch() -> None:
    history = History()
    history.epochs = [{"epoch": 0, "a": 1.0}, {"epoch": 1, "b": 2.0}]
    assert history.columns()["epoch"] == [0, 1]
    np.testing.assert_array_equal(history.columns()["a"], [1, np.nan])
    np.testing.assert_array_equal(history.columns()["b"], [np.nan, 2])


def test_history_is_restored_from_a_checkpoint() -> None:
    history, restored = History(), History()
    fit(history)
    restored.load_state_dict(history.state_dict())
    assert restored.epochs == history.epochs


def test_every_batch_has_its_own_seed() -> None:
    noise = fit(BatchSeed(1)).noise
    assert len(set(noise)) == 6
    assert fit(BatchSeed(1)).noise == noise
    assert set(fit(BatchSeed(2)).noise).isdisjoint(noise)


def test_random_numbers_depend_on_seed_epoch_batch_and_process_only() -> None:
    def random_number(epoch: int = 3, batch_idx: int = 5, rank: int = 0) -> float:
        trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
        BatchSeed(1).on_train_batch_start(trainer, Regression(), None, batch_idx)
        return float(torch.rand(()))

    expected = random_number()
    torch.rand(10)
    assert random_number() == expected
    others = [random_number(epoch=5, batch_idx=3), random_number(batch_idx=6), random_number(rank=1)]
    assert len({expected, *others}) == 4


class SilentLogger(Logger):
    """A logger that discards everything."""

    name, version = "silent", 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None: ...


def fit_with_gallery(gallery: Gallery, epochs: int) -> None:
    trainer = make_trainer(gallery, epochs=epochs, logger=SilentLogger())
    synthesizer = make_synthesizer(evaluator=ConstantEvaluator())
    trainer.fit(synthesizer, make_synthesis_loader(1), make_synthesis_loader(1))


def test_gallery_keeps_the_samples_of_all_epochs_and_logs_figures_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(ecg.tracking, "log_figure", lambda logger, title, figure: logged.append(title))
    gallery = Gallery()
    fit_with_gallery(gallery, epochs=5)
    assert [epoch for epoch, _ in gallery.signals()] == [0, 1, 2, 3, 4]
    assert all(signal.shape == (2, 3, 187) for _, signal in gallery.signals())
    assert logged == ["gallery"] * 3  # after 1, 2 and 4 epochs


def test_gallery_is_restored_from_a_checkpoint() -> None:
    gallery, restored = Gallery(), Gallery()
    fit_with_gallery(gallery, epochs=1)
    restored.load_state_dict(gallery.state_dict())
    np.testing.assert_array_equal(restored.signals()[0][1], gallery.signals()[0][1])


def test_gallery_ignores_other_modules() -> None:
    gallery = Gallery()
    fit(gallery)
    assert gallery.signals() == []
