"""Checks of a composed configuration, made before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ecg.config.installation import program
from ecg.config.job import sweep_name
from ecg.config.ranges import Range
from ecg.config.run_name import check_run_name
from ecg.config.schema import (
    CLASSES,
    SCHEMAS,
    Features,
    FusionConfig,
    Pairs,
    RecordEmbedding,
    SyntheticConfig,
    WindowName,
)
from ecg.data.databases import DATABASES
from ecg.errors import INSTALL, UserError


def check_train(cfg: DictConfig) -> None:
    """Refuses a configuration of `train.py` with invalid values or combinations.

    Raises:
        UserError: names the key, its value and the valid values.
    """
    _check_common(cfg)
    if cfg.checkpoint and cfg.resume:
        raise UserError("checkpoint and resume exclude each other: checkpoint fits nothing, resume continues a fit.")
    _check_augmentation(cfg)
    _check_context(cfg)
    _check_prediction(cfg)


def check_synth(cfg: DictConfig) -> None:
    """Refuses a configuration of `synth.py` with invalid values or combinations.

    Raises:
        UserError: names the key, its value and the valid values.
    """
    _check_common(cfg)
    if not cfg.protocol.validation_fraction:
        raise UserError(
            "protocol.validation_fraction is 0. Generators are chosen and evaluated on validation beats: use 0.1."
        )
    if cfg.checkpoint and cfg.resume:
        raise UserError("checkpoint and resume exclude each other: checkpoint samples beats, resume continues a fit.")
    if cfg.data.window == WindowName.kaggle:
        _require_single_beats(cfg, "{key} is {value}, which needs data.window=centered.")
    if cfg.synth.pairs == Pairs.unseen:
        if cfg.synth.record is not None:
            raise UserError(
                "synth.pairs=unseen and synth.record exclude each other: one record needs no choice of pairs."
            )
        if not cfg.checkpoint and cfg.generator.get("embedding") != RecordEmbedding.normal_beats:
            raise UserError(
                "synth.pairs=unseen needs a generator that embeds records by their normal beats. Add "
                "generator.embedding=normal_beats; lstm_gan does not have it."
            )
    if cfg.generator.get("packed") and cfg.fit.batch_size % 2:
        raise UserError(
            f"fit.batch_size is {cfg.fit.batch_size}, but packed critics receive the beats of a batch in twos: use an "
            "even number."
        )
    for pair in cfg.fit.leave_out:
        if ":" not in pair:
            raise UserError(f"fit.leave_out has {pair}. Write a pair as CLASS:RECORD, such as V:119.")
        _require_class(cfg, "fit.leave_out", pair.split(":")[0])
    if cfg.synth.csv and not cfg.checkpoint and cfg.data.window != WindowName.kaggle:
        raise UserError(
            f"synth.csv=true needs beats of the window kaggle, and data.window is {cfg.data.window}. "
            "Add data.window=kaggle, or leave out synth.csv."
        )
    for name in cfg.synth.per_class or {}:
        _require_class(cfg, "synth.per_class", name)
    if cfg.synth.balance_to is not None:
        _require_class(cfg, "synth.balance_to", cfg.synth.balance_to)


def _check_common(cfg: DictConfig) -> None:
    _require_groups(cfg)
    check_run_name(cfg.name)
    for key, value, metadata in _leaves(cfg, ""):
        _check_value(key, value, metadata)
    _check_protocol(cfg)
    _check_logger(cfg.logger)


def _require_groups(cfg: DictConfig) -> None:
    for name in map(str, cfg):
        if OmegaConf.is_missing(cfg, name):
            raise UserError(f"{name} is null. Choose an option of this group; --help lists them.")


def _leaves(node: DictConfig, prefix: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Key, value and metadata of every documented key that has a value."""
    schema = OmegaConf.get_type(node)
    metadata = {f.name: f.metadata for f in fields(schema)} if is_dataclass(schema) else {}
    for name in map(str, node):
        if OmegaConf.is_missing(node, name):
            continue
        value = node[name]
        if metadata.get(name):
            if value is not None:
                yield f"{prefix}{name}", value, metadata[name]
        elif isinstance(value, DictConfig):
            yield from _leaves(value, f"{prefix}{name}.")


def _check_value(key: str, value: Any, metadata: Mapping[str, Any]) -> None:
    valid, example = metadata.get("range"), metadata.get("example")
    if example:
        _check_mapping(key, value, valid, example)
    elif key == "trainer.devices" and isinstance(value, ListConfig):
        _check_device_list(value)
    elif valid is not None and value not in valid:
        raise UserError(f"{key} is {value}. Valid values: {valid}.")


def _check_mapping(key: str, value: Any, valid: Range | None, example: str) -> None:
    # On the command line, Hydra accepts a mapping only for a key of any type.
    if not isinstance(value, DictConfig):
        raise UserError(f"{key} is {value}. Write it as '{key}={example}'.")
    for name, item in value.items():
        if valid is not None and item not in valid:
            raise UserError(f"{key} has {name!s}: {item}. Valid values: {valid}.")
        if not isinstance(item, str | int | float):
            raise UserError(f"{key} has {name!s}: {item}. Write it as '{key}={example}'.")


def _check_device_list(devices: ListConfig) -> None:
    indices = [index for index in devices if isinstance(index, int) and not isinstance(index, bool) and index >= 0]
    if not indices or len(set(indices)) < len(devices):
        raise UserError(f"trainer.devices is {devices}. Valid lists: indices of GPUs, each once, such as [0,1].")


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
    if protocol.get("test") == data.name:
        raise UserError(
            f"protocol={protocol.name} trains and tests on data={data.name}. Choose another protocol.test, or "
            "protocol=inter_patient."
        )
    if protocol.get("test") == "wfdb" and protocol.test_dir is None:
        raise UserError("protocol.test=wfdb needs the folder of the records. Add protocol.test_dir=FOLDER.")
    if "test" in protocol and data.name == "simulated":
        raise UserError(f"protocol={protocol.name} needs recorded training beats. Use data=mitbih.")
    if OmegaConf.is_missing(data, "dir"):
        raise UserError(f"data={data.name} needs the folder of the records. Add data.dir=FOLDER.")
    if unknown := [name for name in protocol.classes if name not in CLASSES]:
        raise UserError(f"protocol.classes has {', '.join(map(str, unknown))}. Valid classes: {', '.join(CLASSES)}.")
    if len(protocol.classes) < 2 or len(set(protocol.classes)) < len(protocol.classes):
        raise UserError(f"protocol.classes is [{', '.join(protocol.classes)}]. Name two or more classes, each once.")
    for name in protocol.keep or {}:
        _require_class(cfg, "protocol.keep", name)
    if "fold" in protocol and protocol.fold >= protocol.n_folds:
        raise UserError(
            f"protocol.fold is {protocol.fold}. Valid folds: 0 to {protocol.n_folds - 1}, "
            f"since protocol.n_folds is {protocol.n_folds}."
        )


def _require_single_beats(cfg: DictConfig, message: str) -> None:
    """Refuses more than single beats of one lead with RR features."""
    for name, default in (("leads", 1), ("context", 0), ("features", "rr"), ("causal", False)):
        if (value := cfg.data.get(name, default)) != default:
            raise UserError(message.format(key=f"data.{name}", value=value, default=default))


def _check_context(cfg: DictConfig) -> None:
    data, augmentation = cfg.data, cfg.augmentation
    if data.window == WindowName.kaggle:
        _require_single_beats(cfg, "{key} is {value}, which needs data.window=centered.")
    if augmentation.rhythm.fraction:
        _check_rhythm(cfg)
    if data.get("causal"):
        _check_causal(cfg)
    if not data.get("context", 0):
        return
    if not {"N", "S", "V"} <= set(cfg.protocol.classes):
        raise UserError(f"data.context is {data.context}, which needs the classes N, S and V in protocol.classes.")
    if not getattr(OmegaConf.get_type(augmentation.balance), "in_context", False):
        raise UserError(
            f"data.context is {data.context}, and this balance method removes or samples single beats. Use "
            "augmentation/balance=none, oversample, smote, fusion or gan."
        )
    transforms = augmentation.transforms
    for key in ("mixup.limit", "cutmix.limit", "resample.warp"):
        if OmegaConf.select(transforms, key):
            raise UserError(
                f"data.context is {data.context}, and augmentation.transforms.{key} changes single beats in a way that "
                f"does not fit their neighbours. Set augmentation.transforms.{key}=0."
            )


def _check_causal(cfg: DictConfig) -> None:
    if not cfg.data.context or cfg.data.features != Features.rhythm_and_shape:
        raise UserError(
            "data.causal is true, which needs beats in context and rhythm features: add data.context=24 "
            "data.features=rhythm_and_shape."
        )
    for name in ("recentre", "vote"):
        if cfg.prediction[name] not in (None, False):
            raise UserError(f"data.causal is true, and prediction.{name} needs the whole record. Choose one of them.")


def _check_rhythm(cfg: DictConfig) -> None:
    data, given = cfg.data, f"augmentation.rhythm.fraction is {cfg.augmentation.rhythm.fraction}"
    if not data.get("context", 0) or data.features != Features.rhythm_and_shape:
        raise UserError(
            f"{given}. Simulated rhythms need beats in context and rhythm features: "
            "add data.context=24 data.features=rhythm_and_shape."
        )


def _check_prediction(cfg: DictConfig) -> None:
    prediction = cfg.prediction
    for name in prediction.shifts or {}:
        _require_class(cfg, "prediction.shifts", name)
    for name in ("recentre", "vote"):
        if prediction[name] not in (None, False) and not {"N", "S"} <= set(cfg.protocol.classes):
            raise UserError(f"prediction.{name} is {prediction[name]}, which needs the classes N and S.")
    if cfg.protocol.validation_fraction:
        return
    chosen = "chosen on validation beats, and protocol.validation_fraction is 0"
    if prediction.logit_adjustment:
        raise UserError(f"With prediction.logit_adjustment, the shift is {chosen}. Use prediction.shifts.")
    if prediction.temperature is None:
        raise UserError(f"With prediction.temperature=null, the temperature is {chosen}. Give a number.")


def _check_logger(logger: DictConfig) -> None:
    for name in ("tensorboard", "mlflow"):
        if logger._target_ == SCHEMAS["logger"][name]._target_ and find_spec(name) is None:  # type: ignore[attr-defined]
            raise UserError(f"logger={name} needs an extra. Install it with: {INSTALL.format(name)}")


def _has_kaggle_split(data: DictConfig) -> bool:
    database = DATABASES.get(data.name)
    return database.has_kaggle_split if database else getattr(OmegaConf.get_type(data), "has_kaggle_split", True)


def _check_augmentation(cfg: DictConfig) -> None:
    augmentation, noise = cfg.augmentation, cfg.augmentation.transforms.recorded_noise
    balance = OmegaConf.get_type(augmentation.balance)
    uses_set = getattr(balance, "uses_synthetic_set", False)
    given = "augmentation=synthetic" if balance is SyntheticConfig else "augmentation=gan"
    if uses_set and not augmentation.beats:
        raise UserError(
            f"{given} needs a synthetic set. Make one with: {program('synth')} data={cfg.data.name} "
            f"protocol={cfg.protocol.name}; then add augmentation.beats=RUN_DIR."
        )
    if balance is SyntheticConfig and cfg.data.window != WindowName.kaggle:
        raise UserError(
            f"{given} trains on waveforms alone, and data.window is {cfg.data.window}, whose beats have "
            "features of their neighbours too. Use data.window=kaggle, or augmentation=gan."
        )
    fuses = augmentation.balance.get("fusion")
    needed = (FusionConfig if fuses else balance).__dict__.get("needs_classes", ())
    if missing := [name for name in needed if name not in cfg.protocol.classes]:
        raise UserError(
            f"Fusion beats need the classes {', '.join(needed)} in protocol.classes, which lacks {', '.join(missing)}."
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
