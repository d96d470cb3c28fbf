from __future__ import annotations

import numpy as np
import torch
from conftest import make_beats
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.data.datamodule import BatchSampler, BeatDataModule
from ecg.data.splits import PatientKFold


@settings(max_examples=80, deadline=None)
@given(n=st.integers(1, 500), batch=st.integers(1, 70), world=st.integers(1, 4), epoch=st.integers(0, 9))
def test_every_beat_comes_once_over_all_processes(n: int, batch: int, world: int, epoch: int) -> None:
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


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = BatchSampler(100, 10, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return torch.cat(list(sampler)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(2) for epoch in range(3)}) == 6


def test_batches_hold_the_beats_of_their_side() -> None:
    beats = make_beats(8, {0: 6, 1: 3, 2: 3, 3: 3})
    split = PatientKFold(list("NSVF"), [], 0.25, 0, 0, 4).split(beats, "simulated")
    data = BeatDataModule(beats, split, batch_size=16, seed=0)
    label = torch.cat([batch.label for batch in data.test_dataloader()])
    signal = torch.cat([batch.signal for batch in data.test_dataloader()])
    np.testing.assert_array_equal(label, beats.label[split.test])
    np.testing.assert_array_equal(signal, beats.signal[split.test])
    assert data.class_counts().tolist() == np.bincount(beats.label[split.train]).tolist()
    # In memory once: the loader's tensors are views of the beats.
    assert data.tensors.signal.data_ptr() == beats.signal.ctypes.data


def test_labels_follow_the_protocols_classes() -> None:
    beats = make_beats(8, {0: 6, 2: 3, 3: 3, 4: 3})
    split = PatientKFold(list("NVQ"), [], 0.25, 0, 0, 4).split(beats, "simulated")
    data = BeatDataModule(beats, split, batch_size=16, seed=0)
    seen = torch.cat([batch.label for batch in data.train_dataloader()])
    assert set(seen.tolist()) == {0, 1, 2}
    assert 3 not in beats.label[np.r_[split.train, split.validation, split.test]]
