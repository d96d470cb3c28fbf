"""Kills train.py, synth.py and a sweep at random moments, resumes each, and compares the results.

    python tests/kill_and_resume.py                    # ten kills of each
    python tests/kill_and_resume.py --kills 3 synth

A process cannot clean up after SIGKILL. Two tenths of the kills come before the run folder exists. Each of the others
has its own interval between then and the end, and comes at a random moment of it, so that the kills reach the data,
the fit, the evaluation and the writing of the results. A run is resumed with `resume=DIR`, a sweep with
`sweep.resume=DIR`; one without a configuration is started again. The results must be those of a run without
interruption, bit by bit. The exit status is 1 if one differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from programs import TINY_SYNTH, TINY_TRAIN, command

# In float32 and with one thread: sums in bfloat16 depend on the number of threads.
EXACT = ["trainer.precision=32-true", "logger=none"]
SMALL_FIT = ["data.n_patients=12", "data.minutes=2", "generator=wgan_gp", "trainer.max_epochs=8"]
SMALL_FIT += ["protocol.classes=[N,V]", "protocol.keep={N: 0.05}", "synth.per_class={V: 400}"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Target:
    """A program that is killed.

    Attributes:
        program: train or synth.
        overrides: its command line.
        folder: override that sets its folder.
        resume: override that resumes it.
        marker: file of the folder without which the program is started again.
    """

    program: str
    overrides: list[str]
    folder: str = "hydra.run.dir"
    resume: str = "resume"
    marker: str = "config.yaml"


TARGETS = {
    "train": Target("train", [*TINY_TRAIN, *EXACT, "trainer.max_epochs=20", "callbacks.patience=null"]),
    "synth": Target("synth", [*TINY_SYNTH, *SMALL_FIT, *EXACT]),
    "sweep": Target(
        "train",
        ["-m", "seed=1,2", *TINY_TRAIN, *EXACT, "trainer.max_epochs=6", "callbacks.patience=null"],
        folder="hydra.sweep.dir",
        resume="sweep.resume",
        marker="sweep.yaml",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--kills", type=int, default=10, help="kills of each target; default: 10")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments; default: 0")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    equal = [kill_and_resume(name, TARGETS[name], arguments.kills, rng) for name in arguments.targets]
    return 0 if all(equal) else 1


def kill_and_resume(name: str, target: Target, kills: int, rng: random.Random) -> bool:
    """Kills one program at `kills` moments; returns whether all results are equal."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        cache = f"paths.cache_dir={root}/cache"
        start(target, root / "warm" / "x", cache).wait()  # prepares the beats
        process, begin = start(target, root / "whole" / "x", cache), time.monotonic()
        wait_for_run(root / "whole" / "x", process)
        began = time.monotonic()
        process.wait()
        duration, expected = time.monotonic() - began, results(root / "whole" / "x")
        print(f"{name}: {began - begin:.1f} s to its folder, {duration:.1f} s to its end", flush=True)
        equal = []
        for i in range(kills):
            folder = root / str(i) / "x"  # the same name, which the leaderboard contains
            process, n_early = start(target, folder, cache), kills // 5
            if i < n_early:
                moment = (began - begin) * rng.random()
            else:
                wait_for_run(folder, process)
                moment = duration * (i - n_early + rng.random()) / (kills - n_early)
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            found = describe(folder)
            code = resume(target, folder, cache)
            equal.append(code == 0 and same(expected, results(folder)))
            phase = "its start" if i < n_early else "its folder"
            print(
                f"  killed {moment:4.1f} s after {phase} | {found} | {'equal' if equal[-1] else 'DIFFERENT'}",
                flush=True,
            )
        return all(equal)


def start(target: Target, folder: Path, cache: str, *, resumed: bool = False) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own; it writes its output next to its folder."""
    folder.parent.mkdir(exist_ok=True)
    log = (folder.parent / "log").open("ab")
    first = [f"{target.resume}={folder}"] if resumed else [*target.overrides, f"{target.folder}={folder}"]
    # A sweep keeps its folder of prepared beats.
    given = first if resumed and target.resume == "sweep.resume" else [*first, cache]
    call = command(target.program, *given)
    return subprocess.Popen(call, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)


def wait_for_run(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Waits until a program has opened its first run."""
    while process.poll() is None and not any(folder.rglob("status.json")):
        time.sleep(0.01)


def resume(target: Target, folder: Path, cache: str) -> int:
    """Resumes a killed program; returns its exit status."""
    code = start(target, folder, cache, resumed=(folder / target.marker).is_file()).wait()
    if code:
        print((folder.parent / "log").read_text()[-2000:], file=sys.stderr)
    return code


def describe(folder: Path) -> str:
    """What a killed program has left: the states of its runs, and the last files."""
    states = [f"{json.loads(path.read_text())['state']}" for path in sorted(folder.rglob("status.json"))]
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    newest = ", ".join(path.name for path in files[-2:]) or "no file"
    return f"{', '.join(states) or 'no status'}; newest: {newest}"


def results(folder: Path) -> dict[str, Any]:
    """The results of all runs in a folder by path: metrics, fidelity, leaderboards and arrays."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name in ("metrics.json", "leaderboard.json", "leaderboard.csv"):
            found[name] = path.read_text()
        elif path.name == "fidelity.json":
            found[name] = json.loads(path.read_text())["subsets"]  # "fit" holds durations
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                found |= {f"{name}:{key}": arrays[key] for key in arrays.files}
    return found


def same(expected: dict[str, Any], actual: dict[str, Any]) -> bool:
    """Whether all results are equal; prints the names of those that differ."""
    names = expected.keys() | actual.keys()
    differing = [name for name in sorted(names) if not np.array_equal(expected.get(name), actual.get(name))]
    if differing:
        print(f"  different: {', '.join(differing)}", file=sys.stderr)
    return bool(expected) and not differing


if __name__ == "__main__":
    sys.exit(main())
