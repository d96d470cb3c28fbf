"""Time of `train.py` and `synth.py` next to a process that keeps one core busy, relative to the time alone.

    python benchmarks/busy.py

Both runs use simulated recordings. The seconds are those of the process without its imports. The beats are prepared
before.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "train.py": ["model=cnn", "trainer.max_epochs=2"],
    "synth.py": ["generator=r3gan", "trainer.max_epochs=3"],
}
TINY = {"train.py": ["model.hidden=8", "data.minutes=1", "data.n_patients=12", "trainer.max_epochs=1"]}


@contextmanager
def busy_process() -> Iterator[None]:
    """Another process keeps a core busy in this context."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(program: str, overrides: Sequence[str], folder: str) -> float:
    """Wall time of a run after its imports."""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    settings = ["logger=none", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    settings += [f"hydra.run.dir={run_dir}", f"paths.cache_dir={folder}/cache"]
    subprocess.run([sys.executable, str(ROOT / program), *overrides, *settings], check=True, capture_output=True)
    return time.time() - (run_dir / "config.yaml").stat().st_mtime  # written when the run begins


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the seconds of each round, and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--tiny", action="store_true", help="a quick check that the benchmark runs, with train.py alone"
    )
    options = parser.parse_args(arguments)
    commands, rounds = (TINY, 1) if options.tiny else (COMMANDS, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        for program, overrides in commands.items():
            if not options.tiny:
                seconds(program, [*overrides, "trainer.max_epochs=1"], folder)  # prepares the beats
            ratios = []
            for _ in range(rounds):
                alone = seconds(program, overrides, folder)
                with busy_process():
                    beside = seconds(program, overrides, folder)
                ratios.append(beside / alone)
                print(f"{program}: alone {alone:.1f} s, next to a busy process {beside:.1f} s", flush=True)
            print(f"{program}: {statistics.median(ratios):.2f} times as long (target: at most 2)", flush=True)


if __name__ == "__main__":
    main()
