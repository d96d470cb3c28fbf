"""Time of a stream: milliseconds a beat on one core, in blocks of a second, with given and with detected R peaks.

    python benchmarks/streaming.py --record $ECG_DATA_DIR/mitdb/208 --model RUN_DIR --out results/streaming.json

The classifier is that of experiment=inter_patient_causal. Without `--model` its weights are random, which does not
change the time. Without `--record` the recording is simulated. Times are those of the processor, from a block to the
table of its beats, and the best of the rounds counts. The comparison is with the prediction of the finished recording,
with R peaks detected in all of it; these are the given ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray

from ecg import build
from ecg.config.schema import register
from ecg.data.recording import Recording
from ecg.data.recording_files import read_recording
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow
from ecg.prediction import BeatClassifier, load_classifier, with_r_peaks
from ecg.streaming import BeatStream

ROOT = Path(__file__).parents[1]
WARM_UP = 10.0  # s, not measured

Times = NDArray[Any]


def random_classifier() -> BeatClassifier:
    """A causal classifier with random weights."""
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = ["experiment=inter_patient_causal", "name=streaming", "paths.run_dir=unused"]
        cfg = compose("train", overrides)
    window, classes = build.window(cfg), tuple(cfg.protocol.classes)
    network = build.network(cfg, window, classes).eval()
    return BeatClassifier(network, window, classes, True, shifts={}, temperature=1.0, recentre=None, vote=False)


def simulated_recording(minutes: float) -> Recording:
    """A simulated recording."""
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=minutes, seed=0)
    return source.read(source.record_names()[0], KaggleWindow("first"))


def measure(classifier: BeatClassifier, recording: Recording, detect: bool) -> tuple[pd.DataFrame, Times, Times]:
    """Returns the rows of a recording, and the times in s and numbers of beats (n_blocks,) of the blocks."""
    stream = BeatStream(classifier, recording.sfreq, recording.leads, recording.preferred_lead)
    block, n, peaks = round(recording.sfreq), recording.signal.shape[1], recording.sample
    tables, seconds = [], []
    for start in range(0, n, block):
        known = None if detect else peaks[(peaks >= start) & (peaks < start + block)]
        began = time.process_time()
        tables.append(stream.push(recording.signal[:, start : start + block], known))
        seconds.append(time.process_time() - began)
    tables.append(stream.finish())
    rows = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return rows, np.array(seconds), np.array([len(table) for table in tables[:-1]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the times and the differences, and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, help="a recording; a simulated one without")
    parser.add_argument("--model", type=Path, help="a run folder; random weights without")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    classifier = load_classifier(options.model) if options.model else random_classifier()
    recording = read_recording(options.record) if options.record else simulated_recording(0.3 if options.tiny else 30)
    recording = with_r_peaks(recording)
    expected = classifier.classify(classifier.cut(recording))
    measure(classifier, replace(recording, signal=recording.signal[:, : round(WARM_UP * recording.sfreq)]), True)
    columns = [f"p_{name}" for name in classifier.classes]
    rows: list[dict[str, Any]] = []
    for detect in (False, True):
        rounds = [measure(classifier, recording, detect) for _ in range(1 if options.tiny else options.rounds)]
        found, _, n_beats = rounds[0]
        seconds = np.min([each[1] for each in rounds], axis=0)
        per_beat = 1e3 * seconds[n_beats > 0] / n_beats[n_beats > 0]
        both = found.merge(expected, on="sample")
        difference = np.abs(both[[f"{c}_x" for c in columns]].to_numpy() - both[[f"{c}_y" for c in columns]].to_numpy())
        row = {
            "r_peaks": "detected" if detect else "given",
            "milliseconds_per_beat": round(1e3 * seconds.sum() / len(found), 2),
            "median_milliseconds_per_beat": round(float(np.median(per_beat)), 2),
            "slowest_block_milliseconds": round(1e3 * float(seconds.max()), 1),
            "beats": len(found),
            "beats_of_the_finished_recording": len(expected),
            "same_r_peak": len(both),
            "same_class": int((both["class_x"] == both["class_y"]).sum()),
            "largest_difference": float(f"{difference.max(initial=0):.1e}"),
        }
        rows.append(row)
        print(", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    torch.set_num_threads(threads)
    if options.out:
        content = {
            "record": options.record.name if options.record else "simulated",
            "minutes": round(recording.signal.shape[1] / recording.sfreq / 60, 1),
            "torch": torch.__version__,
            "rows": rows,
        }
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
