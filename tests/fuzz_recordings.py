"""Damages recordings and model files at random, and annotates a recording with each of them.

    python tests/fuzz_recordings.py 5000                      # as many files of all formats
    python tests/fuzz_recordings.py 5000 --seed 1 edf npy     # of two formats
    python tests/fuzz_recordings.py 1 --first 271 edf         # one of them again

Half of the damage is random: bits, blocks, truncation. The other half writes valid fields with hostile values: huge
numbers of samples and leads, absurd rates, names of other folders. A file is annotated, or refused with one line. The
program counts everything else as a defect: another exception, a crash, a result after a refusal, more than 20 s,
or more than 512 MiB of memory. Files are read in a process of its own with 4 GiB of address space. The exit status is
1 if there is a defect.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutate

SECONDS = 20.0  # for each file
PEAK = 512 << 20  # bytes of memory that one file may add
ADDRESS_SPACE = 4 << 30  # bytes that may be added to that of the process at its start
RESULTS = 3  # files of an annotated recording
LONGEST = 600  # characters of a message
NETWORK = ["model.hidden=8", "logger=none", "data.context=5", "data.leads=2", "data.features=rhythm_and_shape"]

Damage = Callable[[bytes, np.random.Generator], bytes]
Answer = tuple[str, str, float, int]  # annotated, refused or defect; the message; seconds; bytes of memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, help="number of damaged files, for all formats together")
    parser.add_argument("formats", nargs="*", help=f"of {', '.join(FORMATS)}; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage; default: 0")
    parser.add_argument("--first", type=int, default=0, help="number of the first file of each format; default: 0")
    arguments = parser.parse_intermixed_args()
    print(f"{'format':<12} {'files':>6} {'annotated':>9} {'refused':>8} {'defects':>8} {'slowest':>8} {'peak':>9}")
    sound = True
    for name, outcome in fuzz(arguments.n, arguments.formats or list(FORMATS), arguments.seed, arguments.first):
        print(
            f"{name:<12} {outcome.n:>6} {outcome.annotated:>9} {outcome.refused:>8} {len(outcome.defects):>8} "
            f"{outcome.seconds:>6.1f} s {outcome.peak / 2**20:>5.0f} MiB",
            flush=True,
        )
        for number, defect in outcome.defects:
            print(f"{name} {number}: {defect}", file=sys.stderr, flush=True)
        sound = sound and not outcome.defects
    return 0 if sound else 1


# -- files --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        write: writes a valid file of the recording to a folder, and returns what ecg predict receives.
        hostile: by suffix, the files that are damaged, and what writes hostile values to their fields.
    """

    write: Callable[[Path], Path]
    hostile: dict[str, Damage]


def recording() -> tuple[np.ndarray, float]:
    """A simulated recording of 20 s: ADC values (2, n_samples) and the rate."""
    from ecg.data.simulator import simulate

    simulated = simulate(0, minutes=1.0, seed=0)
    signal = simulated.signal[:, : round(20 * simulated.sfreq)]
    return np.vstack([signal, signal[:1] // 2])[:2], simulated.sfreq


def write_wfdb(folder: Path, fmt: str) -> Path:
    import wfdb
    from wfdb_factories import write_signals

    signal, sfreq = recording()
    write_signals(folder, "r", signal, ["V1", "II"], sfreq=sfreq, fmt=fmt)
    at = np.arange(50, signal.shape[1], round(sfreq))
    wfdb.wrann("r", "atr", at, ["N"] * len(at), aux_note=["(N", *[""] * (len(at) - 1)], write_dir=str(folder))
    header = folder / "r.hea"  # without checksums, which would refuse most damage of the signal
    first, *lines = header.read_text().splitlines()
    fields = [line.split() for line in lines]
    header.write_text("\n".join([first, *(" ".join([*f[:3], "11", "0"]) for f in fields)]) + "\n")
    return folder / "r"


def write_edf(folder: Path, *, plus: bool) -> Path:
    import edfio

    signal, sfreq = recording()
    annotations = [edfio.EdfAnnotation(1.0, None, "N")] if plus else []
    signals = [edfio.EdfSignal(x, sfreq, label=name) for x, name in zip(signal, ("ECG V1", "ECG II"), strict=True)]
    edfio.Edf(signals, annotations=annotations, data_record_duration=1.0).write(folder / "r.edf")
    return folder / "r.edf"


def write_table(folder: Path, suffix: str) -> Path:
    import pandas as pd

    signal, path = recording()[0], folder / f"r{suffix}"
    table = pd.DataFrame(signal.T[:2500], columns=["V1", "II"])
    if suffix == ".npy":
        np.save(path, signal)
    elif suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, row_group_size=1000)
    return path


def write_model(folder: Path, suffix: str) -> Path:
    """Writes a small network with random weights."""
    import torch
    from programs import composed

    from ecg import build
    from ecg.model_files import write_model_file
    from ecg.onnx_files import write_onnx

    cfg = composed("train", *NETWORK)
    window = build.window(cfg)
    torch.manual_seed(0)
    network = build.network(cfg, window, tuple(cfg.protocol.classes)).eval()
    path = folder / f"m{suffix}"
    if suffix == ".onnx":
        write_onnx(network, cfg, window, path)
    else:
        write_model_file(path, "classifier", cfg, network.state_dict(), {})
    return path


# -- hostile values -----------------------------------------------------------------------------------------------

NUMBERS = b"0 -1 -200 1 3 65 1e30 1e-30 nan inf 0.001 2147483648 1e9 4294967297 99999999999 1_0 0x10 x".split()
NUMBERS += [b"9" * 21, b"", b"\xff", b"\xb2"]
NAMES = b"../r.dat /etc/passwd a/b.dat .. ~ - r.hea s3://a/b.dat http://a/b r\0.dat r.dat|x C:\\r.dat".split(b" ")
NAMES += [b"r.d\xc3\xa4t", b"\xff\xfe", b"a" * 5000]
TEXTS = [
    b"\xff\xfe",
    b"\xc3\xa4\xe2\x82\xac",
    b"\n",
    b"\x1b[31m",
    b"<b>",
    b"%s%n",
    b"\0",
    b"ECG\r\nII",
    b"'",
    b"L" * 999,
]
CELLS = [*NUMBERS, *TEXTS, *b"1e400 -1e308 1e200 1e20 1e16 1;2 True 2020-01-01".split(), b'"', b"1," * 1000, b"9" * 400]


def pick(values: Sequence[Any], rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]


def hostile_header(content: bytes, rng: np.random.Generator) -> bytes:
    """A header of WFDB with other fields."""
    lines = [line.split(b" ") for line in content.splitlines()]
    for _ in range(rng.integers(1, 3)):
        fields = pick(lines, rng)
        i = int(rng.integers(len(fields)))
        if fields is lines[0]:
            fields[i] = pick([*NUMBERS, b"r/2", b"r/999999999", b"360/360(0)", *TEXTS], rng)
        elif i == 0:
            fields[i] = pick(NAMES, rng)
        elif i == 1:
            fields[i] += pick([b"x2", b"x999999999", b":5", b":999999999999", b"+99999999999", b"+1", b"9", b"-"], rng)
            if rng.integers(2):
                fields[i] = pick([b"8", b"16", b"24", b"32", b"61", b"80", b"160", b"212", b"310", b"311", b"516"], rng)
        else:
            fields[i] = pick([*NUMBERS, *TEXTS, b"-200(0)/mV", b"0(99999999999)/mV"], rng)
    if rng.integers(10) == 0:
        lines += [pick(lines, rng)] * int(rng.integers(1, 1000))
    return b"\n".join(b" ".join(fields) for fields in lines) + b"\n"


EDF_FIELDS = (8, 80, 80, 8, 8, 8, 44, 8, 8, 4)
EDF_SIGNAL_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)


def hostile_edf(content: bytes, rng: np.random.Generator) -> bytes:
    """An EDF file with other fields of its header."""
    n = (int(content[184:192]) - 256) // 256
    ends = np.cumsum([*EDF_FIELDS, *(width for width in EDF_SIGNAL_FIELDS for _ in range(n))]).tolist()
    starts, changed = [0, *ends[:-1]], bytearray(content)
    for _ in range(rng.integers(1, 4)):
        numbers = [*range(5, 10), *range(10 + 3 * n, 10 + 7 * n), *range(10 + 8 * n, 10 + 9 * n)]
        i = int(pick(numbers, rng)) if rng.integers(3) else int(rng.integers(len(starts)))
        value = pick([*NUMBERS, b"EDF+D", b"EDF+C", b"256", b"-256", *TEXTS, b"EDF Annotations", b"ECG"], rng)
        width = ends[i] - starts[i]
        changed[starts[i] : ends[i]] = value[:width].ljust(width)
    return bytes(changed)


def hostile_csv(content: bytes, rng: np.random.Generator) -> bytes:
    """A table with other cells, names and separators."""
    lines = content.splitlines()
    for _ in range(rng.integers(1, 4)):
        i = 0 if rng.integers(2) else int(rng.integers(len(lines)))
        cells = lines[i].split(b",")
        cells[int(rng.integers(len(cells)))] = pick(CELLS, rng)
        lines[i] = b",".join(cells)
    if rng.integers(5) == 0:  # one change of every row
        changes = (lambda x: x + b",", lambda x: b"1," * 70 + x, lambda x: x.replace(b",", b";"), lambda x: x * 2)
        change = pick(changes, rng)
        lines = [change(line) for line in lines]
    text = pick([b"\n", b"\r\n", b"\r", b"\n\n"], rng).join(lines)
    return text.decode("latin-1").encode("utf-16") if rng.integers(10) == 0 else text


def hostile_npy(content: bytes, rng: np.random.Generator) -> bytes:
    """An array with another header."""
    dtypes = "<i8 <f8 >f4 <f2 <c16 |O |b1 |u1 <U9 <M8[s] <f16 |V9 x [('a','<f8')]".split()
    shapes: list[Any] = ["(2, -1)", "(-5,)", "()", "(0,)", "(2, 0)", "(65, 100)", "(100, 2)", "(2, 10, 5)", "(1,)", "x"]
    shapes += [(10**9,), (10**12,), (2, 10**9), (2**32, 2**32), (2**63,), (2**64, 2), (10**30,), "((" * 50, "(2, 2000)"]
    fortran = pick(["False", "True", "1", "None"], rng)
    text = f"{{'descr': {pick(dtypes, rng)!r}, 'fortran_order': {fortran}, 'shape': {pick(shapes, rng)}, }}"
    if rng.integers(8) == 0:
        text = pick(["__import__('os')", "{" * 5000, "[" * 300, "{}", "{'shape': 1}", "1" * 6000, ""], rng)
    header, data = text.encode() + b"\n", content[128:]
    version = pick([b"\1\0", b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"], rng)
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    if rng.integers(10) == 0:
        length = b"\xff" * len(length)
    return b"\x93NUMPY" + version + length + header + data


def hostile_parquet(content: bytes, rng: np.random.Generator) -> bytes:
    """A Parquet file with other bytes in its footer or in the headers of its pages."""
    length = int.from_bytes(content[-8:-4], "little")
    start = len(content) - 8 - length
    if rng.integers(8) == 0:
        other = pick([0, 1, length - 1, length + 1, 2**31 - 1, 2**32 - 1], rng)
        return content[:-8] + int(other).to_bytes(4, "little") + content[-4:]
    changed = bytearray(content)
    first = start if rng.integers(2) else 4
    last = len(content) - 8 if first == start else min(start, 200)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(first, last))
        changed[at] = pick([0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ (1 << int(rng.integers(8)))], rng)
    # The JSON of pandas within the footer: another text of the same length.
    if first == start and (words := list(re.finditer(rb'"[a-z_0-9]+"', bytes(changed[start:])))):
        word = pick(words, rng)
        size = len(word[0]) - 2
        text = pick([b"int64", b"object", b"datetimetz", b"categorical", b"unicode", b"V1", b"\xff" * 5, b"null"], rng)
        changed[start + word.start() + 1 : start + word.end() - 1] = text[:size].ljust(size, b"x")
    return bytes(changed)


def hostile_annotations(content: bytes, rng: np.random.Generator) -> bytes:
    """An annotation file with other words: a code in the upper 6 bits, a time or length in the lower 10."""
    words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").copy()
    for _ in range(rng.integers(1, 4)):
        code = pick([0, 1, 22, 49, 50, 59, 60, 61, 62, 63], rng)
        words[int(rng.integers(len(words)))] = (code << 10) | int(rng.integers(1024))
    return words.tobytes()


def hostile_safetensors(content: bytes, rng: np.random.Generator) -> bytes:
    """A model file with another value in its header or in its configuration."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if rng.integers(2):
        metadata = header["__metadata__"]
        config = json.loads(metadata["config"])
        replace_value(config, rng)
        metadata["config"] = json.dumps(config)
    else:
        replace_value(header, rng)
    text = json.dumps(header).encode()
    size = len(text) if rng.integers(10) else int(pick([0, 1, 2**31, 2**40, 2**63, len(text) + 5], rng))
    return size.to_bytes(8, "little") + text + data


def replace_value(node: Any, rng: np.random.Generator) -> None:
    """Replaces a random value of nested dictionaries and lists."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = pick(keys, rng)
        if not isinstance(node[key], dict | list) or rng.integers(5) == 0:
            break
        node = node[key]
    values: list[Any] = [None, True, -1, 0, 1, 2, 0.5, 10**6, 2**31, 10**12, 10**30, float("nan"), float("inf"), [], {}]
    values += [*"x ../x ${oc.env:HOME} os.system F64 F16 BF16".split(), {"_target_": "os.system"}]
    values += [[1], [0, 10**12], [10**9, 10**9]]
    node[key] = pick(values, rng)


def mutate_ends(content: bytes, rng: np.random.Generator) -> bytes:
    """Mutates the first or the last 4096 bytes."""
    if rng.integers(2):
        return mutate(content[:4096], rng) + content[4096:]
    return content[:-4096] + mutate(content[-4096:], rng)


FORMATS = {
    "wfdb-212": Format(
        lambda folder: write_wfdb(folder, "212"),
        {".hea": hostile_header, ".dat": mutate, ".atr": hostile_annotations},
    ),
    "wfdb-16": Format(lambda folder: write_wfdb(folder, "16"), {".hea": hostile_header, ".dat": mutate}),
    "wfdb-flac": Format(lambda folder: write_wfdb(folder, "516"), {".hea": hostile_header, ".dat": mutate_ends}),
    "edf": Format(lambda folder: write_edf(folder, plus=False), {".edf": hostile_edf}),
    "edf+": Format(lambda folder: write_edf(folder, plus=True), {".edf": hostile_edf}),
    "csv": Format(lambda folder: write_table(folder, ".csv"), {".csv": hostile_csv}),
    "npy": Format(lambda folder: write_table(folder, ".npy"), {".npy": hostile_npy}),
    "parquet": Format(lambda folder: write_table(folder, ".parquet"), {".parquet": hostile_parquet}),
    "safetensors": Format(lambda folder: write_model(folder, ".safetensors"), {".safetensors": hostile_safetensors}),
    "onnx": Format(lambda folder: write_model(folder, ".onnx"), {".onnx": mutate_ends}),
}
MODELS = (".safetensors", ".onnx")


# -- reading ------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What happened with the damaged files of a format.

    Attributes:
        annotated: files that were read.
        refused: files that were refused with a message.
        defects: number of a file, and what was wrong.
        seconds: of the slowest file.
        peak: largest number of bytes of memory that a file added.
    """

    annotated: int = 0
    refused: int = 0
    defects: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0

    @property
    def n(self) -> int:
        return self.annotated + self.refused + len(self.defects)


def fuzz(n: int, formats: Sequence[str], seed: int = 0, first: int = 0) -> Iterator[tuple[str, Outcome]]:
    """Damages n files, as many of each format, and annotates with each of them; yields what happened by format."""
    with tempfile.TemporaryDirectory() as temporary, Reader() as reader:
        root = Path(temporary)
        folders = {name: root / name for name in ("signal", "network", *formats)}
        for folder in folders.values():
            folder.mkdir()
        signal = write_table(folders["signal"], ".npy")
        network = write_model(folders["network"], ".safetensors")
        for k, name in enumerate(formats):
            last = first + n // len(formats) + (k < n % len(formats))
            yield name, damage_files(name, folders[name], seed, range(first, last), reader, signal, network)


def damage_files(
    name: str, folder: Path, seed: int, numbers: range, reader: Reader, signal: Path, network: Path
) -> Outcome:
    """Damages files of one format. A recording is annotated with `network`, and `signal` with a model file."""
    outcome, given = Outcome(), FORMATS[name].write(folder)
    contents = {path: path.read_bytes() for path in folder.iterdir()}

    def annotate(number: int) -> Answer:
        if given.suffix not in MODELS:
            return reader.annotate(given, network)
        copy = folder / f"{number}{given.suffix}"  # another name: the process keeps the classifier of a name
        copy.write_bytes(given.read_bytes())
        try:
            return reader.annotate(signal, copy)
        finally:
            copy.unlink()

    status, message, *_ = annotate(-1)
    if status != "annotated":
        raise RuntimeError(f"The file of {name} is not annotated without damage: {message}")
    for i in numbers:
        rng = np.random.default_rng([seed, i, *name.encode()])
        suffix = pick(list(FORMATS[name].hostile), rng)
        path = next(path for path in contents if path.suffix == suffix)
        damage = FORMATS[name].hostile[suffix] if rng.integers(2) else mutate
        path.write_bytes(damage(contents[path], rng))
        check(outcome, i, annotate(i))
        path.write_bytes(contents[path])
    return outcome


def check(outcome: Outcome, number: int, answer: Answer) -> None:
    """Counts an answer of the reader."""
    status, message, seconds, peak = answer
    outcome.seconds, outcome.peak = max(outcome.seconds, seconds), max(outcome.peak, peak)
    if status == "refused":
        if not message.isprintable() or not message.endswith(".") or len(message) > LONGEST:
            status, message = "defect", f"message {message[:1000]!r}"
        if "does not fit into memory" in message:  # the files are small
            status = "defect"
    if status != "defect" and peak > PEAK:
        status, message = "defect", f"{peak / 2**20:.0f} MiB"
    if status == "annotated":
        outcome.annotated += 1
    elif status == "refused":
        outcome.refused += 1
    else:
        outcome.defects.append((number, message))


class Reader:
    """A process that annotates recordings; it is started again after a crash or a hang."""

    def __enter__(self) -> Reader:
        self.process: Any = None
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def annotate(self, recording: Path, model: Path) -> Answer:
        """Annotates a recording in the process."""
        if self.process is None:
            self.connection, other = get_context("spawn").Pipe()
            self.process = get_context("spawn").Process(target=answer_requests, args=(other,), daemon=True)
            self.process.start()
            other.close()
            self.connection.recv()
        self.connection.send((recording, model))
        try:
            if self.connection.poll(SECONDS):
                answer: Answer = self.connection.recv()
                return answer
            problem = f"more than {SECONDS:g} s"
        except EOFError:
            self.process.join()
            problem = f"the process ended with {self.process.exitcode}"
        self._stop()
        return "defect", problem, SECONDS, 0

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def answer_requests(connection: Connection) -> None:
    """The work of the process."""
    import logging
    import warnings

    import torch

    import ecg.annotation  # noqa: F401

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    size = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE, size + ADDRESS_SPACE))
    connection.send("ready")
    while True:
        recording, model = connection.recv()
        with tempfile.TemporaryDirectory() as temporary, measured() as used:
            out = Path(temporary) / "out"
            status, message = annotate(recording, model, out)
            n_files = len(list(out.iterdir())) if out.exists() else 0
        if status != "defect" and n_files != (RESULTS if status == "annotated" else 0):
            status, message = "defect", f"{n_files} files are left after: {status} {message}"
        connection.send((status, message, *used))


def annotate(recording: Path, model: Path, out: Path) -> tuple[str, str]:
    """Annotates a recording as `ecg predict` does."""
    from ecg.annotation import AnnotationSettings, annotate_recordings
    from ecg.errors import UserError

    is_wfdb = not recording.suffix
    sfreq = None if is_wfdb or recording.suffix == ".edf" else 250.0
    settings = AnnotationSettings(str(model), out, sfreq=sfreq, reference="atr" if is_wfdb else None)
    try:
        (annotated,) = annotate_recordings([recording], settings, lambda: None, 1)
    except UserError as error:
        return "refused", str(error)
    except BaseException as error:
        where = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__)[-6:]))
        return "defect", f"{type(error).__name__}: {str(error)[:300]} in {where}"
    return ("annotated", "") if annotated.error is None else ("refused", annotated.error)


@contextmanager
def measured() -> Iterator[list[float]]:
    """Measures the seconds and the bytes of memory that are added."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    used: list[float] = []
    before, start = memory("VmRSS"), time.perf_counter()
    yield used
    used += [time.perf_counter() - start, max(0, memory("VmHWM") - before)]


def memory(name: str) -> int:
    """A field of /proc/self/status in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
