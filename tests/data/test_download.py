from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from wfdb_factories import N_SAMPLES, Server, error_message, run_server, write_noise_record

from ecg.data import download
from ecg.data.download import download_records
from ecg.data.wfdb_reader import read_recording

SUFFIXES = ("hea", "dat", "atr")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the records 100 and 101, and of an older annotation of 102."""
    folder = tmp_path_factory.mktemp("originals")
    for seed, name in enumerate(("100", "101")):
        write_noise_record(folder, name, seed=seed)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"102-0.atr": files["100.atr"]}


@pytest.fixture
def server(originals: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.01, 0.02))
    with run_server(originals) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "mitdb"


def get(server: Server, folder: Path, *records: str, **options: object) -> None:
    arguments: dict[str, object] = {"suffixes": SUFFIXES, "timeout": 5, **options}
    download_records(folder, url=server.url, records=records or ("100",), **arguments)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".download.lock"}


def test_records_and_extra_files_are_downloaded(
    server: Server, folder: Path, originals: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    get(server, folder, "100", "101", extra=["102-0.atr", "absent.atr"])
    assert content(folder) == originals
    assert read_recording(folder, "101").signal.shape == (2, N_SAMPLES)
    assert all(agent and "ecg-synthesis-classification" in agent for agent in server.agents)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "8/8 files" in printed.err


def test_present_files_are_not_downloaded_again(server: Server, folder: Path, originals: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    (folder / "100.dat").write_bytes(originals["100.dat"])
    get(server, folder)
    assert [name for name, _ in server.requests] == ["100.hea", "100.atr"]
    server.requests.clear()
    (folder / ".download.lock").unlink()
    get(server, folder)
    assert server.requests == []
    # Nothing is written into a complete folder, which may be read-only.
    assert not (folder / ".download.lock").exists()


@pytest.mark.parametrize("states_length", [True, False])
def test_a_partial_file_is_resumed(
    server: Server, folder: Path, originals: dict[str, bytes], states_length: bool
) -> None:
    server.states_length = states_length
    folder.mkdir(parents=True)
    (folder / "100.dat.part").write_bytes(originals["100.dat"][:5000])
    get(server, folder)
    assert server.ranges("100.dat") == ["bytes=5000-"]
    assert (folder / "100.dat").read_bytes() == originals["100.dat"]
    assert not list(folder.glob("*.part"))


def test_without_ranges_a_partial_file_is_downloaded_again(
    server: Server, folder: Path, originals: dict[str, bytes]
) -> None:
    server.supports_ranges = False
    folder.mkdir(parents=True)
    (folder / "100.dat.part").write_bytes(b"x" * 5000)
    get(server, folder)
    assert server.ranges("100.dat") == ["bytes=5000-"]
    assert (folder / "100.dat").read_bytes() == originals["100.dat"]


def test_a_partial_file_of_another_file_is_detected_by_the_checksum(
    server: Server, folder: Path, originals: dict[str, bytes]
) -> None:
    folder.mkdir(parents=True)
    (folder / "100.dat.part").write_bytes(b"x" * 5000)
    assert "does not match its checksum" in error_message(lambda: get(server, folder))
    get(server, folder)
    assert (folder / "100.dat").read_bytes() == originals["100.dat"]


@pytest.mark.parametrize("surplus", [0, 1, 99_999])
def test_a_partial_file_that_is_too_long_is_downloaded_again(
    server: Server, folder: Path, originals: dict[str, bytes], surplus: int
) -> None:
    original = originals["100.dat"]
    folder.mkdir(parents=True)
    (folder / "100.dat.part").write_bytes(b"x" * (len(original) + surplus))
    get(server, folder)
    assert server.ranges("100.dat") == [f"bytes={len(original) + surplus}-", None]
    assert (folder / "100.dat").read_bytes() == original


def test_a_broken_connection_is_resumed(server: Server, folder: Path, originals: dict[str, bytes]) -> None:
    server.cuts["100.dat"] = [7000, 3000]
    get(server, folder)
    assert server.ranges("100.dat") == [None, "bytes=7000-", "bytes=10000-"]
    assert content(folder) == {name: originals[name] for name in ("100.hea", "100.dat", "100.atr")}


def test_the_download_stops_after_three_attempts_and_is_resumed_by_the_next_call(
    server: Server, folder: Path, originals: dict[str, bytes]
) -> None:
    server.cuts["100.dat"] = [1000, 1000, 1000]
    message = error_message(lambda: get(server, folder))
    assert f"The download of {server.url}/100.dat is incomplete after 3 attempts" in message
    assert "Run the command again to resume it" in message
    assert not (folder / "100.dat").exists()
    assert (folder / "100.dat.part").stat().st_size == 3000
    get(server, folder)
    assert server.ranges("100.dat")[-1] == "bytes=3000-"
    assert (folder / "100.dat").read_bytes() == originals["100.dat"]


def test_a_request_to_a_busy_server_is_repeated(server: Server, folder: Path) -> None:
    server.statuses["100.hea"] = [503, 429]
    get(server, folder)
    assert len(server.ranges("100.hea")) == 3
    server.statuses["101.hea"] = [500] * 3
    assert "the server answers 500" in error_message(lambda: get(server, folder, "101"))


@pytest.mark.parametrize("status", [404, 403, 416])
def test_a_file_that_the_server_refuses_is_an_error(server: Server, folder: Path, status: int) -> None:
    server.statuses["100.dat"] = [status]
    message = error_message(lambda: get(server, folder))
    assert f"answers {status}" in message
    assert f"{server.url}/100.dat" in message
    assert len(server.ranges("100.dat")) == 1
    assert set(content(folder)) == {"100.hea"}


def test_an_extra_file_may_be_absent_but_not_forbidden(server: Server, folder: Path) -> None:
    server.statuses["102-0.atr"] = [403]
    message = error_message(lambda: get(server, folder, extra=["102-0.atr"]))
    assert "answers 403" in message
    assert "102-0.atr" in message


def test_the_login_page_of_a_network_is_refused(server: Server, folder: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    assert "is a web page instead of a file" in error_message(lambda: get(server, folder))
    assert content(folder) == {}


@pytest.mark.parametrize("suffix", ["hea", "dat", "atr"])
def test_the_downloaded_files_of_a_damaged_record_are_deleted(
    server: Server, folder: Path, originals: dict[str, bytes], suffix: str
) -> None:
    server.files[f"100.{suffix}"] = bytes(len(originals[f"100.{suffix}"]))
    message = error_message(lambda: get(server, folder))
    assert f"{folder / '100.'}{suffix}" in message
    assert "have been deleted: 100.hea, 100.dat, 100.atr." in message
    assert content(folder) == {}
    server.files = dict(originals)
    get(server, folder)
    assert len(content(folder)) == 3


def test_files_that_were_present_are_not_deleted(server: Server, folder: Path, originals: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    (folder / "100.dat").write_bytes(b"mine")
    message = error_message(lambda: get(server, folder))
    assert "100.dat is truncated" in message
    assert content(folder) == {"100.dat": b"mine"}


def test_records_may_have_no_annotations(server: Server, folder: Path, originals: dict[str, bytes]) -> None:
    get(server, folder, suffixes=("hea", "dat"))
    assert set(content(folder)) == {"100.hea", "100.dat"}
    server.files["101.dat"] = bytes(len(originals["101.dat"]))
    assert "checksum" in error_message(lambda: get(server, folder, "101", suffixes=("hea", "dat")))
    assert set(content(folder)) == {"100.hea", "100.dat"}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_a_network_the_address_is_named(server: Server, folder: Path) -> None:
    server.url = f"http://127.0.0.1:{closed_port()}/mitdb"
    message = error_message(lambda: get(server, folder))
    assert f"{server.url}/100.hea is not reachable" in message


def test_a_server_that_does_not_answer_in_time_is_not_reachable(server: Server, folder: Path) -> None:
    server.delay = 0.5
    message = error_message(lambda: get(server, folder, timeout=0.05))
    assert "is not reachable" in message
    assert "timed out" in message


@pytest.mark.parametrize("url", ["", "mitdb", "file:///etc", "ftp://example.org/mitdb"])
def test_an_address_must_be_a_web_address(folder: Path, url: str) -> None:
    message = error_message(lambda: download_records(folder, url=url, records=["100"], suffixes=SUFFIXES))
    assert f"data.url is {url!r}." in message
    assert "https://" in message


@pytest.mark.parametrize(
    "url", ["http://", "http://127.0.0.1:port/x", "http://a b/", "http://[::1/", "http://" + "a" * 99]
)
def test_an_invalid_web_address_is_not_reachable(server: Server, folder: Path, url: str) -> None:
    server.url = url
    assert "is not reachable" in error_message(lambda: get(server, folder))


def test_a_server_that_closes_the_connection_is_tried_three_times(server: Server, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mitdb"

        def hang_up() -> None:
            for _ in range(3):
                connection, _address = listener.accept()
                connection.recv(1000)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        message = error_message(lambda: get(server, folder))
        thread.join()
    assert "100.hea is incomplete after 3 attempts" in message


def test_a_folder_with_a_name_that_is_too_long_is_an_error(server: Server, tmp_path: Path) -> None:
    assert "Cannot write" in error_message(lambda: get(server, tmp_path / ("x" * 300)))


def test_a_folder_below_a_file_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = error_message(lambda: get(server, tmp_path / "file" / "mitdb"))
    assert f"Cannot write {tmp_path / 'file' / 'mitdb'}" in message
    assert "choose another folder with data.dir or ECG_DATA_DIR" in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write to every folder")
def test_a_read_only_folder_is_an_error(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    assert f"Cannot write {folder}" in error_message(lambda: get(server, folder))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "100.dat.part").symlink_to("/dev/full")
    message = error_message(lambda: get(server, folder))
    assert f"Cannot write {folder / '100.dat.part'} (No space left on device)" in message
    assert "Free space" in message


def test_simultaneous_downloads_request_each_file_once(server: Server, folder: Path) -> None:
    server.delay = 0.02
    failures: list[BaseException] = []

    def run() -> None:
        try:
            get(server, folder, "100", "101")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(server.requests) == 6
    assert len(content(folder)) == 6


def test_the_lock_is_released_after_a_failure(server: Server, folder: Path) -> None:
    server.statuses["100.hea"] = [404]
    error_message(lambda: get(server, folder))
    with FileLock(folder / ".download.lock", timeout=0):
        pass
