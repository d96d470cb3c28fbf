"""The number of threads of an operation on the CPU, adapted to the other processes of the machine.

The threads of an operation wait for one another. If another process uses one of the cores, all of them wait for the
thread on that core. The many short operations of a small network then take several times as long.
With one thread less, they take hardly longer than without the other process (`benchmarks/busy.py`).
"""

from __future__ import annotations

import logging
import math
import os
import time
from functools import cache
from pathlib import Path

import torch

log = logging.getLogger(__name__)

MEASURED_SECONDS = 0.1  # the counters of Linux have steps of 0.01 s
SHARE = 0.4  # of a core; a process that uses more of it takes the core from this one


def adapt_threads() -> None:
    """Sets the number of threads to the number of cores that no other process uses, at least one.

    Call it while this process computes nothing. It has no effect if the environment sets OMP_NUM_THREADS, and on other
    systems than Linux. The last digits of results depend on the number of threads.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    most, before, busy = _default_threads(), torch.get_num_threads(), _busy_cores()
    threads = min(most, max(1, math.ceil(most - busy - (1 - SHARE))))
    if threads != before:
        torch.set_num_threads(threads)
        log.info("Threads of this run: %d of %d, since other processes use %.1f cores.", threads, most, busy)


@cache
def _default_threads() -> int:
    return torch.get_num_threads()


def _busy_cores() -> float:
    """Number of cores that other processes use, of those that this one may use; 0 on other systems than Linux."""
    before, start = _busy_seconds(), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    return (_busy_seconds() - before) / (time.monotonic() - start)


def _busy_seconds() -> float:
    """Seconds in which the cores have computed since the machine started."""
    try:
        lines, cores = Path("/proc/stat").read_text(encoding="ascii").splitlines(), os.sched_getaffinity(0)
    except (OSError, AttributeError):
        return 0.0
    ticks = 0
    for name, *fields in map(str.split, lines):
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
            ticks += user + nice + system + irq + softirq
    return ticks / os.sysconf("SC_CLK_TCK")
