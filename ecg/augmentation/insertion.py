"""Insertion of added beats into copies of their records, which gives them a context, a rhythm and features.

    record   N   N   N   N   V   N   N   N   N   N
    copy     N   N   N   F   V   N   N   F   N   N      an N beat becomes an added beat
    RR         |   |   |   |   |   |   | x | y |        its intervals become those of its class

An added beat has a waveform only. It replaces an N beat of its record that is between two other N beats. The intervals
before and after it are those of a random training beat of its class between two N beats, relative to the local
interval: an F beat keeps the rhythm, an S beat is early, and a V beat is early and followed by a pause. The features of
the copy are then computed from its waveforms and times, as those of a recorded one.

A copy never replaces an N beat of another subset. Recorded beats keep their labels in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ecg.data.aami import CLASSES
from ecg.data.balanced import BalancedBeats, RecordCopies
from ecg.data.beats import Beats, Positions
from ecg.data.protocols.protocol import Split
from ecg.data.sequences import record_runs
from ecg.data.window import CenteredWindow
from ecg.errors import UserError

LOCAL = 17  # intervals, around a beat, whose median is the local interval
SPACING = 3  # beats; two added beats have at least two recorded ones between them
SHORTEST = 0.2  # s, of an interval

FloatArray: TypeAlias = NDArray[np.float64]


def waveforms(beats: Beats, window: CenteredWindow) -> Beats:
    """Returns the beats with the leads as their only channels, and without features."""
    return replace(beats, signal=window.leads_of(beats.signal), rr=beats.rr[:, :0])


def insert(beats: Beats, split: Split, window: CenteredWindow, added: BalancedBeats, seed: int) -> RecordCopies:
    """Returns copies of the training records that contain the added beats.

    A record has no copy if no beat is added to it, and more than one if its N beats do not suffice.

    Args:
        beats: all beats, those of a record one after the other.
        split: their subsets.
        window: the window of the beats.
        added: the added beats, at least one; their signals are those of the leads.
        seed: seed of the random numbers.

    Raises:
        UserError: class N does not take part, a record has no N beat that can be replaced, or the window is too short
            for its features.
    """
    if "N" not in split.classes:
        raise UserError("Added beats replace beats of class N. Add N to protocol.classes, or use another augmentation.")
    rng = np.random.default_rng(seed)
    runs = {str(beats.record[run.start]): run for run in record_runs(beats.record)}
    label, training = split.labels(beats), np.isin(np.arange(len(beats)), split.train)
    normal = label == split.classes.index("N")
    between = _between(normal, runs.values())
    ratios = {c: _ratios(beats.time, training & between & (label == c), runs.values()) for c in np.unique(added.label)}
    raw_label = np.array([CLASSES.index(name) for name in split.classes])[added.label]
    parts, in_training, is_added = [], [], []
    source: dict[str, str] = {}
    for record in np.unique(added.record).tolist():
        run = runs.get(record, slice(0, 0))
        of_record = rng.permutation(np.flatnonzero(added.record == record))
        for at, new in _places(record, np.flatnonzero((training & between & normal)[run]), of_record, rng):
            source[copy := f"{record}, copy {1 + sum(name == record for name in source.values())}"] = record
            drawn = np.ones((len(new), 2))
            for c, of_class in ratios.items():
                drawn[added.label[new] == c] = rng.choice(of_class, np.count_nonzero(added.label[new] == c))
            of_copy = beats.take(np.arange(run.start, run.stop))
            parts.append(_replace(of_copy, copy, window, at, added.signal[new], raw_label[new], drawn))
            is_added.append(np.isin(np.arange(len(of_copy)), at))
            in_training.append(training[run] | is_added[-1])
    of_training, of_added = (np.flatnonzero(np.concatenate(mask)) for mask in (in_training, is_added))
    return RecordCopies(Beats.concatenate(parts), of_training, of_added, source)


def single_beats(added: BalancedBeats, copies: RecordCopies, split: Split) -> BalancedBeats:
    """Returns the added beats with the channels and features that they have in the copies, in the order of these."""
    beats = copies.beats.take(copies.added)
    record = np.array([copies.source[name] for name in beats.record])
    return replace(added, signal=beats.signal, rr=beats.rr, label=split.labels(beats), record=record)


def with_copies(beats: Beats, split: Split, copies: RecordCopies | None) -> tuple[Beats, Split]:
    """Returns all beats followed by those of the copies, and the subsets with the training beats of the copies."""
    if copies is None:
        return beats, split
    train = np.concatenate([split.train, len(beats) + copies.training])
    return Beats.concatenate([beats, copies.beats]), replace(split, train=train)


def _between(normal: NDArray[np.bool_], runs: Iterable[slice]) -> NDArray[np.bool_]:
    """Returns whether each beat (n,) is between two N beats of its record."""
    between = np.zeros(len(normal), bool)
    for run in runs:
        between[run][1:-1] = normal[run][:-2] & normal[run][2:]
    return between


def _ratios(time: FloatArray, chosen: NDArray[np.bool_], runs: Iterable[slice]) -> FloatArray:
    """Returns the intervals before and after chosen beats (m, 2), divided by the local interval; 1 without beats."""
    parts = [np.ones((0, 2))]
    for run in runs:
        at = np.flatnonzero(chosen[run])
        rr, local = _intervals(time[run])
        parts.append(np.stack([rr[at - 1], rr[at]], axis=1) / local[at - 1, None])
    ratios = np.concatenate(parts)
    return ratios if len(ratios) else np.ones((1, 2))


def _intervals(time: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns the intervals (n - 1,) between beats at `time` (n,), and the local intervals (n - 1,), in s."""
    rr = np.diff(time)
    return rr, np.maximum(median_filter(rr, LOCAL, mode="nearest") if len(rr) else rr, SHORTEST)


def _places(
    record: str, replaceable: Positions, waiting: Positions, rng: np.random.Generator
) -> Iterator[tuple[Positions, Positions]]:
    """Yields, for each copy of a record, the beats that are replaced and the added beats that replace them.

    Args:
        record: its name.
        replaceable: beats of the record that can be replaced.
        waiting: the added beats.
        rng: source of the random numbers.
    """
    if not len(replaceable):
        raise UserError(
            f"Record {record} has no training beat of class N between two others, which an added beat could replace. "
            "Draw the synthetic beats for records of the training subset."
        )
    while len(waiting):
        spaced = replaceable[replaceable % SPACING == rng.choice(replaceable) % SPACING]
        at = rng.permutation(spaced)[: len(waiting)]
        yield at, waiting[: len(at)]
        waiting = waiting[len(at) :]


def _replace(
    beats: Beats,
    name: str,
    window: CenteredWindow,
    at: Positions,
    signal: NDArray[np.float32],
    label: NDArray[np.int64],
    ratios: FloatArray,
) -> Beats:
    """Returns a copy of the n beats of a record in which m beats are replaced.

    Args:
        beats: beats of the record.
        name: name of the copy.
        window: their window.
        at: (m,) the replaced beats.
        signal: (m, leads, T) new waveforms.
        label: (m,) new labels, indices into `aami.CLASSES`.
        ratios: (m, 2) new intervals before and after these beats, relative to the local interval.
    """
    rr, local = _intervals(beats.time)
    rr[at - 1], rr[at] = np.maximum(local[at - 1] * ratios.T, SHORTEST)
    time = beats.time[0] + np.append(0.0, np.cumsum(rr))
    leads, labels = window.leads_of(beats.signal).copy(), beats.label.copy()
    leads[at], labels[at] = signal, label
    complete, features = window.complete(leads, time)
    return replace(beats, signal=complete, rr=features, label=labels, time=time, record=np.full(len(beats), name))
