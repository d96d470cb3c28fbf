from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from conftest import make_beats
from sklearn.metrics import f1_score
from torch import nn

from ecg.callbacks import ema
from ecg.classifier import Classifier
from ecg.data.datamodule import BeatDataModule
from ecg.data.splits import Random
from ecg.losses import CrossEntropy
from ecg.scoring import LOGIT_SHIFTS, best_shift


def make_data() -> BeatDataModule:
    beats = make_beats(4, {0: 60, 2: 20}, n_times=8)
    split = Random(["N", "V"], [], 0.2, 0).split(beats, "simulated")
    return BeatDataModule(beats, split, batch_size=16, seed=0)


class Linear(nn.Module):
    """The smallest network with the signature of the classifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 2)

    def forward(self, signal: torch.Tensor, rr: torch.Tensor) -> torch.Tensor:
        return self.linear(signal[:, 0])


class Watch(pl.Callback):
    """Keeps the rates and the weights after every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.weights: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.weights.append(pl_module.network.linear.weight.detach().clone())


def fit(*callbacks: pl.Callback, epochs: int = 4) -> tuple[Classifier, Watch]:
    torch.manual_seed(0)
    data, watch = make_data(), Watch()
    loss = CrossEntropy(data.class_counts())
    classifier = Classifier(Linear(), loss, ("N", "V"), lr=0.1, weight_decay=0.0, warmup=0.25)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[watch, *callbacks], enable_model_summary=False, **quiet
    )
    trainer.fit(classifier, data)
    return classifier, watch


def test_rate_rises_then_falls_to_zero() -> None:
    _, watch = fit()
    top = max(range(len(watch.rates)), key=watch.rates.__getitem__)
    assert watch.rates[top] == 0.1
    assert top <= 0.3 * len(watch.rates)
    assert all(a < b for a, b in zip(watch.rates[:top], watch.rates[1 : top + 1], strict=True))
    assert all(a >= b for a, b in zip(watch.rates[top:-1], watch.rates[top + 1 :], strict=True))
    assert watch.rates[-1] < 1e-3


def test_averaged_weights_follow_their_equation() -> None:
    classifier, watch = fit(ema(0.5))
    average = watch.weights[0]
    for n, weight in enumerate(watch.weights[1:], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(classifier.network.linear.weight, average)


def test_transforms_and_mix_see_training_beats_alone() -> None:
    seen: list[int] = []

    class Spy(nn.Module):
        def forward(self, signal: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
            seen.append(len(signal))
            assert len(rest) == 1 or rest[1].dtype == torch.int64
            return (signal, *rest)

    data = make_data()
    loss = CrossEntropy(data.class_counts())
    classifier = Classifier(
        Linear(), loss, ("N", "V"), lr=0.1, weight_decay=0.0, warmup=0.25, transforms=Spy(), mix=Spy()
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(classifier, data)
    assert len(seen) == 2 * trainer.global_step  # once by each, nothing in validation
    trainer.validate(classifier, data, verbose=False)
    assert len(seen) == 2 * trainer.global_step


def test_shift_is_the_best_on_the_beats_it_is_given() -> None:
    # Two classes, 1 in 20 rare; the logits carry the prior of the training, which costs the rare class its recall.
    torch.manual_seed(0)
    label = (torch.arange(4000) % 20 == 0).long()
    log_prior = torch.log(torch.tensor([0.95, 0.05]))
    evidence = torch.randn(4000) * 1.5 + 2 * (2 * label - 1)
    logits = torch.stack([-evidence / 2, evidence / 2], dim=1) + 3 * log_prior
    assert best_shift(logits, label, log_prior) == 1.0
    weaker = logits - 2.5 * log_prior
    f1 = [f1_score(label, (weaker - tau * log_prior).argmax(dim=1), average="macro") for tau in LOGIT_SHIFTS]
    assert max(f1) == pytest.approx(f1[list(LOGIT_SHIFTS).index(best_shift(weaker, label, log_prior))])
    assert max(f1) > min(f1)
    assert best_shift(torch.stack([1 - label, label], dim=1).float() * 20, label, log_prior) == 0.0
