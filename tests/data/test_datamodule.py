from __future__ import annotations

import numpy as np
import torch
from beats_factories import SIMULATED, make_data_module, make_protocol
from factories import make_beats
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data.balanced import BalancedBeats
from ecg.data.beats import Beats
from ecg.data.datamodule import BatchSampler
from ecg.data.protocols.protocol import Split


def make_split(beats: Beats, classes: str) -> Split:
    return make_protocol("patient_kfold", classes=list(classes), validation_fraction=0.25, n_folds=4).split(
        beats, SIMULATED
    )


@settings(max_examples=80)
@given(n=st.integers(1, 500), batch=st.integers(1, 70), world=st.integers(1, 4), epoch=st.integers(0, 9))
def test_processes_divide_the_beats_among_them(n: int, batch: int, world: int, epoch: int) -> None:
    evaluation, training = [], []
    for rank in range(world):
        sampler = BatchSampler(n, batch, shuffle=False, rank=rank, world_size=world)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        evaluation += [int(i) for b in batches for i in b]
        sampler = BatchSampler(n, batch, shuffle=True, seed=3, rank=rank, world_size=world)
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == max(1, n // (batch * world))
        training += [int(i) for b in batches for i in b]
    assert sorted(evaluation) == list(range(n))
    assert len(set(training)) == len(training)


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = BatchSampler(100, 10, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return [int(i) for i in torch.cat(list(sampler))]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in range(3)}) == 6


@settings(max_examples=50)
@given(
    group=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    half=st.integers(1, 20),
    world=st.integers(1, 2),
    epoch=st.integers(0, 3),
)
def test_the_halves_of_a_batch_have_the_same_groups(group: list[int], half: int, world: int, epoch: int) -> None:
    n = len(group) * world
    groups = np.array(group * world)
    for rank in range(world):
        sampler = BatchSampler(n, 2 * half, shuffle=True, seed=3, rank=rank, world_size=world, group=groups)
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        for batch in batches:
            first, second = batch[: len(batch) // 2], batch[len(batch) // 2 :]
            assert len(first) == min(half, len(group) // 2)
            np.testing.assert_array_equal(groups[first], groups[second])


def test_partners_are_all_beats_of_a_group() -> None:
    sampler = BatchSampler(40, 40, shuffle=True, group=np.arange(40) % 2)
    partners = set()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        partners |= {int(i) for batch in sampler for i in batch[20:]}
    assert partners == set(range(40))


def test_loaders_return_the_beats_of_their_subset() -> None:
    beats = make_beats(8, {0: 6, 1: 3, 2: 3, 3: 3})
    split = make_split(beats, "NSVF")
    data = make_data_module(beats, split)
    for loader, positions in ((data.val_dataloader(), split.validation), (data.test_dataloader(), split.test)):
        np.testing.assert_array_equal(torch.cat([batch.label for batch in loader]), beats.label[positions])
        np.testing.assert_array_equal(torch.cat([batch.signal for batch in loader]), beats.signal[positions])
    assert data.class_counts().tolist() == np.bincount(beats.label[split.train]).tolist()


def test_batches_name_the_record_of_each_beat() -> None:
    beats = make_beats(8, {0: 6, 1: 3, 2: 3, 3: 3})
    split = make_split(beats, "NSVF")
    data = make_data_module(beats, split)
    record = torch.cat([batch.record for batch in data.test_dataloader()])
    np.testing.assert_array_equal(data.records[record], beats.record[split.test])


def test_beats_are_in_memory_once() -> None:
    beats = make_beats(8, {0: 6, 1: 3, 2: 3, 3: 3})
    data = make_data_module(beats, make_split(beats, "NSVF"))
    assert np.shares_memory(data.tensors.signal.numpy(), beats.signal)


def test_labels_are_indices_into_the_classes_of_the_split() -> None:
    beats = make_beats(8, {0: 6, 2: 3, 3: 3, 4: 3})
    split = make_split(beats, "NVQ")
    data = make_data_module(beats, split)
    labels = torch.cat([batch.label for batch in data.train_dataloader()])
    assert set(labels.tolist()) == {0, 1, 2}
    assert 3 not in beats.label[np.r_[split.train, split.validation, split.test]]


def test_added_beats_replace_the_beats_that_are_not_kept() -> None:
    beats = make_beats(8, {0: 6, 1: 3, 2: 3, 3: 3})
    split = make_split(beats, "NSVF")
    kept = np.arange(0, len(split.train), 2)
    added = BalancedBeats(
        kept, np.full((5, 1, 187), 7, np.float32), np.zeros((5, 0), np.float32), np.full(5, 3), np.full(5, "x")
    )
    data = make_data_module(beats, split, balanced=added, batch_size=1)
    counts = np.bincount(np.append(beats.label[split.train[kept]], [3] * 5))
    assert data.class_counts().tolist() == counts.tolist()
    training = list(data.train_dataloader())
    assert len(training) == counts.sum()
    of_no_record = [batch for batch in training if batch.record == -1]
    assert len(of_no_record) == 5
    assert all((batch.signal == 7).all() and batch.label == 3 for batch in of_no_record)
    np.testing.assert_array_equal(torch.cat([b.signal for b in data.test_dataloader()]), beats.signal[split.test])


def test_class_power_zero_samples_all_classes_equally() -> None:
    beats = make_beats(20, {0: 80, 1: 8, 2: 8, 3: 4}, n_times=1)
    data = make_data_module(beats, make_split(beats, "NSVF"), class_power=0.0)
    labels = torch.cat([batch.label for batch in data.train_dataloader()])
    np.testing.assert_allclose(torch.bincount(labels) / len(labels), 0.25, atol=0.06)
