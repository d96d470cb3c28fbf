"""Checks of a composed configuration, made before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ecg.config.job import sweep_name
from ecg.config.schema import CLASSES, WindowName
from ecg.data.databases import DATABASES
from ecg.errors import UserError


def check_train(cfg: DictConfig) -> None:
    """Refuses a configuration of `train.py` with invalid values or combinations.

    Raises:
        UserError: names the key, its value and the valid values.
    """
    _check_common(cfg)
    _check_augmentation(cfg)


def check_synth(cfg: DictConfig) -> None:
    """Refuses a configuration of `synth.py` with invalid values or combinations.

    Raises:
        UserError: names the key, its value and the valid values.
    """
    _check_common(cfg)
    if cfg.checkpoint and cfg.resume:
        raise UserError("checkpoint and resume exclude each other: checkpoint samples beats, resume continues a fit.")
    _require_mapping(cfg, "synth.per_class", "{S: 5000, F: 5000}")
    for name, n in (cfg.synth.per_class or {}).items():
        _require_class(cfg, "synth.per_class", name)
        if not isinstance(n, int) or n < 1:
            raise UserError(f"synth.per_class has {name}: {n}. Valid numbers of beats: whole numbers of at least 1.")
    if cfg.synth.balance_to is not None:
        _require_class(cfg, "synth.balance_to", cfg.synth.balance_to)


def _check_common(cfg: DictConfig) -> None:
    for key, value, metadata in _leaves(cfg, ""):
        _check_value(key, value, metadata)
    _check_protocol(cfg)


def _leaves(node: DictConfig, prefix: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Key, value and metadata of every documented key that has a value."""
    schema = OmegaConf.get_type(node)
    metadata = {f.name: f.metadata for f in fields(schema)} if is_dataclass(schema) else {}
    for name in map(str, node):
        if OmegaConf.is_missing(node, name):
            continue
        if isinstance(value := node[name], DictConfig):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None and name in metadata:
            yield f"{prefix}{name}", value, metadata[name]


def _check_value(key: str, value: Any, metadata: Mapping[str, Any]) -> None:
    valid = metadata.get("range")
    if valid is not None and value not in valid:
        raise UserError(f"{key} is {value}. Valid values: {valid}.")
    if (choices := metadata.get("choices")) and value not in choices:
        raise UserError(f"{key} is {value}. Valid values: {', '.join(choices)}.")


def _check_protocol(cfg: DictConfig) -> None:
    data, protocol = cfg.data, cfg.protocol
    source, split = OmegaConf.get_type(data), OmegaConf.get_type(protocol)
    if getattr(split, "needs_kaggle_split", False) and not _has_kaggle_split(data):
        raise UserError(
            f"protocol={protocol.name} is a split of the MIT-BIH database, and data={data.name} has none. "
            "Use data=mitbih or data=kaggle_csv."
        )
    if getattr(split, "needs_patients", False) and not getattr(source, "has_patients", True):
        raise UserError(
            f"protocol={protocol.name} needs patients, and the files of data={data.name} do not name them. "
            "Use data=mitbih."
        )
    if not getattr(source, "has_patients", True) and data.window != WindowName.kaggle:
        raise UserError(f"data={data.name} holds beats of the window kaggle only. Use data=mitbih for another window.")
    if OmegaConf.is_missing(data, "dir"):
        raise UserError(f"data={data.name} needs the folder of the records. Add data.dir=FOLDER.")
    if unknown := [name for name in protocol.classes if name not in CLASSES]:
        raise UserError(f"protocol.classes has {', '.join(unknown)}. Valid classes: {', '.join(CLASSES)}.")
    if len(protocol.classes) < 2 or len(set(protocol.classes)) < len(protocol.classes):
        raise UserError(f"protocol.classes is [{', '.join(protocol.classes)}]. Name two or more classes, each once.")
    # On the command line, Hydra accepts a mapping only for a key of any type.
    _require_mapping(cfg, "protocol.keep", "{S: 0.1, F: 0.1}")
    _require_mapping(cfg, "data.patients", "{rec1: anna, rec2: anna}")
    for name, fraction in (protocol.keep or {}).items():
        _require_class(cfg, "protocol.keep", name)
        if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise UserError(f"protocol.keep has {name}: {fraction}. Valid fractions: above 0 and at most 1.")
    if "fold" in protocol and protocol.fold >= protocol.n_folds:
        raise UserError(f"protocol.fold is {protocol.fold}. Valid folds: 0 to {protocol.n_folds - 1}.")


def _has_kaggle_split(data: DictConfig) -> bool:
    database = DATABASES.get(data.name)
    return database.has_kaggle_split if database else getattr(OmegaConf.get_type(data), "has_kaggle_split", True)


def _check_augmentation(cfg: DictConfig) -> None:
    augmentation, noise = cfg.augmentation, cfg.augmentation.transforms.recorded_noise
    uses_set = getattr(OmegaConf.get_type(augmentation.balance), "uses_synthetic_set", False)
    if uses_set and not augmentation.beats:
        raise UserError(
            "augmentation=gan needs a synthetic set. Make one with: python synth.py "
            f"data={cfg.data.name} protocol={cfg.protocol.name}; then add augmentation.beats=RUN_DIR."
        )
    # A sweep over augmentation=none,gan gives augmentation.beats to every job.
    if augmentation.beats and not uses_set and not sweep_name():
        raise UserError("augmentation.beats is given, but this balance method does not use it. Use augmentation=gan.")
    if augmentation.balance_to is not None:
        _require_class(cfg, "augmentation.balance_to", augmentation.balance_to)
    if noise.dir and noise.snr is None:
        raise UserError(
            "augmentation.transforms.recorded_noise.dir is given, but the transform is off. "
            "Add augmentation.transforms.recorded_noise.snr=10."
        )


def _require_class(cfg: DictConfig, key: str, name: str) -> None:
    if name not in cfg.protocol.classes:
        raise UserError(f"{key} has {name}. Valid classes: {', '.join(cfg.protocol.classes)}.")


def _require_mapping(cfg: DictConfig, key: str, example: str) -> None:
    value = OmegaConf.select(cfg, key)
    if value is not None and not OmegaConf.is_dict(value):
        raise UserError(f"{key} is {value}. Write it as '{key}={example}'.")
