"""Start-up time of `train.py`: its answer to `--help` and to an unknown key, next to `python -c "import hydra"`.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TRAIN = str(Path(__file__).parents[1] / "train.py")
COMMANDS = {
    "import hydra": ["-c", "import hydra"],
    "train.py --help": [TRAIN, "--help"],
    "train.py modle=cnn": [TRAIN, "modle=cnn"],
}


def seconds(command: list[str]) -> float:
    """Wall time of a process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True)
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the medians, and the targets: 1.5 times the import plus 0.3 s."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for i in range(1 if options.tiny else options.repetitions + 1):
        for name, command in COMMANDS.items():
            taken = seconds(command)
            if i or options.tiny:  # the first round fills the disk cache
                times[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    target = 1.5 * medians["import hydra"] + 0.3
    for name, median in medians.items():
        print(f"{name:<20}{median:.2f} s" + ("" if name == "import hydra" else f"   target {target:.2f} s"))


if __name__ == "__main__":
    main()
