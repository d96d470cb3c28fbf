"""Downloads WFDB records over HTTP.

This module does not use pooch, which cannot resume an interrupted download.
"""

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

from ecg.data.source import exclude_remedy
from ecg.data.wfdb_reader import read_recording, read_signals
from ecg.errors import UserError

PAUSES = (0.0, 0.5, 1.5)  # s before the first, second and third attempt
_USER_AGENT = "ecg-synthesis-classification"
_CHUNK = 1 << 16  # bytes; small, so that the progress bar moves on a slow connection


class _BrokenTransferError(Exception):
    """The connection broke or the server is busy. Another attempt may succeed."""


def missing_records(folder: Path, records: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """Returns the records that lack a file in a folder.

    Args:
        folder: the folder.
        records: names of the records.
        suffixes: suffixes of the files of each record.

    Raises:
        UserError: the folder cannot be read.
    """
    with _writing(folder):
        return [record for record in records if not all((folder / name).exists() for name in _files(record, suffixes))]


def download_records(
    folder: Path,
    *,
    url: str,
    records: Sequence[str],
    suffixes: Sequence[str],
    extra: Sequence[str] = (),
    timeout: float = 30,
) -> None:
    """Downloads the missing files of records into a folder, with a progress bar on standard error.

    The next call resumes an interrupted download. Of several processes that download into one folder, one downloads
    and the others wait. Each downloaded record is read once, which compares its signals with their checksums.

    Args:
        folder: the folder; created if missing.
        url: address of the files' folder, https:// or http://.
        records: names of the records.
        suffixes: suffixes of the files of each record: "hea", "dat" and the annotators.
        extra: names of further files, downloaded along with missing records. They may be absent from the server and
            are not checked.
        timeout: s to wait for the server.

    Raises:
        UserError: the server is not reachable or lacks a file, the folder cannot be written, or a downloaded record is
            damaged.
    """
    if not url.startswith(("http://", "https://")):
        raise UserError(f"data.url is {url!r}. Valid addresses start with https:// or http://.")
    # Return before anything is written: a complete folder may be read-only.
    if not missing_records(folder, records, suffixes):
        return
    n_files = len(extra) + len(records) * len(suffixes)
    with _ProgressBar(n_files) as bar, _locked(folder):
        fetch = _Fetcher(folder, url.rstrip("/"), timeout, bar)
        for name in extra:
            fetch(name, optional=True)
        for record in records:
            fetched = [name for name in _files(record, suffixes) if fetch(name)]
            if fetched:
                _check_record(folder, record, suffixes, fetched)


def _files(record: str, suffixes: Sequence[str]) -> list[str]:
    return [f"{record}.{suffix}" for suffix in suffixes]


def _check_record(folder: Path, record: str, suffixes: Sequence[str], fetched: Sequence[str]) -> None:
    """Deletes the downloaded files of a damaged record. Otherwise no later download would replace them."""
    annotators = [suffix for suffix in suffixes if suffix not in ("hea", "dat")]
    try:
        for annotator in annotators:
            read_recording(folder, record, annotator=annotator)
        if not annotators:
            read_signals(folder, record)
    except UserError as error:
        for name in fetched:
            (folder / name).unlink()
        raise UserError(
            f"{error} The files that were just downloaded have been deleted: {', '.join(fetched)}. Run the command "
            f"again to download them again. {exclude_remedy(record)}"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".download.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Translates errors of the file system into user errors."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write {path} ({error.strerror or error}). Free space or check its permissions, or choose another "
            "folder with data.dir or ECG_DATA_DIR."
        ) from error


class _ProgressBar:
    """Number of files, bytes received and their rate."""

    def __init__(self, n_files: int) -> None:
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "files {task.fields[received]}")
        texts = (TextColumn(column) if isinstance(column, str) else column for column in columns)
        self._progress = Progress(*texts, console=Console(stderr=True))
        self._task = self._progress.add_task("waiting for another download", total=n_files, received="")
        self._n_bytes, self._seconds = 0, 0.0

    def __enter__(self) -> _ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start_file(self, name: str) -> None:
        self._progress.update(self._task, description=name)

    def add(self, n_bytes: int, seconds: float) -> None:
        self._n_bytes, self._seconds = self._n_bytes + n_bytes, self._seconds + seconds
        rate = decimal(int(self._n_bytes / max(self._seconds, 1e-6)))
        self._progress.update(self._task, received=f"{decimal(self._n_bytes)} {rate}/s")

    def end_file(self) -> None:
        self._progress.advance(self._task)


class _Fetcher:
    """Downloads files from one address into one folder."""

    def __init__(self, folder: Path, url: str, timeout: float, bar: _ProgressBar) -> None:
        self._folder, self._url, self._timeout, self._bar = folder, url, timeout, bar

    def __call__(self, name: str, *, optional: bool = False) -> bool:
        """Returns whether the file was downloaded: not if it is present, or optional and absent from the server."""
        self._bar.start_file(name)
        path, part = self._folder / name, self._folder / f"{name}.part"
        fetched = not path.exists() and self._fetch(name, part, optional)
        if fetched:
            with _writing(path):
                os.replace(part, path)
        self._bar.end_file()
        return fetched

    def _fetch(self, name: str, part: Path, optional: bool) -> bool:
        address = f"{self._url}/{urllib.parse.quote(name)}"
        reason = ""
        for pause in PAUSES:
            time.sleep(pause)
            try:
                self._transfer(address, part)
            except _BrokenTransferError as error:
                reason = str(error)
            except urllib.error.HTTPError as error:
                if error.code == 404 and optional:
                    return False
                raise UserError(f"The server answers {error.code} {error.reason} for {address}.") from error
            except (urllib.error.URLError, TimeoutError, http.client.InvalidURL, ValueError) as error:
                raise UserError(f"{address} is not reachable ({_reason(error)}).") from error
            else:
                return True
        raise UserError(
            f"The download of {address} is incomplete after {len(PAUSES)} attempts ({reason}). Run the command again "
            "to resume it."
        )

    def _transfer(self, address: str, part: Path) -> None:
        """Appends the rest of a file to its partial file.

        Raises:
            _BrokenTransferError: fewer bytes arrived than the server stated. The partial file keeps them.
        """
        present = part.stat().st_size if part.exists() else 0
        with self._open(address, present) as response:
            _refuse_web_page(response, address)
            # Status 200 is a full file: the server does not support ranges, or the partial file was too long.
            resumed = present and response.status == 206
            stated = response.headers.get("Content-Length")
            with _writing(part), part.open("ab" if resumed else "wb") as file:
                received = 0
                for chunk in self._chunks(response):
                    received += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        if stated is not None and received != int(stated):
            raise _BrokenTransferError(f"the connection broke after {received} of {stated} bytes")

    def _open(self, address: str, present: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": _USER_AGENT} | ({"Range": f"bytes={present}-"} if present else {})
        request = urllib.request.Request(address, headers=headers)
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416 and present:
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
        """Yields the content. Errors of the network are raised here, so that the caller's are those of the disk."""
        try:
            start = time.monotonic()
            while chunk := response.read(_CHUNK):
                self._bar.add(len(chunk), time.monotonic() - start)
                yield chunk
                start = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenTransferError(_reason(error)) from error


def _refuse_web_page(response: http.client.HTTPResponse, address: str) -> None:
    """Refuses the login page of a network, which has status 200."""
    if response.headers.get_content_type() == "text/html":
        raise UserError(f"{address} is a web page instead of a file. Check data.url, or log in to the network.")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(cause).split()) or type(cause).__name__
