from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from ecg import threads


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has four threads by default, without OMP_NUM_THREADS."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_default_threads", lambda: 4)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize(("busy", "expected"), [(0.0, 4), (0.3, 4), (0.5, 3), (1.0, 3), (2.7, 1), (4.0, 1), (60.0, 1)])
def test_other_processes_keep_their_cores(busy: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_busy_cores", lambda: busy)
    threads.adapt_threads()
    assert torch.get_num_threads() == expected


@pytest.mark.usefixtures("four_threads")
def test_the_threads_return_when_the_other_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for busy, expected in ((1.0, 3), (0.0, 4)):
        monkeypatch.setattr(threads, "_busy_cores", lambda busy=busy: busy)
        threads.adapt_threads()
        assert torch.get_num_threads() == expected


@pytest.mark.usefixtures("four_threads")
def test_a_number_of_threads_in_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "_busy_cores", lambda: 3.0)
    threads.adapt_threads()
    assert torch.get_num_threads() == 4


@pytest.mark.skipif(sys.platform != "linux", reason="the load of the cores is read on Linux only")
def test_a_busy_process_is_measured() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert max(threads._busy_cores() for _ in range(10)) > 0.4
    finally:
        process.kill()
        process.wait()
