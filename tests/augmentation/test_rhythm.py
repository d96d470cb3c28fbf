"""Simulated rhythms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factories import make_beats
from hypothesis import given
from hypothesis import strategies as st

from ecg.augmentation.rhythm import PARTS, RhythmSimulation
from ecg.data.protocols.protocol import Split
from ecg.data.rhythm_features import RHYTHM_FEATURES, rhythm_features
from ecg.data.sequences import NO_LABEL

CLASSES = ("N", "S", "V")
NONE = RhythmSimulation(fraction=0.5, variants=3, **dict.fromkeys(PARTS, 0.0))


def simulate(n: int = 600, label: np.ndarray | None = None, seed: int = 0, **parts: float) -> tuple[np.ndarray, ...]:
    """Intervals and labels of a simulated rhythm of a record with a beat every 0.8 s."""
    label = np.zeros(n, np.int64) if label is None else label
    simulation = replace(NONE, **parts)
    simulated = simulation.simulate(3 + 0.8 * np.arange(n), label, CLASSES, np.random.default_rng(seed))
    assert simulated.time[0] == 3
    return np.diff(simulated.time), simulated.label


def test_without_parts_nothing_changes() -> None:
    rr, label = simulate()
    np.testing.assert_allclose(rr, 0.8)
    assert not label.any()


def test_runs_are_fast_consecutive_s_beats_followed_by_a_pause() -> None:
    rr, label = simulate(runs=1)
    s = label == 1
    starts, ends = np.flatnonzero(np.diff(s.astype(int)) == 1) + 1, np.flatnonzero(np.diff(s.astype(int)) == -1) + 1
    assert len(starts) > 0
    assert ((ends - starts) >= 3).all()
    assert rr[np.flatnonzero(s) - 1].max() < 0.95 * 0.8
    assert (rr[ends - 1] >= 0.95 * 0.8).all()
    unchanged = ~s[1:] & ~np.isin(np.arange(1, len(s)), ends)
    np.testing.assert_allclose(rr[unchanged], 0.8)


def test_premature_beats_are_early_s_beats() -> None:
    rr, label = simulate(premature=1)
    early = np.flatnonzero(label == 1)
    assert len(early) > 0
    assert rr[early - 1].max() < 0.8
    np.testing.assert_allclose(rr[(rr > 0.95 * 0.8) & (rr < 0.8)], 0.8, rtol=0.2)


def test_fibrillation_is_irregular_and_keeps_the_n_beats() -> None:
    label = np.zeros(600, np.int64)
    label[100::100] = 1
    rr, changed = simulate(label=label, fibrillation=1, seed=4)
    assert rr.std() / rr.mean() > 0.1
    assert (changed[label == 0] == 0).all()
    assert set(changed[label == 1]) <= {1, NO_LABEL}
    assert (changed == NO_LABEL).any()


def test_blocked_beats_double_intervals_between_n_beats() -> None:
    label = np.zeros(600, np.int64)
    label[100::100] = 1
    at = np.flatnonzero(label)
    rr, changed = simulate(label=label, block=1, seed=2)
    np.testing.assert_array_equal(changed, label)
    doubled = rr > 1.2
    assert 10 < doubled.sum() < 590
    np.testing.assert_allclose(rr[doubled], 1.6, rtol=0.2)
    np.testing.assert_allclose(rr[~doubled], 0.8)
    np.testing.assert_allclose(rr[[*(at - 1), *at]], 0.8)


def test_intervals_of_ventricular_beats_are_kept() -> None:
    label = np.zeros(600, np.int64)
    label[50::50] = 2
    at = np.flatnonzero(label == 2)
    for seed in range(5):
        rr, changed = simulate(label=label, seed=seed, fibrillation=1, block=1, runs=1, premature=1, pauses=1)
        np.testing.assert_allclose(rr[[*(at - 1), *at[at < len(rr)]]], 0.8)
        assert (changed[at] == 2).all()


@given(st.integers(0, 200), st.integers(0, 2**20))
def test_times_ascend_and_labels_of_other_beats_remain(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 0, 0, 0, 0, 1, 2, NO_LABEL], n)
    time = np.cumsum(rng.uniform(0.3, 1.5, n))
    simulation = replace(NONE, **dict.fromkeys(PARTS, 1))
    new_time, new_label, no_sinus = simulation.simulate(time, label, CLASSES, rng)
    assert (np.diff(new_time) > 0.05).all()
    kept = (label == 2) | (label == NO_LABEL)
    np.testing.assert_array_equal(new_label[kept], label[kept])
    assert set(new_label[label == 0].tolist()) <= {0, 1}
    assert np.isfinite(rhythm_features(new_time)).all()
    assert no_sinus[(new_label == 1) & (label == 0)].all()


def test_the_rhythms_are_those_of_the_training_records() -> None:
    beats = make_beats(4, {0: 80, 1: 4})
    beats = replace(beats, record=beats.patient)
    train = np.flatnonzero(np.isin(beats.patient, ["p0", "p2"]))
    split = Split(train, train[:0], train[:0], ("N", "S"), True)
    rhythms = replace(NONE, runs=1)(beats, split, n_p_wave=0, seed=0)
    assert rhythms is not None
    assert rhythms.features.shape == (3, len(beats), len(RHYTHM_FEATURES))
    outside = np.setdiff1d(np.arange(len(beats)), train)
    assert not rhythms.features[:, outside].any()
    assert (rhythms.label[:, outside] == NO_LABEL).all()
    assert (rhythms.label[:, train] == 1).sum() > 3 * 8
    again = replace(NONE, runs=1)(beats, split, n_p_wave=0, seed=0)
    np.testing.assert_array_equal(again.features, rhythms.features)  # type: ignore[union-attr]


def test_simulated_s_beats_have_the_p_waves_of_recorded_s_beats_of_the_training_records() -> None:
    beats = make_beats(4, {0: 200, 1: 5})
    n_rhythm = len(RHYTHM_FEATURES)
    rr = np.zeros((len(beats), n_rhythm + 2), np.float32)
    rr[:, n_rhythm] = np.arange(len(beats))
    beats = replace(beats, record=beats.patient, rr=rr)
    train = np.flatnonzero(np.isin(beats.patient, ["p0", "p2"]))
    split = Split(train, train[:0], train[:0], ("N", "S"), True)
    rhythms = replace(NONE, runs=1)(beats, split, n_p_wave=2, seed=0)
    assert rhythms is not None
    label = split.labels(beats)
    recorded_s = train[label[train] == 1]
    p_wave = rhythms.features[:, :, n_rhythm]
    for v in range(3):
        simulated = (rhythms.label[v] == 1) & (label == 0)
        assert simulated.any()
        assert np.isin(p_wave[v, simulated], recorded_s).all()
        kept = train[~simulated[train]]
        np.testing.assert_array_equal(p_wave[v, kept], kept)


def test_a_fraction_of_0_simulates_nothing() -> None:
    beats = make_beats(1, {0: 80})
    split = Split(np.arange(80), np.arange(0), np.arange(0), ("N", "S"), True)
    assert replace(NONE, fraction=0.0)(beats, split, n_p_wave=0, seed=0) is None


@pytest.mark.parametrize("part", ["tempo", "respiration", "pauses"])
def test_other_parts_change_intervals_but_no_labels(part: str) -> None:
    rr, label = simulate(**{part: 1})
    assert not label.any()
    assert rr.std() > 0.005
