"""Fetching WFDB records over HTTP: a broken download is continued, and a file is whole or not there."""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from filelock import FileLock
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ecg.data.wfdb_records import read_recording, read_signals
from ecg.errors import UserError

_USER_AGENT = "ecg-synthesis-classification"
_CHUNK = 1 << 16  # bytes: small enough for a live progress bar on a slow line
_PAUSES = (0.0, 0.5, 1.5)  # seconds before the first, second and third try


class _BrokenTransferError(Exception):
    """The server stopped midway or was too busy: trying again is worth it."""


def download_records(
    target: Path,
    *,
    url: str,
    records: Sequence[str],
    suffixes: Sequence[str] = ("hea", "dat", "atr"),
    extra: Sequence[str] = (),
    progress: bool = True,
    timeout: float = 30,
) -> None:
    """Fetches records into a folder, leaving alone the files that are there.

    A broken download is continued by the next call. Two processes may fill the same folder at once: the
    second waits for the first. Each fetched record is read once, so that its signals match their checksums.

    Args:
        target: the folder, made where it is missing.
        url: the address that holds the files, https:// or http://.
        records: names of the records.
        suffixes: what belongs to each record: "hea", "dat", and the annotators.
        extra: names of further files, which are not checked and may be absent on the server.
        progress: show a progress bar on standard error.
        timeout: seconds to wait for the server to say something.

    Raises:
        UserError: no network, the server lacks a file, the folder cannot be written, or what came is damaged.
    """
    if not url.startswith(("http://", "https://")):
        raise UserError(f"url={url!r} is no web address: it must start with https:// or http://.")
    names = [*extra, *(f"{record}.{suffix}" for record in records for suffix in suffixes)]
    # Before anything is written, since a folder that is whole may well be read-only.
    with _writing(target):
        if all((target / name).exists() for name in names):
            return
    with _Meter(len(names), shown=progress) as meter, _locked(target):
        fetch = _Fetcher(target, url.rstrip("/"), timeout, meter)
        for name in extra:
            fetch(name, optional=True)
        for record in records:
            fresh = [name for name in (f"{record}.{suffix}" for suffix in suffixes) if fetch(name)]
            if fresh:
                _check(target, record, suffixes, fresh)


def _check(target: Path, record: str, suffixes: Sequence[str], fresh: Sequence[str]) -> None:
    """Removes the fresh files of a record that does not read, or they would be skipped for ever."""
    annotators = [suffix for suffix in suffixes if suffix not in ("hea", "dat")]
    try:
        for annotator in annotators:
            read_recording(target, record, annotator=annotator)
        if not annotators:
            read_signals(target, record)
    except UserError as error:
        for name in fresh:
            (target / name).unlink()
        raise UserError(
            f"{str(error).rstrip('.')} (what was just downloaded, {', '.join(fresh)}, has been removed:"
            " start again to fetch it anew)."
        ) from error


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    with _writing(target):
        target.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target / ".download.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): make room or mend its permissions,"
            " or choose another folder with data.dir=... or ECG_DATA_DIR."
        ) from error


class _Meter:
    """A bar that counts files, with the bytes received so far and their speed beside it."""

    def __init__(self, n_files: int, *, shown: bool) -> None:
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "files {task.fields[received]}")
        texts = (TextColumn(c) if isinstance(c, str) else c for c in columns)
        self._progress = Progress(*texts, console=Console(stderr=True), disable=not shown)
        self._task = self._progress.add_task("waiting for another download", total=n_files, received="")
        self._n_bytes, self._seconds = 0, 0.0

    def __enter__(self) -> _Meter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, name: str) -> None:
        self._progress.update(self._task, description=name)

    def add(self, n_bytes: int, seconds: float) -> None:
        self._n_bytes, self._seconds = self._n_bytes + n_bytes, self._seconds + seconds
        speed = decimal(int(self._n_bytes / max(self._seconds, 1e-6)))
        self._progress.update(self._task, received=f"{decimal(self._n_bytes)} {speed}/s")

    def end(self) -> None:
        self._progress.advance(self._task)


class _Fetcher:
    """Fetches single files of one address into one folder."""

    def __init__(self, target: Path, url: str, timeout: float, meter: _Meter) -> None:
        self._target, self._url, self._timeout, self._meter = target, url, timeout, meter
        self._elsewhere = f"set ECG_DATA_DIR to a folder that holds {target.name}/, or give data.dir=..."

    def __call__(self, name: str, *, optional: bool = False) -> bool:
        """Fetches one file unless it is there; False where it was, or where an optional one has no source."""
        self._meter.begin(name)
        path, part = self._target / name, self._target / f"{name}.part"
        fetched = not path.exists() and self._fetch(name, part, optional)
        if fetched:
            with _writing(path):
                os.replace(part, path)
        self._meter.end()
        return fetched

    def _fetch(self, name: str, part: Path, optional: bool) -> bool:
        address = f"{self._url}/{urllib.parse.quote(name)}"
        reason = ""
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                self._transfer(address, part)
            except _BrokenTransferError as error:
                reason = str(error)
            except urllib.error.HTTPError as error:
                if error.code == 404 and optional:
                    return False
                raise UserError(
                    f"{address} answers {error.code} {error.reason}: check the address, or {self._elsewhere} instead."
                ) from error
            except (urllib.error.URLError, TimeoutError, http.client.InvalidURL, ValueError) as error:
                raise UserError(
                    f"{self._target} lacks {name}, and {address} gives no answer ({_reason(error)}):"
                    f" {self._elsewhere}, or go online."
                ) from error
            else:
                return True
        raise UserError(
            f"{address} did not arrive whole in {len(_PAUSES)} tries ({reason}): start again,"
            " it continues where it stopped."
        )

    def _transfer(self, address: str, part: Path) -> None:
        """Appends to the part what it lacks.

        Raises:
            _BrokenTransferError: less came than was promised; the part keeps what came.
        """
        held = part.stat().st_size if part.exists() else 0
        with self._open(address, held) as response:
            _refuse_web_page(response, address)
            # 200 is the whole file: the server knows no ranges, or the part was longer than the file.
            start = held if response.status == 206 else 0
            promised = response.headers.get("Content-Length")
            with _writing(part), part.open("ab" if start else "wb") as file:
                received = 0
                for chunk in self._chunks(response):
                    received += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        if promised is not None and received != int(promised):
            raise _BrokenTransferError(f"the connection broke after {received} of {promised} bytes")

    def _open(self, address: str, held: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": _USER_AGENT} | ({"Range": f"bytes={held}-"} if held else {})
        request = urllib.request.Request(address, headers=headers)
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416 and held:
                return self._open(address, 0)
            if error.code == 429 or error.code >= 500:
                raise _BrokenTransferError(f"the server answers {error.code} {error.reason}") from error
            raise
        except (urllib.error.URLError, TimeoutError, http.client.InvalidURL):
            raise
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenTransferError(_reason(error)) from error
        return response

    def _chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Keeps the errors of the network apart from those of the disk, which the consumer meets."""
        try:
            begun = time.monotonic()
            while chunk := response.read(_CHUNK):
                self._meter.add(len(chunk), time.monotonic() - begun)
                yield chunk
                begun = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenTransferError(_reason(error)) from error


def _refuse_web_page(response: http.client.HTTPResponse, address: str) -> None:
    """A login page of a network comes with status 200, and would be stored as a record."""
    if response.headers.get_content_type() == "text/html":
        raise UserError(
            f"{address} answers with a web page instead of a file: check the address, or log in to the network first."
        )


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(cause).split()) or type(cause).__name__
