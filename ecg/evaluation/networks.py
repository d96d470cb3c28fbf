"""Small classifiers for measures of fidelity, fitted with the same settings on real and on synthetic beats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ecg.evaluation.beat_set import BeatSet
from ecg.models.network import Network

CLASSIFIER_WIDTH = 32  # channels of the first convolution
DISCRIMINATOR_WIDTH = 16  # narrower, since it is fitted on few beats
INFERENCE_BATCH = 1024  # beats
EARLY_STOP_ACCURACY = 0.98  # above it, more training does not change the conclusion

T = TypeVar("T")
_GLOBAL_RANDOM_STATE = Lock()  # held by the thread that uses PyTorch's global generator


class EvaluationNetwork(Network):
    """Six convolutions, the mean over time, and one linear layer.

    Every second convolution, from the first one on, has a stride of 2.

    It draws no random numbers in training, so that networks in several threads do not depend on one another.

    Time axis: T -> ceil(T / 2) -> ceil(T / 4) -> ceil(T / 8).

    Args:
        n_channels: channels of a beat, C.
        n_classes: number of classes.
        hidden: channels of the first four convolutions; the last two have half as many.
    """

    min_times = 1  # every convolution is padded

    def __init__(self, *, n_channels: int, n_classes: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(n_channels, hidden, kernel_size=7, stride=2),
            *_convolution(hidden, hidden, kernel_size=5, stride=1),
            *_convolution(hidden, hidden, kernel_size=5, stride=2),
            *_convolution(hidden, hidden, kernel_size=5, stride=1),
            *_convolution(hidden, hidden // 2, kernel_size=5, stride=2),
            *_convolution(hidden // 2, hidden // 2, kernel_size=5, stride=1),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.linear = nn.Linear(hidden // 2, n_classes)

    def embed(self, signal: Tensor, rr: Tensor) -> Tensor:
        """Signals (B, C, T), features (B, 0) -> (B, hidden // 2)."""
        x = signal.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
        features: Tensor = self.layers(x).mean(dim=(2, 3))  # (B, hidden // 2, 1, T / 8) -> (B, hidden // 2)
        return features

    @property
    def n_embedded(self) -> int:
        """See `Network`."""
        return self.linear.in_features

    def classify(self, embedded: Tensor) -> Tensor:
        """Features (B, hidden // 2) -> logits (B, n_classes)."""
        logits: Tensor = self.linear(embedded)
        return logits


def _convolution(in_channels: int, out_channels: int, *, kernel_size: int, stride: int) -> tuple[nn.Module, ...]:
    """Layers (B, in_channels, 1, T) -> (B, out_channels, 1, ceil(T / stride))."""
    conv = nn.Conv2d(in_channels, out_channels, (1, kernel_size), (1, stride), (0, kernel_size // 2), bias=False)
    return conv, nn.BatchNorm2d(out_channels), nn.SiLU()


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted.

    Attributes:
        steps: number of batches.
        seed: seed of the initialisation and of the batches.
        width: channels of the first convolution; the features before the head are half as wide.
        device: device of the network.
        bfloat16: whether to use bfloat16 where it is precise enough.
    """

    steps: int
    seed: int
    width: int = CLASSIFIER_WIDTH
    device: torch.device = torch.device("cpu")
    bfloat16: bool = False


def fit_classifier(
    beats: BeatSet, n_classes: int, settings: FitSettings, *, batch_size: int = 128
) -> EvaluationNetwork:
    """Fits an evaluation network with AdamW and a one-cycle learning rate.

    Every batch holds the classes in equal proportions in expectation, so that the result does not depend on the class
    counts. Leaves the global random state unchanged.

    Args:
        beats: the training beats.
        n_classes: number of classes; some may have no beats.
        settings: steps, seed, width, device and precision.
        batch_size: beats in a batch.

    Returns:
        The network in evaluation mode.
    """
    signal, label = (column.to(settings.device) for column in beats.tensors())
    weight = (1 / np.bincount(beats.label, minlength=n_classes).clip(1))[beats.label]
    network = _initial_network(signal.shape, n_classes, settings).to(settings.device)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2, foreach=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=settings.steps)
    rng = np.random.default_rng(settings.seed)
    batches = rng.choice(len(label), (settings.steps, batch_size), p=weight / weight.sum())
    for batch in torch.from_numpy(batches).to(settings.device):
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.bfloat16):
            loss = F.cross_entropy(network(*_inputs(signal[batch])), label[batch], label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def _initial_network(shape: Sequence[int], n_classes: int, settings: FitSettings) -> EvaluationNetwork:
    """Returns a network for signals of `shape` (n, C, T) on the CPU. Its initialisation depends on the seed alone."""
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)  # not torch.manual_seed, which would also seed the GPUs
        return EvaluationNetwork(n_channels=shape[1], n_classes=n_classes, hidden=settings.width)


def run_in_threads(tasks: Sequence[Callable[[], T]], on_done: Callable[[], None]) -> list[T]:
    """Runs tasks that fit small networks side by side.

    Each task has one thread. Side by side, small networks are fitted faster than one after the other with all threads,
    and another process on the machine slows them down less (`benchmarks/busy.py`).

    Args:
        tasks: the tasks; no two depend on one another.
        on_done: called after each task.

    Returns:
        The results, in the order of the tasks.
    """
    n_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures = [pool.submit(task) for task in tasks]
        for future in as_completed(futures):
            future.result()
            on_done()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


@torch.inference_mode()
def embed(network: Network, beats: BeatSet) -> NDArray[np.float64]:
    """Returns the features (n, D) of beats before the head of a network in evaluation mode."""
    return np.concatenate([network.embed(*inputs).double().cpu().numpy() for inputs in _batches(network, beats)])


@torch.inference_mode()
def predict_labels(network: Network, beats: BeatSet) -> NDArray[np.int64]:
    """Returns the class (n,) that a network in evaluation mode predicts for each beat."""
    return np.concatenate([network(*inputs).argmax(dim=1).cpu().numpy() for inputs in _batches(network, beats)])


def _batches(network: Network, beats: BeatSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the inputs of the network in batches, on its device."""
    device = next(network.parameters()).device
    for signal in beats.tensors()[0].split(INFERENCE_BATCH):
        yield _inputs(signal.to(device))


def _inputs(signal: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the inputs of a network: signals (B, C, T), and no features (B, 0)."""
    return signal, signal[:, 0, :0]


def discriminator_accuracy(real: BeatSet, synthetic: BeatSet, settings: FitSettings) -> float:
    """Returns the cross-validated accuracy of networks that separate real from synthetic beats.

    The beats are divided into two halves. One network is fitted on each half and tested on the other, so that every
    beat is tested once. The larger set is subsampled to the size of the smaller one.

    Args:
        real: real beats.
        synthetic: synthetic beats.
        settings: of each network; its seed also determines the division. A first attempt uses a fifth of the steps, and
            is final where its accuracy exceeds `EARLY_STOP_ACCURACY`.
    """
    n = min(len(real), len(synthetic))
    rng = np.random.default_rng(settings.seed)
    beats = BeatSet.concatenate(real.sample(n, rng), synthetic.sample(n, rng))
    beats = BeatSet(beats.signal, np.repeat([0, 1], n))  # 1 is synthetic
    order = rng.permutation(2 * n)
    halves = beats.take(order[::2]), beats.take(order[1::2])
    settings = replace(settings, width=DISCRIMINATOR_WIDTH)
    quick = _cross_validated_accuracy(halves, replace(settings, steps=-(-settings.steps // 5)))
    return quick if quick > EARLY_STOP_ACCURACY else _cross_validated_accuracy(halves, settings)


def _cross_validated_accuracy(halves: tuple[BeatSet, BeatSet], settings: FitSettings) -> float:
    """Returns the accuracy over both halves, each predicted by a network that is fitted on the other."""
    correct = 0
    for train, test in (halves, halves[::-1]):
        network = fit_classifier(train, 2, settings, batch_size=64)
        correct += int((predict_labels(network, test) == test.label).sum())
    return correct / sum(map(len, halves))
