"""All 48 MIT-BIH records, and the simulated ones, to cached beats: cold and warm, seconds and peak memory.

    ECG_DATA_DIR=... python benchmarks/prepare.py

Each measurement is a process of its own; its imports are not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

CODE = """
import json, resource, sys, time
from pathlib import Path
import ecg.data.wfdb_records
from ecg.data import mitdb
from ecg.data.sources import MitBih, Simulated
import ecg.data.simulated
window = (sys.argv[2], "auto" if sys.argv[2] == "centered" else "first", .7, .9, 120., True)
if sys.argv[1] == "mitbih":
    source = MitBih("mitbih", *window, None, mitdb.URL)
else:
    source = Simulated("simulated", *window, 24, 5., 0)
start = time.perf_counter()
beats = source.beats(Path(sys.argv[3]))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([len(beats), round(seconds, 2), round(peak)]))
"""


def main() -> None:
    """Prints a line for each source and window, cold and warm."""
    print(f"{'source':<11}{'window':<10}{'cache':<7}{'beats':>8}{'seconds':>9}{'peak MiB':>10}")
    for source, window in (("mitbih", "kaggle"), ("mitbih", "centered"), ("simulated", "centered")):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                call = [sys.executable, "-W", "ignore", "-c", CODE, source, window, cache]
                ended = subprocess.run(call, check=True, capture_output=True, text=True)
                beats, seconds, peak = json.loads(ended.stdout)
                print(f"{source:<11}{window:<10}{state:<7}{beats:>8}{seconds:>9}{peak:>10}")


if __name__ == "__main__":
    main()
