"""Files that are whole or not there: a program that is killed, or a full disk, leaves the earlier one as it was."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """A temporary file to write, beside `path`, whose place it takes at the end.

    Args:
        path: the file.
        alone: nobody else writes it at the same time. Its temporary file then has always the same name, so that
            what a killed process left behind is overwritten, which matters where it is large.
    """
    temporary = path.with_name(f".{path.name}{'' if alone else f'.{uuid.uuid4().hex}'}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """UTF-8, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON without NaN, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
