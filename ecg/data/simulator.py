"""Simulated patients: annotated recordings with one lead, from a dynamical model of the ECG.

Source: McSharry, Clifford, Tarassenko & Smith, "A dynamical model for generating synthetic electrocardiogram
signals", IEEE Trans Biomed Eng 50(3):289-294, 2003 (ECGSYN). Its third equation, in mV and s, is

    z' = -sum_i a_i dtheta_i exp(-dtheta_i^2 / (2 b_i^2)) - (z - z0(t)),   dtheta_i = theta - theta_i

On the limit cycle theta is a known function of time, and the equation for z is linear. With theta' = omega, each term
of the sum is the time derivative of a Gaussian. Therefore, with

    G(t) = sum_i (a_i b_i^2 / omega) exp(-dtheta_i^2 / (2 b_i^2))

    z' + z = G' + z0,    integrated by parts:    z = G + low_pass(z0 - G)

where `low_pass` is the first-order low-pass filter with a time constant of 1 s. G is exact at every sample; the
low-pass filter is one recursive filter.

Differences from the paper, which ectopic beats require:

- Each beat has a phase of its own, which is 0 at its R peak. A premature beat therefore neither compresses its QRS nor
  stretches the T wave before the pause.
- omega is 2 pi over the square root of the sinus RR interval (Bazett). This is the paper's scaling of the QT interval,
  expressed as a phase speed.
- Ventricular, atrial and paced beats have other waves than normal beats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from ecg.data.recording import Recording
from ecg.errors import UserError

Array = NDArray[np.float64]

ADC_GAIN = 200.0  # units per mV, as in the MIT-BIH records
ADC_ZERO = 1024  # value of 0 mV
ADC_RANGE = (0, 2047)  # 11 bits
LINE_HZ = 60.0  # power line frequency of the MIT-BIH records
MIN_SFREQ = 50.0  # Hz; a lower rate does not resolve the QRS
LEAD_IN = 1.5  # s simulated before the first sample, because waves of earlier beats can extend into the recording
EDGE = 0.12  # s; beats closer to either end are incomplete and are not annotated

# P, Q, R, S, T: a_i and b_i from the table of the paper, theta_i from its program. The height of a wave is
# a_i b_i^2 / omega; only the proportions are used.
PAPER_ANGLE = np.deg2rad([-70.0, -15.0, 0.0, 15.0, 100.0])
PAPER_WIDTH = np.array([0.25, 0.1, 0.1, 0.1, 0.4])
PAPER_HEIGHT = np.array([1.2, -5.0, 30.0, -7.5, 0.75]) * PAPER_WIDTH**2
PAPER_HEIGHT /= PAPER_HEIGHT[2]

# Fraction of each kind of beat other than normal, for 12 patients. As in real records, most ectopic beats are from a
# few patients. F is in 5 of 12 patients and paced beats are in 3, so that each of five disjoint folds of 24 patients
# can contain every class.
ECTOPIC_FRACTIONS: tuple[dict[str, float], ...] = (
    {"A": 0.010, "V": 0.040, "F": 0.030},
    {"V": 0.210, "F": 0.040},
    {"A": 0.150, "V": 0.010, "/": 0.040},
    {"A": 0.006},
    {"V": 0.180, "F": 0.040},
    {"V": 0.010, "/": 0.450},
    {"A": 0.012, "V": 0.060, "F": 0.030},
    {"A": 0.020, "V": 0.010},
    {"A": 0.130, "V": 0.020},
    {"A": 0.010, "V": 0.210, "F": 0.030},
    {"A": 0.010, "V": 0.012},
    {"A": 0.040, "V": 0.030, "/": 0.130},
)


class Waves(NamedTuple):
    """Gaussian waves: a template (W,), or one row for each beat (n_beats, W).

    Attributes:
        height: mV, signed.
        angle: rad from the R peak, in the phase of the beat.
        width: rad, the standard deviation b_i.
    """

    height: Array
    angle: Array
    width: Array


@dataclass(frozen=True)
class Patient:
    """Properties that are constant in a patient's recording.

    Attributes:
        heart_rate: mean sinus rate in beats per minute.
        rr_sd: standard deviation of the sinus RR interval in s.
        breath_hz: respiratory rate in Hz, of the sinus arrhythmia, the baseline wander and the gain of the lead.
        sinus_p: P wave of a sinus beat.
        ectopic_p: P wave of an atrial ectopic beat.
        narrow: QRS and T wave of a beat that is conducted from the atria.
        ventricular: waves of a ventricular ectopic beat.
        paced: waves of a paced beat.
        fractions: fraction of each kind of beat other than normal.
        jitter: relative variation of the heights from beat to beat; widths and angles vary by half of it.
        wander: amplitude of the baseline wander in mV.
        muscle: root mean square of the muscle noise in mV.
        hum: amplitude of the power line hum in mV.
    """

    heart_rate: float
    rr_sd: float
    breath_hz: float
    sinus_p: Waves
    ectopic_p: Waves
    narrow: Waves
    ventricular: Waves
    paced: Waves
    fractions: dict[str, float]
    jitter: float
    wander: float
    muscle: float
    hum: float


class Rhythm(NamedTuple):
    """The beats of a recording, in order of time.

    Attributes:
        time: (n,) s from the start of the recording to the R peak; can lie outside the recording.
        rr: (n,) s, the sinus RR interval at the beat without the effect of ectopic beats; sets the QT interval.
        symbol: (n,) PhysioNet annotation symbols.
        ventricular: (n,) fraction of the ventricles that the ectopic focus excites: 1 for V, between 0 and 1 for F,
            else 0.
    """

    time: Array
    rr: Array
    symbol: NDArray[np.str_]
    ventricular: Array


def record_name(patient: int) -> str:
    """Returns the name of a patient's record, e.g. "sim07"."""
    return f"sim{patient:02d}"


def simulate(patient: int, *, minutes: float, seed: int, sfreq: float = 360.0) -> Recording:
    """Returns the recording of a simulated patient, which is a function of the arguments only.

    Beats are normal (N), premature atrial (A), premature ventricular (V), fusion (F) and paced (/). The kinds and their
    fractions are from `ECTOPIC_FRACTIONS`. Morphology, rhythm and noise are drawn from (seed, patient). The morphology
    does not depend on `minutes`, and the rhythm does not depend on `sfreq`.

    Args:
        patient: number of the patient, at least 0.
        minutes: length of the recording in minutes, above 0.
        seed: seed of the patients, at least 0.
        sfreq: sampling rate in Hz, at least 50.

    Returns:
        A recording with one lead: int16 ADC values (1, n_samples) at 200 units/mV around 1024. It is annotated with
        "+" near its start, and with each beat at the largest deflection of its QRS.

    Raises:
        UserError: an argument is out of range.
    """
    _check_arguments(patient, minutes, seed, sfreq)
    streams = np.random.SeedSequence([seed, patient]).spawn(4)
    morphology, rhythm_rng, variation, noise = (np.random.default_rng(stream) for stream in streams)
    n_samples = max(1, round(minutes * 60 * sfreq))
    person = _draw_patient(patient, morphology)
    rhythm = _draw_rhythm(person, n_samples / sfreq, rhythm_rng)
    waves = _waves(person, rhythm, n_samples, sfreq, variation)  # G
    signal = waves + low_pass(_baseline(person, n_samples, sfreq, noise) - waves, sfreq)
    signal += _noise(person, n_samples, sfreq, noise)
    sample, symbol = _annotate(waves, rhythm, sfreq)
    name = record_name(patient)
    return Recording(name, name, float(sfreq), ("MLII",), _digitise(signal)[np.newaxis], sample, symbol)


def _check_arguments(patient: int, minutes: float, seed: int, sfreq: float) -> None:
    if patient < 0 or seed < 0:
        raise UserError(f"patient={patient} and seed={seed} of a simulated recording. Both must be at least 0.")
    if not (math.isfinite(minutes) and minutes > 0):
        raise UserError(f"minutes={minutes} of a simulated recording. It must be above 0.")
    if not (math.isfinite(sfreq) and sfreq >= MIN_SFREQ):
        raise UserError(f"sfreq={sfreq} of a simulated recording. It must be at least {MIN_SFREQ:g} Hz.")


# -- patient --------------------------------------------------------------------------------------


def _draw_patient(patient: int, rng: np.random.Generator) -> Patient:
    fractions = ECTOPIC_FRACTIONS[patient % len(ECTOPIC_FRACTIONS)]
    sinus_p = _draw_sinus_p(rng)
    return Patient(
        heart_rate=rng.uniform(58, 90),
        rr_sd=rng.uniform(0.015, 0.07),
        breath_hz=rng.uniform(0.2, 0.32),
        sinus_p=sinus_p,
        ectopic_p=_draw_ectopic_p(sinus_p, rng),
        narrow=_draw_narrow(rng),
        ventricular=_draw_ventricular(rng),
        paced=_draw_paced(rng),
        fractions={kind: fraction * rng.uniform(0.85, 1.15) for kind, fraction in fractions.items()},
        jitter=rng.uniform(0.03, 0.075),
        wander=rng.uniform(0.04, 0.2),
        muscle=float(np.exp(rng.uniform(np.log(0.006), np.log(0.035)))),
        hum=rng.uniform(0.001, 0.008),
    )


def _draw_sinus_p(rng: np.random.Generator) -> Waves:
    angle = PAPER_ANGLE[:1] + np.deg2rad(rng.uniform(-8, 8))
    return Waves(np.array([rng.uniform(0.07, 0.2)]), angle, PAPER_WIDTH[:1] * rng.uniform(0.55, 0.8))


def _draw_ectopic_p(sinus: Waves, rng: np.random.Generator) -> Waves:
    # The focus is elsewhere in the atria: closer to the AV node, and often with the opposite polarity.
    height = sinus.height * rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.9)
    return Waves(height, sinus.angle + np.deg2rad(rng.uniform(0, 18)), sinus.width * rng.uniform(0.7, 1.1))


def _draw_narrow(rng: np.random.Generator) -> Waves:
    """QRS and T wave of a conducted beat: the waves of the paper with the patient's proportions."""
    relative = rng.uniform([0.2, 1.0, 0.1, 0.45], [1.4, 1.0, 1.8, 1.3])
    if rng.random() < 0.15:  # ischaemia or strain: a shallow inverted T wave
        relative[-1] *= -0.6
    height = PAPER_HEIGHT[1:] * relative * rng.uniform(0.7, 1.7)
    qrs = np.array([1.0, 1.0, 1.0, 0.0])
    stretch = rng.uniform(0.7, 1.15) * qrs + rng.uniform(0.75, 1.1) * (1 - qrs)
    angle = PAPER_ANGLE[1:] * (stretch * qrs + rng.uniform(0.95, 1.2) * (1 - qrs))
    return Waves(height, angle, PAPER_WIDTH[1:] * stretch)


def _draw_ventricular(rng: np.random.Generator) -> Waves:
    """A premature ventricular beat: shoulder, wide main deflection, opposite deflection, discordant T wave."""
    main = rng.choice([1.0, -1.0], p=[0.6, 0.4]) * rng.uniform(1.0, 2.1)
    width = rng.uniform(0.16, 0.28)
    height = main * np.array([1, 1, -1, -1]) * rng.uniform([-0.25, 1.0, 0.15, 0.22], [0.4, 1.0, 0.55, 0.42])
    angle = np.array([-1.7 * width, 0.0, 2.3 * width, np.deg2rad(rng.uniform(108, 125))])
    return Waves(height, angle, np.array([0.7 * width, width, 1.2 * width, rng.uniform(0.42, 0.52)]))


def _draw_paced(rng: np.random.Generator) -> Waves:
    """A beat paced from the right ventricle: spike, wide and mostly negative QRS, discordant T wave."""
    main = rng.choice([1.0, -1.0], p=[0.35, 0.65]) * rng.uniform(0.9, 1.7)
    width = rng.uniform(0.19, 0.27)
    spike = rng.choice([1.0, -1.0]) * abs(main) * rng.uniform(0.35, 0.6)
    height = np.array([spike, main, -main * rng.uniform(0.0, 0.25), -main * rng.uniform(0.2, 0.4)])
    angle = np.array([-2.6 * width, 0.0, 2.4 * width, np.deg2rad(rng.uniform(108, 122))])
    return Waves(height, angle, np.array([0.012, width, width, rng.uniform(0.42, 0.52)]))


# -- rhythm ---------------------------------------------------------------------------------------


def _draw_rhythm(person: Patient, seconds: float, rng: np.random.Generator) -> Rhythm:
    # Premature atrial beats shorten the sequence, hence the margin of 15 % + 3 s.
    time = _sinus_times(person, LEAD_IN + 1.15 * seconds + 3.0, rng) - LEAD_IN
    interval = np.diff(time, prepend=time[0] - 60 / person.heart_rate)
    symbol = _draw_symbols(len(time), person.fractions, rng)
    time = time[0] + np.cumsum(_ectopic_intervals(interval, symbol, 60 / person.heart_rate, rng)) - interval[0]
    ventricular = np.where(symbol == "F", rng.uniform(0.35, 0.65, len(time)), (symbol == "V").astype(float))
    keep = time < seconds + 1.0
    return Rhythm(time[keep], interval[keep], symbol[keep], ventricular[keep])


def _sinus_times(person: Patient, seconds: float, rng: np.random.Generator) -> Array:
    """Times in s at which the phase of the sinus node, the integral of 1 / RR(t), is an integer."""
    step = 0.25  # s; much shorter than the periods of both rhythms
    rr = _rr_process(person, math.ceil(seconds / step) + 1, step, rng)
    phase = np.concatenate([[0.0], np.cumsum(step / rr)]) + rng.random()
    times: Array = np.interp(np.arange(1, math.floor(phase[-1]) + 1), phase, np.arange(len(phase)) * step)
    return times


def _rr_process(person: Patient, n: int, step: float, rng: np.random.Generator) -> Array:
    """RR(t) in s, (n,) with one value every `step` s: Mayer waves at 0.1 Hz and respiratory sinus arrhythmia."""
    length = 2 ** math.ceil(math.log2(max(n, 512)))  # 512 steps resolve the two peaks of the spectrum
    f: Array = np.fft.rfftfreq(length, step).astype(np.float64)
    spectrum = 0.5 * _gaussian(f, 0.1, 0.01) + _gaussian(f, person.breath_hz, 0.01)  # LF/HF = 0.5, as in the paper
    process = np.fft.irfft(np.sqrt(spectrum) * np.exp(2j * np.pi * rng.random(len(f))), length)
    rr: Array = 60 / person.heart_rate + person.rr_sd * (process / process.std())[:n]
    return rr


def _gaussian(x: Array, centre: float, sd: float) -> Array:
    return np.exp(-((x - centre) ** 2) / (2 * sd**2))


def _draw_symbols(n: int, fractions: dict[str, float], rng: np.random.Generator) -> NDArray[np.str_]:
    """(n,) symbols. No two ectopic beats are adjacent, because the pause of one sets the time of the next beat."""
    symbol = np.full(n, "N", dtype="<U1")
    # A demand pacemaker is active for a while, which gives runs of paced beats.
    drive = lfilter([1.0], [1.0, -0.93], rng.standard_normal(n))
    symbol[drive > np.quantile(drive, 1 - fractions.get("/", 0.0))] = "/"
    counts = {kind: math.floor(fraction * n + rng.random()) for kind, fraction in fractions.items() if kind != "/"}
    ectopic = [kind for kind, count in counts.items() for _ in range(count)][: (n - 2) // 2]
    # Of m distinct ascending integers, the i-th plus i: m integers of which no two are adjacent.
    distinct = np.sort(rng.choice(n - 1 - len(ectopic), len(ectopic), replace=False))
    position = 1 + distinct + np.arange(len(ectopic))
    free = (symbol[position] != "/") & (symbol[position + 1] != "/")
    symbol[position[free]] = rng.permutation(np.array(ectopic, dtype="<U1"))[free]
    return symbol


def _ectopic_intervals(interval: Array, symbol: NDArray[np.str_], mean: float, rng: np.random.Generator) -> Array:
    """The (n,) RR intervals in s before each beat.

        sinus       |-------|-------|-------|     V and F do not reset the sinus node: its next beat meets refractory
        V           |----V----------|-------|     ventricles, the one after it is on time
        A           |----A--------|-------|       A resets the sinus node: the pause is incomplete

    Args:
        interval: (n,) s, sinus interval before each beat.
        symbol: (n,) kind of each beat.
        mean: s, mean sinus interval of the patient; the pacemaker's interval is 3 % longer.
        rng: draws the prematurity of each beat.
    """
    n = len(interval)
    coupling = np.ones(n)
    for kind, low, high in (("A", 0.62, 0.9), ("V", 0.56, 0.88), ("F", 0.92, 1.0)):
        coupling = np.where(symbol == kind, rng.uniform(low, high, n), coupling)
    before = interval * coupling
    compensation = np.where(symbol == "A", rng.uniform(0.0, 0.1, n) * interval, interval - before)
    before[1:] += compensation[:-1]
    return np.where(symbol == "/", mean * 1.03 + rng.normal(0, 0.003, n), before)


# -- signal ---------------------------------------------------------------------------------------


def _waves(person: Patient, rhythm: Rhythm, n_samples: int, sfreq: float, rng: np.random.Generator) -> Array:
    """G(t) of the model in mV, (n_samples,): the waves of all beats. A fusion beat has those of both origins."""
    sinus = np.isin(rhythm.symbol, ["N", "F"]).astype(float)
    atrial = (rhythm.symbol == "A").astype(float)
    paced = (rhythm.symbol == "/").astype(float)
    parts = (
        (person.sinus_p, sinus),
        (person.ectopic_p, atrial),
        (person.narrow, (sinus + atrial) * (1 - rhythm.ventricular)),
        (person.ventricular, rhythm.ventricular),
        (person.paced, paced),
    )
    # Respiration moves the heart relative to the electrodes, which changes the gain of the lead.
    gain = 1 + 0.05 * np.sin(2 * np.pi * person.breath_hz * rhythm.time)
    total = np.zeros(n_samples)
    for template, weight in parts:
        waves = _vary(template, weight * gain, person.jitter, rng)
        present = weight > 0
        omega = 2 * np.pi / np.sqrt(rhythm.rr[present])
        total += _sum_waves(Waves(*(part[present] for part in waves)), rhythm.time[present], omega, n_samples, sfreq)
    return total


def _vary(template: Waves, gain: Array, jitter: float, rng: np.random.Generator) -> Waves:
    """Varied copies (n_beats, W) of a template (W,), one for each gain (n_beats,)."""
    shape = (len(gain), len(template.height))
    height = gain[:, np.newaxis] * template.height * (1 + jitter * rng.standard_normal(shape))
    # The same factor for all waves of a beat: slower conduction widens all of them.
    stretch = np.exp(0.5 * jitter * rng.standard_normal((len(gain), 1)))
    return Waves(height, template.angle * stretch, template.width * stretch)


def _sum_waves(waves: Waves, time: Array, omega: Array, n_samples: int, sfreq: float) -> Array:
    """(n_samples,) sum of the waves (n_beats, W) of beats with R peak at `time` s and phase speed `omega` rad/s."""
    total = np.zeros(n_samples)
    if len(time) == 0:
        return total
    for height, angle, width in zip(waves.height.T, waves.angle.T, waves.width.T, strict=True):
        centre = (time + angle / omega)[:, np.newaxis] * sfreq  # (n_beats, 1), samples
        sd = np.maximum(width / omega * sfreq, 0.4)[:, np.newaxis]  # a narrower spike can lie between two samples
        reach = math.ceil(4 * sd.max())  # 4 standard deviations; beyond, a wave is smaller than one ADC unit
        index = np.rint(centre).astype(np.int64) + np.arange(-reach, reach + 1)  # (n_beats, 2 reach + 1)
        value = height[:, np.newaxis] * np.exp(-0.5 * ((index - centre) / sd) ** 2)
        inside = (index >= 0) & (index < n_samples)
        total += np.bincount(index[inside], weights=value[inside], minlength=n_samples)
    return total


def low_pass(x: Array, sfreq: float) -> Array:
    """Returns the solution (n,) of y' = x - y with y(0) = mean(x).

    It is exact for an x that is linear between samples.

    Args:
        x: (n,) samples.
        sfreq: sampling rate in Hz.
    """
    h = 1 / sfreq
    decay = math.exp(-h)
    held = (1 - decay) / h
    mean = x.mean()
    y: Array = mean + lfilter([1 - held, held - decay], [1.0, -decay], x - mean)
    return y


def _baseline(person: Patient, n_samples: int, sfreq: float, rng: np.random.Generator) -> Array:
    """z0(t) in mV, (n_samples,): respiration, as in the paper, and a slow drift of the electrodes."""
    t = np.arange(n_samples) / sfreq
    breath_phase, drift_phase = rng.uniform(0, 2 * np.pi, 2)
    breath = np.sin(2 * np.pi * person.breath_hz * t + breath_phase)
    drift = np.sin(2 * np.pi * 0.04 * t + drift_phase)
    baseline: Array = person.wander * (breath + 0.7 * drift)
    return baseline


def _noise(person: Patient, n_samples: int, sfreq: float, rng: np.random.Generator) -> Array:
    """Muscle noise of varying amplitude and power line hum in mV, (n_samples,)."""
    t = np.arange(n_samples) / sfreq
    hum_phase, tension_phase = rng.uniform(0, 2 * np.pi, 2)
    high_pass = butter(2, 15.0, "highpass", fs=sfreq, output="sos")
    muscle = sosfilt(high_pass, rng.standard_normal(n_samples))
    # A period of 47 s, which is no multiple of the periods of drift and respiration.
    tension = np.exp(0.6 * np.sin(2 * np.pi * t / 47.0 + tension_phase))
    noise: Array = person.muscle * tension * muscle / max(float(muscle.std()), 1e-9)
    if sfreq > 2 * LINE_HZ:  # at lower rates, the anti-aliasing filter of the recorder removes it
        noise += person.hum * np.sin(2 * np.pi * LINE_HZ * t + hum_phase)
    return noise


def _annotate(waves: Array, rhythm: Rhythm, sfreq: float) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Samples and symbols (n_annotations,): "+", then the beats with a complete QRS."""
    seconds = len(waves) / sfreq
    complete = (rhythm.time > EDGE) & (rhythm.time < seconds - EDGE)
    # S waves, shoulders and fusion move the largest deflection away from phase 0, by up to half of a wide QRS.
    reach = round(0.08 * sfreq)
    window = np.rint(rhythm.time[complete] * sfreq).astype(np.int64)[:, np.newaxis] + np.arange(-reach, reach + 1)
    peak = np.abs(waves[np.clip(window, 0, len(waves) - 1)]).argmax(axis=1)
    sample = window[np.arange(len(window)), peak]
    mark = min(round(0.02 * sfreq), len(waves) - 1)  # earlier than EDGE minus the reach: before every beat
    return np.concatenate([[mark], sample]), np.concatenate([["+"], rhythm.symbol[complete]]).astype("<U1")


def _digitise(signal: Array) -> NDArray[np.int16]:
    return np.clip(np.rint(ADC_ZERO + ADC_GAIN * signal), *ADC_RANGE).astype(np.int16)
