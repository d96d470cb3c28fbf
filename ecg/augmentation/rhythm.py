"""Simulated rhythms: other intervals between the beats of a training record, for networks that see beats in context.

A database holds few rhythms, and most of them are those of single patients. A simulated rhythm keeps the beats of a
record and changes the times of their R peaks. An S beat is simulated by moving an N beat. The rhythm features follow
from the new times. Simulated S beats and all beats in fibrillation have the P wave features of random S beats of one
training record, which are unlike those of late beats. Waveform and shape features remain.

Each part of a rhythm is present in a fraction of the simulated rhythms:

    tempo         the heart rate drifts                                        labels remain
    respiration   the intervals vary with a period of 2.5 to 6 s               labels remain
    fibrillation  the record, or a part of it, has random intervals            N remains, S has no label
    block         some beats of up to 5 stretches are not conducted            labels remain
    runs          runs of 3 to 200 N beats are fast, each followed by a pause  these beats become S
    premature     single N beats, couplets, bigeminy and trigeminy             these beats become S
    pauses        up to 11 intervals are longer                                labels remain

Intervals before and after V, F and Q beats change only with tempo and respiration.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecg.data.beats import Beats
from ecg.data.protocols.protocol import Split
from ecg.data.rhythm_features import CAUSAL_RHYTHM_FEATURES, RHYTHM_FEATURES, rhythm_features
from ecg.data.sequences import NO_LABEL, Rhythms, record_runs

SHORTEST = 0.28  # s, of a simulated interval; the refractory period
LOCAL = 17  # intervals, around a beat, whose median is the local interval
MARGIN = 2  # beats between two simulated events
TRIALS = 900  # random places for an event of which many do not fit
MIN_DONATED = 5  # S beats of a record whose P wave features others receive
MIN_BEATS = 30  # records with fewer beats keep their rhythm

PARTS = ("tempo", "respiration", "fibrillation", "block", "runs", "premature", "pauses")  # in this order

FloatArray: TypeAlias = NDArray[np.float64]


class SimulatedRhythm(NamedTuple):
    """A simulated rhythm of the n beats of a record.

    Attributes:
        time: (n,) times of the R peaks in seconds.
        label: (n,) labels, `NO_LABEL` for beats that have none.
        no_sinus: (n,) whether a beat has become one that does not start in the sinus node.
    """

    time: FloatArray
    label: NDArray[np.int64]
    no_sinus: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class RhythmSimulation:
    """Simulates rhythms of the training records.

    Attributes:
        fraction: fraction of the training sequences that have a simulated rhythm; 0 for none.
        variants: simulated rhythms of each record, V.
        tempo, respiration, fibrillation, block, runs, premature, pauses: fraction of the simulated rhythms with this
            part.
        causal: whether the rhythm features are the causal ones.
    """

    fraction: float
    variants: int
    tempo: float
    respiration: float
    fibrillation: float
    block: float
    runs: float
    premature: float
    pauses: float
    causal: bool = False

    def __call__(self, beats: Beats, split: Split, n_p_wave: int, seed: int) -> Rhythms | None:
        """Returns the simulated rhythms of the records with training beats; None if `fraction` is 0.

        Args:
            beats: all beats, those of a record one after the other.
            split: their subsets; the classes contain N and S.
            n_p_wave: number of their P wave features, which follow those of the rhythm.
            seed: seed of the random numbers.
        """
        if not self.fraction:
            return None
        rng = np.random.default_rng(seed)
        original = np.full(len(beats), NO_LABEL)
        original[split.train] = split.labels(beats)[split.train]
        n_rhythm = len(CAUSAL_RHYTHM_FEATURES if self.causal else RHYTHM_FEATURES)
        p_wave = beats.rr[:, n_rhythm : n_rhythm + n_p_wave]
        features = np.zeros((self.variants, len(beats), n_rhythm + n_p_wave), np.float32)
        label = np.tile(original, (self.variants, 1))
        training = np.isin(np.arange(len(beats)), split.train)
        records = [record for record in record_runs(beats.record) if training[record].any()]
        s = [record.start + np.flatnonzero(original[record] == split.classes.index("S")) for record in records]
        donors = [of_record for of_record in s if len(of_record) >= MIN_DONATED]
        for record, v in itertools.product(records, range(self.variants)):
            simulated = self.simulate(beats.time[record], original[record], split.classes, rng)
            features[v, record, :n_rhythm] = rhythm_features(simulated.time, causal=self.causal)
            features[v, record, n_rhythm:] = p_wave[record]
            label[v, record] = simulated.label
            if donors:
                donor = donors[rng.integers(len(donors))]
                ectopic = record.start + np.flatnonzero(simulated.no_sinus)
                features[v, ectopic, n_rhythm:] = p_wave[rng.choice(donor, len(ectopic))]
        return Rhythms(features, label, self.fraction)

    def simulate(
        self, time: FloatArray, label: NDArray[np.int64], classes: tuple[str, ...], rng: np.random.Generator
    ) -> SimulatedRhythm:
        """Returns a new rhythm of the n beats of a record.

        Args:
            time: (n,) R peaks in seconds, ascending.
            label: (n,) index into `classes`, `NO_LABEL` for beats without a label.
            classes: names of the classes.
            rng: source of the random numbers.
        """
        if len(time) < MIN_BEATS:
            return SimulatedRhythm(time, label, np.zeros(len(time), bool))
        rhythm = _Rhythm(time, label, classes.index("N"), classes.index("S"), rng)
        for part in PARTS:
            if rng.random() < getattr(self, part):
                getattr(rhythm, part)()
        return SimulatedRhythm(rhythm.time, rhythm.label, rhythm.no_sinus)


class _Rhythm:
    """The rhythm of a record while it is changed.

    Attributes:
        rr: (n - 1,) intervals in seconds; rr[i - 1] ends at beat i.
        label: (n,) labels.
        free: (n,) whether a beat is an N beat that no part has changed.
        no_sinus: (n,) whether a beat has become one that does not start in the sinus node.
    """

    def __init__(
        self, time: FloatArray, label: NDArray[np.int64], normal: int, premature: int, rng: np.random.Generator
    ) -> None:
        self.start, self.rr, self.label = time[0], np.diff(time), label.copy()
        self.s, self.rng = premature, rng
        self.free = label == normal
        self.no_sinus = np.zeros(len(label), bool)
        # Intervals that belong to a V, F or Q beat are kept: their coupling to it is not simulated.
        ectopic = (label != normal) & (label != premature)
        self.fixed = ectopic[1:] | ectopic[:-1]

    @property
    def time(self) -> FloatArray:
        """(n,) times of the R peaks."""
        time: FloatArray = self.start + np.append(0.0, np.cumsum(self.rr))
        return time

    def tempo(self) -> None:
        """Multiplies the intervals by a smooth random curve with a knot every 60 to 300 beats."""
        n_knots = max(2, len(self.rr) // int(self.rng.integers(60, 300)))
        knots = np.linspace(0, len(self.rr), n_knots)
        self.rr = self.rr * np.exp(np.interp(np.arange(len(self.rr)), knots, self.rng.normal(0, 0.12, n_knots)))

    def respiration(self) -> None:
        """Multiplies the intervals by a sine of time."""
        phase = 2 * np.pi * np.cumsum(self.rr) / self.rng.uniform(2.5, 6)
        self.rr = self.rr * (1 + self.rng.uniform(0.02, 0.15) * np.sin(phase))

    def fibrillation(self) -> None:
        """Draws the intervals of the record or of a part of it, with a coefficient of variation of .12 to .32."""
        n = len(self.label)
        first, end = 0, n
        if self.rng.random() < 0.5:
            first = int(self.rng.integers(0, 3 * n // 4))
            end = min(n, first + int(self.rng.integers(n // 20, n // 2)))
        inside = np.zeros(n, bool)
        inside[first:end] = True
        noise = self.rng.standard_normal(n)
        noise = 0.9 * noise[1:] + 0.3 * noise[:-1]  # neighbouring intervals are weakly correlated
        median = np.median(self.rr) * self.rng.uniform(0.65, 1.1)
        drawn = np.maximum(median * np.exp(self.rng.uniform(0.12, 0.32) * noise), SHORTEST)
        self.rr = np.where(inside[1:] & ~self.fixed, drawn, self.rr)
        self.label[inside & (self.label == self.s)] = NO_LABEL
        self.free &= ~inside
        self.no_sinus |= inside

    def block(self) -> None:
        """Doubles intervals in up to 5 stretches of 10 to 400 beats, random ones or every n-th, as in AV block."""
        n = len(self.label)
        for _ in range(self.rng.integers(1, 6)):
            length = min(int(self.rng.integers(10, 400)), n // 2)
            first = int(self.rng.integers(MARGIN, n - length - MARGIN))
            stretch, before = slice(first, first + length), slice(first - 1, first + length - 1)
            if self.rng.random() < 0.6:
                blocked = self.rng.random(length) < self.rng.uniform(0.1, 0.9)
            else:
                blocked = np.arange(length) % self.rng.integers(2, 6) == 0
            blocked &= self.free[stretch] & self.free[before]
            self.rr[before] *= np.where(blocked, self.rng.normal(2, 0.04, length), 1)
            self.free[stretch] = False

    def runs(self) -> None:
        """Makes runs of fast beats, in total 2 to 70 % of the record.

        The sinus node can need a long time to resume after a run, so 40 % of the pauses are at least 1.6 to 3 fast
        intervals.
        """
        wanted, made = self.rng.choice([0.02, 0.05, 0.15, 0.35, 0.7]) * len(self.label), 0
        tempo = self.rng.uniform(0.5, 0.85)
        for _ in range(TRIALS):
            if made >= wanted:
                return
            length = int(np.clip(self.rng.geometric(1 / self.rng.choice([2, 4, 15, 60])), 3, 200))
            if (first := self._place(length)) is None:
                continue
            local = self._local(first)
            interval = max(local * np.clip(tempo * self.rng.normal(1, 0.04), 0.45, 0.88), SHORTEST)
            drift = 1 + np.linspace(0, self.rng.uniform(-0.05, 0.08), length)
            intervals = interval * drift * self.rng.normal(1, 0.015, length)
            pause = local * self.rng.uniform(0.95, 1.6)
            if self.rng.random() < 0.4:
                pause = max(pause, interval * self.rng.uniform(1.6, 3.0))
            self._insert(first, intervals, pause)
            self.rr[first - 1] *= self.rng.uniform(0.85, 1.05)
            made += length

    def premature(self) -> None:
        """Makes single premature beats, couplets, bigeminy or trigeminy, in total .3 to 35 % of the record."""
        wanted, made = self.rng.choice([0.003, 0.01, 0.04, 0.12, 0.35]) * len(self.label), 0
        for _ in range(TRIALS):
            if made >= wanted:
                return
            pattern = self.rng.choice(["single", "bigeminy", "trigeminy", "couplet"], p=[0.5, 0.25, 0.1, 0.15])
            length = 2 if pattern == "couplet" else 1
            step = {"single": 2, "bigeminy": 2, "trigeminy": 3, "couplet": 3}[pattern]
            n_times = int(self.rng.integers(3, self.rng.choice([6, 20, 80]))) if pattern.endswith("geminy") else 1
            if (first := self._place(step * n_times + length)) is None:
                continue
            early, late = self.rng.uniform(0.5, 0.96), self.rng.uniform(0.95, 1.45)
            for i in range(first, first + step * n_times, step):
                local = self._local(i)
                intervals = np.maximum(early * local * self.rng.normal(1, 0.03, length), SHORTEST)
                self._insert(i, intervals, late * local * self.rng.normal(1, 0.03))
                made += length

    def pauses(self) -> None:
        """Lengthens up to 11 intervals between unchanged N beats to 1.3 to 2.4 times their duration."""
        for i in self.rng.integers(MARGIN, len(self.label) - MARGIN, self.rng.integers(1, 12)):
            if self.free[i - 1 : i + 2].all():
                self.rr[i - 1] *= self.rng.uniform(1.3, 2.4)

    def _place(self, length: int) -> int | None:
        """Returns the first of `length` unchanged N beats at a random place, and marks them; None if one is not."""
        if len(self.label) < length + 2 * MARGIN + 1:
            return None
        first = int(self.rng.integers(MARGIN, len(self.label) - length - MARGIN))
        place = slice(first - MARGIN, first + length + MARGIN)
        if not self.free[place].all():
            return None
        self.free[place] = False
        return first

    def _local(self, i: int) -> float:
        """Returns the median interval around beat i."""
        return float(np.median(self.rr[max(0, i - LOCAL // 2 - 1) : i + LOCAL // 2]))

    def _insert(self, first: int, intervals: FloatArray, pause: float) -> None:
        """Makes beats from `first` on S beats that end these intervals (length,), followed by a pause."""
        end = first + len(intervals)
        self.rr[first - 1 : end - 1] = intervals
        self.rr[end - 1] = pause
        self.label[first:end] = self.s
        self.no_sinus[first:end] = True
