"""Stored configurations of run folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from programs import composed, run

from ecg.config.checks import check_synth, check_train
from ecg.config.schema import CNNLSTMConfig, SmoteConfig, SynthConfig, TrainConfig
from ecg.config.stored import load_config
from ecg.errors import UserError


def test_a_stored_configuration_keeps_values_and_types(tmp_path: Path) -> None:
    cfg = composed("train", "model=cnn_lstm", "augmentation=smote", "data=svdb", "logger=none", "model.hidden=8")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    stored = load_config(tmp_path, TrainConfig)
    assert OmegaConf.to_container(stored, resolve=True) == OmegaConf.to_container(cfg, resolve=True)
    assert OmegaConf.get_type(stored.model) is CNNLSTMConfig
    assert OmegaConf.get_type(stored.augmentation.balance) is SmoteConfig
    assert stored.data.name == "svdb"
    check_train(stored)


def test_a_stored_configuration_of_synth_is_valid(tmp_path: Path) -> None:
    cfg = composed("synth", "generator=lstm_gan")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    check_synth(load_config(tmp_path, SynthConfig))


def test_a_stored_configuration_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    cfg = composed("train")
    text = OmegaConf.to_yaml(cfg, resolve=True).replace("hidden: 32", "hidden: 32\n  extra: 1")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config.yaml does not match the schema of this version: .*extra"):
        load_config(tmp_path, TrainConfig)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run folder: config\.yaml is missing"):
        load_config(tmp_path, TrainConfig)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("hidden: 32", "hidden: 32\n  zzz: {_target_: numpy.load, file: evil.npy}", "class outside this package"),
        ("_target_: ecg.models.cnn.CNN", "_target_: os.system", r"model._target_=os.system, a class outside"),
        ("_target_: pytorch_lightning.Trainer", "_target_: os.system", r"trainer._target_=os.system"),
        ("project: ecg", "project: ${oc.env:HOME}", r"interpolation: logger.project=\$\{oc.env:HOME\}"),
        ("seed: 1", "seed: [", "is damaged"),
    ],
)
def test_a_stored_configuration_runs_no_foreign_code(before: str, after: str, message: str, tmp_path: Path) -> None:
    text = OmegaConf.to_yaml(composed("train"), resolve=True)
    assert before in text
    (tmp_path / "config.yaml").write_text(text.replace(before, after, 1))
    with pytest.raises(UserError, match=message):
        load_config(tmp_path, TrainConfig)
    assert "Error: " in run("train", f"resume={tmp_path}").message


def test_a_payload_in_a_run_folder_is_not_executed(tmp_path: Path) -> None:
    text = OmegaConf.to_yaml(composed("synth"), resolve=True)
    payload = f"_target_: numpy.load\n    file: {tmp_path}/evil.npy\n    allow_pickle: true"
    (tmp_path / "config.yaml").write_text(text.replace("generator:\n", f"generator:\n  zzz:\n    {payload}\n"))
    (tmp_path / "fitted.json").write_text("{}")
    np.save(tmp_path / "evil.npy", np.array(["not loaded"]))
    message = run("synth", f"checkpoint={tmp_path}", f"hydra.run.dir={tmp_path}/new").message
    assert "generator.zzz._target_=numpy.load, a class outside this package" in message


def test_an_empty_configuration_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(UserError, match="is damaged: it holds no keys"):
        load_config(tmp_path, TrainConfig)
