from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import wfdb
from filelock import FileLock

from ecg.data import download
from ecg.data.download import download_records
from ecg.data.wfdb_records import read_recording
from ecg.errors import UserError

N_SAMPLES = 20 * 360


@dataclass
class Server:
    """A web server whose faults a test chooses."""

    files: dict[str, bytes] = field(default_factory=dict)
    knows_ranges: bool = True
    says_length: bool = True
    # Bytes after which the connection breaks, a number for each request of a file in turn.
    cuts: dict[str, list[int]] = field(default_factory=dict)
    # The status of each request of a file in turn.
    statuses: dict[str, list[int]] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    delay: float = 0.0  # seconds before an answer
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # name, range
    agents: set[str | None] = field(default_factory=set)
    url: str = ""

    def asked(self, name: str) -> list[str | None]:
        return [byte_range for requested, byte_range in self.requests if requested == name]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.removeprefix("/mitdb/")
        byte_range = handler.headers["Range"]
        self.requests.append((name, byte_range))
        self.agents.add(handler.headers["User-Agent"])
        time.sleep(self.delay)
        if statuses := self.statuses.get(name):
            handler.send_error(statuses.pop(0))
        elif name not in self.files:
            handler.send_error(404)
        else:
            self._send(handler, name, byte_range if self.knows_ranges else None)

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
        if self.says_length:
            handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        cuts = self.cuts.get(name)
        handler.wfile.write(body[start:][: cuts.pop(0)] if cuts else body[start:])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the records 100 and 101, and of an older annotation of 102."""
    folder = tmp_path_factory.mktemp("originals")
    for seed, name in enumerate(("100", "101")):
        wfdb.wrsamp(
            name,
            fs=360,
            units=["mV", "mV"],
            sig_name=["MLII", "V5"],
            d_signal=np.random.default_rng(seed).integers(-2000, 2000, size=(N_SAMPLES, 2)),
            fmt=["212", "212"],
            adc_gain=[200.0, 200.0],
            baseline=[1024, 1024],
            write_dir=str(folder),
        )
        wfdb.wrann(name, "atr", np.arange(100, N_SAMPLES, 300), ["N"] * 24, write_dir=str(folder))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"102-0.atr": files["100.atr"]}


@pytest.fixture
def server(originals: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_PAUSES", (0.0, 0.01, 0.02))
    state = Server(dict(originals))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        state.url = f"http://127.0.0.1:{http_server.server_address[1]}/mitdb"
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http_server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "mitdb"


def sentence(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def get(server: Server, target: Path, *records: str, **options: object) -> None:
    arguments: dict[str, object] = {"progress": False, "timeout": 5, **options}
    download_records(target, url=server.url, records=records or ("100",), **arguments)  # type: ignore[arg-type]


def content(target: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in target.iterdir() if p.name != ".download.lock"}


def test_fetches_records_and_extra_files(
    server: Server, target: Path, originals: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    get(server, target, "100", "101", extra=["102-0.atr", "absent.atr"], progress=True)
    assert content(target) == originals
    assert read_recording(target, "101").signal.shape == (2, N_SAMPLES)
    assert all(agent and "ecg-synthesis-classification" in agent for agent in server.agents)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "8/8 files" in printed.err


def test_what_is_there_is_skipped(server: Server, target: Path, originals: dict[str, bytes]) -> None:
    target.mkdir(parents=True)
    (target / "100.dat").write_bytes(originals["100.dat"])
    get(server, target)
    assert [name for name, _ in server.requests] == ["100.hea", "100.atr"]
    server.requests.clear()
    (target / ".download.lock").unlink()
    get(server, target)
    assert server.requests == []
    # Nothing is written into a folder that is whole, since it may be read-only.
    assert not (target / ".download.lock").exists()


@pytest.mark.parametrize("says_length", [True, False])
def test_continues_a_part(server: Server, target: Path, originals: dict[str, bytes], says_length: bool) -> None:
    server.says_length = says_length
    target.mkdir(parents=True)
    (target / "100.dat.part").write_bytes(originals["100.dat"][:5000])
    get(server, target)
    assert server.asked("100.dat") == ["bytes=5000-"]
    assert (target / "100.dat").read_bytes() == originals["100.dat"]
    assert not list(target.glob("*.part"))


def test_server_without_ranges(server: Server, target: Path, originals: dict[str, bytes]) -> None:
    server.knows_ranges = False
    target.mkdir(parents=True)
    (target / "100.dat.part").write_bytes(b"x" * 5000)
    get(server, target)
    assert server.asked("100.dat") == ["bytes=5000-"]
    assert (target / "100.dat").read_bytes() == originals["100.dat"]


def test_part_of_another_file(server: Server, target: Path, originals: dict[str, bytes]) -> None:
    target.mkdir(parents=True)
    (target / "100.dat.part").write_bytes(b"x" * 5000)
    assert "does not match its checksum" in sentence(lambda: get(server, target))
    get(server, target)
    assert (target / "100.dat").read_bytes() == originals["100.dat"]


@pytest.mark.parametrize("surplus", [0, 1, 99_999])
def test_part_that_is_too_long(server: Server, target: Path, originals: dict[str, bytes], surplus: int) -> None:
    whole = originals["100.dat"]
    target.mkdir(parents=True)
    (target / "100.dat.part").write_bytes(b"x" * (len(whole) + surplus))
    get(server, target)
    assert server.asked("100.dat") == [f"bytes={len(whole) + surplus}-", None]
    assert (target / "100.dat").read_bytes() == whole


def test_broken_connection_is_tried_again(server: Server, target: Path, originals: dict[str, bytes]) -> None:
    server.cuts["100.dat"] = [7000, 3000]
    get(server, target)
    assert server.asked("100.dat") == [None, "bytes=7000-", "bytes=10000-"]
    assert content(target) == {name: originals[name] for name in ("100.hea", "100.dat", "100.atr")}


def test_gives_up_after_three_tries_and_continues_later(
    server: Server, target: Path, originals: dict[str, bytes]
) -> None:
    server.cuts["100.dat"] = [1000, 1000, 1000]
    message = sentence(lambda: get(server, target))
    assert f"{server.url}/100.dat did not arrive whole in 3 tries" in message
    assert "start again, it continues where it stopped" in message
    assert not (target / "100.dat").exists()
    assert (target / "100.dat.part").stat().st_size == 3000
    get(server, target)
    assert server.asked("100.dat")[-1] == "bytes=3000-"
    assert (target / "100.dat").read_bytes() == originals["100.dat"]


def test_busy_server_is_tried_again(server: Server, target: Path) -> None:
    server.statuses["100.hea"] = [503, 429]
    get(server, target)
    assert len(server.asked("100.hea")) == 3
    server.statuses["101.hea"] = [500] * 3
    assert "the server answers 500" in sentence(lambda: get(server, target, "101"))


@pytest.mark.parametrize("status", [404, 403, 416])
def test_refused_file(server: Server, target: Path, status: int) -> None:
    server.statuses["100.dat"] = [status]
    message = sentence(lambda: get(server, target))
    assert f"{server.url}/100.dat answers {status}" in message
    assert "ECG_DATA_DIR" in message
    assert len(server.asked("100.dat")) == 1
    assert set(content(target)) == {"100.hea"}


def test_extra_file_is_refused_for_other_reasons(server: Server, target: Path) -> None:
    server.statuses["102-0.atr"] = [403]
    assert "102-0.atr answers 403" in sentence(lambda: get(server, target, extra=["102-0.atr"]))


def test_login_page(server: Server, target: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    assert "web page instead of a file" in sentence(lambda: get(server, target))
    assert content(target) == {}


@pytest.mark.parametrize("suffix", ["hea", "dat", "atr"])
def test_damaged_record_is_removed(server: Server, target: Path, originals: dict[str, bytes], suffix: str) -> None:
    server.files[f"100.{suffix}"] = bytes(len(originals[f"100.{suffix}"]))
    message = sentence(lambda: get(server, target))
    assert f"{target / '100.'}{suffix}" in message
    assert "100.hea, 100.dat, 100.atr, has been removed" in message
    assert content(target) == {}
    server.files = dict(originals)
    get(server, target)
    assert len(content(target)) == 3


def test_files_of_the_user_are_never_removed(server: Server, target: Path, originals: dict[str, bytes]) -> None:
    target.mkdir(parents=True)
    (target / "100.dat").write_bytes(b"mine")
    message = sentence(lambda: get(server, target))
    assert "100.dat is truncated" in message
    assert content(target) == {"100.dat": b"mine"}


def test_records_without_annotations(server: Server, target: Path, originals: dict[str, bytes]) -> None:
    get(server, target, suffixes=("hea", "dat"))
    assert set(content(target)) == {"100.hea", "100.dat"}
    server.files["101.dat"] = bytes(len(originals["101.dat"]))
    assert "checksum" in sentence(lambda: get(server, target, "101", suffixes=("hea", "dat")))
    assert set(content(target)) == {"100.hea", "100.dat"}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_network(server: Server, target: Path) -> None:
    server.url = f"http://127.0.0.1:{closed_port()}/mitdb"
    message = sentence(lambda: get(server, target))
    assert f"{target} lacks 100.hea" in message
    assert f"{server.url}/100.hea gives no answer" in message
    for remedy in ("set ECG_DATA_DIR to a folder that holds mitdb/", "data.dir=...", "go online"):
        assert remedy in message


def test_silent_server(server: Server, target: Path) -> None:
    server.delay = 0.5
    message = sentence(lambda: get(server, target, timeout=0.05))
    assert "timed out" in message
    assert "go online" in message


@pytest.mark.parametrize("url", ["", "mitdb", "file:///etc", "ftp://example.org/mitdb"])
def test_no_web_address(target: Path, url: str) -> None:
    message = sentence(lambda: download_records(target, url=url, records=["100"], progress=False))
    assert f"url={url!r} is no web address" in message
    assert "https://" in message


@pytest.mark.parametrize(
    "url", ["http://", "http://127.0.0.1:port/x", "http://a b/", "http://[::1/", "http://" + "a" * 99]
)
def test_web_address_that_cannot_be(server: Server, target: Path, url: str) -> None:
    server.url = url
    assert "gives no answer" in sentence(lambda: get(server, target))


def test_server_that_hangs_up(server: Server, target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mitdb"

        def hang_up() -> None:
            for _ in range(3):
                connection, _address = listener.accept()
                connection.recv(1000)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        message = sentence(lambda: get(server, target))
        thread.join()
    assert "100.hea did not arrive whole in 3 tries" in message


def test_target_the_system_refuses(server: Server, tmp_path: Path) -> None:
    assert "cannot write" in sentence(lambda: get(server, tmp_path / ("x" * 300)))


def test_target_beneath_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = sentence(lambda: get(server, tmp_path / "file" / "mitdb"))
    assert f"cannot write {tmp_path / 'file' / 'mitdb'}" in message
    assert "choose another folder with data.dir=..." in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_target(server: Server, target: Path) -> None:
    target.mkdir(parents=True)
    target.chmod(0o500)
    assert f"cannot write {target}" in sentence(lambda: get(server, target))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(server: Server, target: Path) -> None:
    target.mkdir(parents=True)
    (target / "100.dat.part").symlink_to("/dev/full")
    message = sentence(lambda: get(server, target))
    assert f"cannot write {target / '100.dat.part'} (No space left on device)" in message
    assert "make room" in message


def test_second_download_waits_and_fetches_nothing_twice(server: Server, target: Path) -> None:
    server.delay = 0.02
    failures: list[BaseException] = []

    def run() -> None:
        try:
            get(server, target, "100", "101")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(server.requests) == 6
    assert len(content(target)) == 6


def test_lock_is_released_after_a_failure(server: Server, target: Path) -> None:
    server.statuses["100.hea"] = [404]
    sentence(lambda: get(server, target))
    with FileLock(target / ".download.lock", timeout=0):
        pass
