"""Sweeps: summary tables, failed jobs, resuming, launchers and searches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from joblib.externals.loky import get_reusable_executor
from omegaconf import OmegaConf
from programs import CONF, TINY_TRAIN, folders, run

from ecg.config.help_text import options

ONE_EPOCH = [*TINY_TRAIN, "trainer.max_epochs=1", "logger=none"]
TOO_SHORT = ["data.before=0.7,0.02", "data.after=0.03"]  # beats that are too short for the network


@pytest.mark.slow
def test_a_sweep_over_networks_writes_a_run_folder_for_each(tmp_path: Path, cache_dir: Path) -> None:
    ended = run("train", "-m", "model=cnn,cnn_lstm,cnn_lstm_attn", *ONE_EPOCH, *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    names = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [name.split("_none_simulated")[0] for name in names] == ["0_cnn", "1_cnn_lstm", "2_cnn_lstm_attn"]
    assert all((tmp_path / "sweep" / name / "report.html").is_file() for name in names)
    assert "leaderboard.html" in ended.stdout


@pytest.mark.slow
def test_failed_jobs_are_rows_of_the_table_and_are_repeated(tmp_path: Path, cache_dir: Path) -> None:
    sweep = tmp_path / "sweep"
    ended = run("train", "-m", *ONE_EPOCH, *TOO_SHORT, "seed=1,2", *folders(tmp_path, cache_dir))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stderr.count("are too short for this network") == 2
    assert "2 of 4 jobs did not finish" in ended.stderr
    rows = pd.read_csv(sweep / "leaderboard.csv")
    assert rows["state"].tolist() == ["finished", "failed", "failed"]
    assert rows["seeds"][0] == 2
    assert rows["reason"][1:].str.contains("too short").all()
    # Resuming repeats what did not finish, and nothing else.
    runs = sorted(path for path in sweep.iterdir() if path.is_dir())
    before = {folder: (folder / "status.json").stat().st_mtime_ns for folder in runs}
    (runs[0] / "status.json").write_text('{"state": "running"}')
    again = run("train", f"sweep.resume={sweep}")
    assert again.returncode == 1
    after = {folder: (folder / "status.json").stat().st_mtime_ns for folder in runs}
    assert [after[folder] > before[folder] for folder in runs] == [True, False, True, True]
    assert again.stdout.count("Already finished") == 1


@pytest.mark.slow
def test_the_folds_of_a_sweep_are_one_test_set(tmp_path: Path, cache_dir: Path) -> None:
    ended = run("train", "-m", *ONE_EPOCH, "protocol.fold=0,1,2", "protocol.n_folds=3", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    (configuration,) = json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())["configurations"]
    assert (configuration["folds"], configuration["seeds"]) == (3, [1])
    metrics = [json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/metrics.json")]
    patients = [run_metrics["subsets"]["test"]["n_patients"] for run_metrics in metrics]
    assert sum(patients) == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "n_jobs"),
    [(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 2), (["hydra/launcher=submitit_local"], 1)],
)
def test_jobs_run_in_processes_of_their_own(launcher: list[str], n_jobs: int, tmp_path: Path, cache_dir: Path) -> None:
    seeds = "seed=1,2" if n_jobs == 2 else "seed=1"
    ended = run("train", "-m", *ONE_EPOCH, seeds, *launcher, *folders(tmp_path, cache_dir))
    get_reusable_executor().shutdown()  # the processes of joblib wait for further jobs
    assert ended.returncode == 0, ended.stderr
    assert pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")["seeds"].tolist() == [n_jobs]
    commands = [json.loads(path.read_text())["command"] for path in tmp_path.glob("sweep/*/provenance.json")]
    assert len(commands) == n_jobs
    assert all(command.startswith("python train.py data.n_patients=12") for command in commands)


@pytest.mark.slow
def test_a_job_on_two_devices_runs_in_a_subprocess(tmp_path: Path, cache_dir: Path) -> None:
    two = ["trainer=ddp", "trainer.devices=2", "data.before=0.01,0.2", "data.after=0.1"]
    two += ["augmentation.beats=unused"]  # refused outside a sweep
    ended = run("train", "-m", *ONE_EPOCH, *two, *folders(tmp_path, cache_dir))
    assert ended.returncode == 1, ended.stderr  # the beats of the first job are too short
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.stdout.count("Launching") == 1
    rows = pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")
    assert sorted(rows["state"]) == ["failed", "finished"]
    assert "too short" in rows["reason"].dropna().item()
    (done,) = tmp_path.glob("sweep/*/metrics.json")
    metrics = json.loads(done.read_text())["subsets"]
    with np.load(done.parent / "predictions.npz") as file:
        places = list(zip(file["record"], file["sample"], strict=True))
    assert len(set(places)) == len(places) == metrics["test"]["n_beats"] + metrics["validation"]["n_beats"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in options(CONF, "sweep") if name != "common"])
def test_search_spaces_name_existing_keys(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"sweep={name}", "name=x", "paths.run_dir=x"], return_hydra_config=True)
    assert cfg.hydra.sweeper.direction == "maximize"
    for key in cfg.hydra.sweeper.params:
        assert OmegaConf.select(cfg, key) is not None, key


@pytest.mark.slow
def test_a_search_survives_a_failed_trial_and_resumes(tmp_path: Path, cache_dir: Path) -> None:
    search = ["sweep=cnn", "hydra.sweeper.n_trials=4", "data.before=choice(0.01,0.5)", "data.after=0.1"]
    ended = run("train", "-m", *ONE_EPOCH, *search, *folders(tmp_path, cache_dir))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr, ended.stderr
    states = pd.read_csv(tmp_path / "sweep" / "leaderboard.csv")["state"].tolist()
    assert len(states) == 4
    assert set(states) == {"finished", "failed"}
    again = run("train", f"sweep.resume={tmp_path}/sweep")
    assert again.stdout.count("Already finished") == states.count("finished")


@pytest.mark.slow
def test_a_search_without_a_finished_trial_is_one_message(tmp_path: Path, cache_dir: Path) -> None:
    search = ["sweep=cnn", "hydra.sweeper.n_trials=1", "data.before=0.01", "data.after=0.1"]
    ended = run("train", "-m", *ONE_EPOCH, *search, *folders(tmp_path, cache_dir))
    assert "No trial of the search finished" in ended.message
    assert "too short" in ended.stderr
