"""Errors that a user can correct."""

from __future__ import annotations

import errno
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

INSTALL = 'pip install "ecg-synthesis-classification[{}]"'  # the command that installs an extra

_OF_THE_FILE_SYSTEM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class UserError(Exception):
    """An error that the user can correct. The message says what is wrong and what to do.

    The programs print the message without a traceback and exit with a status other than 0.
    """


@contextmanager
def user_errors() -> Iterator[None]:
    """Exits with the message of a UserError, or with the status 130 after SIGINT (Ctrl-C)."""
    try:
        yield
    except UserError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        exit_after_interrupt()


def exit_after_interrupt() -> NoReturn:
    """Exits with the status 130."""
    print("Interrupted.", file=sys.stderr)
    sys.exit(128 + signal.SIGINT)


def memory_message(error: BaseException) -> str | None:
    """The message for a lack of memory; None for any other error."""
    of_torch = isinstance(error, RuntimeError) and re.search(r"out of memory|can't allocate memory", str(error))
    if not isinstance(error, MemoryError) and not of_torch:
        return None
    return (
        "The memory is too small for this run. Decrease optimizer.batch_size or model.hidden, for synth.py "
        "fit.batch_size or generator.hidden, or use fewer or shorter beats."
    )


def file_system_message(error: BaseException, folders: Mapping[str, str]) -> str | None:
    """The message for a full disk, missing permissions and the like; None for any other error.

    Args:
        error: the error.
        folders: by the override that changes it, each folder that the program writes to; the first one is assumed
            where the error names no path.
    """
    if not isinstance(error, OSError) or error.errno not in _OF_THE_FILE_SYSTEM:
        return None
    override, folder = next(iter(folders.items()))
    path = Path(error.filename or folder)
    for name, parent in folders.items():
        if path.is_relative_to(Path(parent).absolute()) or path.is_relative_to(parent):
            override = name
    remedy = "Free space" if error.errno in _FULL else "Check its permissions"
    return f"Cannot write {path}: {error.strerror}. {remedy}, or choose another folder with {override}=FOLDER."
