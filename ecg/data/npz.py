"""Reads arrays from npz files that may be damaged, or made by someone else."""

from __future__ import annotations

import math
import tokenize
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What zipfile and NumPy raise for damaged files, besides ValueError. RuntimeError: the file is encrypted, or needs a
# newer version of zip. SyntaxError and TokenError: NumPy parses the header of an array as Python.
_DAMAGE = (
    zipfile.BadZipFile,
    tokenize.TokenError,
    SyntaxError,
    EOFError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Returns arrays of an npz file, without pickles.

    The arrays must be stored without compression, as `numpy.savez` does. Then no array is larger than the file, and a
    small file cannot exhaust the memory.

    Args:
        path: the file.
        names: names of the arrays.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is damaged, or an array is missing, compressed or a pickle.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_array(archive, f"{name}.npy", path.stat().st_size) for name in names}
    except FileNotFoundError:
        raise
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    except _DAMAGE as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_array(archive: zipfile.ZipFile, member: str, file_size: int) -> NDArray[Any]:
    if archive.getinfo(member).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member} is compressed")
    # The header is read first: numpy.lib.format.read_array allocates what the header states.
    with archive.open(member) as file:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"{member} has format {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if math.prod(shape) * dtype.itemsize > file_size:
        raise ValueError(f"{member} states the shape {shape}, which is larger than the file")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"{member} has more bytes than its shape {shape} states")
    return array
