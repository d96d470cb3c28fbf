from __future__ import annotations

import dataclasses

import numpy as np
from factories import make_beats

from ecg.data.beats import Beats


def test_take_returns_beats_in_the_given_order() -> None:
    beats = make_beats(2, {0: 3, 1: 2})
    taken = beats.take(np.array([7, 0]))
    assert taken.sample.tolist() == [700, 0]
    assert taken.patient.tolist() == ["p1", "p0"]
    np.testing.assert_array_equal(taken.signal, beats.signal[[7, 0]])
    assert taken.sfreq == beats.sfreq


def test_concatenate_joins_beats_in_order() -> None:
    a, b = make_beats(1, {0: 3}, seed=0), make_beats(1, {2: 2}, seed=1)
    both = Beats.concatenate([a, b])
    assert len(both) == 5
    assert both.label.tolist() == [0, 0, 0, 2, 2]
    np.testing.assert_array_equal(both.signal[3:], b.signal)


def test_equal_beats_have_equal_digests() -> None:
    beats = make_beats(1, {0: 3})
    assert beats.digest() == dataclasses.replace(beats).digest()


def test_the_digest_depends_on_every_property_of_a_beat() -> None:
    beats = make_beats(1, {0: 3})
    changed = [
        dataclasses.replace(beats, signal=beats.signal + 1),
        dataclasses.replace(beats, rr=np.ones((3, 1), np.float32)),
        dataclasses.replace(beats, label=beats.label + 1),
        dataclasses.replace(beats, sample=beats.sample + 1),
        dataclasses.replace(beats, record=np.array(["x", "y", "z"])),
        beats.take(np.array([0, 1])),
    ]
    assert len({beats.digest(), *(other.digest() for other in changed)}) == len(changed) + 1
