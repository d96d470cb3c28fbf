"""The wheel: what it contains, and `ecg train` without a clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from programs import CONF, ROOT, TINY_TRAIN, Ended


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this clone."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site_packages(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, as after its installation."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder)
    return folder


def run_installed(site_packages: Path, working_folder: Path, *arguments: str) -> Ended:
    """Runs the console command `ecg` of an installed wheel."""
    # -P: the working folder is not searched for modules, as for a console command.
    command = [
        sys.executable,
        "-P",
        "-c",
        "import sys; from ecg.cli import app; sys.argv[0] = 'ecg'; app()",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(site_packages)}
    ended = subprocess.run(
        command, cwd=working_folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_the_wheel_contains_configuration_templates_and_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    expected = {f"ecg/conf/{path.relative_to(CONF)}" for path in CONF.rglob("*.yaml")}
    paths = (path for path in (ROOT / "ecg").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    expected |= {str(path.relative_to(ROOT)) for path in paths}
    assert {
        "ecg/conf/train.yaml",
        "ecg/pretrained/classifier/inter_patient.safetensors",
        "ecg/data/kaggle_test_split.csv.gz",
    } < expected
    assert expected <= names
    assert not [name for name in names if not name.startswith(("ecg/", "ecg_synthesis_classification-"))]


@pytest.mark.parametrize("program", ["train", "synth"])
def test_an_installed_program_lists_its_options(program: str, site_packages: Path, tmp_path: Path) -> None:
    ended = run_installed(site_packages, tmp_path, program, "--help")
    assert ended.stdout.startswith(f"usage: ecg {program} [GROUP=OPTION ...]"), ended.stderr
    assert "simulated, kaggle_csv, mitbih" in ended.stdout


def test_messages_name_the_installed_command(site_packages: Path, tmp_path: Path) -> None:
    message = run_installed(site_packages, tmp_path, "train", "augmentation=gan").message
    assert "Make one with: ecg synth data=simulated" in message


@pytest.mark.slow
def test_an_installed_program_runs_a_sweep(site_packages: Path, tmp_path: Path, cache_dir: Path) -> None:
    given = [
        "-m",
        *TINY_TRAIN,
        "trainer.max_epochs=1",
        "seed=1",
        "logger=none",
        f"paths.cache_dir={cache_dir}",
        "hydra.sweep.dir=sweep",
    ]
    ended = run_installed(site_packages, tmp_path, "train", *given)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "sweep" / "leaderboard.html").is_file()
    provenance = next((tmp_path / "sweep").glob("*/provenance.json")).read_text()
    assert '"command": "ecg train data.n_patients=12' in provenance
    assert '"git_commit": null' in provenance


@pytest.mark.slow
def test_an_installed_program_starts_a_process_for_each_device(
    site_packages: Path, tmp_path: Path, cache_dir: Path
) -> None:
    given = [*TINY_TRAIN, "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=1", "logger=none"]
    given += [f"paths.cache_dir={cache_dir}"]
    ended = run_installed(site_packages, tmp_path, "train", *given, "hydra.run.dir=run")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_the_console_command_imports_nothing_heavy() -> None:
    heavy = "('torch', 'hydra', 'omegaconf', 'numpy', 'pandas', 'wandb')"
    code = f"import sys, ecg.cli; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"
