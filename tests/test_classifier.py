from __future__ import annotations

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from model_factories import make_loader, make_trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ecg.classifier import Classifier
from ecg.data.batch import Batch
from ecg.errors import UserError
from ecg.losses import CrossEntropy
from ecg.models.network import Network

N_BATCHES = 6


class LinearNetwork(Network):
    """A linear layer; the smallest network."""

    min_times, n_embedded = 8, 8

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 2)

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        return signal[:, 0]

    def classify(self, embedded: Tensor) -> Tensor:
        logits: Tensor = self.linear(embedded)
        return logits


class Recorder(pl.Callback):
    """Keeps learning rate and weights after every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.weights: list[Tensor] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.weights.append(pl_module.network.linear.weight.detach().clone())


class StopAfter(pl.Callback):
    """Interrupts the training after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch == self.epoch


class Spy(nn.Module):
    """Returns its arguments, and counts the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        self.calls += 1
        return arguments


def make_batches(n: int = N_BATCHES) -> list[Batch]:
    rng = torch.Generator().manual_seed(0)
    signals = torch.rand(n, 16, 1, 8, generator=rng)
    label = torch.arange(16) % 4 // 3  # one beat in four is of class 1
    return [Batch(signal, torch.zeros(16, 0), label, torch.zeros(16, dtype=torch.int64)) for signal in signals]


def loaders() -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    return make_loader(make_batches()), make_loader(make_batches(2))


def make_classifier(**arguments: nn.Module) -> Classifier:
    torch.manual_seed(0)
    loss = CrossEntropy(counts=torch.tensor([3, 1]), class_weights="none", label_smoothing=0.0)
    return Classifier(LinearNetwork(), loss, ("N", "V"), lr=0.1, weight_decay=0.01, warmup=0.25, **arguments)


def test_learning_rate_is_a_linear_warmup_and_a_cosine_decay_to_zero() -> None:
    recorder = Recorder()
    make_trainer(recorder, epochs=4).fit(make_classifier(), *loaders())
    total, warmup = 24, 6
    after = range(1, total + 1)  # steps; the recorder runs after the scheduler
    expected = [
        (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
        for step in after
    ]
    assert recorder.rates == pytest.approx([0.1 * factor for factor in expected], rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("stop_after", [0, 2])  # in the warm-up, in the decay
def test_a_resumed_training_continues_exactly(tmp_path: Path, stop_after: int) -> None:
    uninterrupted, first, second = Recorder(), Recorder(), Recorder()
    make_trainer(uninterrupted, epochs=4).fit(make_classifier(), *loaders())
    checkpoint = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    trainer = make_trainer(first, StopAfter(stop_after), checkpoint, epochs=4, enable_checkpointing=True)
    trainer.fit(make_classifier(), *loaders())
    make_trainer(second, epochs=4).fit(
        make_classifier(), *loaders(), ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True
    )
    assert len(first.rates) == (stop_after + 1) * N_BATCHES
    assert first.rates + second.rates == uninterrupted.rates
    for weight, expected in zip(first.weights + second.weights, uninterrupted.weights, strict=True):
        assert torch.equal(weight, expected)


def test_transforms_and_mix_apply_to_training_beats_only() -> None:
    transforms, mix = Spy(), Spy()
    classifier = make_classifier(transforms=transforms, mix=mix)
    trainer = make_trainer(epochs=2)
    trainer.fit(classifier, *loaders())
    trainer.validate(classifier, loaders()[1], verbose=False)
    assert transforms.calls == mix.calls == 2 * N_BATCHES


def test_validation_scores_are_those_of_all_beats_together() -> None:
    classifier = make_classifier()
    (scores,) = make_trainer(epochs=1).validate(classifier, loaders()[1], verbose=False)
    batches = make_batches(2)
    label = torch.cat([batch.label for batch in batches])
    predicted = torch.cat([classifier(batch) for batch in batches]).argmax(dim=1)
    f1 = f1_score(label, predicted, average=None)
    assert scores["val/macro_f1"] == pytest.approx(f1.mean())
    assert [scores["val/N/f1"], scores["val/V/f1"]] == pytest.approx(f1.tolist())
    assert scores["val/accuracy"] == pytest.approx(float((predicted == label).float().mean()))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_training_before_the_checkpoint(tmp_path: Path, value: float) -> None:
    batches = make_batches()
    batches[3].signal[0] = value
    checkpoint = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    trainer = make_trainer(checkpoint, epochs=1, enable_checkpointing=True)
    with pytest.raises(UserError, match=r"not a finite number in epoch 0, batch 3\. Decrease optimizer\.lr"):
        trainer.fit(make_classifier(), make_loader(batches))
    assert not list(tmp_path.iterdir())


def test_weight_decay_applies_to_matrices_only() -> None:
    classifier = make_classifier()
    trainer = make_trainer(epochs=1)
    trainer.fit(classifier, *loaders())
    decay = {id(p): group["weight_decay"] for group in trainer.optimizers[0].param_groups for p in group["params"]}
    linear = classifier.network.linear
    assert decay == {id(linear.weight): 0.01, id(linear.bias): 0.0}
