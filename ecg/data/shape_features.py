"""Shape features of a beat: functions of one lead around the R peaks of its record. They need no labels.

    beat      ----P------QRS---------T-----------
    seconds   |-.30  -.08|
                      -.10|--0--|.10
                               .10|--------|.48

Each beat is compared with the template of its record, with its neighbours, and with all beats of the record. The
template is robust: the median beat, and then the median of the 60 % of the beats whose QRS correlates best with it.

The causal features compare a beat with past beats only. Its template is that of the last 64 beats before it, renewed
with every 16th beat:

    beats      0 ...    15 | 16 ...       31 | 32 ...       47 |
    template   of all past |  of beats 0-15  |  of beats 0-31  |

Amplitudes are relative to the template's largest deflection, so the unit of the lead does not matter. Widths are
relative to other widths of the record, since a width in seconds also describes the patient. A lead without a signal,
such as one that the record does not have, gives constant features.

Source of the widths over their running mean: Saenz-Cogollo & Agelli 2020, Algorithms 13(4):75.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecg.data.rhythm_features import mean_around, mean_of_past

BEFORE, AFTER = 0.35, 0.5  # s around the R peak that the features use
QRS, P, T = (-0.10, 0.10), (-0.30, -0.08), (0.10, 0.48)  # s
QRS_SEARCH = 0.12  # s on each side of the R peak in which the width is measured
PEAK_SEARCH = 0.04  # s on each side of the R peak in which the peak lies
TEMPLATE_FRACTION = 0.6  # of the beats
N_COMPARED = 400  # beats of the record that each beat is compared with
N_AT_ONCE = 4096  # beats that are compared with them at a time
N_PAST = 64  # beats that a causal template is made of
RENEWED = 16  # beats after which it is renewed
N_NEAR = 33  # beats that the other causal features use: the beat and 32 before
COMMON = 0.9  # correlation above which two shapes are the same
TINY = 1e-6

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Lead:
    """The n beats of a record in one lead.

    Attributes:
        beats: (n, m) from `BEFORE` to `AFTER` the R peak.
        template: (m,) of all beats, or (n, m) of the beats before each beat.
        sfreq: sampling rate in Hz.
    """

    beats: FloatArray
    template: FloatArray
    sfreq: float

    @staticmethod
    def of(beats: FloatArray, sfreq: float, *, causal: bool = False) -> Lead:
        """Returns the beats (n, m) with their template."""
        make = past_templates if causal else template_of
        return Lead(beats, make(beats, span(QRS, sfreq)), sfreq)

    @cached_property
    def scale(self) -> FloatArray:
        """(1,) or (n, 1) largest deflection of the template's QRS."""
        scale: FloatArray = np.maximum(np.abs(self.part(self.template, QRS)).max(axis=-1, keepdims=True), TINY)
        return scale

    def part(self, beats: FloatArray, seconds: tuple[float, float]) -> FloatArray:
        """Returns the samples of beats (..., m) in a span of seconds."""
        return beats[..., span(seconds, self.sfreq)]

    @cached_property
    def qrs(self) -> FloatArray:
        """(n, q) the QRS complexes."""
        return self.part(self.beats, QRS)

    @cached_property
    def deflection(self) -> FloatArray:
        """(n, 2 s + 1) absolute distance from the beat's median, within `QRS_SEARCH` of the R peak."""
        near = self.part(self.beats, (-QRS_SEARCH, QRS_SEARCH))
        deflection: FloatArray = np.abs(near - np.median(self.beats, axis=1, keepdims=True))
        return deflection

    @cached_property
    def peak(self) -> FloatArray:
        """(n,) largest deflection within `PEAK_SEARCH` of the R peak."""
        middle, reach = self.deflection.shape[1] // 2, max(1, round(PEAK_SEARCH * self.sfreq))
        peak: FloatArray = np.maximum(self.deflection[:, middle - reach : middle + reach + 1].max(axis=1), TINY)
        return peak

    def width(self, level: float) -> FloatArray:
        """Returns the time (n,) in s for which the deflection exceeds `level` times the peak.

        The time between two samples is divided where the straight line between them crosses the level.
        """
        excess = self.deflection - level * self.peak[:, None]  # (n, s)
        a, b = excess[:, :-1], excess[:, 1:]
        high, low = np.maximum(a, b), np.minimum(a, b)
        above = np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, high / np.maximum(high - low, TINY)))
        width: FloatArray = above.sum(axis=1) / self.sfreq
        return np.maximum(width, 1 / self.sfreq)


def _similarity(seconds: tuple[float, float]) -> Callable[[Lead], FloatArray]:
    """Returns the function corr(beat, template) over a span of seconds."""
    return lambda lead: correlation(
        lead.part(lead.beats / lead.scale, seconds), lead.part(lead.template / lead.scale, seconds)
    )


def _distance(seconds: tuple[float, float]) -> Callable[[Lead], FloatArray]:
    """Returns the function log(rms(beat - template)) over a span of seconds."""

    def distance(lead: Lead) -> FloatArray:
        squared = np.square(lead.part((lead.beats - lead.template) / lead.scale, seconds)).mean(axis=1)
        log: FloatArray = 0.5 * np.log(squared + 1e-4)
        return log

    return distance


def _similarity_to_previous(lead: Lead) -> FloatArray:
    """Returns corr(QRS, previous QRS); 1 for the first beat."""
    return np.append(1.0, correlation(lead.qrs[1:], lead.qrs[:-1]))


def _similarity_to_next(lead: Lead) -> FloatArray:
    """Returns corr(QRS, next QRS); 1 for the last beat."""
    return np.append(correlation(lead.qrs[1:], lead.qrs[:-1]), 1.0)


def _relative_width(level: float) -> Callable[[Lead], FloatArray]:
    """Returns the function log(width / median width of the record)."""

    def relative(lead: Lead) -> FloatArray:
        width = lead.width(level)
        log: FloatArray = np.log(width / np.median(width))
        return log

    return relative


def _width_change(level: float, mean: Callable[[FloatArray], FloatArray]) -> Callable[[Lead], FloatArray]:
    """Returns the function log(width / mean of the widths of near beats)."""

    def change(lead: Lead) -> FloatArray:
        width = lead.width(level)
        log: FloatArray = np.log(width / mean(width))
        return log

    return change


def _peak_change(mean: Callable[[FloatArray], FloatArray]) -> Callable[[Lead], FloatArray]:
    """Returns the function log(peak / mean of the peaks of near beats)."""

    def change(lead: Lead) -> FloatArray:
        log: FloatArray = np.log(lead.peak / mean(lead.peak))
        return log

    return change


def _around32(x: FloatArray) -> FloatArray:
    """Returns the mean of the 16 values on each side of each value of x (n,), and of this one."""
    return mean_around(x, 16)


def _past32(x: FloatArray) -> FloatArray:
    """Returns the mean of the 32 values before each value of x (n,)."""
    return mean_of_past(x, 32)


def _commonness(lead: Lead) -> FloatArray:
    """Returns the fraction of the record's QRS complexes that correlate with this one by more than `COMMON`."""
    shape = _normalised(lead.qrs)
    compared = shape[np.linspace(0, len(shape) - 1, min(len(shape), N_COMPARED)).astype(int)]
    # In blocks: the products of a day of beats would need much memory.
    blocks = np.array_split(shape, math.ceil(len(shape) / N_AT_ONCE))
    return np.concatenate([(block @ compared.T > COMMON).mean(axis=1) for block in blocks])


def _past_commonness(lead: Lead) -> FloatArray:
    """Returns the fraction of the past QRS complexes, up to `N_COMPARED`, that are like this one; 1 for the first."""
    shape, common = _normalised(lead.qrs), np.ones(len(lead.qrs))
    for first in range(0, len(shape), N_COMPARED):
        block = slice(first, first + N_COMPARED)
        start = max(0, first - N_COMPARED)
        alike = shape[block] @ shape[start : block.stop].T > COMMON  # (block, past and block)
        behind = np.arange(first, first + len(alike))[:, None] - np.arange(start, start + alike.shape[1])
        past = (behind > 0) & (behind <= N_COMPARED)
        n_past = past.sum(axis=1)
        common[block] = np.where(n_past > 0, (alike & past).sum(axis=1) / np.maximum(n_past, 1), 1.0)
    return common


def _normalised(qrs: FloatArray) -> FloatArray:
    """Returns QRS complexes (n, q) with mean 0 and norm 1, whose products are their correlations."""
    shape = qrs - qrs.mean(axis=1, keepdims=True)
    normalised: FloatArray = shape / np.maximum(np.linalg.norm(shape, axis=1, keepdims=True), TINY)
    return normalised


# The name of a feature is its formula. Features have no unit.
_FORMULAS: dict[str, Callable[[Lead], FloatArray]] = {
    "corr(QRS, template)": _similarity(QRS),
    "corr(P, template)": _similarity(P),
    "corr(T, template)": _similarity(T),
    "log(rms(QRS - template))": _distance(QRS),
    "log(rms(P - template))": _distance(P),
    "corr(QRS, previous QRS)": _similarity_to_previous,
    "corr(QRS, next QRS)": _similarity_to_next,
    "log(width(1/2) / median(width(1/2), record))": _relative_width(1 / 2),
    "log(width(1/4) / median(width(1/4), record))": _relative_width(1 / 4),
    "log(width(1/2) / mean(width(1/2), around 32))": _width_change(1 / 2, _around32),
    "log(width(1/4) / mean(width(1/4), around 32))": _width_change(1 / 4, _around32),
    "log(peak / mean(peak, around 32))": _peak_change(_around32),
    "fraction of beats with this QRS": _commonness,
}
_CAUSAL_FORMULAS: dict[str, Callable[[Lead], FloatArray]] = {
    **{name: formula for name, formula in _FORMULAS.items() if "template" in name or "previous" in name},
    "log(width(1/2) / mean(width(1/2), past 32))": _width_change(1 / 2, _past32),
    "log(width(1/4) / mean(width(1/4), past 32))": _width_change(1 / 4, _past32),
    "log(peak / mean(peak, past 32))": _peak_change(_past32),
    "fraction of past beats with this QRS": _past_commonness,
}
SHAPE_FEATURES: tuple[str, ...] = tuple(_FORMULAS)
CAUSAL_SHAPE_FEATURES: tuple[str, ...] = tuple(_CAUSAL_FORMULAS)


def shape_features(beats: FloatArray, sfreq: float, *, causal: bool = False) -> NDArray[np.float32]:
    """Returns the shape features of the beats of one record in one lead.

    Args:
        beats: (n, m) the beats in order, from `BEFORE` to `AFTER` the R peak, without baseline wander; see `cut`.
        sfreq: sampling rate of the lead in Hz.
        causal: whether the features of a beat use the lead up to `AFTER` its R peak only.

    Returns:
        (n, len(SHAPE_FEATURES)) float32, in that order, or (n, len(CAUSAL_SHAPE_FEATURES)).
    """
    formulas = _CAUSAL_FORMULAS if causal else _FORMULAS
    if not len(beats):
        return np.zeros((0, len(formulas)), np.float32)
    lead = Lead.of(beats, sfreq, causal=causal)
    return np.stack([formula(lead) for formula in formulas.values()], axis=1).astype(np.float32)


def latest_shape_features(beats: FloatArray, template: FloatArray, sfreq: float) -> NDArray[np.float32]:
    """Returns the causal shape features (len(CAUSAL_SHAPE_FEATURES),) of the last beat of a record in one lead.

    Args:
        beats: (n, m) the last beats; n is at least `N_COMPARED` + 1, or the number of all beats.
        template: (m,) of this beat.
        sfreq: sampling rate of the lead in Hz.
    """
    near = Lead(beats[-N_NEAR:], template, sfreq)
    shape = _normalised(beats[-N_COMPARED - 1 :, span(QRS, sfreq)])
    common = (shape[:-1] @ shape[-1] > COMMON).mean() if len(shape) > 1 else 1.0
    formulas = [formula for formula in _CAUSAL_FORMULAS.values() if formula is not _past_commonness]  # the last one
    return np.array([*(formula(near)[-1] for formula in formulas), common], np.float32)


def cut(x: FloatArray, peak: NDArray[np.int64], sfreq: float) -> FloatArray:
    """Returns the beats (n, m), from `BEFORE` to `AFTER` the samples `peak` (n,) of a lead (n_samples,)."""
    offsets = np.arange(-round(BEFORE * sfreq), round(AFTER * sfreq))
    beats: FloatArray = x.take(peak[:, None] + offsets, mode="clip")
    return beats


def span(seconds: tuple[float, float], sfreq: float) -> slice:
    """Returns the samples of a cut beat from `seconds[0]` to `seconds[1]`, both included."""
    zero = round(BEFORE * sfreq)
    return slice(zero + round(seconds[0] * sfreq), zero + round(seconds[1] * sfreq) + 1)


def past_of(i: int) -> slice:
    """Returns the beats that the template of beat i of a record is made of.

    The first beat has none before it, so its template is its own.
    """
    if i < RENEWED:
        return slice(0, max(i, 1))
    first = i - i % RENEWED
    return slice(max(0, first - N_PAST), first)


def past_blocks(n: int) -> Iterator[tuple[slice, slice]]:
    """Yields the n beats of a record in blocks, each with the beats that its template is made of."""
    starts = [*range(min(n, RENEWED)), *range(RENEWED, n, RENEWED)]
    for first, end in zip(starts, [*starts, n][1:], strict=True):
        yield slice(first, end), past_of(first)


def past_templates(beats: NDArray[Any], qrs: slice) -> NDArray[Any]:
    """Returns the template (n, m) of each of the beats (n, m) from the beats before it; the first is its own."""
    templates = np.empty_like(beats)
    for block, past in past_blocks(len(beats)):
        templates[block] = template_of(beats[past], qrs)
    return templates


def template_of(beats: NDArray[Any], qrs: slice) -> NDArray[Any]:
    """Returns the robust template (m,) of beats (n, m)."""
    median = np.median(beats, axis=0)
    similarity = correlation(beats[:, qrs], median[qrs])
    n = max(1, round(TEMPLATE_FRACTION * len(beats)))
    template: NDArray[Any] = np.median(beats[np.argsort(-similarity, kind="stable")[:n]], axis=0)
    return template


def correlation(a: FloatArray, b: FloatArray) -> FloatArray:
    """Returns the correlation (n,) of rows a (n, m) with rows b (n, m) or with one row (m,); 0 for constant rows."""
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    norm = np.sqrt(np.square(a).sum(axis=-1) * np.square(b).sum(axis=-1))
    product: FloatArray = (a * b).sum(axis=-1) / np.maximum(norm, TINY**2)
    return product
