"""Small classifiers for measures of fidelity, fitted with the same settings on real and on synthetic beats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ecg.evaluation.beat_set import BeatSet
from ecg.models.cnn import CNN
from ecg.models.network import Network

CLASSIFIER_WIDTH = 48  # channels of the first block; the features before the head are a quarter as wide
DISCRIMINATOR_WIDTH = 16  # narrower, since it is fitted on few beats
INFERENCE_BATCH = 1024  # beats
EARLY_STOP_ACCURACY = 0.98  # above it, more training does not change the conclusion


def fit_classifier(
    beats: BeatSet, n_classes: int, *, steps: int, seed: int, hidden: int = CLASSIFIER_WIDTH, batch_size: int = 128
) -> CNN:
    """Fits a residual CNN with AdamW and a one-cycle learning rate.

    Every batch holds the classes in equal proportions in expectation, so that the result does not depend on the class
    counts. Leaves the global random state unchanged.

    Args:
        beats: the training beats.
        n_classes: number of classes; some may have no beats.
        steps: number of batches.
        seed: seed of the initialisation and of the batches.
        hidden: channels of the first block.
        batch_size: beats in a batch.

    Returns:
        The network in evaluation mode.
    """
    signal, rr, label = beats.tensors()
    weight = (1 / np.bincount(beats.label, minlength=n_classes).clip(1))[beats.label]
    _, n_channels, n_times = signal.shape
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
        network = CNN(
            n_channels=n_channels,
            n_times=n_times,
            n_classes=n_classes,
            n_rr=rr.shape[1],
            hidden=hidden,
            kernel_size=5,
            dropout=0.0,
        )
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        batches = np.random.default_rng(seed).choice(len(label), (steps, batch_size), p=weight / weight.sum())
        for batch in torch.from_numpy(batches):
            loss = F.cross_entropy(network(signal[batch], rr[batch]), label[batch], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def embed(network: Network, beats: BeatSet) -> NDArray[np.float64]:
    """Returns the features (n, D) of beats before the head of a network in evaluation mode."""
    return np.concatenate([network.embed(signal, rr).double().numpy() for signal, rr in _batches(beats)])


@torch.inference_mode()
def predict_labels(network: Network, beats: BeatSet) -> NDArray[np.int64]:
    """Returns the class (n,) that a network in evaluation mode predicts for each beat."""
    return np.concatenate([network(signal, rr).argmax(dim=1).numpy() for signal, rr in _batches(beats)])


def _batches(beats: BeatSet) -> Iterator[tuple[Tensor, Tensor]]:
    signal, rr, _ = beats.tensors()
    return zip(signal.split(INFERENCE_BATCH), rr.split(INFERENCE_BATCH), strict=True)


def discriminator_accuracy(real: BeatSet, synthetic: BeatSet, *, steps: int, seed: int) -> float:
    """Returns the cross-validated accuracy of networks that separate real from synthetic beats.

    The beats are divided into two halves. One network is fitted on each half and tested on the other, so that every
    beat is tested once. The larger set is subsampled to the size of the smaller one.

    Args:
        real: real beats.
        synthetic: synthetic beats.
        steps: number of batches of each network. A first attempt uses a fifth of them, and is final where its accuracy
            exceeds `EARLY_STOP_ACCURACY`.
        seed: seed of the division and of the networks.
    """
    n = min(len(real), len(synthetic))
    rng = np.random.default_rng(seed)
    beats = BeatSet.concatenate(real.sample(n, rng), synthetic.sample(n, rng))
    beats = BeatSet(beats.signal, beats.rr, np.repeat([0, 1], n))  # 1 is synthetic
    order = rng.permutation(2 * n)
    halves = beats.take(order[::2]), beats.take(order[1::2])
    quick = _cross_validated_accuracy(halves, -(-steps // 5), seed)
    return quick if quick > EARLY_STOP_ACCURACY else _cross_validated_accuracy(halves, steps, seed)


def _cross_validated_accuracy(halves: tuple[BeatSet, BeatSet], steps: int, seed: int) -> float:
    """Returns the accuracy over both halves, each predicted by a network that is fitted on the other."""
    correct = 0
    for train, test in (halves, halves[::-1]):
        network = fit_classifier(train, 2, steps=steps, seed=seed, hidden=DISCRIMINATOR_WIDTH, batch_size=64)
        correct += int((predict_labels(network, test) == test.label).sum())
    return correct / sum(map(len, halves))
