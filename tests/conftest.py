"""Fixtures shared by all tests, and a guard against writes outside temporary folders."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

# Before torch is imported: tests run in parallel processes, and small networks gain nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before matplotlib is imported: its font cache stays where it is, all other caches go to a temporary folder.
os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
SESSION = tempfile.mkdtemp(prefix="ecg-tests-")
os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CONFIG_HOME"] = SESSION
os.environ.update(dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"), SESSION))
os.environ["WANDB_MODE"] = "offline"
os.environ.pop("WANDB_API_KEY", None)

import hypothesis
import pytest
from filelock import FileLock
from programs import folders, run
from typer.testing import CliRunner

from ecg.cli import app

hypothesis.settings.register_profile("tests", database=None, deadline=None, max_examples=50)
hypothesis.settings.load_profile("tests")

ALLOWED = (tempfile.gettempdir(), os.environ["MPLCONFIGDIR"], "/dev/", "/proc/")
TOOLS = ("__pycache__", ".pytest_cache", ".coverage", ".hypothesis")
outside_writes: list[str] = []


def _record_outside_writes(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: records files opened for writing outside temporary folders."""
    if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    path, mode, flags = arguments
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else "w" in (mode or "")
    name = os.path.abspath(os.fsdecode(path))
    if writes and not name.startswith(ALLOWED) and not any(tool in name for tool in TOOLS):
        outside_writes.append(name)


sys.addaudithook(_record_outside_writes)


@pytest.fixture(autouse=True)
def no_outside_writes() -> Iterator[None]:
    """Fails a test that writes outside temporary folders."""
    outside_writes.clear()
    yield
    assert not outside_writes, f"Files written outside temporary folders: {outside_writes}"


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all tests and all test processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def cache_dir(shared_dir: Path) -> Path:
    """A folder of prepared beats, shared by all tests and all test processes."""
    folder = shared_dir / "prepared-beats"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def finished_run(shared_dir: Path, cache_dir: Path) -> Callable[..., Path]:
    """Returns the folder of a finished run of a program, which all test processes share: a test changes a copy.

    The file `output` next to the folder holds what the program printed.
    """

    def run_once(program: str, *overrides: str, figures: bool = False) -> Path:
        name = sha256(" ".join([program, *overrides]).encode()).hexdigest()[:16]
        folder = shared_dir / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not (folder / "output").exists():
                ended = run(program, *overrides, *folders(folder, cache_dir), figures=figures)
                assert ended.returncode == 0, ended.stderr
                (folder / "output").write_text(ended.stdout)
        return folder / "run"

    return run_once


@pytest.fixture(scope="session")
def released_onnx(shared_dir: Path) -> Callable[..., Path]:
    """Returns the file of `ecg export inter_patient FILE` with some options, which all test processes share."""

    def export(*options: str) -> Path:
        path = shared_dir / f"inter_patient{''.join(options)}.onnx"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                ended = CliRunner().invoke(app, ["export", "inter_patient", str(path), *options])
                assert ended.exit_code == 0, ended.output
                assert ("simulated beats" in ended.output) == ("--int8" in options)
        return path

    return export


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds mitdb/. Skips without it; with ECG_REQUIRE_REAL=1 its absence is a failure."""
    folder = Path(os.environ.get("ECG_DATA_DIR", "/nonexistent"))
    require_real(folder / "mitdb" / "100.hea")
    return folder.resolve()


def require_real(path: Path) -> None:
    """Skips a test without a file of the real records; with ECG_REQUIRE_REAL=1, its absence is a failure."""
    if not path.is_file():
        if os.environ.get("ECG_REQUIRE_REAL") == "1":
            pytest.fail(f"ECG_REQUIRE_REAL=1, but {path} is missing")
        pytest.skip(f"{path} is missing")


@pytest.fixture(scope="session")
def real_noise(real_data: Path) -> Path:
    """The folder of the MIT-BIH Noise Stress Test Database."""
    require_real(real_data / "nstdb" / "bw.hea")
    return real_data / "nstdb"


@pytest.fixture(scope="session")
def real_svdb(real_data: Path) -> Path:
    """The folder of the MIT-BIH Supraventricular Arrhythmia Database, with record 860 at least."""
    require_real(real_data / "svdb" / "860.hea")
    return real_data / "svdb"
