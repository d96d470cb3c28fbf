"""Mistakes of the user end in one message, defects in a traceback."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb
from omegaconf import OmegaConf
from programs import TINY_TRAIN, folders, run

import ecg.build
from ecg.error_reporting import signals_as_exits
from ecg.errors import file_system_message, memory_message


def test_a_defect_that_raises_an_omegaconf_error_keeps_its_traceback(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(cfg: object) -> object:
        return OmegaConf.create({"a": 1}, flags={"struct": True}).b

    monkeypatch.setattr(ecg.build, "classification_data", defect)
    ended = run("train", *TINY_TRAIN, "logger=none", *folders(tmp_path, cache_dir))
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "ConfigAttributeError" in ended.stderr
    assert "Error: " not in ended.stderr.splitlines()[0]


def test_an_extra_that_is_missing_is_named(tmp_path: Path) -> None:
    ended = run("train", "-m", "seed=1,2", "hydra/launcher=nothing", f"hydra.sweep.dir={tmp_path}")
    assert "nothing" in ended.message


def test_a_run_folder_that_cannot_be_created_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = run("train", "logger=none", f"hydra.run.dir={tmp_path}/file/run").message
    assert f"{tmp_path}/file" in message
    assert "hydra.run.dir=FOLDER" in message


def test_missing_records_without_a_network_are_one_message(tmp_path: Path) -> None:
    absent = ["data=mitbih", f"data.dir={tmp_path}/none", "data.url=http://127.0.0.1:9", "logger=none"]
    message = run("train", *absent, f"hydra.run.dir={tmp_path}/run", f"paths.cache_dir={tmp_path}").message
    assert f"{tmp_path}/none" in message
    assert "ECG_DATA_DIR" in message


def test_a_damaged_own_record_is_one_message(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        signal = rng.integers(-500, 500, (7200, 1))
        scale = {"fmt": ["16"], "adc_gain": [200], "baseline": [0], "write_dir": str(tmp_path)}
        wfdb.wrsamp(name, 360, ["mV"], ["II"], d_signal=signal, **scale)
        wfdb.wrann(name, "atr", np.arange(100, 7000, 300), ["N"] * 23, write_dir=str(tmp_path))
    (tmp_path / "a.dat").write_bytes((tmp_path / "a.dat").read_bytes()[:-100])
    own = ["data=wfdb", f"data.dir={tmp_path}", "logger=none", f"hydra.run.dir={tmp_path}/run"]
    assert "a.dat is truncated" in run("train", *own, f"paths.cache_dir={tmp_path}/cache").message


@pytest.mark.skipif(os.environ.get("CUDA_VISIBLE_DEVICES", "") != "", reason="this machine may have a GPU")
def test_hardware_that_is_not_available_leaves_no_files(tmp_path: Path) -> None:
    ended = run("train", *TINY_TRAIN, "trainer.accelerator=mps", f"hydra.run.dir={tmp_path}/run")
    assert "trainer.accelerator=mps is not available on this machine" in ended.message
    assert ended.stdout == ""
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_file_system_errors_name_the_path_and_the_remedy_for_it(tmp_path: Path) -> None:
    places = {"hydra.run.dir": str(tmp_path / "run"), "paths.cache_dir": str(tmp_path / "cache")}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "cache" / "beats.npz"))
    message = file_system_message(full, places)
    assert message is not None
    assert message.startswith(f"Cannot write {tmp_path}/cache/beats.npz: No space left on device. Free space, or")
    assert "paths.cache_dir=FOLDER" in message
    denied = file_system_message(
        PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "run" / "x")), places
    )
    assert denied is not None
    assert "Check its permissions, or choose another folder with hydra.run.dir=FOLDER" in denied
    assert file_system_message(OSError(errno.EBADF, "Bad file descriptor"), places) is None
    assert file_system_message(ValueError("no"), places) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_a_lack_of_memory_is_one_message_with_the_keys_to_decrease(error: Exception) -> None:
    message = memory_message(error)
    assert message is not None
    assert "Decrease optimizer.batch_size or model.hidden" in message
    assert memory_message(RuntimeError("shapes do not match")) is None


def test_what_lightning_refuses_during_the_fit_is_one_message(tmp_path: Path, cache_dir: Path) -> None:
    ended = run(
        "train", *TINY_TRAIN, "logger=none", "trainer.limit_train_batches=0.0001", *folders(tmp_path, cache_dir)
    )
    assert "Lightning refuses the trainer: " in ended.message
    assert "limit_train_batches" in ended.message


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_a_destructor_ends_the_program(number: int, status: int) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores SIGINT

    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def work() -> None:
        Destroyed()
        time.sleep(20)
        pytest.fail("the signal was ignored")

    try:
        with pytest.raises(SystemExit) as ended, signals_as_exits():
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == status
