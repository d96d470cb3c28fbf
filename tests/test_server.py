"""`ecg serve`, started as a process and used over sockets and with a browser."""

from __future__ import annotations

import asyncio
import http.client
import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import browser
import numpy as np
import pandas as pd
import pytest
import wfdb
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from programs import ROOT
from typer.testing import CliRunner
from wfdb_factories import write_recording

from ecg.cli import app
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow
from ecg.errors import UserError
from ecg.server import MAX_NAME, N_KEPT, Annotator, Pages, is_own_host, safe_name

MAX_MB = 3
COMMAND = [sys.executable, "-c", "from ecg.cli import app; app()", "serve"]
Files = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> str:
        """The message on the page."""
        found = re.search(r'role="alert"><p>(.*?)</p>', self.text, re.DOTALL)
        assert found, self.text
        return unescape(found[1])


@dataclass(frozen=True)
class Page:
    """A server with its temporary folder, and its process where it has one of its own."""

    address: str
    folder: Path
    process: subprocess.Popen[str] | None = None

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=100)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)  # type: ignore[arg-type]
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def upload(self, files: Files, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        return self.request("POST", "/", form(files, fields or {}), **CONTENT_TYPE, **headers)

    def result(self, files: Files, **fields: str) -> str:
        """The path of the result."""
        answer = self.upload(files, fields)
        assert answer.status == 303, answer.text
        return str(answer.headers["Location"])


CONTENT_TYPE = {"Content_Type": "multipart/form-data; boundary=edge"}


def form(files: Files, fields: dict[str, str]) -> bytes:
    """The body of a form."""
    body = b""
    for name, content in files:
        body += f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        body += content + b"\r\n"
    for name, value in fields.items():
        body += f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    return body + b"--edge--\r\n"


def files_of(folder: Path, name: str) -> Files:
    return [(f"{name}{suffix}", (folder / f"{name}{suffix}").read_bytes()) for suffix in (".hea", ".dat")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("server")
    arguments = ["--port", "0", "--max-mb", str(MAX_MB)]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout
    line = process.stdout.readline()
    found = re.match(r"Open (http://127\.0\.0\.1:\d+/) ", line)
    if not found:
        process.kill()
        pytest.fail(line + process.communicate()[1])
    yield Page(found[1], folder, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err, err
    assert not list(folder.glob("ecg-serve-*")), "temporary files remain"


@pytest.fixture(scope="module")
def form_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page in a thread of this process, for tests that annotate nothing."""
    folder = tmp_path_factory.mktemp("server")
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        runner = web.AppRunner(Pages(Annotator(), folder, {"inter_patient": ""}, host, MAX_MB).application())
        await runner.setup()
        await web.SockSite(runner, listening).start()
        started.set()

    def serve() -> None:
        loop.create_task(run())
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    assert started.wait(10)
    yield Page(f"http://{host}:{port}/", folder)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    listening.close()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a simulated record r1."""
    folder = tmp_path_factory.mktemp("record")
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=1, seed=7)
    write_recording(folder, source.read(source.record_names()[0], KaggleWindow("first")), "r1")
    return files_of(folder, "r1")


# -- results ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_simulated_record_is_annotated(page: Page, record: Files, tmp_path: Path) -> None:
    path = page.result(record)
    shown = page.request("GET", path)
    assert shown.status == 200
    assert re.findall(r'href="([^"]+)" download', shown.text) == ["r1.ecg", "r1.beats.csv", "r1.html"]
    assert '<iframe src="r1.html"' in shown.text
    for name in ("r1.ecg", "r1.beats.csv"):
        saved = page.request("GET", path + name)
        assert saved.headers["Content-Disposition"] == "attachment"
        (tmp_path / name).write_bytes(saved.body)
    table = pd.read_csv(tmp_path / "r1.beats.csv")
    assert len(table) > 40
    assert wfdb.rdann(str(tmp_path / "r1"), "ecg").sample.tolist() == table["sample"].tolist()
    report = page.request("GET", path + "r1.html").text
    assert "Annotated recording" in report
    assert str(page.folder) not in report


@pytest.mark.slow
@pytest.mark.real
def test_a_real_record_is_annotated_as_by_ecg_predict(page: Page, real_data: Path, tmp_path: Path) -> None:
    path = page.result(files_of(real_data / "mitdb", "100"), model="inter_patient", lead="MLII")
    predict = ["predict", str(real_data / "mitdb" / "100"), "--lead", "MLII", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, predict).exit_code == 0
    for name in ("100.beats.csv", "100.ecg", "100.html"):
        assert page.request("GET", path + name).body == (tmp_path / name).read_bytes()


@pytest.mark.slow
def test_an_array_needs_its_sampling_rate(page: Page, record: Files, tmp_path: Path) -> None:
    for name, content in record:
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "x.npy", wfdb.rdrecord(str(tmp_path / "r1")).p_signal.T)
    files = [("my recording.npy", (tmp_path / "x.npy").read_bytes())]
    error = page.upload(files).error
    assert error == "my recording.npy does not state its sampling rate. Add --sfreq=HZ."
    path = page.result(files, sfreq="360")
    assert page.request("GET", f"{path}my%20recording.beats.csv").status == 200


@pytest.mark.slow
def test_the_oldest_results_are_removed(page: Page, record: Files) -> None:
    paths = [page.result(record) for _ in range(N_KEPT + 1)]
    assert [page.request("GET", path).status for path in paths] == [404] + [200] * N_KEPT
    assert "was removed" in page.request("GET", paths[0]).text
    assert len(list(next(page.folder.glob("ecg-serve-*")).iterdir())) == N_KEPT


@pytest.mark.slow
def test_the_page_is_shown_while_recordings_are_annotated(page: Page, record: Files) -> None:
    with ThreadPoolExecutor(2) as threads:
        uploads = [threads.submit(page.result, record) for _ in range(2)]
        n_shown = 0
        while not all(upload.done() for upload in uploads):
            start = time.monotonic()
            assert page.request("GET", "/").status == 200
            assert time.monotonic() - start < 5
            n_shown += 1
        assert uploads[0].result() != uploads[1].result()
    assert n_shown > 3


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_recording_that_cannot_be_annotated_is_one_sentence(page: Page, record: Files) -> None:
    header, signal = record
    flat = ("flat.npy", _npy(np.zeros((1, 5000))))
    errors = {
        "The signal file r1.dat is missing.": [header],
        "The signal file r1.dat is truncated: 5 bytes": [header, (signal[0], b"short")],
        "Cannot read a.edf (": [("a.edf", b"no EDF file")],
        "Lead lead 1 of flat has no contact throughout.": [flat],
    }
    for message, files in errors.items():
        answer = page.upload(files, {"sfreq": "250" if files == [flat] else ""})
        assert answer.status == 400
        assert answer.error.startswith(message), answer.error
        assert str(page.folder) not in answer.text
    assert page.upload(record, {"lead": "V9"}).error.startswith("r1 has no lead V9. Its leads: ")


def test_a_wrong_value_of_the_form_is_one_sentence(form_page: Page) -> None:
    file = ("x.npy", b"x")
    errors = [
        ("Unknown model /etc/passwd. Valid models: inter_patient.", [file], {"model": "/etc/passwd"}),
        ("The sampling rate is 'fast'. Write a number of Hz, such as 250.", [file], {"sfreq": "fast"}),
        ("The field lead is longer than", [file], {"lead": "x" * 2000}),
        ("Two files have the name x.npy.", [file, ("folder/x.npy", b"y")], {}),
        ("The file name '..' is not valid.", [("..", b"x")], {}),
        ("The file name 'xxx", [("x" * 250 + ".npy", b"x")], {}),
        ("There is no file. Choose all files of a WFDB record (.hea and .dat), or", [], {}),
        ("r.dat cannot be read without a header or is of another format.", [("r.dat", b"x")], {}),
        ("r.hea, x.npy are several recordings. Choose one.", [("r.hea", b""), ("r.dat", b""), file], {}),
        ("There are more than 100 files and fields.", [(f"{i}.dat", b"") for i in range(101)], {}),
        ("There are more than 100 files and fields.", [], {f"field {i}": "" for i in range(101)}),
    ]
    for message, files, fields in errors:
        answer = form_page.upload(files, fields)
        assert answer.status == 400
        assert answer.error.startswith(message), answer.error
    assert 'value="&lt;II&gt;"' in form_page.upload([file], {"lead": "<II>", "model": "none"}).text
    assert not list(form_page.folder.iterdir())


def _npy(array: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array)
        return file.getvalue()


def test_a_request_that_is_no_form_is_one_sentence(form_page: Page) -> None:
    assert form_page.request("POST", "/", b"a=b").error.startswith("The request is not a form of this page.")
    for body in (b"", b"x", b"--edge\r\n", b"--edge\r\nContent-Disposition: form-data\r\n\r\n", form([], {})[:-9]):
        answer = form_page.request("POST", "/", body, **CONTENT_TYPE)
        assert answer.status == 400, (body, answer.text)
    assert form_page.request("GET", "/").status == 200


def test_an_upload_over_the_limit_is_refused_before_and_while_it_is_read(form_page: Page) -> None:
    body = form([("x.npy", bytes(1_000_000 * MAX_MB + 1))], {"model": "none"})
    chunks = (body[i : i + 65536] for i in range(0, len(body), 65536))  # without a Content-Length
    stated = form_page.upload([("x.npy", bytes(2_000_000 * MAX_MB))])
    for answer in (stated, form_page.request("POST", "/", chunks, **CONTENT_TYPE)):
        assert answer.status == 413
        assert answer.error == f"The upload is larger than {MAX_MB} MB. Raise --max-mb, or use ecg predict."
    accepted = form_page.upload([("x.npy", bytes(1_000_000 * MAX_MB))], {"model": "none"})
    assert accepted.error == "Unknown model none. Valid models: inter_patient."


def test_the_stated_length_of_an_upload_is_checked_before_it_is_read(form_page: Page) -> None:
    headers = f"Host: localhost\r\nContent-Type: {CONTENT_TYPE['Content_Type']}\r\nContent-Length: {10**10}"
    address = urlsplit(form_page.address)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_upload_that_breaks_off_leaves_no_file_and_no_traceback(
    form_page: Page, record: Files, caplog: pytest.LogCaptureFixture
) -> None:
    before = sorted(form_page.folder.rglob("*"))
    for end in (10, 300, -20):
        body = form(record, {})
        headers = f"Host: localhost\r\nContent-Type: {CONTENT_TYPE['Content_Type']}\r\nContent-Length: {len(body)}"
        with socket.create_connection(
            (urlsplit(form_page.address).hostname, urlsplit(form_page.address).port)
        ) as connection:
            connection.sendall(f"POST / HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body[:end])
    assert form_page.upload([]).status == 400  # after the others
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(form_page.folder.rglob("*")) == before


@pytest.mark.slow
def test_a_crash_of_the_annotating_process_is_one_sentence(page: Page, record: Files) -> None:
    with ThreadPoolExecutor(1) as threads:
        upload = threads.submit(page.upload, record)
        while not list(page.folder.glob("ecg-serve-*/tmp*/r1.dat")):
            time.sleep(0.001)
        assert page.process
        for process in _children(page.process.pid):
            os.kill(process, signal.SIGKILL)
        assert (
            upload.result().error == "The annotation ended for lack of memory. Choose a shorter part of the recording."
        )
    assert page.result(record)


def _children(parent: int) -> list[int]:
    """The annotating process of a server (Linux only)."""
    processes = Path(f"/proc/{parent}/task/{parent}/children")
    if not processes.is_file():
        pytest.skip("needs /proc")
    children = [int(pid) for pid in processes.read_text().split()]
    return [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


# -- safety -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_names_of_files_stay_in_the_temporary_folder(page: Page, record: Files) -> None:
    before = sorted(page.folder.rglob("*"))
    for name in ("../../evil.npy", "/tmp/evil.npy", "..\\..\\evil.npy", "%2e%2e%2fevil.npy", "....//evil.npy"):
        assert "evil.npy" in page.upload([(name, b"x")], {"sfreq": "250"}).error
    assert sorted(page.folder.rglob("*")) == before
    path = page.result(record)
    for name in ("../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "r1.hea"):
        assert page.request("GET", path + name).status == 404


@pytest.mark.slow
@pytest.mark.parametrize("target", ["../secret.dat", "../../secret.dat", "/etc/passwd"])
def test_a_header_cannot_name_files_outside_the_upload(page: Page, record: Files, target: str) -> None:
    secret = page.folder / "secret.dat"
    secret.write_bytes(record[1][1])
    header = record[0][1].replace(b"r1.dat", target.encode())
    assert page.upload([("r1.hea", header)]).error.startswith(f"The header r1.hea names the signal file {target}")
    secret.unlink()


def test_requests_from_other_pages_are_refused(form_page: Page) -> None:
    host = urlsplit(form_page.address).netloc
    port = host.rpartition(":")[2]
    for name in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert form_page.request("GET", "/", Host=name).status == 403
        assert form_page.upload([], Host=name).status == 403
    for name in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "LOCALHOST"):
        assert form_page.request("GET", "/", Host=name).status == 200
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:1"},
    ):
        assert form_page.upload([], **headers).status == 403
    assert form_page.upload([], Sec_Fetch_Site="cross-site").status == 403
    assert form_page.upload([], Origin=f"http://{host}", Sec_Fetch_Site="same-origin", Host=host).status == 400


@pytest.mark.slow
def test_pages_run_their_own_scripts_only_and_load_nothing(page: Page, record: Files) -> None:
    path = page.result(record)
    for address in ("/", path, f"{path}r1.html"):
        answer = page.request("GET", address)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        for script in re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL):
            assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
        assert not re.search(r"https?:|<link", answer.text)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@given(st.text())
def test_a_safe_name_is_one_part_of_a_path(name: str) -> None:
    try:
        safe = safe_name(name)
    except UserError:
        return
    assert (Path("folder") / safe).resolve().parent == Path("folder").resolve()
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert not safe.startswith(".")
    assert len(safe.encode()) <= MAX_NAME
    assert safe_name(safe) == safe


@given(st.from_regex(r"[a-z0-9.-]{1,20}\.[a-z]{2,8}(:[0-9]{1,5})?", fullmatch=True))
def test_a_name_of_a_domain_is_not_the_host(header: str) -> None:
    assert not is_own_host(header, "127.0.0.1")
    assert is_own_host(header, header.partition(":")[0])


# -- start --------------------------------------------------------------------------------------------------------


def test_help_does_not_import_the_library() -> None:
    program = "import sys; from ecg.cli import app; app(['serve', '--help'], standalone_mode=False)"
    program += "; assert 'aiohttp' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    assert "Not a medical device" in ended.stdout


def test_a_missing_library_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "ecg.server")
    ended = CliRunner().invoke(app, ["serve"])
    assert ended.exit_code == 1
    assert ended.output == 'Error: ecg serve needs: pip install "ecg-synthesis-classification[serve]".\n'


@pytest.mark.slow
def test_what_prevents_a_start_is_one_message(page: Page, tmp_path: Path) -> None:
    port = str(urlsplit(page.address).port)
    errors = {
        ("--port", port): f"Cannot listen on 127.0.0.1, port {port} (",
        ("--host", "no.such.host.invalid", "--port", "0"): "Cannot listen on no.such.host.invalid, port 0 (",
        ("--port", "0", "--model", str(tmp_path / "none")): f"{tmp_path / 'none'} is neither a released model",
    }
    for arguments, message in errors.items():
        ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=100)
        assert ended.returncode == 1
        assert f"Error: {message}" in ended.stderr
        assert "Traceback" not in ended.stderr


# -- browser ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(browser.chromium is None, reason="needs Chromium")
def test_a_browser_uploads_a_recording_and_shows_strip_and_report(page: Page, record: Files, tmp_path: Path) -> None:
    for name, content in record:
        (tmp_path / name).write_bytes(content)

    async def use() -> None:
        async with browser.open_tab(tmp_path / "profile") as tab:
            await tab.open(page.address)
            await tab.choose_files("#files", [tmp_path / "r1.dat"])
            await tab.evaluate("document.querySelector('button').click()")
            await tab.until("document.querySelector('[role=alert]')")
            assert "without a header" in await tab.evaluate("document.querySelector('[role=alert]').innerText")
            await tab.choose_files("#files", [tmp_path / name for name, _ in record])
            await tab.evaluate("document.querySelector('button').click()")
            await tab.until("document.querySelector('iframe')?.contentDocument?.body?.dataset.drawn > 0")
            report = "document.querySelector('iframe').contentDocument"
            assert "Annotated recording" in await tab.evaluate(f"{report}.body.textContent")
            pixels = f"""(() => {{
                const canvas = {report}.querySelector('#strip canvas');
                const colours = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                return colours.filter((value, i) => i % 4 === 3 && value > 0).length;
            }})()"""
            assert await tab.evaluate(pixels) > 1000

    asyncio.run(use())
