"""Time to prepare beats: MIT-BIH and the simulated recordings, with an empty and with a filled cache.

    ECG_DATA_DIR=... python benchmarks/prepare.py

Each measurement runs in a process; its imports are not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence

CODE = """
import json, resource, sys, time
from pathlib import Path
from ecg.data.physionet import PhysioNet
from ecg.data.simulated import Simulated
from ecg.data.window import CenteredWindow, KaggleWindow
import ecg.data.simulator
import ecg.data.wfdb_reader
source, window, cache, minutes = sys.argv[1:]
windows = {
    "kaggle": KaggleWindow(lead="first"),
    "centered": CenteredWindow(lead="auto", before=0.7, after=0.9, sfreq=120.0, difference=True),
    "context": CenteredWindow(
        lead="auto", before=0.35, after=0.55, sfreq=120.0, difference=True, leads=2, features="rhythm_and_shape"
    ),
}
if source == "mitbih":
    beats_of = PhysioNet(name="mitbih", records=None, dir=None, url=None)
else:
    beats_of = Simulated(name="simulated", records=None, n_patients=24, minutes=float(minutes), seed=0)
start = time.perf_counter()
beats = beats_of.load_beats(windows[window], Path(cache))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([len(beats), round(seconds, 2), round(peak)]))
"""
CASES = [("mitbih", "kaggle"), ("mitbih", "centered"), ("mitbih", "context"), ("simulated", "centered")]


def measure(source: str, window: str, cache: str, minutes: float) -> list[float]:
    """Number of beats, seconds and peak memory in MiB."""
    call = [sys.executable, "-W", "ignore", "-c", CODE, source, window, cache, str(minutes)]
    ended = subprocess.run(call, check=True, capture_output=True, text=True)
    figures: list[float] = json.loads(ended.stdout)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each source and window, with an empty and with a filled cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    print(f"{'source':<11}{'window':<10}{'cache':<8}{'beats':>8}{'seconds':>9}{'peak MiB':>10}")
    for source, window in CASES[3:] if options.tiny else CASES:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty", "filled"):
                n, seconds, peak = measure(source, window, cache, 0.5 if options.tiny else 5)
                print(f"{source:<11}{window:<10}{state:<8}{n:>8}{seconds:>9}{peak:>10}")


if __name__ == "__main__":
    main()
