from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg.config import SCHEMAS, TrainerConfig, check, register
from ecg.errors import UserError

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TINY = ["name=tiny", "logger=none", "paths.run_dir=unused", "data.n_patients=10", "data.minutes=1"]
register()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def program(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(ROOT / "train.py"), *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=timeout)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_every_schema_is_an_option_and_every_option_has_its_schema() -> None:
    for group, schemas in SCHEMAS.items():
        assert options(group) == sorted(schemas)


GROUPS = ("model", "loss", "protocol", "augmentation", "callbacks", "trainer")
NEED_MORE = [("protocol", "kaggle"), ("augmentation", "gan")]  # real records, a synthetic set
CASES = [(group, option) for group in GROUPS for option in options(group)]


@pytest.mark.parametrize(("group", "option"), [c for c in CASES if c not in NEED_MORE])
def test_every_option_composes_builds_and_runs(group: str, option: str, tmp_path: Path) -> None:
    from ecg import build
    from ecg.callbacks import History

    hidden = "model.hidden=8"
    cfg = composed(f"{group}={option}", hidden, *TINY, "trainer.fast_dev_run=true", f"paths.cache_dir={tmp_path}")
    if group == "trainer":
        cfg.trainer.accelerator, cfg.trainer.strategy = "cpu", "auto"
    check(cfg)
    data = build.datamodule(cfg)
    run = SimpleNamespace(folder=tmp_path / "run", history=History(), sweep=None, choices={})
    trainer = build.trainer(cfg, run)  # type: ignore[arg-type]
    trainer.fit(build.classifier(cfg, data), data)
    assert trainer.global_step == 1


def test_all_of_lightnings_trainer_can_be_overridden() -> None:
    import pytorch_lightning as pl

    # Objects, which no YAML can state; loggers and callbacks have groups of their own.
    objects = {"self", "logger", "callbacks", "plugins", "model_registry"}
    assert {f.name for f in dataclasses.fields(TrainerConfig)} - {"_target_"} == (
        set(inspect.signature(pl.Trainer.__init__).parameters) - objects
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modle=cnn"], "There is no key modle: its valid neighbours are .*model"),
        (["model.hiden=3"], "There is no key model.hiden: its valid neighbours are hidden, kernel_size, dropout"),
        (["trainer.max_epoch=3"], "There is no key trainer.max_epoch: .*max_epochs"),
        (["model=resnet"], "Could not find 'model/resnet' Available options in 'model': cnn cnn_lstm cnn_lstm_attn$"),
        (["model.hidden=wide"], "model.hidden: Value 'wide' .* could not be converted to Integer"),
        (["loss.class_weights=heavy"], "expected one of .none, root, log, inverse"),
        (["data.window=square"], "expected one of .kaggle, centered"),
        (["protocol=kaggle"], "protocol=kaggle is a split of MIT-BIH: data=simulated has none"),
        (["data=kaggle_csv", "protocol=inter_patient"], "needs patients, and the Kaggle files name none"),
        (["data=kaggle_csv", "protocol=kaggle", "data.window=centered"], "holds beats of the window kaggle only"),
        (["data=wfdb"], "data=wfdb needs the folder of the records: add data.dir=FOLDER"),
        (["protocol.classes=[N,X]"], "protocol.classes has X: the classes are N, S, V, F and Q"),
        (["optimizer.batch_size=0"], "optimizer.batch_size is 0: it must be above 0"),
        (["protocol.validation=1.5"], "protocol.validation is 1.5: it must be between 0 and 1"),
        (["model.hidden=2"], "model.hidden is 2: it must be at least 4"),
        (["protocol.fold=5"], "protocol.fold is 5: it must be 0 to 4"),
        (["model.dropout=1"], "model.dropout is 1.0: it must be at least 0 and below 1"),
        (["seed=-1"], "seed and protocol.split_seed must be at least 0"),
        (["logger.name=tensorboard"], "logger.name is tensorboard: it is wandb, csv or none"),
        (["model.hidden"], "model.hidden"),
    ],
)
def test_wrong_configuration_is_one_sentence(overrides: list[str], message: str, tmp_path: Path) -> None:
    ended = program(*overrides, f"hydra.run.dir={tmp_path}/run")
    assert ended.returncode != 0
    assert ended.stdout == ""
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert re.search(message, line), line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model:\n  hiden: 4\n", "hiden"),
        ("optimizer:\n  lr: fast\n", "lr: Value 'fast'"),
        ("defaults:\n  - override /model: resnet\n", "resnet"),
    ],
)
def test_wrong_experiment_file_is_one_sentence(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{content}")
    ended = program("--config-dir", str(tmp_path), "experiment=mine", f"hydra.run.dir={tmp_path}/run")
    assert ended.returncode != 0
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_help_shows_every_option_and_every_key() -> None:
    ended = program("--help")
    assert ended.returncode == 0
    for group in set(SCHEMAS) - {"generator"}:
        for option in options(group):
            assert option in ended.stdout
    for key in ("trainer.max_epochs=12", "protocol.fold=0", "data.n_patients=24", "optimizer.lr=0.003"):
        assert key in ended.stdout


def test_every_key_is_documented() -> None:
    undocumented = [
        line for line in program("--help").stdout.splitlines() if line.startswith("    ") and len(line.split()) < 2
    ]
    assert not [line for line in undocumented if "trainer." not in line and "name=" not in line]


def test_nothing_heavy_is_imported_before_the_check() -> None:
    code = "import sys; sys.argv = ['train.py', 'seed=-1']; import train; print([m for m in "
    code += "('torch', 'pytorch_lightning', 'wandb', 'pandas', 'sklearn', 'numpy') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"


def test_check_passes_the_defaults() -> None:
    check(composed(*TINY))
    with pytest.raises(UserError):
        check(composed(*TINY, "optimizer.lr=0"))
