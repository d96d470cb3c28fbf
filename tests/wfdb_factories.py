"""WFDB records on disk and a web server for tests of recordings."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from ecg.data.recording import Recording
from ecg.errors import UserError

SFREQ = 360  # Hz
N_SAMPLES = 20 * SFREQ
SAMPLE = np.arange(100, N_SAMPLES, 300)
SYMBOL = ["+", *("NVAF/"[i % 5] for i in range(len(SAMPLE) - 1))]


def write_signals(
    folder: Path, name: str, signal: np.ndarray, leads: Sequence[str], *, sfreq: float = SFREQ, fmt: str = "16"
) -> None:
    """Writes a header and a signal file for a signal (n_leads, n_samples) of ADC values."""
    folder.mkdir(parents=True, exist_ok=True)
    n = len(leads)
    options: dict[str, Any] = {"fmt": [fmt] * n, "adc_gain": [200.0] * n, "baseline": [1024] * n}
    wfdb.wrsamp(name, sfreq, ["mV"] * n, list(leads), d_signal=signal.T.astype(int), write_dir=str(folder), **options)


def write_recording(folder: Path, recording: Recording, name: str | None = None, *, annotator: str = "atr") -> None:
    """Writes a recording as a WFDB record."""
    name = name or recording.name
    write_signals(folder, name, recording.signal, recording.leads, sfreq=recording.sfreq)
    wfdb.wrann(name, annotator, recording.sample, list(recording.symbol), write_dir=str(folder))


def write_noise_record(
    folder: Path,
    name: str = "100",
    *,
    seed: int = 0,
    sample: np.ndarray = SAMPLE,
    symbol: Sequence[str] = SYMBOL,
) -> np.ndarray:
    """Writes an annotated record of noise in format 212 and returns its signal (2, N_SAMPLES)."""
    signal = np.random.default_rng(seed).integers(-2000, 2000, size=(N_SAMPLES, 2)).T
    write_signals(folder, name, signal, ["MLII", "V5"], fmt="212")
    wfdb.wrann(name, "atr", sample, list(symbol[: len(sample)]), write_dir=str(folder))
    return signal


def error_message(call: Callable[[], object]) -> str:
    """Returns the message of the UserError that `call` raises: one line that ends with a full stop."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@dataclass
class Server:
    """A web server with faults that a test chooses."""

    files: dict[str, bytes]
    supports_ranges: bool = True
    states_length: bool = True
    # For each file, the numbers of bytes after which the connection breaks, one for each request.
    cuts: dict[str, list[int]] = field(default_factory=dict)
    # For each file, the status of each request.
    statuses: dict[str, list[int]] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    delay: float = 0.0  # s before an answer
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # name and range
    agents: set[str | None] = field(default_factory=set)
    url: str = ""

    def ranges(self, name: str) -> list[str | None]:
        """Returns the range of each request of a file."""
        return [byte_range for requested, byte_range in self.requests if requested == name]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.removeprefix("/files/")
        byte_range = handler.headers["Range"]
        self.requests.append((name, byte_range))
        self.agents.add(handler.headers["User-Agent"])
        time.sleep(self.delay)
        if statuses := self.statuses.get(name):
            handler.send_error(statuses.pop(0))
        elif name not in self.files:
            handler.send_error(404)
        else:
            self._send(handler, name, byte_range if self.supports_ranges else None)

    def _send(self, handler: BaseHTTPRequestHandler, name: str, byte_range: str | None) -> None:
        body = self.files[name]
        start = int(byte_range.removeprefix("bytes=").removesuffix("-")) if byte_range else 0
        if byte_range and start >= len(body):
            handler.send_error(416)
            return
        handler.send_response(206 if byte_range else 200)
        handler.send_header("Content-Type", self.content_type)
        if byte_range:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.states_length:
            handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        cuts = self.cuts.get(name)
        handler.wfile.write(body[start:][: cuts.pop(0)] if cuts else body[start:])


@contextlib.contextmanager
def run_server(files: dict[str, bytes]) -> Iterator[Server]:
    """Serves files on this machine."""
    state = Server(dict(files))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        state.url = f"http://127.0.0.1:{http_server.server_address[1]}/files"
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http_server.shutdown()
        thread.join()
