from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecg.data.batch import Batch
from ecg.data.sequences import NO_LABEL, Rhythms, TrainingSequences, WholeRecords


def make_tensors(sizes: list[int]) -> Batch:
    """Beats whose signal is their position, of records with these numbers of beats."""
    n = sum(sizes)
    record = np.repeat(np.arange(len(sizes)), sizes)
    position = torch.arange(n, dtype=torch.float32)
    return Batch(position[:, None, None], position[:, None], torch.arange(n) % 3, torch.from_numpy(record))


cases = st.tuples(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 2**20))


def subset(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(rng.random(n) < 0.4)
    return chosen if len(chosen) else np.array([rng.integers(n)])


@given(cases)
def test_sequences_are_consecutive_beats_of_one_record_with_the_labels_of_the_subset(
    case: tuple[list[int], int, int],
) -> None:
    sizes, context, seed = case
    tensors, length = make_tensors(sizes), 2 * context + 1
    positions = subset(sum(sizes), seed)
    sequences = TrainingSequences(tensors, positions, length)
    batch = sequences[torch.arange(len(sequences))]
    position = batch.signal[:, :, 0, 0].long()  # (B, L)
    assert position.shape == (len(sequences), length)
    assert (batch.record == batch.record[:, :1]).all()
    steps = position.diff(dim=1)
    last = torch.tensor(np.cumsum(sizes) - 1)[batch.record]
    assert torch.where(position[:, :-1] == last[:, :-1], steps == 0, steps == 1).all()
    labelled = batch.label != NO_LABEL
    assert labelled.any(dim=1).all()
    assert set(position[labelled].tolist()) == set(positions.tolist())
    assert (batch.label[labelled] == position[labelled] % 3).all()
    for row, has in zip(position, labelled, strict=True):  # a repeated last beat has a label once at most
        assert len(set(row[has].tolist())) == int(has.sum())


@given(cases)
def test_whole_records_hold_every_beat_of_the_subset_once(case: tuple[list[int], int, int]) -> None:
    sizes, _, seed = case
    positions = subset(sum(sizes), seed)
    records = list(WholeRecords(make_tensors(sizes), positions))
    labelled = [batch.signal[0, :, 0, 0][batch.label[0] != NO_LABEL] for batch in records]
    assert torch.cat(labelled).long().tolist() == positions.tolist()
    assert [batch.label.shape for batch in records] == [
        (1, sizes[r]) for r in sorted({int(batch.record[0, 0]) for batch in records})
    ]


def test_beats_of_no_class_are_context_without_a_label() -> None:
    tensors = make_tensors([5])
    tensors = tensors._replace(label=torch.tensor([0, 1, -1, 2, 0]))
    (batch,) = WholeRecords(tensors, np.array([0, 1, 3, 4]))
    assert batch.label.tolist() == [[0, 1, NO_LABEL, 2, 0]]


def test_sequences_share_the_memory_of_the_beats() -> None:
    tensors = make_tensors([50, 60])
    sequences = TrainingSequences(tensors, np.arange(110), 9)
    assert sequences.tensors.signal.data_ptr() == tensors.signal.data_ptr()
    (first, _) = WholeRecords(tensors, np.arange(110))
    assert first.signal.data_ptr() == tensors.signal.data_ptr()


def test_sequences_with_a_simulated_rhythm_have_its_features_and_labels() -> None:
    tensors = make_tensors([6, 8])
    tensors = tensors._replace(rr=torch.arange(14.0)[:, None] + torch.tensor([0.0, 100.0]))
    features = np.stack([1000.0 * v + np.arange(14)[:, None] for v in (1, 2)]).astype(np.float32)
    label = np.full((2, 14), 7)
    label[:, 3] = NO_LABEL
    sequences = TrainingSequences(tensors, np.arange(14), 3, Rhythms(features, label, fraction=0.4))
    n = len(sequences) // 3
    assert sequences.weight is not None
    np.testing.assert_allclose([part.sum() / n for part in np.split(sequences.weight, 3)], [0.6, 0.2, 0.2])
    batch = sequences[torch.tensor([0, n, 2 * n + 1])]
    assert batch.rr[:, :, 0].tolist() == [[0, 1, 2], [1000, 1001, 1002], [2001, 2002, 2003]]
    assert batch.rr[:, :, 1].tolist() == [[100, 101, 102], [100, 101, 102], [101, 102, 103]]
    assert batch.label.tolist() == [[0, 1, 2], [7, 7, 7], [7, 7, NO_LABEL]]
    assert tensors.rr[0, 0] == 0  # the beats in memory are not changed
