"""Runs that are killed, stopped, out of disk space or diverged, and how they continue."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from programs import TINY_SYNTH, TINY_TRAIN, Started, folders, run, start

import ecg.build
from ecg.checkpoints import write_checkpoint
from ecg.data.synthetic_set import read_set

# In float32: sums in bfloat16 depend on the number of threads.
EXACT = [*TINY_TRAIN, "trainer.precision=32-true", "trainer.max_epochs=5", "logger=none"]
ONE_EPOCH = [*TINY_TRAIN, "trainer.max_epochs=1", "logger=none"]


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return content


def wait_for(condition: Callable[[], bool], process: Started, pause: float = 0.02) -> None:
    """Waits for a condition while a program runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        assert process.returncode() is None, process.wait().stderr
        time.sleep(pause)


def epochs_done(folder: Path) -> int:
    try:
        return int(checkpoint(folder)["epoch"]) + 1
    except FileNotFoundError:
        return 0


@pytest.fixture(scope="module")
def uninterrupted(finished_run: Callable[..., Path]) -> Path:
    """Run folder of a run without interruption."""
    return finished_run("train", *EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_continues_to_the_same_weights(
    number: int, uninterrupted: Path, tmp_path: Path, cache_dir: Path
) -> None:
    folder, arguments = tmp_path / "run", [*EXACT, *folders(tmp_path, cache_dir)]
    process = start("train", *arguments)
    wait_for(lambda: epochs_done(folder) >= 2, process)
    process.send_signal(number)
    killed = process.wait()
    assert killed.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 128 + signal.SIGTERM)
    assert epochs_done(folder) < 5
    if number == signal.SIGTERM:
        assert f"Continue with resume={folder}" in killed.stderr
        assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
        ended = run("train", *arguments)  # the same command, as a cluster repeats it
    else:
        ended = run("train", f"resume={folder}")
    assert ended.returncode == 0, ended.stderr
    for name in ("last", "best"):
        expected, actual = (checkpoint(at, name)["state_dict"] for at in (uninterrupted, folder))
        assert all(torch.equal(expected[key], actual[key]) for key in expected)
    assert (folder / "metrics.json").read_bytes() == (uninterrupted / "metrics.json").read_bytes()
    history = json.loads((folder / "training.json").read_text())["history"]
    assert [epoch["epoch"] for epoch in history] == list(range(5))
    assert "logger=none" in yaml.safe_load((folder / "overrides.yaml").read_text())
    assert len(json.loads((folder / "provenance.json").read_text())["resumed"]) == 1


@pytest.mark.slow
def test_a_killed_fit_of_a_generator_continues_to_the_same_weights(tmp_path: Path, cache_dir: Path) -> None:
    tiny = [*TINY_SYNTH, "data.minutes=2", "logger=none", "generator=wgan_gp", "trainer.max_epochs=3"]
    tiny += ["protocol.classes=[N,V]", "protocol.keep={N: 0.05}", "synth.per_class={V: 40}"]
    tiny += [f"paths.cache_dir={cache_dir}"]
    assert run("synth", *tiny, f"hydra.run.dir={tmp_path}/expected").returncode == 0
    process = start("synth", *tiny, f"hydra.run.dir={tmp_path}/killed")
    wait_for(lambda: epochs_done(tmp_path / "killed") >= 1, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ended = run("synth", f"resume={tmp_path}/killed", f"hydra.run.dir={tmp_path}/unused")
    assert ended.returncode == 0, ended.stderr
    expected, actual = (checkpoint(tmp_path / name)["state_dict"] for name in ("expected", "killed"))
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    np.testing.assert_array_equal(read_set(tmp_path / "killed").signal, read_set(tmp_path / "expected").signal)


@pytest.mark.slow
def test_a_process_killed_while_writing_a_checkpoint_keeps_the_previous_one(tmp_path: Path, cache_dir: Path) -> None:
    folder = tmp_path / "run"
    # Large checkpoints, and many of them.
    large = ["model.hidden=128", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1"]
    large += ["trainer.max_epochs=1000", "callbacks.patience=null", "logger=none"]
    process = start("train", *TINY_TRAIN, *large, *folders(tmp_path, cache_dir))
    last, temporary = (folder / "checkpoints" / name for name in ("last.ckpt", ".last.ckpt.tmp"))
    wait_for(lambda: last.exists() and temporary.exists(), process, pause=0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = epochs_done(folder)
    assert done > 0
    extend(folder, done + 2)
    ended = run("train", f"resume={folder}")
    assert ended.returncode == 0, ended.stderr
    assert epochs_done(folder) == done + 2
    assert not temporary.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_ctrl_c_exits_with_130_and_keeps_the_last_checkpoint(sweep: bool, tmp_path: Path, cache_dir: Path) -> None:
    folder = tmp_path / "sweep" / "0" if sweep else tmp_path / "run"
    long = ["trainer.max_epochs=500", "logger=none", "callbacks.patience=null", *folders(tmp_path, cache_dir)]
    jobs = ["-m", "seed=1,2", "hydra.sweep.subdir=${hydra:job.num}"] if sweep else []
    process = start("train", *jobs, *TINY_TRAIN, *long, python=not sweep)
    last = folder / "checkpoints" / "last.ckpt"
    wait_for(last.exists, process)
    process.send_signal(signal.SIGINT)
    ended = process.wait()
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    resume = f"sweep.resume={tmp_path}/sweep" if sweep else f"resume={folder}"
    assert ended.stderr.count(f"Interrupted. Last checkpoint: {last}. Continue with {resume}\n") == 1
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert checkpoint(folder)["optimizer_states"]
    assert not (tmp_path / "sweep" / "1").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), 130), (SystemExit(128 + signal.SIGTERM), 143)],
    ids=["SIGINT", "SIGTERM"],
)
@pytest.mark.parametrize("moment", ["classification_data", "classification_trainer"])
def test_a_signal_outside_of_the_fit_is_recorded(
    error: BaseException, status: int, moment: str, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receive_signal(*_: object) -> None:
        raise error

    monkeypatch.setattr(ecg.build, moment, receive_signal)
    ended = run("train", *ONE_EPOCH, *folders(tmp_path, cache_dir))
    assert ended.returncode == status
    assert ended.stderr == f"Interrupted. No epoch was completed. Continue with resume={tmp_path}/run\n"
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("program", ["train", "synth"])
def test_sigterm_before_the_fit_exits_with_143(program: str, tmp_path: Path, cache_dir: Path) -> None:
    long = ["data.n_patients=200", "data.minutes=30", "logger=none", f"paths.cache_dir={tmp_path}/cache"]
    process = start(program, *long, f"hydra.run.dir={tmp_path}/run", python=program == "synth")
    wait_for((tmp_path / "run" / "status.json").exists, process)
    process.send_signal(signal.SIGTERM)
    ended = process.wait()
    assert ended.returncode == 143, ended.stderr
    assert f"Continue with resume={tmp_path}/run" in ended.stderr
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
def test_a_finished_run_is_not_repeated(uninterrupted: Path) -> None:
    before = (uninterrupted / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    ended = run("train", f"resume={uninterrupted}")
    assert ended.returncode == 0, ended.stderr
    assert f"Already finished: {uninterrupted}" in ended.stdout
    assert (uninterrupted / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_that_cannot_be_resumed_is_one_message(uninterrupted: Path, tmp_path: Path, cache_dir: Path) -> None:
    assert "config.yaml is missing" in run("train", f"resume={tmp_path}").message
    message = run("train", "optimizer.lr=1", f"resume={uninterrupted}").message
    assert "keeps its original overrides. Leave out: optimizer.lr=1" in message
    other = [*EXACT, "optimizer.lr=0.1", *folders(tmp_path, cache_dir), f"hydra.run.dir={uninterrupted}"]
    assert f"{uninterrupted} holds another run, which differs in optimizer.lr" in run("train", *other).message
    assert "sweep.yaml is missing" in run("train", f"sweep.resume={tmp_path}").message


def extend(folder: Path, epochs: int) -> None:
    """Changes a finished run into an interrupted run with more epochs."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = epochs
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "status.json").unlink()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path, cache_dir: Path) -> None:
    assert run("train", *ONE_EPOCH, *folders(tmp_path, cache_dir)).returncode == 0
    folder = tmp_path / "run"
    extend(folder, 3)
    state = checkpoint(folder)
    # The weights that are trained; "state_dict" holds the averaged ones.
    next(value for value in state["current_model_state"].values() if value.ndim >= 2).fill_(float("nan"))
    write_checkpoint(state, folder / "checkpoints" / "last.ckpt")
    message = run("train", f"resume={folder}").message
    assert "The loss is not a finite number in epoch 1, batch 0" in message
    assert "optimizer.lr" in message
    assert epochs_done(folder) == 1
    assert "not a finite number" in json.loads((folder / "status.json").read_text())["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", pickle.dumps(print), None], ids=["empty", "pickle", "truncated"])
@pytest.mark.parametrize(
    "name", ["config.yaml", "provenance.json", "overrides.yaml", "status.json", "checkpoints/last.ckpt"]
)
def test_a_damaged_file_of_a_run_folder_is_one_message(
    name: str, content: bytes | None, uninterrupted: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(uninterrupted, tmp_path / "run")
    extend(folder, 6)
    (folder / "status.json").write_text('{"state": "running"}')
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    ended = run("train", f"resume={folder}")
    if ended.returncode:
        assert str(folder) in ended.message
    else:  # a file that is not needed, or that is still valid
        assert epochs_done(folder) == 6


@pytest.mark.slow
def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path: Path, cache_dir: Path) -> None:
    assert run("train", *ONE_EPOCH, *folders(tmp_path, cache_dir)).returncode == 0
    folder = tmp_path / "run"
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    extend(folder, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so a write beyond the limit fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        message = run("train", f"resume={folder}").message
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large. Free space, or choose another folder with hydra.run.dir=FOLDER" in message
    assert str(folder) in message
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").glob("*.ckpt")} == before
    ended = run("train", f"resume={folder}")
    assert ended.returncode == 0, ended.stderr
    assert epochs_done(folder) == 3


@pytest.mark.slow
def test_two_processes_prepare_the_same_beats_once(tmp_path: Path) -> None:
    both = []
    for name in ("a", "b"):
        overrides = [f"paths.cache_dir={tmp_path}/cache", f"hydra.run.dir={tmp_path}/{name}"]
        both.append(start("train", *ONE_EPOCH, *overrides))
    for process in both:
        ended = process.wait(timeout=200)
        assert ended.returncode == 0, ended.stderr
    a, b = ((tmp_path / name / "metrics.json").read_bytes() for name in ("a", "b"))
    assert a == b
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.slow
def test_a_blocked_w_and_b_folder_gives_one_warning(tmp_path: Path, cache_dir: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").write_text("a file where W&B needs a folder")
    ended = run("train", *TINY_TRAIN, "trainer.max_epochs=1", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout + ended.stderr).count("W&B") == 1
    assert os.path.getsize(tmp_path / "run" / "metrics.json") > 0
