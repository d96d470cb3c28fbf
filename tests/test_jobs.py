"""Jobs that survive: killed, stopped, out of disk or out of numbers, and sweeps that go on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from programs import ROOT, call, program, resume, sentence, train

from ecg.config import register

register()
# In float32, since bfloat16 sums depend on how many threads a machine has to spare.
EXACT = ["trainer.precision=32-true", "trainer.max_epochs=6", "data.minutes=2", "logger=none"]


def weights(run: Path, name: str = "last") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return found


def end_after_epoch(process: subprocess.Popen[str], run: Path, epoch: int, number: int) -> str:
    """Sends a signal once the checkpoint of an epoch is there; returns what the process said on stderr."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] >= epoch:
                break
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    process.send_signal(number)
    return process.communicate(timeout=60)[1]


def begin(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing came in the way of."""
    folder = tmp_path_factory.mktemp("whole")
    ended = train(folder, *EXACT)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_as_if_nothing_had_been(number: int, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = call(tmp_path, *EXACT, f"paths.cache_dir={uninterrupted}/cache")
    process = begin(command)
    told = end_after_epoch(process, run, 1, number)
    assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGTERM)
    assert weights(run)["epoch"] < 5
    if number == signal.SIGTERM:
        assert f"go on with resume={run}" in told
        assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
        ended = program(command)  # as a cluster that requeues a job does
    else:
        ended = resume(f"resume={run}")
    assert ended.returncode == 0, ended.stderr
    for name in ("last", "best"):
        there, here = (weights(folder, name)["state_dict"] for folder in (uninterrupted / "run", run))
        assert all(torch.equal(there[key], here[key]) for key in there)
    assert (run / "metrics.json").read_bytes() == (uninterrupted / "run" / "metrics.json").read_bytes()
    history = json.loads((run / "training.json").read_text())["history"]
    assert [epoch["epoch"] for epoch in history] == list(range(6))
    assert yaml.safe_load((run / "overrides.yaml").read_text())[-2] == "logger=none"
    provenance = json.loads((run / "provenance.json").read_text())
    assert len(provenance["resumed"]) == 1


def test_a_process_killed_while_it_writes_a_checkpoint_leaves_the_earlier_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Large checkpoints, and many of them.
    many = ["model.hidden=192", "trainer.limit_train_batches=1", "trainer.max_epochs=25", "callbacks.patience=null"]
    process = begin(call(tmp_path, *many, "logger=none"))
    last, temporary = (run / "checkpoints" / name for name in ("last.ckpt", ".last.ckpt.tmp"))
    deadline = time.monotonic() + 120
    while not (caught := last.exists() and temporary.exists()):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    assert caught
    epoch = weights(run)["epoch"]
    assert epoch < 24
    ended = resume(f"resume={run}")
    assert ended.returncode == 0, ended.stderr
    assert weights(run)["epoch"] == 24
    assert not temporary.exists()


def test_a_finished_run_is_not_run_again(uninterrupted: Path) -> None:
    run = uninterrupted / "run"
    before = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    ended = resume(f"resume={run}")
    assert ended.returncode == 0, ended.stderr
    assert f"Finished already: {run}" in ended.stdout
    assert (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_what_cannot_be_resumed_is_one_sentence(uninterrupted: Path, tmp_path: Path) -> None:
    assert "there is no config.yaml" in sentence(resume(f"resume={tmp_path}"))
    run = uninterrupted / "run"
    line = sentence(program([*call(tmp_path), f"resume={run}", "optimizer.lr=1"]))
    assert "leave out model.hidden=8" in line
    line = sentence(train(uninterrupted, *EXACT, "optimizer.lr=0.1"))
    assert f"{run} holds another run, which differs in optimizer.lr" in line
    assert "there is no multirun.yaml" in sentence(resume(f"sweep.resume={tmp_path}"))


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    assert train(tmp_path, "logger=none", "trainer.max_epochs=1").returncode == 0
    longer(tmp_path / "run", 3)
    state = weights(tmp_path / "run")
    # As after a step that went too far.
    group = state["optimizer_states"][0]["param_groups"]
    group[0]["lr"] = group[0]["initial_lr"] = float("nan")
    state["lr_schedulers"][0]["base_lrs"] = [float("nan")] * len(group)
    torch.save(state, tmp_path / "run" / "checkpoints" / "last.ckpt")
    line = sentence(resume(f"resume={tmp_path}/run"))
    assert "The loss is not a finite number in epoch 1, batch 1: lower optimizer.lr" in line
    kept = weights(tmp_path / "run")
    assert kept["epoch"] == 0
    assert all(torch.isfinite(value).all() for value in kept["state_dict"].values())
    assert "not a finite number" in json.loads((tmp_path / "run" / "status.json").read_text())["why"]


def longer(run: Path, epochs: int) -> None:
    """As if more epochs had been asked for, and the run had been interrupted."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = epochs
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "status.json").unlink()


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    assert train(tmp_path, "logger=none", "trainer.max_epochs=1").returncode == 0
    run = tmp_path / "run"
    before = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    longer(run, 3)

    def small_files() -> None:
        # Python ignores SIGXFSZ, so that a write beyond the limit fails as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    line = sentence(resume(f"resume={run}", preexec_fn=small_files))
    assert "File too large" in line
    assert {path.name: path.read_bytes() for path in (run / "checkpoints").glob("*.ckpt")} == before
    assert weights(run)["epoch"] == 0
    ended = resume(f"resume={run}")
    assert ended.returncode == 0, ended.stderr
    assert weights(run)["epoch"] == 2


SWEEP = ["logger=csv", "optimizer.lr=0.001,0.003", "seed=1,2", "trainer.max_epochs=1"]


def test_a_sweep_ends_in_a_table_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    # The second cell asks for beats that are too short for its network.
    broken = [*SWEEP, "data.before=0.7,0.02", "data.after=0.03", "optimizer.lr=0.001", "-m"]
    ended = train(tmp_path, *broken)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.count("too short for model.kernel_size=5") == 2
    assert "2 of 4 jobs did not finish" in ended.stderr
    rows = pd.read_csv(sweep / "leaderboard.csv")
    assert rows["state"].tolist() == ["finished", "failed", "failed"]
    assert rows["seeds"][0] == 2
    assert rows["why"][1:].str.contains("too short").all()
    page = (sweep / "leaderboard.html").read_text()
    assert "Runs that did not finish" in page
    assert "claims nothing" not in page  # of one cell
    # What is finished is not run again; what is not is.
    runs = sorted(path for path in sweep.iterdir() if path.is_dir())
    before = {run: (run / "status.json").stat().st_mtime_ns for run in runs}
    (gone,) = (run for run in runs if run.name.startswith("0_"))
    (gone / "status.json").write_text('{"state": "running"}')
    again = resume(f"sweep.resume={sweep}")
    assert again.returncode == 1
    after = {run: (run / "status.json").stat().st_mtime_ns for run in runs}
    assert [after[run] > before[run] for run in runs] == [True, True, False, True]
    assert again.stdout.count("Finished already") == 1


def test_a_sweep_over_folds_is_one_test_set(tmp_path: Path) -> None:
    ended = train(tmp_path, "logger=none", "protocol.fold=0,1,2,3,4", "trainer.max_epochs=1", "-m")
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())
    (cell,) = found["cells"]
    assert (cell["folds"], cell["seeds"]) == (5, [1])
    n_beats = [
        json.loads((tmp_path / run / "metrics.json").read_text())["test"]["n_beats"] for run in cell["runs"]
    ]  # every beat of the set is tested once
    side = json.loads((tmp_path / cell["runs"][0] / "metrics.json").read_text())
    assert sum(n_beats) > 4 * side["test"]["n_beats"]
    assert "leaderboard.html" in ended.stdout


@pytest.mark.parametrize(
    "launcher", [["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["hydra/launcher=submitit_local"]]
)
def test_jobs_in_parallel(launcher: list[str], tmp_path: Path) -> None:
    ended = train(tmp_path, "logger=none", "trainer.max_epochs=1", "seed=1,2", *launcher, "-m")
    assert ended.returncode == 0, ended.stderr
    rows = pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")
    assert rows["seeds"].tolist() == [2]
    (command, _) = (json.loads(path.read_text())["command"] for path in tmp_path.glob("sweep/*/provenance.json"))
    assert command.startswith("python train.py model.hidden=8")


def test_two_processes_train_one_network_of_a_sweep(tmp_path: Path) -> None:
    two = ["trainer=ddp", "trainer.devices=2", "trainer.max_epochs=1", "data.before=0.01,0.2", "data.after=0.1"]
    two += ["augmentation.beats=unused"]  # which a run outside a sweep refuses
    ended = train(tmp_path, *two, "logger=none", "-m")
    assert ended.returncode == 1, ended.stderr  # the first job's beats are too short
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stdout.count("Launching") == 1
    rows = pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")
    assert sorted(rows["state"]) == ["failed", "finished"]
    assert "too short for model.kernel_size" in rows["why"].dropna().item()
    (done,) = tmp_path.glob("sweep/*/metrics.json")
    metrics = json.loads(done.read_text())
    with np.load(done.parent / "predictions.npz") as file:
        places = list(zip(file["record"], file["sample"], strict=True))
    assert len(set(places)) == len(places) == metrics["test"]["n_beats"] + metrics["validation"]["n_beats"]


@pytest.mark.parametrize("model", ["cnn", "cnn_lstm", "cnn_lstm_attn"])
def test_every_search_space_is_of_keys_that_exist(model: str) -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"sweep={model}", "name=x", "paths.run_dir=x"], return_hydra_config=True)
    assert cfg.hydra.sweeper.direction == "maximize"
    for key in cfg.hydra.sweeper.params:
        assert OmegaConf.select(cfg, key) is not None, key


def test_a_search_survives_a_failed_trial_and_goes_on(tmp_path: Path) -> None:
    search = ["sweep=cnn", "hydra.sweeper.n_trials=4", "data.before=choice(0.01,0.5)", "data.after=0.1"]
    ended = train(tmp_path, "logger=none", "trainer.max_epochs=1", *search, "-m")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr, ended.stderr
    states = pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")["state"].tolist()
    assert len(states) == 4
    assert set(states) == {"finished", "failed"}
    again = resume(f"sweep.resume={tmp_path}/sweep")
    assert again.stdout.count("Finished already") == states.count("finished")


def test_a_search_without_a_finished_trial_is_one_sentence(tmp_path: Path) -> None:
    search = ["sweep=cnn", "hydra.sweeper.n_trials=1", "data.before=0.01", "data.after=0.1", "-m"]
    ended = train(tmp_path, "logger=none", *search)
    assert "No trial of the search finished" in sentence(ended)
    assert "too short" in ended.stderr


def test_two_jobs_prepare_one_cache(tmp_path: Path) -> None:
    command = ["logger=none", "trainer.max_epochs=1"]
    both = [begin(call(tmp_path, *command, f"hydra.run.dir={tmp_path}/{name}")) for name in ("a", "b")]
    for process in both:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    a, b = ((tmp_path / name / "metrics.json").read_bytes() for name in ("a", "b"))
    assert json.loads(a)["test"]["n_beats"] == json.loads(b)["test"]["n_beats"]
    assert len([path for path in (tmp_path / "cache").rglob("*.npz") if path.is_file()]) <= 1
    assert not [path for path in (tmp_path / "cache").rglob("*.tmp")]


def test_a_read_only_w_and_b_folder_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").write_text("in the way")
    ended = train(tmp_path, "trainer.max_epochs=1")
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout + ended.stderr).count("W&B") == 1
    assert os.path.getsize(tmp_path / "run" / "metrics.json") > 0
