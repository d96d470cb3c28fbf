"""Memory and disk space that a step needs, compared with what is available before the step begins."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from ecg.errors import UserError

_CGROUP = Path("/sys/fs/cgroup")  # the limit of a container or of a job on a cluster


def require_memory(n_bytes: float, what: str, remedy: str, available: float | None = None) -> None:
    """Refuses a step that needs more memory than is available.

    Args:
        n_bytes: estimate of what the step needs.
        what: what needs the memory, as the subject of the message.
        remedy: what to do, as a sentence that names the keys.
        available: bytes that are available; None for the memory of this machine.

    Raises:
        UserError: the memory is too small.
    """
    available = available_memory() if available is None else available
    if n_bytes > available:
        raise UserError(f"{what} need about {_size(n_bytes)} of memory. Available: {_size(available)}. {remedy}")


def require_disk(n_bytes: float, folder: Path, what: str, remedy: str) -> None:
    """Refuses a step that writes more than the disk of `folder` can hold.

    Args:
        n_bytes: estimate of what the step writes.
        folder: where the step writes; need not exist.
        what: what is written, as the subject of the message.
        remedy: what to do, as a sentence that names the keys.

    Raises:
        UserError: the disk is too full.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    available = shutil.disk_usage(existing).free
    if n_bytes > available:
        raise UserError(
            f"{what} need about {_size(n_bytes)} of disk space in {folder}. Available: {_size(available)}. {remedy}"
        )


def available_memory() -> int:
    """Returns the bytes of memory that this process may still use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError):  # Linux only
        free = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        memory = int(free[1]) * 1024 if free else memory
    with suppress(OSError, ValueError):  # without a limit, memory.max is "max"
        used = int((_CGROUP / "memory.current").read_text()) - _reclaimable()
        memory = min(memory, int((_CGROUP / "memory.max").read_text()) - used)
    return max(0, memory)


def _reclaimable() -> int:
    """Bytes of the files that the kernel keeps in memory while nothing else needs it."""
    cached = re.search(r"^inactive_file (\d+)", (_CGROUP / "memory.stat").read_text(), re.M)
    return int(cached[1]) if cached else 0


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes < 1e12 else f"{n_bytes / 1e12:,.1f} TB"
