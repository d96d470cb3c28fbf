"""Small networks that judge heartbeats: they are fitted in seconds, and alike for real and for synthetic beats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ecg.models.blocks import to_image
from ecg.models.cnn import CNN

FEATURE_WIDTH = 48  # channels of the classifier's first block; a quarter of it are its features
ALARM_WIDTH = 16  # of the network that tells real from synthetic: it sees few beats
AT_ONCE = 1024  # beats
OBVIOUS = 0.98  # accuracy from which on more training cannot change what is said of the beats


@dataclass(frozen=True)
class Cohort:
    """n beats that are judged together.

    Attributes:
        signal: (n, C, T) float32.
        rr: (n, R) float32; R may be 0.
        label: (n,) int64, index into the classes.
    """

    signal: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, positions: NDArray[np.int64]) -> Cohort:
        """The beats at `positions`."""
        return Cohort(self.signal[positions], self.rr[positions], self.label[positions])

    def of(self, c: int) -> Cohort:
        """The beats of one class."""
        return self.take(np.flatnonzero(self.label == c))

    def some(self, n: int, rng: np.random.Generator) -> Cohort:
        """At most n beats, drawn without repetition."""
        return self.take(rng.permutation(len(self))[:n])

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Signals, RR features and labels."""
        return torch.from_numpy(self.signal), torch.from_numpy(self.rr), torch.from_numpy(self.label)

    @staticmethod
    def concatenate(*parts: Cohort) -> Cohort:
        """All beats of several cohorts, in order."""
        return Cohort(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("signal", "rr", "label")))


def fit_classifier(
    cohort: Cohort, n_classes: int, *, steps: int = 600, seed: int = 0, hidden: int = FEATURE_WIDTH, batch: int = 128
) -> CNN:
    """A residual CNN fitted with AdamW and a one-cycle rate; every batch holds the classes in equal parts.

    So a cohort is judged by its beats and not by how many of each class there are. The random numbers of the program
    go on as if nothing had been fitted.

    Args:
        cohort: the beats.
        n_classes: number of classes; those without a beat are never predicted well.
        steps: batches.
        seed: of initialisation and order.
        hidden: channels of the first block.
        batch: beats a batch.
    """
    signal, rr, label = cohort.tensors()
    weight = (1 / np.bincount(cohort.label, minlength=n_classes).clip(1))[cohort.label]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CNN(signal.shape[1], signal.shape[2], n_classes, n_rr=rr.shape[1], hidden=hidden)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        rows = np.random.default_rng(seed).choice(len(label), (steps, batch), p=weight / weight.sum())
        for at in torch.from_numpy(rows):
            loss = F.cross_entropy(network(signal[at], rr[at]), label[at], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def features(network: CNN, cohort: Cohort) -> NDArray[np.float64]:
    """What the classifier sees in beats: its pooled features and the standardised RR features, (n, d)."""
    parts = []
    for signal, rr in _batches(cohort):
        seen = [network.blocks(to_image(signal)).mean(dim=(2, 3))]
        if network.head.rhythm is not None:
            seen.append(network.head.rhythm[0](rr))  # type: ignore[index]
        parts.append(torch.cat(seen, dim=1).double().numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def predict(network: CNN, cohort: Cohort) -> NDArray[np.int64]:
    """The classes (n,) that the classifier gives to beats."""
    return np.concatenate([network(signal, rr).argmax(dim=1).numpy() for signal, rr in _batches(cohort)])


def _batches(cohort: Cohort) -> Iterator[tuple[Tensor, Tensor]]:
    signal, rr, _ = cohort.tensors()
    return zip(signal.split(AT_ONCE), rr.split(AT_ONCE), strict=True)


def held_out_accuracy(real: Cohort, fake: Cohort, *, seed: int, steps: int = 300) -> float:
    """How often a network that learnt from one half of the beats tells real from synthetic in the other half.

    Both halves take both parts, so every beat is judged once. There are as many real beats as synthetic ones.

    Args:
        real: n beats.
        fake: n beats.
        seed: of the division and the networks.
        steps: batches of 64 beats; beats that a fifth of them tells apart are not looked at any longer.
    """
    n = min(len(real), len(fake))
    rng = np.random.default_rng(seed)
    both = Cohort.concatenate(real.some(n, rng), fake.some(n, rng))
    both = Cohort(both.signal, both.rr, np.repeat([0, 1], n))
    order = rng.permutation(2 * n)
    halves = both.take(order[::2]), both.take(order[1::2])

    def accuracy(steps: int) -> float:
        right = 0
        for learn, hold in (halves, halves[::-1]):
            network = fit_classifier(learn, 2, steps=steps, seed=seed, hidden=ALARM_WIDTH, batch=64)
            right += int((predict(network, hold) == hold.label).sum())
        return right / (2 * n)

    quick = accuracy(-(-steps // 5))
    return quick if quick > OBVIOUS else accuracy(steps)
