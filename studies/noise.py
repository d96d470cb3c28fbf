"""Study: classification and detection of beats in the noise of moving electrodes.

    ECG_DATA_DIR=... python studies/noise.py --runs FOLDER

Trains on DS1 with and without recorded noise, and tests on DS2 with electrode motion noise (`em` of the MIT-BIH Noise
Stress Test Database) at 24, 12 and 6 dB, with annotated and with detected R peaks. A study that was interrupted
continues. The result is results/noise.json.

Noise of the training: the first half of the records bw, em and ma, added to the waveforms of single beats
(`augmentation.transforms.recorded_noise`). The features of rhythm, P wave and shape remain those of the clean record.
Noise of the test: the second half of em, repeated up to the end of a record, in all of the record and in both leads.

The signal-to-noise ratio is that of the program nst of PhysioNet, for each lead:

    SNR = 10 log10(S / N)
    S   = a^2 / 8, a the mean peak-to-peak amplitude of the first 300 normal QRS complexes, 50 ms on each side
    N   = n^2, n the mean standard deviation of the noise in its first 300 s, each second by itself

Both means leave out the 5 % largest and smallest values. In training, the ratio is that of the standard deviations of
beat and noise, uniform from 0 to 20 dB in half of the beats. A ratio of nst is several dB larger for the same noise.

F1 with detected R peaks counts missed and false beats as mistakes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import wfdb
from numpy.typing import NDArray

from ecg.data.aami import labels_from_symbols
from ecg.data.mitbih import DS2
from ecg.data.noise import RECORDS, noise_folder
from ecg.data.physionet import PhysioNet
from ecg.data.recording import Recording
from ecg.data.wfdb_reader import read_signals
from ecg.evaluation.beat_matching import Comparison
from ecg.files import write_json
from ecg.prediction import BeatClassifier, compare_with_annotations, load_classifier, with_r_peaks

ROOT = Path(__file__).parents[1]
SNRS = (None, 24, 12, 6)  # dB; None without added noise
BASE = ("experiment=inter_patient", "logger=none", "trainer.enable_progress_bar=false", "n_bootstrap=10")
TRAINING_SNR = 0  # dB
N_MEASURED = 300  # QRS complexes, and seconds of noise
LEFT_OUT = 0.05  # of the smallest and of the largest values
QRS_REACH = 0.05  # s on each side of an annotation

Leads = NDArray[np.float64]  # (n_leads, n_samples)
Case: TypeAlias = tuple[int, int | None, str]  # seed, SNR, kind of R peaks


# -- noise --------------------------------------------------------------------------------------------------------


def write_training_noise(source: Path, folder: Path) -> None:
    """Writes the first half of each noise record to a folder, as WFDB records."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDS:
        record = wfdb.rdrecord(str(source / name), physical=False)
        wfdb.wrsamp(
            name,
            fs=record.fs,
            units=record.units,
            sig_name=record.sig_name,
            d_signal=record.d_signal[: record.sig_len // 2],
            fmt=record.fmt,
            adc_gain=record.adc_gain,
            baseline=record.baseline,
            write_dir=str(folder),
        )


def noise_of_test(source: Path) -> Leads:
    """Returns the second half of em (n_leads, n_samples)."""
    noise = read_signals(source, "em").signal.astype(np.float64)
    return noise[:, noise.shape[1] // 2 :]


def add_noise(recording: Recording, noise: Leads, snr: float) -> Recording:
    """Returns the recording with noise of the same sampling rate in each lead, at a ratio in dB (see above).

    Lead i of a recording gets lead i of the noise, from the first one again where the noise has fewer.
    """
    leads = []
    for i, x in enumerate(recording.signal.astype(np.float64)):
        of_lead = noise[i % len(noise)]
        power = qrs_amplitude(x, recording) ** 2 / 8
        gain = np.sqrt(power / 10 ** (snr / 10)) / noise_amplitude(of_lead, recording.sfreq)
        leads.append(x + gain * np.resize(of_lead, x.size))  # resize repeats
    return replace(recording, signal=np.stack(leads))


def qrs_amplitude(x: NDArray[np.float64], recording: Recording) -> float:
    """Returns the peak-to-peak amplitude of the normal QRS complexes of a lead (n_samples,)."""
    normal = recording.sample[labels_from_symbols(recording.symbol) == 0][:N_MEASURED]
    reach = round(QRS_REACH * recording.sfreq)
    return _trimmed_mean([np.ptp(x[max(0, sample - reach) : sample + reach + 1]) for sample in normal])


def noise_amplitude(noise: NDArray[np.float64], sfreq: float) -> float:
    """Returns the mean standard deviation of noise (n_samples,) in a second."""
    second = round(sfreq)
    n = min(N_MEASURED, noise.size // second)
    return _trimmed_mean(noise[: n * second].reshape(n, second).std(axis=1))


def _trimmed_mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    cut = int(LEFT_OUT * len(ordered))
    return float(ordered[cut : len(ordered) - cut].mean())


# -- train and test -----------------------------------------------------------------------------------------------


def trainings(noise: Path) -> dict[str, list[str]]:
    """The overrides of train.py for each training."""
    transform = "augmentation.transforms.recorded_noise"
    return {
        "without noise": [*BASE],
        "with noise": [*BASE, f"{transform}.snr={TRAINING_SNR}", f"{transform}.dir={noise}"],
    }


def fit(folder: Path, overrides: Sequence[str]) -> None:
    """Runs train.py in a folder that has no finished run.

    Raises:
        CalledProcessError: the training failed.
    """
    if not (folder / "metrics.json").is_file():
        command = [sys.executable, str(ROOT / "train.py"), *overrides, f"hydra.run.dir={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(folder.name, flush=True)


def compare(
    classifiers: Mapping[int, BeatClassifier], recordings: Iterable[Recording], noise: Leads
) -> dict[Case, Comparison]:
    """Returns the comparison of all beats with their annotations, for each seed, SNR and kind of R peaks.

    Args:
        classifiers: seed -> classifier. All have the same window.
        recordings: the annotated test records.
        noise: (n_leads, n_samples).
    """
    found: dict[Case, Comparison] = {}
    cut = next(iter(classifiers.values())).cut
    for recording in recordings:
        for snr in SNRS:
            noisy = recording if snr is None else add_noise(recording, noise, snr)
            for peaks, annotated in (("annotated", noisy), ("detected", with_r_peaks(noisy))):
                beats = cut(annotated)
                for seed, classifier in classifiers.items():
                    table = classifier.classify(beats)
                    of_record = compare_with_annotations(table, recording, classifier.classes)
                    case = (seed, snr, peaks)
                    found[case] = found[case] + of_record if case in found else of_record
        print(recording.name, flush=True)
    return found


def summarise(found: Mapping[Case, Comparison]) -> list[dict[str, Any]]:
    """Returns a row for each SNR and kind of R peaks: the F1 scores of every seed, Se and +P of the detector."""
    rows = []
    for snr, peaks in dict.fromkeys((snr, peaks) for _, snr, peaks in found):
        of_seeds = [comparison for case, comparison in found.items() if case[1:] == (snr, peaks)]
        scores = [f1_scores(comparison) for comparison in of_seeds]
        row: dict[str, Any] = {"snr": snr, "peaks": peaks}
        row["f1"] = {name: [each[name] for each in scores] for name in scores[0]}
        if peaks == "detected":
            row |= {"se": of_seeds[0].sensitivity, "ppv": of_seeds[0].positive_predictive_value}
        rows.append(row)
    return rows


def f1_scores(comparison: Comparison) -> dict[str, float]:
    """Returns macro-F1 and the F1 of each class, with missed and false beats as mistakes."""
    counts = comparison.counts
    right = counts.diagonal()[:-1]
    f1 = 2 * right / np.maximum((counts.sum(axis=0) + counts.sum(axis=1))[:-1], 1)
    return {"macro_f1": float(f1.mean())} | dict(zip(comparison.classes, f1.tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, tests and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "noise.json")
    options = parser.parse_args(arguments)
    runs, source = options.runs.resolve(), noise_folder(None)
    write_training_noise(source, runs / "noise_of_training")
    source_of_records = PhysioNet(name="mitbih", records=DS2, dir=None, url=None)
    overrides_of = trainings(runs / "noise_of_training")
    rows = []
    for training, overrides in overrides_of.items():
        name = training.replace(" ", "_")
        classifiers = {}
        for seed in range(1, options.seeds + 1):
            fit(runs / f"{name}_{seed}", [*overrides, f"seed={seed}"])
            classifiers[seed] = load_classifier(runs / f"{name}_{seed}")
        if not (result := runs / f"{name}.json").is_file():
            recordings = (source_of_records.read(record, classifiers[1].window) for record in DS2)
            write_json(result, {"rows": summarise(compare(classifiers, recordings, noise_of_test(source)))})
        rows += [{"training": training, **row} for row in json.loads(result.read_text())["rows"]]
    shown = {name: [o for o in overrides if "_noise.dir" not in o] for name, overrides in overrides_of.items()}
    write_json(options.out, {"overrides": shown, "seeds": [*range(1, options.seeds + 1)], "rows": rows})
    print(options.out)


if __name__ == "__main__":
    main()
