"""Simulated patients: annotated one-lead recordings that need no download.

Source: McSharry, Clifford, Tarassenko & Smith, "A dynamical model for generating synthetic electrocardiogram
signals", IEEE Trans Biomed Eng 50(3):289-294, 2003 (ECGSYN). Its third equation, in mV and s, is

    z' = -sum_i a_i dtheta_i exp(-dtheta_i^2 / (2 b_i^2)) - (z - z0(t)),   dtheta_i = theta - theta_i

On the limit cycle theta is a known function of time, and the equation for z is linear. With theta' = omega,
each term of the sum is the time derivative of a Gaussian, so with

    G(t) = sum_i (a_i b_i^2 / omega) exp(-dtheta_i^2 / (2 b_i^2))      z' + z = G' + z0
    integrating by parts:                                            z = G + leak * (z0 - G)

where `leak` is the first-order low-pass of 1 s. G is exact at every sample; the leak is one recursive filter.

Departures from the paper, all for the sake of ectopic beats: every beat runs on a phase of its own, 0 at its
R peak, so that a premature beat neither squeezes its own QRS nor stretches the T wave before the pause; omega
is 2 pi over the square root of the sinus RR (Bazett), which is the paper's scaling of QT written as a speed;
and beats of ventricular, atrial and paced origin bring waves of their own.
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
ADC_ZERO = 1024  # the value of 0 mV
ADC_RANGE = (0, 2047)  # 11 bits
LINE_HZ = 60.0  # MIT-BIH was recorded in Boston
MIN_SFREQ = 50.0  # Hz; a QRS sampled more coarsely is no QRS
LEAD_IN = 1.5  # s simulated before the first sample: waves of an earlier beat may reach into the recording
EDGE = 0.12  # s; a QRS this close to either end is cut off, and stays unannotated

# P, Q, R, S, T: a_i and b_i of the paper's table, the angles of its program.
# A wave is a_i b_i^2 / omega high; only the proportions are used.
PAPER_ANGLE = np.deg2rad([-70.0, -15.0, 0.0, 15.0, 100.0])
PAPER_WIDTH = np.array([0.25, 0.1, 0.1, 0.1, 0.4])
PAPER_HEIGHT = np.array([1.2, -5.0, 30.0, -7.5, 0.75]) * PAPER_WIDTH**2
PAPER_HEIGHT /= PAPER_HEIGHT[2]

# Share of each kind of beat in the patients of one dozen; the rest are normal. As in reality a few patients
# have most of the ectopic beats. F occurs in 5 of 12 patients and paced beats in 3, so that five disjoint
# folds of 24 patients can each hold every class.
DOZEN: tuple[dict[str, float], ...] = (
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
    """Gaussian waves, one template (W,) or one row a beat (n_beats, W).

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
    """What stays the same throughout one patient's recording.

    Attributes:
        heart_rate: mean sinus rate in beats per minute.
        rr_sd: standard deviation of the sinus RR in s.
        breath_hz: respiration in Hz: sinus arrhythmia, baseline wander and the gain of the lead follow it.
        sinus_p, ectopic_p, narrow, ventricular, paced: the waves; `narrow` is QRS and T of a conducted beat.
        share: part of the beats of each kind other than normal.
        jitter: relative beat-to-beat variation of heights; that of widths and angles follows it.
        wander, muscle, hum: mV, amplitudes of the baseline, of the muscle noise (rms) and of the power line.
    """

    heart_rate: float
    rr_sd: float
    breath_hz: float
    sinus_p: Waves
    ectopic_p: Waves
    narrow: Waves
    ventricular: Waves
    paced: Waves
    share: dict[str, float]
    jitter: float
    wander: float
    muscle: float
    hum: float


class Beats(NamedTuple):
    """One row a beat, ascending in time.

    Attributes:
        time: (n,) s from the start of the recording to the R peak; may lie outside it.
        rr: (n,) s, the sinus RR around the beat, undisturbed by ectopic beats: it sets the QT interval.
        symbol: (n,) PhysioNet annotation symbols.
        ventricular: (n,) part of the ventricles excited by the ectopic focus: 1 for V, between for F, else 0.
    """

    time: Array
    rr: Array
    symbol: NDArray[np.str_]
    ventricular: Array


def simulate(patient: int, *, minutes: float = 5.0, sfreq: float = 360.0, seed: int = 0) -> Recording:
    """One simulated patient's recording, a function of the arguments alone.

    Beats are normal "N", premature atrial "A", premature ventricular "V", fusion "F" and paced "/". Which of
    them a patient has, and how many, depends on its place in the dozen (`DOZEN`); morphology, rhythm and
    noise are drawn from (seed, patient). Morphology does not depend on `minutes`, nor the rhythm on `sfreq`.

    Args:
        patient: which patient, 0 or more.
        minutes: length of the recording in minutes.
        sfreq: sampling rate in Hz, at least 50.
        seed: 0 or more; another seed is another population.

    Returns:
        The recording "simNN" with one lead: int16 ADC values (1, n_samples) at 200 units/mV around 1024, a
        rhythm mark "+" near its start, and each beat annotated at the largest deflection of its QRS.

    Raises:
        UserError: an argument is out of range.
    """
    _check(patient, minutes, sfreq, seed)
    streams = np.random.SeedSequence([seed, patient]).spawn(4)
    morphology, rhythm, variation, noise = (np.random.default_rng(s) for s in streams)
    n_samples = max(1, round(minutes * 60 * sfreq))
    person = _draw_patient(patient, morphology)
    beats = _draw_beats(person, n_samples / sfreq, rhythm)
    heart = _heart(person, beats, n_samples, sfreq, variation)
    signal = heart + _leak(_baseline(person, n_samples, sfreq, noise) - heart, sfreq)
    signal += _noise(person, n_samples, sfreq, noise)
    sample, symbol = _annotate(heart, beats, sfreq)
    name = f"sim{patient:02d}"
    return Recording(name, name, float(sfreq), ("MLII",), _digitise(signal)[np.newaxis], sample, symbol)


def _check(patient: int, minutes: float, sfreq: float, seed: int) -> None:
    if patient < 0 or seed < 0:
        raise UserError(f"patient={patient}, seed={seed}: a simulated patient and its seed are 0 or more.")
    if not (math.isfinite(minutes) and minutes > 0):
        raise UserError(f"minutes={minutes}: a simulated recording lasts more than 0 minutes.")
    if not (math.isfinite(sfreq) and sfreq >= MIN_SFREQ):
        raise UserError(f"sfreq={sfreq}: a simulated recording needs {MIN_SFREQ:g} Hz or more.")


# --- the patient ----------------------------------------------------------------------------------


def _draw_patient(patient: int, rng: np.random.Generator) -> Patient:
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
        share={kind: part * rng.uniform(0.85, 1.15) for kind, part in DOZEN[patient % len(DOZEN)].items()},
        jitter=rng.uniform(0.03, 0.075),
        wander=rng.uniform(0.04, 0.2),
        muscle=float(np.exp(rng.uniform(np.log(0.006), np.log(0.035)))),
        hum=rng.uniform(0.001, 0.008),
    )


def _draw_sinus_p(rng: np.random.Generator) -> Waves:
    angle = PAPER_ANGLE[:1] + np.deg2rad(rng.uniform(-8, 8))
    return Waves(np.array([rng.uniform(0.07, 0.2)]), angle, PAPER_WIDTH[:1] * rng.uniform(0.55, 0.8))


def _draw_ectopic_p(sinus: Waves, rng: np.random.Generator) -> Waves:
    # Another focus in the atria: nearer to the AV node, and often with the vector turned round.
    height = sinus.height * rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.9)
    return Waves(height, sinus.angle + np.deg2rad(rng.uniform(0, 18)), sinus.width * rng.uniform(0.7, 1.1))


def _draw_narrow(rng: np.random.Generator) -> Waves:
    """QRS and T of a conducted beat: the paper's waves with the patient's own proportions."""
    relative = rng.uniform([0.2, 1.0, 0.1, 0.45], [1.4, 1.0, 1.8, 1.3])
    if rng.random() < 0.15:  # ischaemia, strain: a shallow inverted T wave
        relative[-1] *= -0.6
    height = PAPER_HEIGHT[1:] * relative * rng.uniform(0.7, 1.7)
    qrs = np.array([1.0, 1.0, 1.0, 0.0])
    stretch = rng.uniform(0.7, 1.15) * qrs + rng.uniform(0.75, 1.1) * (1 - qrs)
    angle = PAPER_ANGLE[1:] * (stretch * qrs + rng.uniform(0.95, 1.2) * (1 - qrs))
    return Waves(height, angle, PAPER_WIDTH[1:] * stretch)


def _draw_ventricular(rng: np.random.Generator) -> Waves:
    """A premature ventricular beat: shoulder, wide main deflection, opposite deflection, discordant T."""
    main = rng.choice([1.0, -1.0], p=[0.6, 0.4]) * rng.uniform(1.0, 2.1)
    width = rng.uniform(0.16, 0.28)
    height = main * np.array([1, 1, -1, -1]) * rng.uniform([-0.25, 1.0, 0.15, 0.22], [0.4, 1.0, 0.55, 0.42])
    angle = np.array([-1.7 * width, 0.0, 2.3 * width, np.deg2rad(rng.uniform(108, 125))])
    return Waves(height, angle, np.array([0.7 * width, width, 1.2 * width, rng.uniform(0.42, 0.52)]))


def _draw_paced(rng: np.random.Generator) -> Waves:
    """A beat paced from the right ventricle: spike, then a wide QRS, mostly negative, and a discordant T."""
    main = rng.choice([1.0, -1.0], p=[0.35, 0.65]) * rng.uniform(0.9, 1.7)
    width = rng.uniform(0.19, 0.27)
    spike = rng.choice([1.0, -1.0]) * abs(main) * rng.uniform(0.35, 0.6)
    height = np.array([spike, main, -main * rng.uniform(0.0, 0.25), -main * rng.uniform(0.2, 0.4)])
    angle = np.array([-2.6 * width, 0.0, 2.4 * width, np.deg2rad(rng.uniform(108, 122))])
    return Waves(height, angle, np.array([0.012, width, width, rng.uniform(0.42, 0.52)]))


# --- the rhythm -----------------------------------------------------------------------------------


def _draw_beats(person: Patient, seconds: float, rng: np.random.Generator) -> Beats:
    # Premature atrial beats shorten the whole, hence the margin; beats past the end fall away here.
    time = _sinus_times(person, LEAD_IN + 1.15 * seconds + 3.0, rng) - LEAD_IN
    interval = np.diff(time, prepend=time[0] - 60 / person.heart_rate)
    symbol = _draw_symbols(len(time), person.share, rng)
    time = time[0] + np.cumsum(_disturb(interval, symbol, 60 / person.heart_rate, rng)) - interval[0]
    ventricular = np.where(symbol == "F", rng.uniform(0.35, 0.65, len(time)), (symbol == "V").astype(float))
    keep = time < seconds + 1.0
    return Beats(time[keep], interval[keep], symbol[keep], ventricular[keep])


def _sinus_times(person: Patient, seconds: float, rng: np.random.Generator) -> Array:
    """Times in s at which the phase of the sinus node, the integral of 1/RR(t), passes a whole number."""
    step = 0.25  # s, far below the period of either rhythm
    rr = _rr_process(person, math.ceil(seconds / step) + 1, step, rng)
    phase = np.concatenate([[0.0], np.cumsum(step / rr)]) + rng.random()
    return np.interp(np.arange(1, math.floor(phase[-1]) + 1), phase, np.arange(len(phase)) * step)


def _rr_process(person: Patient, n: int, step: float, rng: np.random.Generator) -> Array:
    """RR(t) in s, (n,) one value every `step` s: Mayer waves at 0.1 Hz and respiratory sinus arrhythmia."""
    length = 2 ** math.ceil(math.log2(max(n, 512)))  # 512 steps resolve the two peaks of the spectrum
    f: Array = np.fft.rfftfreq(length, step).astype(np.float64)
    spectrum = 0.5 * _bump(f, 0.1, 0.01) + _bump(f, person.breath_hz, 0.01)  # LF/HF = 0.5, as in the paper
    process = np.fft.irfft(np.sqrt(spectrum) * np.exp(2j * np.pi * rng.random(len(f))), length)
    return 60 / person.heart_rate + person.rr_sd * (process / process.std())[:n]


def _bump(x: Array, centre: float, sd: float) -> Array:
    return np.exp(-((x - centre) ** 2) / (2 * sd**2))


def _draw_symbols(n: int, share: dict[str, float], rng: np.random.Generator) -> NDArray[np.str_]:
    """(n,) symbols; ectopic beats stand alone, since the pause of one decides the timing of the next."""
    symbol = np.full(n, "N", dtype="<U1")
    # A demand pacemaker takes over for a while: runs, not single beats.
    drive = lfilter([1.0], [1.0, -0.93], rng.standard_normal(n))
    symbol[drive > np.quantile(drive, 1 - share.get("/", 0.0))] = "/"
    count = {kind: math.floor(part * n + rng.random()) for kind, part in share.items() if kind != "/"}
    ectopic = [kind for kind, times in count.items() for _ in range(times)][: (n - 2) // 2]
    # m distinct numbers, the i-th moved up by i, are m positions of which no two are neighbours.
    apart = np.sort(rng.choice(n - 1 - len(ectopic), len(ectopic), replace=False))
    position = 1 + apart + np.arange(len(ectopic))
    free = (symbol[position] != "/") & (symbol[position + 1] != "/")
    symbol[position[free]] = rng.permutation(np.array(ectopic, dtype="<U1"))[free]
    return symbol


def _disturb(interval: Array, symbol: NDArray[np.str_], mean: float, rng: np.random.Generator) -> Array:
    """The (n,) intervals in s before each beat, from the sinus intervals and the kinds of beats.

        sinus       |-------|-------|-------|     V and F leave the sinus node alone: its next beat finds the
        V           |----V----------|-------|     ventricles refractory, the one after comes on time
        A           |----A--------|-------|       A resets the sinus node: the pause is incomplete

    Args:
        interval: (n,) s, sinus interval before each beat.
        symbol: (n,) the kind of each beat.
        mean: s, the patient's mean sinus interval, which the pacemaker's is a little longer than.
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


# --- the signal -----------------------------------------------------------------------------------


def _heart(person: Patient, beats: Beats, n_samples: int, sfreq: float, rng: np.random.Generator) -> Array:
    """G(t) of the model in mV, (n_samples,): the waves of every beat, a fusion beat's from both origins."""
    sinus = np.isin(beats.symbol, ["N", "F"]).astype(float)
    atrial = (beats.symbol == "A").astype(float)
    paced = (beats.symbol == "/").astype(float)
    parts = (
        (person.sinus_p, sinus),
        (person.ectopic_p, atrial),
        (person.narrow, (sinus + atrial) * (1 - beats.ventricular)),
        (person.ventricular, beats.ventricular),
        (person.paced, paced),
    )
    # Breathing moves the heart in the chest, and the lead sees it at another angle.
    gain = 1 + 0.05 * np.sin(2 * np.pi * person.breath_hz * beats.time)
    total = np.zeros(n_samples)
    for template, weight in parts:
        waves = _vary(template, weight * gain, person.jitter, rng)
        has = weight > 0
        omega = 2 * np.pi / np.sqrt(beats.rr[has])
        total += _gaussians(Waves(*(part[has] for part in waves)), beats.time[has], omega, n_samples, sfreq)
    return total


def _vary(template: Waves, gain: Array, jitter: float, rng: np.random.Generator) -> Waves:
    """One jittered copy (n_beats, W) of a template (W,) for each gain (n_beats,)."""
    shape = (len(gain), len(template.height))
    height = gain[:, np.newaxis] * template.height * (1 + jitter * rng.standard_normal(shape))
    # One for the whole beat: a slower conduction widens all of it.
    stretch = np.exp(0.5 * jitter * rng.standard_normal((len(gain), 1)))
    return Waves(height, template.angle * stretch, template.width * stretch)


def _gaussians(waves: Waves, time: Array, omega: Array, n_samples: int, sfreq: float) -> Array:
    """Sum of the waves (n_beats, W) of beats with R at `time` (s) and phase speed `omega` (rad/s)."""
    total = np.zeros(n_samples)
    if len(time) == 0:
        return total
    for height, angle, width in zip(waves.height.T, waves.angle.T, waves.width.T, strict=True):
        centre = (time + angle / omega)[:, np.newaxis] * sfreq  # (n_beats, 1), samples
        sd = np.maximum(width / omega * sfreq, 0.4)[:, np.newaxis]  # a narrower spike falls between samples
        reach = math.ceil(4 * sd.max())  # 4 standard deviations: what is cut off is below one ADC unit
        index = np.rint(centre).astype(np.int64) + np.arange(-reach, reach + 1)  # (n_beats, 2 reach + 1)
        value = height[:, np.newaxis] * np.exp(-0.5 * ((index - centre) / sd) ** 2)
        inside = (index >= 0) & (index < n_samples)
        total += np.bincount(index[inside], weights=value[inside], minlength=n_samples)
    return total


def _leak(x: Array, sfreq: float) -> Array:
    """Solution (n,) of y' = x - y, exact where x is linear between samples, y(0) being the mean of x."""
    h = 1 / sfreq
    decay = math.exp(-h)
    held = (1 - decay) / h
    mean = x.mean()
    return mean + lfilter([1 - held, held - decay], [1.0, -decay], x - mean)


def _baseline(person: Patient, n_samples: int, sfreq: float, rng: np.random.Generator) -> Array:
    """z0(t) in mV, (n_samples,): respiration, as in the paper, and a slow drift of the electrodes."""
    t = np.arange(n_samples) / sfreq
    breath, drift = rng.uniform(0, 2 * np.pi, 2)
    return person.wander * (
        np.sin(2 * np.pi * person.breath_hz * t + breath) + 0.7 * np.sin(2 * np.pi * 0.04 * t + drift)
    )


def _noise(person: Patient, n_samples: int, sfreq: float, rng: np.random.Generator) -> Array:
    """Muscle noise, which comes and goes, and power line hum in mV, (n_samples,)."""
    t = np.arange(n_samples) / sfreq
    phase, phase_of_tension = rng.uniform(0, 2 * np.pi, 2)
    high_pass = butter(2, 15.0, "highpass", fs=sfreq, output="sos")
    muscle = sosfilt(high_pass, rng.standard_normal(n_samples))
    # A period of 47 s keeps no step with drift or breath.
    tension = np.exp(0.6 * np.sin(2 * np.pi * t / 47.0 + phase_of_tension))
    noise = person.muscle * tension * muscle / max(float(muscle.std()), 1e-9)
    if sfreq > 2 * LINE_HZ:  # below, the recorder's anti-aliasing filter removes it
        noise += person.hum * np.sin(2 * np.pi * LINE_HZ * t + phase)
    return noise


def _annotate(heart: Array, beats: Beats, sfreq: float) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Samples and symbols (n_annotations,): the rhythm mark, and the beats whose QRS is recorded whole."""
    seconds = len(heart) / sfreq
    whole = (beats.time > EDGE) & (beats.time < seconds - EDGE)
    # S waves, shoulders and blends move the largest deflection away from phase 0, by up to half a wide QRS.
    reach = round(0.08 * sfreq)
    window = np.rint(beats.time[whole] * sfreq).astype(np.int64)[:, np.newaxis] + np.arange(-reach, reach + 1)
    peak = np.abs(heart[np.clip(window, 0, len(heart) - 1)]).argmax(axis=1)
    sample = window[np.arange(len(window)), peak]
    mark = min(round(0.02 * sfreq), len(heart) - 1)  # before EDGE less the reach: ahead of every beat
    return np.concatenate([[mark], sample]), np.concatenate([["+"], beats.symbol[whole]]).astype("<U1")


def _digitise(signal: Array) -> NDArray[np.int16]:
    return np.clip(np.rint(ADC_ZERO + ADC_GAIN * signal), *ADC_RANGE).astype(np.int16)
