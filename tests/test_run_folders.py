"""Run folders that are damaged, moved, shared or in use. `ECG_MUTATIONS=2000 pytest -s tests/test_run_folders.py`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from mutations import N_MUTATIONS, read_mutated
from omegaconf import OmegaConf
from programs import ROOT, TINY_SYNTH, TINY_TRAIN, composed, run, with_values

from ecg.checkpoints import read_checkpoint
from ecg.comparison.console import print_leaderboard
from ecg.comparison.generators import read_fidelity
from ecg.comparison.leaderboard import build_leaderboard, to_frame, to_json
from ecg.comparison.run_records import read_runs
from ecg.config.checks import check_synth, check_train
from ecg.config.job import relative_to_folder, without_absolute_paths
from ecg.config.schema import SynthConfig, TrainConfig
from ecg.config.stored import load_config, portable_config, read_config
from ecg.errors import UserError
from ecg.reports.leaderboard_report import write_leaderboard
from ecg.runs import Run, lock_folder, read_status, record_failed_job, restore_description
from ecg.synthesis import read_fitted, read_generator

CHOICES = dict.fromkeys(("model", "data", "augmentation", "protocol", "loss"), "x")


@pytest.fixture(scope="module")
def train_run(finished_run: Callable[..., Path]) -> Path:
    """A run folder of train.py, of which every path was given as an absolute path."""
    return finished_run("train", *TINY_TRAIN, "logger=csv")


@pytest.fixture(scope="module")
def synth_run(finished_run: Callable[..., Path]) -> Path:
    """A run folder of synth.py."""
    small = ["data.n_patients=12", "data.minutes=2", "generator=wgan_gp", "trainer.max_epochs=1", "logger=none"]
    small += ["protocol.classes=[N,V]", "protocol.keep={N: 0.05}", "synth.per_class={V: 40}"]
    return finished_run("synth", *TINY_SYNTH, *small)


# -- damage -------------------------------------------------------------------------------------------------------


def read_train_config(folder: Path) -> None:
    check_train(load_config(folder, TrainConfig))


def read_synth_config(folder: Path) -> None:
    check_synth(load_config(folder, SynthConfig))


def restore(folder: Path) -> None:
    """Provenance and overrides of a resumed run."""
    restore_description(Run(folder, dict(CHOICES), [], None, {"command": "", "git_commit": None, "git_dirty": None}))


def load_last(folder: Path) -> None:
    read_checkpoint(folder / "checkpoints" / "last.ckpt")


def load_best(folder: Path) -> None:
    read_checkpoint(folder / "checkpoints" / "best.ckpt")


def compare(folder: Path) -> None:
    """What `ecg compare DIR --out FOLDER` computes, without the figures."""
    board = build_leaderboard(read_runs([folder]))
    print_leaderboard(board)
    json.dumps(to_json(board), allow_nan=False)
    to_frame(board)


def sample_more(folder: Path) -> None:
    """What `synth.py checkpoint=DIR` reads."""
    read_generator(folder, with_values("synth"))


def summarise_generators(folder: Path) -> None:
    """What the table of a sweep of generators reads."""
    read_fidelity(folder.parent)


Reader = Callable[[Path], object]
TRAIN_FILES: list[tuple[Reader, str]] = [
    (read_train_config, "config.yaml"),
    (read_status, "status.json"),
    (restore, "provenance.json"),
    (restore, "overrides.yaml"),
    (load_last, "checkpoints/last.ckpt"),
    (load_best, "checkpoints/best.ckpt"),
    (compare, "config.yaml"),
    (compare, "status.json"),
    (compare, "provenance.json"),
    (compare, "overrides.yaml"),
    (compare, "metrics.json"),
    (compare, "training.json"),
    (compare, "predictions.npz"),
]
SYNTH_FILES: list[tuple[Reader, str]] = [
    (read_synth_config, "config.yaml"),
    (load_last, "checkpoints/last.ckpt"),
    (load_best, "checkpoints/best.ckpt"),
    (read_fitted, "fitted.json"),
    (sample_more, "fitted.json"),
    (summarise_generators, "fidelity.json"),
    (summarise_generators, "overrides.yaml"),
]
N = N_MUTATIONS if "ECG_MUTATIONS" in os.environ else 4


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("reader", "name"), TRAIN_FILES, ids=name_of)
def test_a_damaged_file_of_train_is_refused_or_read(reader: Reader, name: str, train_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(train_run, tmp_path / "run")
    read_mutated(folder / name, lambda: reader(folder), n=N)


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "name"), SYNTH_FILES, ids=name_of)
def test_a_damaged_file_of_synth_is_refused_or_read(reader: Reader, name: str, synth_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(synth_run, tmp_path / "run")
    n = min(N, 200) if reader is sample_more else N  # it builds a network
    read_mutated(folder / name, lambda: reader(folder), n=n)


# -- sharing ------------------------------------------------------------------------------------------------------


def contents(path: Path) -> list[bytes]:
    """The content of a file, or of the members of an archive (checkpoints and npz files)."""
    if not zipfile.is_zipfile(path):
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def require_no_trace_of_the_machine(folder: Path, tmp_path: Path) -> None:
    words = [str(tmp_path), str(Path.home()), os.getcwd(), str(ROOT), sys.prefix]
    words += [name for name in (socket.gethostname(),) if len(name) > 3]
    for path in folder.rglob("*"):
        found = [word for word in words if path.is_file() and any(word.encode() in part for part in contents(path))]
        assert not found, f"{path.name} contains {found}"


def test_the_run_folder_of_train_names_no_path_of_the_machine(train_run: Path) -> None:
    require_no_trace_of_the_machine(train_run, train_run.parent)
    assert "paths.cache_dir=../" in (train_run / "overrides.yaml").read_text()


@pytest.mark.slow
def test_the_run_folder_of_synth_names_no_path_of_the_machine(synth_run: Path) -> None:
    require_no_trace_of_the_machine(synth_run, synth_run.parent)
    provenance = json.loads((synth_run / "synthetic" / "provenance.json").read_text())
    assert provenance["checkpoint"]["path"] == "checkpoints/best.ckpt"


def test_a_leaderboard_names_no_path_of_the_machine(train_run: Path, tmp_path: Path) -> None:
    write_leaderboard(build_leaderboard(read_runs([train_run])), tmp_path)
    require_no_trace_of_the_machine(tmp_path, tmp_path)


@pytest.mark.parametrize("typed", ["absolute", "relative to the working folder"])
def test_stored_paths_of_data_are_found_after_the_project_has_moved(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "a"
    (folder := project / "outputs" / "run").mkdir(parents=True)
    (project / "records").mkdir()
    monkeypatch.chdir(project)
    path = f"{project}/records" if typed == "absolute" else "records"
    cfg = composed("train", "data=wfdb", f"data.dir={path}")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(portable_config(cfg, folder)))
    assert "dir: ../../records" in (folder / "config.yaml").read_text()
    assert read_config(folder).data.dir == str(project / "records")
    moved = Path(shutil.move(project, tmp_path / "b"))
    monkeypatch.chdir(tmp_path)
    assert read_config(moved / "outputs" / "run").data.dir == str(moved / "records")


def test_a_path_in_the_home_folder_is_stored_without_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "anna"))
    data = tmp_path / "home" / "anna" / "ecg"
    assert relative_to_folder(str(data), tmp_path / "run") == "~/ecg"
    assert relative_to_folder(str(data), tmp_path / "home" / "anna" / "outputs") == "../ecg"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.dir=/x/data", "data.dir=../data"),
        ("augmentation.beats=[/x/a,'/x/b c']", "augmentation.beats=[../a,'../b c']"),
        ("Cannot write /x/run/best.ckpt: No space left on device.", "Cannot write best.ckpt: No space left on device."),
        ("data.url=https://host/x/y 1/2 a/b", "data.url=https://host/x/y 1/2 a/b"),
        ("data.dir=../data optimizer.lr=0.1", "data.dir=../data optimizer.lr=0.1"),
    ],
)
def test_absolute_paths_in_text_become_relative(text: str, expected: str) -> None:
    assert without_absolute_paths(text, Path("/x/run")) == expected


@pytest.mark.slow
def test_a_moved_run_continues_with_its_own_checkpoints(train_run: Path, tmp_path: Path, cache_dir: Path) -> None:
    folder = shutil.copytree(train_run, tmp_path / "moved")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 3
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "status.json").unlink()
    before = (train_run / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    ended = run("train", f"resume={folder}", f"paths.cache_dir={cache_dir}")
    assert ended.returncode == 0, ended.stderr
    assert "dirpath has changed" not in ended.stderr
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    (best,) = (value for key, value in state.items() if "'val/macro_f1'" in key and "best_model_path" in value)
    assert best["best_model_path"] == "best.ckpt"
    assert best["best_model_score"] == max(e["val/macro_f1"] for e in read_history(folder))
    assert (train_run / "checkpoints" / "best.ckpt").stat().st_mtime_ns == before
    require_no_trace_of_the_machine(folder, tmp_path)


def read_history(folder: Path) -> list[dict[str, float]]:
    history: list[dict[str, float]] = json.loads((folder / "training.json").read_text())["history"]
    return history


def test_a_run_that_is_resumed_with_other_data_is_refused(train_run: Path, tmp_path: Path, cache_dir: Path) -> None:
    folder = shutil.copytree(train_run, tmp_path / "run")
    (folder / "status.json").unlink()
    provenance = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(provenance | {"beats_sha256": "0" * 64}))
    message = run("train", f"resume={folder}", f"paths.cache_dir={cache_dir}").message
    assert "began with other data: beats_sha256 differs" in message


# -- one process a folder -----------------------------------------------------------------------------------------


def test_a_folder_in_use_is_refused_and_left_as_it_is(train_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(train_run, tmp_path / "run")
    (folder / "status.json").write_text('{"state": "running"}')
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    with lock_folder(folder):
        assert f"{folder} is in use by another process" in run("train", f"resume={folder}").message
        record_failed_job(folder, "refused", [])
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    program = "import os, pathlib, sys; from ecg.runs import lock_folder\n"
    program += "with lock_folder(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match="in use by another process"), lock_folder(tmp_path):
        pass
    process.kill()
    process.communicate()
    with lock_folder(tmp_path):
        pass


def test_further_processes_of_a_distributed_run_take_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock_folder(tmp_path):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with lock_folder(tmp_path):
            pass


# -- sweeps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override",
    [
        "model._target_=os.system",
        "name=${oc.env:HOME}",
        "model=../../evil",
        "hydra.launcher.setup=[command]",
        "hydra.searchpath=[file:///x]",
        "+hydra.callbacks.x._target_=os.system",
        "--config-dir=/x",
    ],
)
def test_a_sweep_takes_nothing_that_runs_code_from_a_folder(override: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(["seed=1,2", override]))
    message = run("train", f"sweep.resume={tmp_path}").message
    assert f"has {override}, which is not taken from a folder" in message


@pytest.mark.parametrize("content", ["", "a: [", "seed: 1", "- 3"])
def test_a_damaged_sweep_is_one_message(content: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(content)
    assert "sweep.yaml is damaged" in run("train", f"sweep.resume={tmp_path}").message
