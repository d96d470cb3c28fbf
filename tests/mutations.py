"""Random damage to the content of a file, for tests that read damaged files.

`mutate` makes one to three random edits. The edits of bytes suit every format; those of numbers and lines reach the
fields of text formats such as headers, CSV, JSON and YAML. Equal generators make equal edits.

`read_mutated` reads a file after each of many mutations. The number of mutations of one test is the environment
variable ECG_MUTATIONS, 20 without it:

    ECG_MUTATIONS=2000 pytest -s tests/data/test_damaged_files.py
"""

from __future__ import annotations

import os
import re
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg.errors import UserError

N_MUTATIONS = int(os.environ.get("ECG_MUTATIONS", "20"))
MAX_SECONDS = 5.0
MAX_BYTES = 256 << 20

Edit = Callable[[bytes, np.random.Generator], bytes]

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_MAX_NUMBERS = 20_000  # numbers of a large file that an edit considers
# What a number or a value is replaced by.
_VALUES = (
    b"0",
    b"-1",
    b"1e30",
    b"-1e30",
    b"1e400",
    b"NaN",
    b"nan",
    b"inf",
    b"-Infinity",
    b"0.5",
    b"65536",
    b"2147483648",
    b"99999999999",
    b"9" * 30,
    b"9" * 5000,
    b"",
    b"x",
    b'"text"',
    b"null",
    b"true",
    b"[]",
    b"{}",
)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns the content of a file with one to three random edits.

    Args:
        data: content of the file; it may be empty.
        rng: source of the edits.
    """
    for _ in range(rng.integers(1, 4)):
        edit = EDITS[rng.integers(len(EDITS))]
        data = edit(data, rng)
    return data


@dataclass
class Outcome:
    """What happened when mutations of a file were read.

    Attributes:
        refused: mutations that were refused with a message.
        read: mutations that were read.
        seconds: time of the slowest read.
        peak: largest number of bytes that Python and NumPy allocated during a read.
    """

    refused: int = 0
    read: int = 0
    seconds: float = 0.0
    peak: int = 0


def read_mutated(path: Path, read: Callable[[], object], *, n: int = N_MUTATIONS, seed: int = 0) -> Outcome:
    """Reads a file as it is, then after each of n mutations, and restores it.

    Args:
        path: the file.
        read: reads the file, or the folder that contains it.
        n: number of mutations.
        seed: seed of the mutations.

    Raises:
        AssertionError: a read ended in an error other than `UserError`, in a message that is not one line with a full
            stop, took more than 5 s, or allocated more than 256 MiB.
    """
    read()
    content = path.read_bytes()
    outcome = Outcome()
    for i in range(n):
        path.write_bytes(mutate(content, np.random.default_rng([seed, i])))
        _read_once(read, outcome, f"mutation {i} of {path.name} with seed {seed}")
    path.write_bytes(content)
    print(
        f"{path.name}: {n} mutations, {outcome.refused} refused, {outcome.read} read, slowest {outcome.seconds:.3f} s, "
        f"peak {outcome.peak / 2**20:.1f} MiB"
    )
    return outcome


def _read_once(read: Callable[[], object], outcome: Outcome, where: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    try:
        read()
        outcome.read += 1
    except UserError as error:
        message = str(error)
        assert "\n" not in message, f"{where}: {message!r}"
        assert message.endswith("."), f"{where}: {message!r}"
        outcome.refused += 1
    except Exception as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    finally:
        seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seconds < MAX_SECONDS, f"{where}: {seconds:.1f} s"
    assert peak < MAX_BYTES, f"{where}: {peak} bytes"
    outcome.seconds, outcome.peak = max(outcome.seconds, seconds), max(outcome.peak, peak)


def flip_bit(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips one bit."""
    if not data:
        return data
    i = int(rng.integers(len(data)))
    return data[:i] + bytes([data[i] ^ (1 << int(rng.integers(8)))]) + data[i + 1 :]


def flip_bit_near_an_end(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips one bit of the first or last 512 bytes, where most formats have their headers."""
    if rng.integers(2):
        return flip_bit(data[:512], rng) + data[512:]
    return data[:-512] + flip_bit(data[-512:], rng)


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    """Removes the end."""
    return data[: int(rng.integers(len(data) + 1))]


def delete_chunk(data: bytes, rng: np.random.Generator) -> bytes:
    """Removes a random chunk."""
    start, end = _chunk(data, rng)
    return data[:start] + data[end:]


def duplicate_chunk(data: bytes, rng: np.random.Generator) -> bytes:
    """Repeats a random chunk."""
    start, end = _chunk(data, rng)
    return data[:end] + data[start:end] + data[end:]


def insert_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Inserts up to 64 random bytes."""
    i = int(rng.integers(len(data) + 1))
    return data[:i] + rng.bytes(int(rng.integers(1, 65))) + data[i:]


def overwrite_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Replaces a random chunk by random bytes, or by zeros as a failed write does."""
    start, end = _chunk(data, rng)
    return data[:start] + (rng.bytes(end - start) if rng.integers(2) else bytes(end - start)) + data[end:]


def random_content(data: bytes, rng: np.random.Generator) -> bytes:
    """Replaces everything by up to 512 random bytes."""
    return rng.bytes(int(rng.integers(513)))


def replace_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Replaces a number in text by a huge, negative or non-finite one, or by something else."""
    start = int(rng.integers(len(data) + 1)) if len(data) > 1 << 16 else 0
    numbers = [match.span() for match, _ in zip(_NUMBER.finditer(data, start), range(_MAX_NUMBERS), strict=False)]
    if not numbers:
        return data
    first, last = numbers[rng.integers(len(numbers))]
    return data[:first] + _VALUES[rng.integers(len(_VALUES))] + data[last:]


def replace_word(data: bytes, rng: np.random.Generator) -> bytes:
    """Replaces a word of text by a value of another type."""
    words = [match.span() for match, _ in zip(re.finditer(rb'"?\w+"?', data), range(_MAX_NUMBERS), strict=False)]
    if not words:
        return data
    first, last = words[rng.integers(len(words))]
    return data[:first] + _VALUES[rng.integers(len(_VALUES))] + data[last:]


def delete_line(data: bytes, rng: np.random.Generator) -> bytes:
    """Removes one line."""
    lines = data.splitlines(keepends=True)
    if lines:
        del lines[rng.integers(len(lines))]
    return b"".join(lines)


def duplicate_line(data: bytes, rng: np.random.Generator) -> bytes:
    """Repeats one line."""
    lines = data.splitlines(keepends=True)
    if lines:
        i = int(rng.integers(len(lines)))
        lines.insert(i, lines[i])
    return b"".join(lines)


def _chunk(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """Returns start and end of a chunk of up to a quarter of the content."""
    start = int(rng.integers(len(data) + 1))
    return start, min(len(data), start + int(rng.integers(1, len(data) // 4 + 2)))


EDITS: tuple[Edit, ...] = (
    flip_bit,
    flip_bit_near_an_end,
    truncate,
    delete_chunk,
    duplicate_chunk,
    insert_bytes,
    overwrite_bytes,
    random_content,
    replace_number,
    replace_number,  # twice: a changed number is the likeliest to pass the syntax of a format
    replace_word,
    delete_line,
    duplicate_line,
)
