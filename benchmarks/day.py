"""Seconds and peak memory of `ecg predict` for a simulated recording of many hours, with two leads at 250 Hz.

    python benchmarks/day.py                    # 24 hours
    python benchmarks/day.py --hours 2 --gaps   # with a part of which no sample was stored

The annotation runs in a process of its own. Its imports count in the memory. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import wfdb

from ecg.data.simulator import ADC_GAIN, ADC_ZERO, simulate

SFREQ = 250.0
CODE = """
import re, sys, time
from pathlib import Path
from ecg.cli import app
start = time.perf_counter()
app(["predict", *sys.argv[1:]], standalone_mode=False)
# `ru_maxrss` would include the memory of the process that started this one.
peak = re.search("VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1]
print(time.perf_counter() - start, time.process_time(), peak)
"""


def write_record(folder: Path, hours: float, gaps: bool) -> Path:
    """Writes a simulated WFDB record; its second lead is the inverted first one, with noise."""
    lead = simulate(2, minutes=60 * hours, seed=0, sfreq=SFREQ).signal[0]
    second = 2 * ADC_ZERO - lead + np.random.default_rng(0).integers(-8, 9, len(lead), np.int16)
    signal = np.stack([lead, second], axis=1)
    if gaps:
        signal[len(lead) // 2 : len(lead) // 2 + round(20 * SFREQ)] = np.iinfo(np.int16).min  # missing in format 16
    described = {"fmt": ["16"] * 2, "adc_gain": [ADC_GAIN] * 2, "baseline": [ADC_ZERO] * 2, "units": ["mV"] * 2}
    wfdb.wrsamp("day", SFREQ, sig_name=["MLII", "V5"], d_signal=signal, write_dir=str(folder), **described)
    return folder / "day"


def measure(hours: float, gaps: bool) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        record = write_record(Path(folder), hours, gaps)
        ended = subprocess.run([sys.executable, "-c", CODE, str(record)], check=True, capture_output=True, text=True)
    seconds, processor, peak = map(float, ended.stdout.split()[-3:])
    return seconds, processor, peak * 1024 / 1e6  # Linux states KiB


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--gaps", action="store_true", help="no sample is stored for 20 s")
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    hours = 0.02 if options.tiny else options.hours
    seconds, processor, peak = measure(hours, options.gaps)
    print(f"{hours:g} h: {seconds:.1f} s, {processor:.1f} s of the processor, {peak:.0f} MB at most")


if __name__ == "__main__":
    main()
