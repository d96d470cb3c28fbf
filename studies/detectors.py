"""Study: R peaks of five detectors on MIT-BIH and SVDB.

    pip install -e ".[detectors]"
    ECG_DATA_DIR=... python studies/detectors.py

For each detector and database: sensitivity and positive predictive value with a tolerance of 150 ms as in EC57, over
all beats and as the mean over records, the offset of the detections from the annotations, and the time on one core. The
detectors receive the lead that `data.lead=auto` selects, in mV. Detections in ventricular flutter are not counted: it
has no R peaks. The result is results/detectors.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import neurokit2
import numpy as np
import sleepecg
from numpy.typing import NDArray
from wfdb import processing

from ecg.data.aami import labels_from_symbols
from ecg.data.databases import DATABASES
from ecg.data.physionet import PhysioNet
from ecg.data.r_peaks import detect_r_peaks
from ecg.data.recording import Recording
from ecg.data.window import CenteredWindow, lead_index
from ecg.evaluation.beat_matching import TOLERANCE, match
from ecg.files import write_json

ROOT = Path(__file__).parents[1]
ADC_GAIN = 200  # values per mV in both databases
WINDOW = CenteredWindow(lead="auto", before=0.3, after=0.3, sfreq=120, difference=False)

Peaks = NDArray[np.int64]
Lead = NDArray[np.float64]


def xqrs(x: Lead, sfreq: float) -> Peaks:
    """XQRS of wfdb."""
    detector = processing.XQRS(sig=x, fs=sfreq)
    detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds, np.int64)


def gqrs(x: Lead, sfreq: float) -> Peaks:
    """gqrs of wfdb, as it is."""
    return np.asarray(processing.gqrs_detect(sig=x, fs=sfreq, adc_gain=ADC_GAIN, adc_zero=0), np.int64)


def neurokit(x: Lead, sfreq: float) -> Peaks:
    """The default of NeuroKit2."""
    cleaned = neurokit2.ecg_clean(x, sampling_rate=sfreq)
    return np.asarray(neurokit2.ecg_peaks(cleaned, sampling_rate=sfreq)[1]["ECG_R_Peaks"], np.int64)


DETECTORS: dict[str, Callable[[Lead, float], Peaks]] = {
    "ecg.data.r_peaks": detect_r_peaks,
    "wfdb gqrs": gqrs,
    "wfdb XQRS": xqrs,
    "sleepecg": lambda x, sfreq: np.asarray(sleepecg.detect_heartbeats(x, sfreq), np.int64),
    "NeuroKit2": neurokit,
}


def evaluate(detect: Callable[[Lead, float], Peaks], recordings: Sequence[Recording]) -> dict[str, Any]:
    """Returns the scores of a detector on some recordings."""
    counts, offsets, seconds = [], [], 0.0
    for recording in recordings:
        x = recording.signal[lead_index(recording, "auto")].astype(np.float64) / ADC_GAIN
        start = time.perf_counter()
        found = np.sort(detect(x, recording.sfreq))
        seconds += time.perf_counter() - start
        for first, last in zip(*(recording.sample[recording.symbol == mark] for mark in "[]"), strict=False):
            found = found[(found < first) | (found > last)]
        reference = recording.sample[labels_from_symbols(recording.symbol) >= 0]
        pairs = match(reference, found, TOLERANCE * recording.sfreq)
        counts.append((len(pairs), len(reference), len(found)))
        offsets += [1000 * (found[j] - reference[i]) / recording.sfreq for i, j in pairs]
    right, beats, detections = np.array(counts).T
    return {
        "gross": {"se": right.sum() / beats.sum(), "ppv": right.sum() / detections.sum()},
        "record_mean": {"se": (right / beats).mean(), "ppv": (right / np.maximum(detections, 1)).mean()},
        "offset_ms": {"median": float(np.median(offsets)), "mean_absolute": float(np.abs(offsets).mean())},
        "seconds": round(seconds, 1),
        "hours": round(sum(r.signal.shape[1] / r.sfreq for r in recordings) / 3600, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates all detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, help="the first records of each database only, for a try")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "detectors.json")
    options = parser.parse_args(arguments)
    rows = []
    for name in ("mitbih", "svdb"):
        source = PhysioNet(name=name, records=None, dir=None, url=None)
        present = [record for record in DATABASES[name].records if (source.folder / f"{record}.hea").is_file()]
        recordings = [source.read(record, WINDOW) for record in present[: options.records]]
        for detector, detect in DETECTORS.items():
            rows.append(
                {"detector": detector, "database": name, "records": len(recordings)} | evaluate(detect, recordings)
            )
            print(rows[-1], flush=True)
    write_json(options.out, {"tolerance_ms": 1000 * TOLERANCE, "rows": rows})


if __name__ == "__main__":
    main()
