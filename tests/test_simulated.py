"""Simulated patients: repeatable, with the beats, the rhythm and the shapes they promise."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.ndimage import gaussian_filter1d, median_filter

from ecg.data.aami import CLASSES, labels_of
from ecg.data.recording import Recording
from ecg.data.simulated import ADC_GAIN, ADC_ZERO, _leak, simulate
from ecg.errors import UserError

N_PATIENTS = 24


@pytest.fixture(scope="module")
def population() -> list[Recording]:
    return [simulate(patient) for patient in range(N_PATIENTS)]


def beats_of(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Sample and symbol of the beats alone, without the rhythm mark."""
    beat = labels_of(recording.symbol) >= 0
    return recording.sample[beat], recording.symbol[beat]


def millivolt(recording: Recording) -> NDArray[np.float64]:
    return (recording.signal[0] - ADC_ZERO) / ADC_GAIN


def flattened(recording: Recording) -> NDArray[np.float64]:
    """mV less the local median over 0.6 s, smoothed over 4 ms: what an observer calls the deflection."""
    signal = millivolt(recording)
    baseline = median_filter(signal[::6], round(0.1 * recording.sfreq))
    upright = signal - np.interp(np.arange(len(signal)), np.arange(len(baseline)) * 6, baseline)
    return gaussian_filter1d(upright, 0.004 * recording.sfreq)


def intervals(recording: Recording, kind: str) -> NDArray[np.float64]:
    """(n, 3) s: the interval before and after each lone beat of a kind, and the median normal one nearby."""
    sample, symbol = beats_of(recording)
    rr = np.diff(sample) / recording.sfreq  # rr[i] lies between beats i and i + 1
    normal = (symbol[:-1] == "N") & (symbol[1:] == "N")
    normal[1:] &= symbol[:-2] == "N"  # an interval after a pause is normal, the pause is not
    rows = []
    for i in np.flatnonzero(symbol == kind):
        near = np.arange(max(0, i - 12), min(len(rr), i + 12))
        near = near[normal[near]]
        if 0 < i < len(rr) and len(near) >= 3 and symbol[i - 1] == symbol[i + 1] == "N":
            rows.append((rr[i - 1], rr[i], np.median(rr[near])))
    return np.array(rows).reshape(-1, 3)


def same(a: Recording, b: Recording) -> bool:
    arrays = ("signal", "sample", "symbol")
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in arrays)


def test_same_arguments_same_bytes_in_any_order() -> None:
    forward = [simulate(patient, minutes=0.5, seed=3) for patient in (0, 5, 9)]
    backward = [simulate(patient, minutes=0.5, seed=3) for patient in (9, 5, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))


def test_leaves_the_global_generator_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1]
    first = simulate(1, minutes=0.2)
    np.random.seed(1)
    assert same(first, simulate(1, minutes=0.2))
    np.random.seed(0)
    assert np.array_equal(before, np.random.get_state()[1])


def test_seeds_and_patients_differ() -> None:
    recordings = [simulate(p, minutes=0.5, seed=s) for p, s in [(0, 0), (0, 1), (1, 0), (12, 0)]]
    for i, a in enumerate(recordings):
        for b in recordings[i + 1 :]:
            assert not np.array_equal(a.signal, b.signal)
            assert not np.array_equal(a.sample, b.sample)


def test_recording_is_like_an_mit_bih_record(population: list[Recording]) -> None:
    recording = population[7]
    assert (recording.name, recording.patient, recording.leads) == ("sim07", "sim07", ("MLII",))
    assert recording.signal.dtype == np.int16
    assert recording.signal.shape == (1, 5 * 60 * 360)
    assert recording.sample.dtype == np.int64
    assert recording.symbol[0] == "+"
    assert recording.sample[0] < 0.1 * recording.sfreq
    assert "+" not in recording.symbol[1:]
    assert abs(np.median(recording.signal) - ADC_ZERO) < 0.3 * ADC_GAIN


def test_shares_of_the_classes(population: list[Recording]) -> None:
    label = np.concatenate([labels_of(beats_of(r)[1]) for r in population])
    share = dict(zip(CLASSES, np.bincount(label, minlength=5) / len(label), strict=True))
    assert 0.82 < share["N"] < 0.88
    assert 0.025 < share["S"] < 0.04
    assert 0.055 < share["V"] < 0.08
    assert 0.01 < share["F"] < 0.02
    assert 0.03 < share["Q"] < 0.07


@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_occurs_in_several_patients(seed: int) -> None:
    symbols = [set(simulate(patient, seed=seed).symbol) for patient in range(N_PATIENTS)]
    patients_with = {kind: sum(kind in s for s in symbols) for kind in "NAVF/"}
    assert patients_with["N"] == N_PATIENTS
    assert patients_with["A"] >= 12
    assert patients_with["V"] >= 12
    assert patients_with["F"] >= 8
    assert patients_with["/"] >= 5  # one for each of five folds


def test_a_few_patients_have_most_of_the_ectopic_beats(population: list[Recording]) -> None:
    for kind, rich in (("A", 4), ("V", 6), ("/", 4)):
        count = np.sort([np.sum(r.symbol == kind) for r in population])[::-1]
        assert count[:rich].sum() > 0.6 * count.sum()


def test_pause_after_a_ventricular_beat_is_fully_compensatory(population: list[Recording]) -> None:
    before, after, normal = np.concatenate([intervals(r, "V") for r in population]).T
    assert len(normal) > 200
    assert np.median((before + after) / (2 * normal)) == pytest.approx(1, abs=0.02)
    assert np.mean(before < 0.95 * normal) > 0.95
    assert np.median(before / normal) < 0.8


def test_atrial_beat_is_premature_and_its_pause_incomplete(population: list[Recording]) -> None:
    before, after, normal = np.concatenate([intervals(r, "A") for r in population]).T
    assert len(normal) > 100
    assert np.mean(before < 0.95 * normal) > 0.93
    assert np.median(before / normal) < 0.85
    assert np.median((before + after) / (2 * normal)) < 0.93
    assert np.median(after / normal) > 0.98


def test_fusion_beat_comes_almost_on_time(population: list[Recording]) -> None:
    before, _, normal = np.concatenate([intervals(r, "F") for r in population]).T
    assert 0.9 < np.median(before / normal) < 1.02


def test_annotation_sits_on_the_largest_deflection(population: list[Recording]) -> None:
    near: dict[str, list[bool]] = {kind: [] for kind in "NAVF/"}
    for recording in population:
        deflection = np.abs(flattened(recording))
        sample, symbol = beats_of(recording)
        reach = round(0.05 * recording.sfreq)
        for s, kind in zip(sample, symbol, strict=True):
            start = max(0, s - reach)
            peak = start + deflection[start : s + reach + 1].argmax()
            near[kind].append(abs(peak - s) <= 0.012 * recording.sfreq)
    assert {kind: np.mean(ok) > 0.97 for kind, ok in near.items() if kind != "F"} == dict.fromkeys("NAV/", True)
    assert np.mean(near["F"]) > 0.85  # two deflections of like size compete in some blends


def width_of(recording: Recording, kind: str) -> float:
    """Median s around the annotation in which the deflection stays above half its peak."""
    deflection = flattened(recording)
    sample, symbol = beats_of(recording)
    reach = round(0.15 * recording.sfreq)
    inside = (symbol == kind) & (sample > reach) & (sample < len(deflection) - reach)
    widths = []
    for s in sample[inside]:
        low = deflection[s - reach : s + reach + 1] * np.sign(deflection[s]) < abs(deflection[s]) / 2
        widths.append(np.argmax(low[reach:]) + np.argmax(low[reach::-1]))
    return float(np.median(widths)) / recording.sfreq


@pytest.mark.parametrize(("patient", "kind"), [(1, "V"), (4, "V"), (9, "V"), (5, "/"), (11, "/"), (17, "/")])
def test_wide_beats_are_wider_than_normal(population: list[Recording], patient: int, kind: str) -> None:
    wide, normal = width_of(population[patient], kind), width_of(population[patient], "N")
    assert wide > 1.6 * normal
    assert 0.015 < normal < 0.06


@pytest.mark.parametrize("patient", [2, 8, 20])
def test_qrs_of_an_atrial_beat_is_that_of_a_normal_one(population: list[Recording], patient: int) -> None:
    recording = population[patient]
    sample, symbol = beats_of(recording)
    reach = round(0.05 * recording.sfreq)
    inside = (sample > reach) & (sample < recording.signal.shape[1] - reach)
    window = sample[inside][:, np.newaxis] + np.arange(-reach, reach + 1)
    cut = millivolt(recording)[window]
    atrial, normal = (cut[symbol[inside] == kind].mean(axis=0) for kind in "AN")
    assert np.corrcoef(atrial, normal)[0, 1] > 0.98


@pytest.mark.parametrize("sfreq", [100.0, 250.0, 500.0])
def test_sampling_rate_is_honoured(sfreq: float) -> None:
    recording = simulate(1, minutes=1.0, sfreq=sfreq)
    assert recording.sfreq == sfreq
    assert recording.signal.shape == (1, round(60 * sfreq))
    reference = simulate(1, minutes=1.0)
    assert np.array_equal(recording.symbol, reference.symbol)
    seconds, expected = recording.sample[1:] / sfreq, reference.sample[1:] / 360
    assert np.median(np.abs(seconds - expected)) < 1 / sfreq


def test_leak_solves_its_differential_equation() -> None:
    sfreq, seconds = 250.0, 4.0
    t = np.arange(0, seconds, 1 / sfreq)
    x = np.sin(2 * np.pi * 1.3 * t) + np.exp(-((t - 2) ** 2) / 0.01)
    expected = solve_ivp(
        lambda s, y: np.interp(s, t, x) - y, (0, t[-1]), [x.mean()], t_eval=t, max_step=0.01, rtol=1e-8
    ).y[0]
    solved = _leak(x, sfreq)
    # The filter enters its first sample from the equilibrium, the solver at it.
    difference = solved - expected - (solved[0] - expected[0]) * np.exp(-t)
    assert np.abs(difference).max() < 1e-4


def test_two_dozen_patients_take_seconds() -> None:
    start = time.process_time()
    for patient in range(N_PATIENTS):
        simulate(patient)
    assert time.process_time() - start < 5


@settings(max_examples=60, deadline=None)
@given(
    patient=st.integers(0, 10_000),
    seed=st.integers(0, 2**40),
    minutes=st.floats(0.0005, 1.0),
    sfreq=st.sampled_from([50.0, 125.0, 257.3, 360.0]),
)
def test_any_recording_is_well_formed(patient: int, seed: int, minutes: float, sfreq: float) -> None:
    recording = simulate(patient, minutes=minutes, sfreq=sfreq, seed=seed)
    assert recording.signal.dtype == np.int16
    assert recording.signal.shape == (1, max(1, round(minutes * 60 * sfreq)))
    assert recording.signal.min() >= 0
    assert recording.signal.max() <= 2047
    assert len(recording.sample) == len(recording.symbol) >= 1
    assert np.all(np.diff(recording.sample) > 0)
    assert recording.sample[0] >= 0
    assert recording.sample[-1] < recording.signal.shape[1]


@pytest.mark.parametrize(
    ("argument", "value"),
    [("patient", -1), ("seed", -1), ("minutes", 0.0), ("minutes", float("nan")), ("sfreq", 49.0)],
)
def test_an_impossible_argument_is_named(argument: str, value: float) -> None:
    arguments: dict[str, float] = {"patient": 0, argument: value}
    with pytest.raises(UserError, match=f"{argument}={value}"):
        simulate(**arguments)  # type: ignore[arg-type]
