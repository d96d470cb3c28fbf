"""A page on this machine that annotates an uploaded recording: `ecg serve`.

The page is for one user. Recordings are annotated one after the other, in a process of its own, so that the page stays
responsive and a recording that exhausts the memory does not end the program. There is no password: the server refuses
requests that other web pages send, and names of hosts that are not its own (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from ecg.data.recording_files import EDF, HEADER, RESULTS, TABLES
from ecg.errors import UserError, memory_message
from ecg.pretrained import find_model, released_models
from ecg.reports.page import render_page, script_hashes

N_KEPT = 5  # results
MAX_PARTS = 100  # files and fields of the form
MAX_TEXT = 1000  # bytes of a field of the form
MAX_NAME = 200  # bytes of a file's name; file systems permit 255, and results have longer suffixes
CHUNK = 1 << 18  # bytes
VALID = f"Choose all files of a WFDB record ({HEADER} and .dat), or one file {', '.join((EDF, *TABLES))}."
OTHER_SITES = ("cross-site", "same-site")  # values of Sec-Fetch-Site

# Pages are self-contained and show text of uploaded files, so that nothing but their own scripts may run or be loaded.
POLICY = (
    f"default-src 'none'; script-src {' '.join(script_hashes('upload.js', 'recording.js'))}; "
    "style-src 'unsafe-inline'; img-src data:; frame-src 'self'; frame-ancestors 'self'; form-action 'self'; "
    "base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send forms with `Origin: null`
    "Cache-Control": "no-store",
}


class UploadTooLargeError(UserError):
    """An upload that exceeds the limit."""


def serve(model: str | None, host: str, port: int, max_mb: int, on_start: Callable[[str], None]) -> None:
    """Serves the page until SIGINT (Ctrl-C) or SIGTERM.

    Args:
        model: a model to offer besides the released ones, see `ecg.prediction.load_classifier`; None for none.
        host: name or address of the interface.
        port: TCP port; 0 for a free one.
        max_mb: largest upload in MB (10^6 bytes).
        on_start: called with the address of the page, once it can be opened.

    Raises:
        UserError: the model cannot be loaded, or the port or host cannot be used.
    """
    models = _choices(model)
    with (
        _listening_socket(host, port) as listening,
        _annotator() as annotator,
        tempfile.TemporaryDirectory(prefix="ecg-serve-") as folder,
    ):
        annotator.check(next(iter(models.values())))
        pages = Pages(annotator, Path(folder).resolve(), models, host, max_mb)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        web.run_app(
            pages.application(),
            sock=listening,
            access_log=None,
            shutdown_timeout=1.0,
            print=lambda _: on_start(address),
        )


def is_own_host(header: str, host: str) -> bool:
    """Returns whether a Host header can belong to this server: an IP address, localhost, or the name of --host.

    A page whose domain is made to resolve to this machine (DNS rebinding) sends the name of its domain.
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
        if name in ("localhost", host.lower()):
            return True
        ip_address(name)
    except ValueError:
        return False
    return True


def safe_name(name: str) -> str:
    """Returns the last part of a file name of an upload, without characters that have a meaning in paths.

    Raises:
        UserError: nothing remains, or the name is too long.
    """
    safe = re.sub(r"[^\w.()+ -]", "_", re.split(r"[/\\]", name)[-1]).lstrip(". ").rstrip(". ")
    if not safe or len(safe.encode()) > MAX_NAME:
        raise UserError(f"The file name {name[:50]!r} is not valid. Rename the file: 1 to {MAX_NAME} bytes.")
    return safe


def _choices(model: str | None) -> dict[str, str]:
    """The models that can be chosen, by the name on the page; the first one is the default."""
    released = {name: name for name in released_models("classifier")}
    default = "inter_patient" if model is None else model
    own = default if default in released else str(find_model(default).absolute())
    return {default: own} | released


@contextmanager
def _listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        other = "--port" if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES) else "--host or --port"
        raise UserError(f"Cannot listen on {host}, port {port} ({reason}). Choose another {other}.") from error
    with listening:
        yield listening


# -- annotate -----------------------------------------------------------------------------------------------------


class Annotator:
    """A process that annotates recordings. It starts with the first one, and again where it has ended."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        # A process that is not forked: a fork of a process with threads can hang.
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare_process)

    def check(self, model: str) -> None:
        """Loads a classifier, so that its error is the first message."""
        self._pool.submit(_load, model).result()

    async def annotate(
        self, recording: Path, out: Path, model: str, lead: str | None, sfreq: float | None
    ) -> list[Path]:
        """Writes the results for a recording to the folder `out`; see `ecg.prediction.write_predictions`.

        Raises:
            UserError: the recording cannot be annotated.
        """
        call = partial(_annotate, recording, out, model, lead, sfreq)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except Exception as error:
            if not isinstance(error, BrokenProcessPool) and memory_message(error) is None:
                raise
            self._pool.shutdown(wait=False)
            self._start()
            message = "The annotation ended for lack of memory. Choose a shorter part of the recording."
            raise UserError(message) from error

    def stop(self) -> None:
        """Ends the process, also in the middle of a recording."""
        for process in multiprocessing.active_children():
            process.terminate()
        self._pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _annotator() -> Iterator[Annotator]:
    annotator = Annotator()
    try:
        yield annotator
    finally:
        annotator.stop()


def _prepare_process() -> None:
    """Makes the process end with the server, and not by the Ctrl-C that ends the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> NoReturn:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _load(model: str) -> None:
    from ecg.prediction import load_classifier

    load_classifier(model)


def _annotate(recording: Path, out: Path, model: str, lead: str | None, sfreq: float | None) -> list[Path]:
    # Imported here: only this process needs PyTorch.
    from ecg.annotation import AnnotationSettings, annotate_recordings

    settings = AnnotationSettings(model, out, lead, sfreq)
    [annotated] = annotate_recordings([recording], settings, lambda: None, n_jobs=1)
    if annotated.error is not None:
        raise UserError(annotated.error.replace(f"{recording.parent}{os.sep}", ""))
    return annotated.written


# -- pages --------------------------------------------------------------------------------------------------------


class Pages:
    """The pages: a form, and for each recording a result with its files.

    Args:
        annotator: annotates the recordings.
        folder: holds the upload and the latest results, each in a folder of its own.
        models: what the annotator receives, by the name on the page; the first one is the default.
        host: name of this machine in the address of the page.
        max_mb: largest upload in MB.
    """

    def __init__(self, annotator: Annotator, folder: Path, models: Mapping[str, str], host: str, max_mb: int) -> None:
        self._annotator, self._folder, self._models, self._host, self._max_mb = annotator, folder, models, host, max_mb
        self._results: dict[str, dict[str, Path]] = {}  # key -> name -> file, the oldest first
        self._one_upload = asyncio.Lock()

    def application(self) -> web.Application:
        """Returns the application."""
        app = web.Application(middlewares=[self._refuse_other_sites])
        app.on_response_prepare.append(_add_headers)

        async def end_annotation(_: web.Application) -> None:
            self._annotator.stop()

        app.on_shutdown.append(end_annotation)
        app.add_routes(
            [
                web.get("/", self._show_form),
                web.post("/", self._receive),
                web.get("/results/{key}/", self._show_result),
                web.get("/results/{key}/{name}", self._send_file),
            ]
        )
        return app

    @web.middleware
    async def _refuse_other_sites(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if (
            not is_own_host(request.host, self._host)
            or request.headers.get("Origin") not in (None, f"http://{request.host}", f"https://{request.host}")
            or request.headers.get("Sec-Fetch-Site") in OTHER_SITES
        ):
            raise web.HTTPForbidden(text="Refused: the request is from another page. Type the address of ecg serve.")
        return await handler(request)

    async def _show_form(self, request: web.Request) -> web.Response:
        return self._form({}, None, 200)

    def _form(self, values: Mapping[str, str], error: str | None, status: int) -> web.Response:
        page = render_page(
            "upload.html",
            title="Annotate a recording",
            simulated=False,
            error=error,
            values=values,
            models=list(self._models),
            max_mb=self._max_mb,
            n_kept=N_KEPT,
        )
        return web.Response(text=page, content_type="text/html", status=status)

    async def _receive(self, request: web.Request) -> web.Response:
        values: dict[str, str] = {}
        async with self._one_upload:
            try:
                key = await self._annotate(request, values)
            except UserError as error:
                return self._form(values, str(error), 413 if isinstance(error, UploadTooLargeError) else 400)
        raise web.HTTPSeeOther(f"/results/{key}/")

    async def _annotate(self, request: web.Request, values: dict[str, str]) -> str:
        """Annotates the recording of a form, adds its other fields to `values`, and returns the key of the result."""
        key = secrets.token_urlsafe(16)
        out = self._folder / key
        with tempfile.TemporaryDirectory(dir=self._folder) as upload:
            await self._read_form(request, Path(upload), values)
            name = values.get("model") or next(iter(self._models))
            if name not in self._models:
                raise UserError(f"Unknown model {name}. Valid models: {', '.join(self._models)}.")
            lead, sfreq = values.get("lead") or None, _number(values.get("sfreq", ""))
            recording = _find_recording(Path(upload))
            try:
                files = await self._annotator.annotate(recording, out, self._models[name], lead, sfreq)
            except BaseException:
                shutil.rmtree(out, ignore_errors=True)
                raise
        self._results[key] = {path.name: path for path in files}
        while len(self._results) > N_KEPT:
            oldest = next(iter(self._results))
            del self._results[oldest]
            shutil.rmtree(self._folder / oldest, ignore_errors=True)
        return key

    async def _read_form(self, request: web.Request, folder: Path, values: dict[str, str]) -> None:
        """Writes the files of a form to a folder, and adds the other fields to `values`."""
        too_large = UploadTooLargeError(
            f"The upload is larger than {self._max_mb:,} MB. Raise --max-mb, or use ecg predict."
        )
        remaining = 1_000_000 * self._max_mb
        if request.content_type != "multipart/form-data":
            raise UserError(f"The request is not a form of this page. {VALID}")
        if (request.content_length or 0) > remaining + MAX_TEXT * MAX_PARTS:
            raise too_large
        try:
            n_parts = 0
            async for part in await request.multipart():
                n_parts += 1
                if n_parts > MAX_PARTS:
                    raise UserError(f"There are more than {MAX_PARTS} files and fields. {VALID}")
                if not isinstance(part, BodyPartReader):
                    raise ValueError("a form within a form")
                if not part.filename:
                    values[part.name or ""] = await _read_text(part)
                    continue
                with open(folder / safe_name(part.filename), "xb") as file:
                    while chunk := await part.read_chunk(CHUNK):
                        remaining -= len(chunk)
                        if remaining < 0:
                            raise too_large
                        file.write(chunk)
        except FileExistsError as error:
            raise UserError(f"Two files have the name {Path(error.filename).name}. Choose one recording.") from error
        except (ValueError, HttpProcessingError) as error:
            raise UserError("The form cannot be read. Send it again.") from error
        except ConnectionError as error:
            raise UserError("The upload broke off. Send it again.") from error
        except OSError as error:
            raise UserError(f"Cannot store the upload in {self._folder} ({error.strerror}). Free space.") from error

    async def _show_result(self, request: web.Request) -> web.Response:
        names = list(self._files(request))
        page = render_page("result.html", title=Path(names[-1]).stem, names=names)
        return web.Response(text=page, content_type="text/html")

    async def _send_file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = self._files(request).get(name)
        if path is None:
            raise web.HTTPNotFound(text="There is no such file.")
        shown = path.suffix == ".html"
        return web.FileResponse(path, headers={} if shown else {"Content-Disposition": "attachment"})

    def _files(self, request: web.Request) -> dict[str, Path]:
        """The files of the result of a request, by name."""
        files = self._results.get(request.match_info["key"])
        if files is None:
            raise web.HTTPNotFound(text=f"This result was removed: the {N_KEPT} latest are kept. Upload it again.")
        return files


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _read_text(part: BodyPartReader) -> str:
    content = b""
    while chunk := await part.read_chunk(MAX_TEXT):
        content += chunk
        if len(content) > MAX_TEXT:
            raise UserError(f"The field {part.name} is longer than {MAX_TEXT} characters. Shorten it.")
    return content.decode(errors="replace").strip()


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise UserError(f"The sampling rate is {text!r}. Write a number of Hz, such as 250.") from error


def _find_recording(upload: Path) -> Path:
    """The one recording in a folder; see `ecg.data.recording_files.read_recording`."""
    paths = sorted(upload.iterdir())
    if not paths:
        raise UserError(f"There is no file. {VALID}")
    found = [path for path in paths if path.suffix.lower() in (HEADER, EDF, *TABLES)]
    found = [path for path in found if not path.name.endswith(RESULTS)] or found
    if not found:
        raise UserError(f"{_listed(paths)} cannot be read without a header or is of another format. {VALID}")
    if len(found) > 1:
        raise UserError(f"{_listed(found)} are several recordings. Choose one.")
    return found[0].with_suffix("") if found[0].suffix == HEADER else found[0]


def _listed(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", ..." if len(paths) > 5 else "")
