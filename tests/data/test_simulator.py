from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.ndimage import gaussian_filter1d, median_filter

from ecg.data import simulator
from ecg.data.aami import CLASSES, labels_from_symbols
from ecg.data.recording import Recording
from ecg.data.simulator import ADC_GAIN, ADC_ZERO, low_pass
from ecg.errors import UserError

N_PATIENTS = 24
simulate = partial(simulator.simulate, minutes=5.0, seed=0)


@pytest.fixture(scope="module")
def population() -> list[Recording]:
    return [simulate(patient) for patient in range(N_PATIENTS)]


def beats_of(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Samples and symbols of the beats, without the rhythm annotation."""
    beat = labels_from_symbols(recording.symbol) >= 0
    return recording.sample[beat], recording.symbol[beat]


def millivolts(recording: Recording) -> NDArray[np.float64]:
    return (recording.signal[0] - ADC_ZERO) / ADC_GAIN


def deflection_of(recording: Recording) -> NDArray[np.float64]:
    """mV above the local median over 0.6 s, smoothed over 4 ms."""
    signal = millivolts(recording)
    baseline = median_filter(signal[::6], round(0.1 * recording.sfreq))
    flat = signal - np.interp(np.arange(len(signal)), np.arange(len(baseline)) * 6, baseline)
    return gaussian_filter1d(flat, 0.004 * recording.sfreq)


def intervals(recording: Recording, kind: str) -> NDArray[np.float64]:
    """(n, 3) s: intervals before and after each single beat of a kind, and the median normal interval nearby."""
    sample, symbol = beats_of(recording)
    rr = np.diff(sample) / recording.sfreq  # rr[i] lies between beats i and i + 1
    normal = (symbol[:-1] == "N") & (symbol[1:] == "N")
    normal[1:] &= symbol[:-2] == "N"  # the pause after an ectopic beat is not normal
    rows = []
    for i in np.flatnonzero(symbol == kind):
        near = np.arange(max(0, i - 12), min(len(rr), i + 12))
        near = near[normal[near]]
        if 0 < i < len(rr) and len(near) >= 3 and symbol[i - 1] == symbol[i + 1] == "N":
            rows.append((rr[i - 1], rr[i], np.median(rr[near])))
    return np.array(rows).reshape(-1, 3)


def is_equal(a: Recording, b: Recording) -> bool:
    arrays = ("signal", "sample", "symbol")
    return all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in arrays)


def test_the_same_arguments_give_the_same_bytes_in_any_order() -> None:
    forward = [simulate(patient, minutes=0.5, seed=3) for patient in (0, 5, 9)]
    backward = [simulate(patient, minutes=0.5, seed=3) for patient in (9, 5, 0)][::-1]
    assert all(is_equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_the_global_random_state_is_unchanged() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1]
    first = simulate(1, minutes=0.2)
    np.random.seed(1)
    assert is_equal(first, simulate(1, minutes=0.2))
    np.random.seed(0)
    assert np.array_equal(before, np.random.get_state()[1])


def test_recordings_differ_between_seeds_and_patients() -> None:
    recordings = [simulate(p, minutes=0.5, seed=s) for p, s in [(0, 0), (0, 1), (1, 0), (12, 0)]]
    for i, a in enumerate(recordings):
        for b in recordings[i + 1 :]:
            assert not np.array_equal(a.signal, b.signal)
            assert not np.array_equal(a.sample, b.sample)


def test_a_recording_has_the_format_of_an_mit_bih_record(population: list[Recording]) -> None:
    recording = population[7]
    assert (recording.name, recording.patient, recording.leads) == ("sim07", "sim07", ("MLII",))
    assert recording.signal.dtype == np.int16
    assert recording.signal.shape == (1, 5 * 60 * 360)
    assert recording.sample.dtype == np.int64
    assert recording.symbol[0] == "+"
    assert recording.sample[0] < 0.1 * recording.sfreq
    assert "+" not in recording.symbol[1:]
    assert abs(np.median(recording.signal) - ADC_ZERO) < 0.3 * ADC_GAIN


def test_the_fractions_of_the_classes_are_similar_to_those_of_mit_bih(population: list[Recording]) -> None:
    label = np.concatenate([labels_from_symbols(beats_of(r)[1]) for r in population])
    fraction = dict(zip(CLASSES, np.bincount(label, minlength=5) / len(label), strict=True))
    assert 0.82 < fraction["N"] < 0.88
    assert 0.025 < fraction["S"] < 0.04
    assert 0.055 < fraction["V"] < 0.08
    assert 0.01 < fraction["F"] < 0.02
    assert 0.03 < fraction["Q"] < 0.07


@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_occurs_in_several_patients(seed: int) -> None:
    symbols = [set(simulate(patient, seed=seed).symbol) for patient in range(N_PATIENTS)]
    patients_with = {kind: sum(kind in s for s in symbols) for kind in "NAVF/"}
    assert patients_with["N"] == N_PATIENTS
    assert patients_with["A"] >= 12
    assert patients_with["V"] >= 12
    assert patients_with["F"] >= 8
    assert patients_with["/"] >= 5  # one for each of five folds


def test_most_ectopic_beats_are_from_a_few_patients(population: list[Recording]) -> None:
    for kind, n_patients in (("A", 4), ("V", 6), ("/", 4)):
        count = np.sort([np.sum(r.symbol == kind) for r in population])[::-1]
        assert count[:n_patients].sum() > 0.6 * count.sum()


def test_the_pause_after_a_ventricular_beat_is_fully_compensatory(population: list[Recording]) -> None:
    before, after, normal = np.concatenate([intervals(r, "V") for r in population]).T
    assert len(normal) > 200
    assert np.median((before + after) / (2 * normal)) == pytest.approx(1, abs=0.02)
    assert np.mean(before < 0.95 * normal) > 0.95
    assert np.median(before / normal) < 0.8


def test_an_atrial_beat_is_premature_and_its_pause_is_incomplete(population: list[Recording]) -> None:
    before, after, normal = np.concatenate([intervals(r, "A") for r in population]).T
    assert len(normal) > 100
    assert np.mean(before < 0.95 * normal) > 0.93
    assert np.median(before / normal) < 0.85
    assert np.median((before + after) / (2 * normal)) < 0.93
    assert np.median(after / normal) > 0.98


def test_a_fusion_beat_is_almost_on_time(population: list[Recording]) -> None:
    before, _, normal = np.concatenate([intervals(r, "F") for r in population]).T
    assert 0.9 < np.median(before / normal) < 1.02


def test_annotations_are_at_the_largest_deflection(population: list[Recording]) -> None:
    at_peak: dict[str, list[bool]] = {kind: [] for kind in "NAVF/"}
    for recording in population:
        deflection = np.abs(deflection_of(recording))
        sample, symbol = beats_of(recording)
        reach = round(0.05 * recording.sfreq)
        for s, kind in zip(sample, symbol, strict=True):
            start = max(0, s - reach)
            peak = start + deflection[start : s + reach + 1].argmax()
            at_peak[kind].append(abs(peak - s) <= 0.012 * recording.sfreq)
    assert {kind: np.mean(ok) > 0.97 for kind, ok in at_peak.items() if kind != "F"} == dict.fromkeys("NAV/", True)
    assert np.mean(at_peak["F"]) > 0.85  # some fusion beats have two deflections of similar size


def width_of(recording: Recording, kind: str) -> float:
    """Median time in s around the annotation with a deflection above half of its peak."""
    deflection = deflection_of(recording)
    sample, symbol = beats_of(recording)
    reach = round(0.15 * recording.sfreq)
    inside = (symbol == kind) & (sample > reach) & (sample < len(deflection) - reach)
    widths = []
    for s in sample[inside]:
        low = deflection[s - reach : s + reach + 1] * np.sign(deflection[s]) < abs(deflection[s]) / 2
        widths.append(np.argmax(low[reach:]) + np.argmax(low[reach::-1]))
    return float(np.median(widths)) / recording.sfreq


@pytest.mark.parametrize(("patient", "kind"), [(1, "V"), (4, "V"), (9, "V"), (5, "/"), (11, "/"), (17, "/")])
def test_ventricular_and_paced_beats_are_wide(population: list[Recording], patient: int, kind: str) -> None:
    wide, normal = width_of(population[patient], kind), width_of(population[patient], "N")
    assert wide > 1.6 * normal
    assert 0.015 < normal < 0.06


@pytest.mark.parametrize("patient", [2, 8, 20])
def test_the_qrs_of_an_atrial_beat_is_that_of_a_normal_beat(population: list[Recording], patient: int) -> None:
    recording = population[patient]
    sample, symbol = beats_of(recording)
    reach = round(0.05 * recording.sfreq)
    inside = (sample > reach) & (sample < recording.signal.shape[1] - reach)
    window = sample[inside][:, np.newaxis] + np.arange(-reach, reach + 1)
    cut = millivolts(recording)[window]
    atrial, normal = (cut[symbol[inside] == kind].mean(axis=0) for kind in "AN")
    assert np.corrcoef(atrial, normal)[0, 1] > 0.98


@pytest.mark.parametrize("sfreq", [100.0, 250.0, 500.0])
def test_the_sampling_rate_does_not_change_the_rhythm(sfreq: float) -> None:
    recording = simulate(1, minutes=1.0, sfreq=sfreq)
    assert recording.sfreq == sfreq
    assert recording.signal.shape == (1, round(60 * sfreq))
    reference = simulate(1, minutes=1.0)
    assert np.array_equal(recording.symbol, reference.symbol)
    seconds, expected = recording.sample[1:] / sfreq, reference.sample[1:] / 360
    assert np.median(np.abs(seconds - expected)) < 1 / sfreq


def test_the_low_pass_filter_solves_its_differential_equation() -> None:
    sfreq, seconds = 250.0, 4.0
    t = np.arange(0, seconds, 1 / sfreq)
    x = np.sin(2 * np.pi * 1.3 * t) + np.exp(-((t - 2) ** 2) / 0.01)
    expected = solve_ivp(
        lambda s, y: np.interp(s, t, x) - y, (0, t[-1]), [x.mean()], t_eval=t, max_step=0.01, rtol=1e-8
    ).y[0]
    solved = low_pass(x, sfreq)
    # The filter starts one sample before the solver, hence an initial difference, which decays.
    difference = solved - expected - (solved[0] - expected[0]) * np.exp(-t)
    assert np.abs(difference).max() < 1e-4


def test_24_patients_are_simulated_in_less_than_5_seconds() -> None:
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
def test_every_recording_is_valid(patient: int, seed: int, minutes: float, sfreq: float) -> None:
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
def test_an_argument_that_is_out_of_range_is_an_error(argument: str, value: float) -> None:
    arguments: dict[str, float] = {"patient": 0, argument: value}
    with pytest.raises(UserError, match=f"{argument}={value}"):
        simulate(**arguments)  # type: ignore[arg-type]
