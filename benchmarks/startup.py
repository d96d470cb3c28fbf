"""How soon `train.py` answers `--help` and a mistyped key, against `python -c "import hydra"`.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

TRAIN = str(Path(__file__).parents[1] / "train.py")
COMMANDS = {
    "import hydra": ["-c", "import hydra"],
    "train.py --help": [TRAIN, "--help"],
    "train.py modle=cnn": [TRAIN, "modle=cnn"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Runs the commands in turn, prints medians and what is allowed: 1.5 times the import, plus 0.3 s."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(8):
        for name, arguments in COMMANDS.items():
            taken = seconds(arguments)
            if turn:  # the first turn fills the disk cache
                times[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    allowed = 1.5 * medians["import hydra"] + 0.3
    for name, median in medians.items():
        print(f"{name:<20}{median:.2f} s" + ("" if name == "import hydra" else f"   allowed {allowed:.2f} s"))


if __name__ == "__main__":
    main()
