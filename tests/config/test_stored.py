"""Stored configurations of run folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from programs import composed

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
    text = OmegaConf.to_yaml(cfg, resolve=True).replace("hidden: 128", "hidden: 128\n  extra: 1")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config.yaml does not match the schema of this version: .*extra"):
        load_config(tmp_path, TrainConfig)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run folder: config\.yaml is missing"):
        load_config(tmp_path, TrainConfig)
