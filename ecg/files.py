"""Atomic writes: after a crash or on a full disk, the previous version of a file is unchanged."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path, *, exclusive: bool = False) -> Iterator[Path]:
    """Yields a temporary path next to `path`, and renames it to `path` on success.

    Args:
        path: the file to write.
        exclusive: no other process writes this file. The temporary name is then always the same, so that the next
            write overwrites what a killed process left behind. Use it for large files.
    """
    temporary = path.with_name(f".{path.name}{'' if exclusive else f'.{uuid.uuid4().hex}'}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON atomically; raises ValueError for NaN."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
