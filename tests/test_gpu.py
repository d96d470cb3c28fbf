"""A training step on a GPU: no tensor is on the wrong device, and the CPU does not wait for a value of the GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from augmentation_factories import MIXES, NAMES, STRENGTHS, make_transform
from beats_factories import SIMULATED, make_data_module, make_protocol
from factories import make_beats
from fake_cuda import DEVICE, Operations, cuda_autocast, fake_cuda, lend_device_guard, move_to_fake_cuda, on_fake_cuda
from model_factories import (
    WINDOWS,
    defaults,
    make,
    make_canvas,
    make_signals,
    make_synthesizer,
    make_trainer,
    make_window_beats,
    variants,
)
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from ecg.augmentation.transforms.mix import Mix
from ecg.augmentation.transforms.transform import BeatFormat
from ecg.augmentation.transforms.waveform import Waveform
from ecg.callbacks import AveragedWeights
from ecg.classifier import Classifier
from ecg.config.schema import SCHEMAS
from ecg.data.batch import Batch
from ecg.generators.lstm_gan import LSTMGAN, ClassOrder
from ecg.models.blocks import LSTM

NETWORKS, LOSSES, GENERATORS = variants("model"), SCHEMAS["loss"], variants("generator")
CLASSES = ("N", "S", "V")
LABEL, RECORD = torch.arange(12) % 3, torch.arange(12) % 4


def lstm_step(self: nn.LSTM, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Shapes of `nn.LSTM`, which takes seconds with fake tensors."""
    assert x.dtype == torch.float32
    assert not torch.is_autocast_enabled("cuda")
    n_directions = 1 + self.bidirectional
    states = x.new_empty(n_directions * self.num_layers, len(x), self.hidden_size)
    return x.new_empty(*x.shape[:2], n_directions * self.hidden_size), (states, states)


def run_step(network: str, loss: str, window: str, **augmentation: Any) -> None:
    """One training step with fake tensors."""
    signal, rr = make_window_beats(window)
    shape = {"n_channels": signal.shape[1], "n_times": signal.shape[2], "n_rr": rr.shape[1]}
    classifier = Classifier(
        make(NETWORKS[network], n_classes=3, **shape),
        make(defaults("loss", loss), counts=torch.tensor([9, 2, 1])),
        CLASSES,
        lr=1e-3,
        weight_decay=0.0,
        warmup=0.1,
        **augmentation,
    )
    classifier.log = lambda *_, **__: None  # type: ignore[method-assign]
    with fake_cuda(), cuda_autocast():
        batch = Batch(*on_fake_cuda((signal, rr, LABEL, RECORD)))
        move_to_fake_cuda(classifier)
        assert classifier.training_step(batch, 0).device == DEVICE


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_of_a_network_stays_on_the_gpu(
    network: str, loss: str, window: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.LSTM, "forward", lstm_step)
    run_step(network, loss, window)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MIXES)
def test_a_step_with_mixed_beats_stays_on_the_gpu(name: str, loss: str) -> None:
    mix = Mix([make_transform(name, **STRENGTHS[name])], n_classes=3, padded=True)
    run_step("cnn", loss, "kaggle", mix=mix)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_with_a_transform_stays_on_the_gpu(name: str, window: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    monkeypatch.setattr("ecg.augmentation.transforms.recorded_noise.read_noise", lambda *_: noise)
    padded = window == "kaggle"
    n_times = make_window_beats(window)[0].shape[2]
    transforms = Waveform([make_transform(name, **STRENGTHS[name])], BeatFormat(120.0, n_times, 20, padded, None))
    run_step("cnn", "cross_entropy", window, transforms=transforms)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", GENERATORS)
def test_a_step_of_a_generator_stays_on_the_gpu(name: str, window: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def by_class(self: LSTMGAN, label: Tensor) -> ClassOrder:  # the one value that a step may read
        reads.append(label)
        order = torch.argsort(label)
        return ClassOrder(order, torch.argsort(order), [4, 4, 4])

    monkeypatch.setattr(LSTMGAN, "_by_class", by_class)
    monkeypatch.setattr(nn.LSTM, "forward", lstm_step)
    generator = make(GENERATORS[name], canvas=make_canvas(window), n_classes=3, n_records=4)
    beats = make_signals(window)
    generator.prepare(beats, LABEL, RECORD)
    with fake_cuda(), cuda_autocast():
        move_to_fake_cuda(generator)
        signal, label, record = on_fake_cuda((beats, LABEL, RECORD))
        real = generator.canvas.encode(signal)
        for step, player in enumerate(generator.players):
            assert generator.loss(player, real, label, record, step)["loss"].device == DEVICE
        assert len(reads) <= len(generator.players)
        assert generator.canvas.decode(generator.sample(label, record)).device == DEVICE


def test_an_lstm_is_computed_in_float32_on_a_gpu_only() -> None:
    lstm, x = LSTM(4, 8, batch_first=True), torch.rand(2, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lstm(x)[0], nn.LSTM.forward(lstm, x)[0])
    assert torch.equal(lstm(x)[0], nn.LSTM.forward(lstm, x)[0])
    with fake_cuda() as operations, cuda_autocast():
        move_to_fake_cuda(lstm)
        outputs, (h, c) = lstm(on_fake_cuda(x.bfloat16()))
        assert {outputs.dtype, h.dtype, c.dtype} == {torch.float32}
    assert set.union(*operations.dtypes.values()) <= {torch.float32, torch.bfloat16}


def test_every_lstm_is_excluded_from_autocast() -> None:
    modules = [make(settings, n_channels=1, n_times=187, n_classes=3, n_rr=0) for settings in NETWORKS.values()]
    modules += [make(s, canvas=make_canvas("kaggle"), n_classes=3, n_records=4) for s in GENERATORS.values()]
    lstms = [part for module in modules for part in module.modules() if isinstance(part, nn.RNNBase)]
    assert lstms
    assert all(isinstance(lstm, LSTM) for lstm in lstms)


@pytest.mark.parametrize(("free", "resident"), [(10**9, True), (10**4, False)])
def test_beats_are_kept_on_the_gpu_if_they_fit(free: int, resident: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lend_device_guard()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    beats = make_beats(8, {0: 6, 1: 3, 2: 3, 3: 3})
    data = make_data_module(beats, make_protocol("random", classes=["N", "S", "V", "F"]).split(beats, SIMULATED))
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=DEVICE), global_rank=0, world_size=1)
    data.trainer = trainer
    with FakeTensorMode(allow_non_fake_inputs=True):
        loaders = data.train_dataloader(), data.val_dataloader()
        if not resident:
            assert all(loader.pin_memory for loader in loaders)
            return
        for loader in loaders:
            batches = iter(loader.batch_sampler or loader.sampler)
            index = next(batches)
            with Operations():  # refuses copies
                batch = loader.dataset[index]
            assert {tensor.device for tensor in batch} == {DEVICE}
            assert not loader.pin_memory
    assert data.tensors.label.device.type == "cpu"


def test_averaged_weights_are_on_the_device_of_the_module() -> None:
    module, trainer = make_synthesizer("rectified_flow"), make_trainer(epochs=1)
    averaged = AveragedWeights(0.9)
    averaged.setup(trainer, module, "fit")
    module.to("meta")  # a device that needs no hardware
    averaged.on_fit_start(trainer, module)
    assert averaged._average_model is not None
    assert {tensor.device.type for tensor in averaged._average_model.module.state_dict().values()} == {"meta"}
    assert averaged._average_model.n_averaged.device.type == "cpu"
    averaged.update(module)  # raises an exception if it reads a value
    assert int(averaged._average_model.n_averaged) == 1
