"""The configuration of a run in its run folder, without paths of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ecg.config import schema as schema_module
from ecg.config.checks import check_synth, check_train
from ecg.config.job import overrides, relative_to_folder
from ecg.config.schema import SCHEMAS, TrainConfig
from ecg.errors import UserError
from ecg.reading import one_line, printable, read_yaml

CONFIG = "config.yaml"
# Keys with the path of a file or folder that a run reads.
INPUTS = (
    "data.dir",
    "protocol.test_dir",
    "augmentation.beats",
    "augmentation.transforms.recorded_noise.dir",
    "checkpoint",
)
# Keys that do not influence the result, and locations of the data. They may change when a run is resumed.
CHANGEABLE = ("logger", "paths.cache_dir", "trainer.enable_progress_bar", *INPUTS)
REPEAT = "Repeat the run."
TARGET = "_target_"  # the key with the class that is created


def portable_config(cfg: DictConfig, folder: Path) -> DictConfig:
    """The resolved configuration of a run, for its run folder: without absolute paths.

    Paths of inputs are relative to the run folder. The folder of prepared beats is left out.

    Args:
        cfg: the configuration.
        folder: the run folder.
    """
    content: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    stored: DictConfig = OmegaConf.create(content)
    for key in INPUTS:
        if isinstance(path := OmegaConf.select(stored, key), str):
            OmegaConf.update(stored, key, relative_to_folder(path, folder))
    stored.paths = {"run_dir": ".", "cache_dir": None}
    stored.trainer.default_root_dir = "."
    stored.resume = None
    return stored


def read_config(folder: Path) -> DictConfig:
    """The stored configuration of a run folder, as plain values, with absolute paths of inputs.

    A run folder may come from someone else. Interpolations are refused, since they could read the environment; the
    programs store resolved values.

    Raises:
        UserError: the folder holds no valid configuration.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} is not a run folder: {CONFIG} is missing.")
    return _plain_config(read_yaml(path, Any, REPEAT), str(path), folder)


def _plain_config(content: Any, origin: str, folder: Path) -> DictConfig:
    """The configuration with the content of a file, with paths of inputs relative to a folder made absolute."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"{origin} is damaged: it holds no keys. {REPEAT}")
    for key, value in _values(content, ""):
        if isinstance(value, str) and "${" in value:
            raise UserError(f"{origin} holds an interpolation: {key}={value}. A stored configuration has plain values.")
    try:
        stored = OmegaConf.create(content)
        for key in INPUTS:
            if isinstance(value := OmegaConf.select(stored, key), str):
                OmegaConf.update(stored, key, os.path.normpath(folder.absolute() / Path(value).expanduser()))
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{origin} is damaged: {one_line(error)}. {REPEAT}") from error
    return stored


def load_config(folder: Path, root: type) -> DictConfig:
    """The stored configuration of a run folder, with the types of the schema.

    Only classes of the schema are accepted, since the program creates objects of them.

    Args:
        folder: the run folder.
        root: schema of the program, TrainConfig or SynthConfig.

    Raises:
        UserError: the folder holds no valid configuration, or the configuration names another class.
    """
    remedy = f" To continue your own run, repeat its command with hydra.run.dir={folder} added."
    return _typed(read_config(folder), root, str(folder / CONFIG), remedy)


def config_for_model_file(cfg: DictConfig) -> dict[str, Any]:
    """The content of a stored configuration for a model file: without locations, which are those of one machine."""
    stored: DictConfig = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))  # type: ignore[assignment]
    for key in INPUTS:
        if OmegaConf.select(stored, key) is not None:
            OmegaConf.update(stored, key, None)
    stored.paths = {"run_dir": ".", "cache_dir": None}
    stored.resume, stored.trainer.default_root_dir = None, "."
    content: Any = OmegaConf.to_container(stored)
    return content  # type: ignore[no-any-return]


def config_of_model_file(content: Any, root: type, path: Path) -> DictConfig:
    """The configuration in a model file, with the types of the schema; see `load_config`.

    Models are used with later versions. A key that did not exist when the file was written has its default, which keeps
    the behaviour of before.

    Args:
        content: the stored configuration.
        root: schema of the program, TrainConfig or SynthConfig.
        path: the model file.

    Raises:
        UserError: the configuration is invalid, or names another class.
    """
    cfg = _typed(_plain_config(content, str(path), path.parent), root, str(path), "", later_keys=True)
    try:
        check_train(cfg) if root is TrainConfig else check_synth(cfg)
    except UserError as error:
        raise UserError(f"{path} is damaged, or was written by another version: {error}") from error
    if root is TrainConfig and (cfg.prediction.temperature is None or cfg.prediction.logit_adjustment):
        raise UserError(f"{path} is damaged: it has no numbers for prediction.temperature and prediction.shifts.")
    return cfg


def _typed(stored: DictConfig, root: type, origin: str, remedy: str, *, later_keys: bool = False) -> DictConfig:
    targets = schema_targets()
    for key, value in _values(OmegaConf.to_container(stored, resolve=False), ""):
        if TARGET in key.split(".") and not (key.endswith(TARGET) and isinstance(value, str) and value in targets):
            raise UserError(
                f"{origin} has {key}={value}, a class outside this package, which is not created from a file.{remedy}"
            )
    typed = OmegaConf.structured(root)
    for group, options in SCHEMAS.items():
        path = group.replace("/", ".")
        node = _node(OmegaConf.to_container(stored, resolve=False), path)
        target, name = node.get(TARGET), node.get("name")
        # Databases share a class and differ in their name.
        for option, schema in options.items():
            if getattr(schema, TARGET) == target and name in (None, option):
                OmegaConf.update(typed, path, OmegaConf.structured(schema), force_add=True)
    for group in (str(group) for group in typed if OmegaConf.is_missing(typed, str(group))):
        if group in stored:
            raise UserError(
                f"{origin} is damaged, or was written by another version: {group} is no valid option.{remedy}"
            )
    content: Any = OmegaConf.to_container(stored, resolve=False)
    for key, default in _missing_keys(OmegaConf.to_container(typed, resolve=False), content, ""):
        unusable = default == MISSING or isinstance(default, dict) or "${hydra:" in str(default)
        if unusable or not later_keys:
            raise UserError(f"{origin} is damaged, or was written by another version: {key} is missing.")
    try:
        merged = OmegaConf.merge(typed, stored)
    except OmegaConfBaseException as error:
        reason = printable(str(error).splitlines()[0])
        raise UserError(f"{origin} does not match the schema of this version: {reason}.") from error
    assert isinstance(merged, DictConfig)
    for group in SCHEMAS:
        node = OmegaConf.select(merged, group.replace("/", "."), throw_on_missing=False)
        if not isinstance(node, DictConfig | None):
            raise UserError(f"{origin} is damaged, or was written by another version: {group} is no valid option.")
    return merged


def schema_targets() -> set[str]:
    """The classes that the schema names."""
    schemas = (node for node in vars(schema_module).values() if isinstance(node, type) and is_dataclass(node))
    return {str(getattr(node, TARGET, MISSING)) for node in schemas} - {MISSING}


def _node(content: Any, path: str) -> dict[str, Any]:
    """The dictionary at a dotted key; an empty one if there is none."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _missing_keys(expected: Any, node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested dictionaries that `node` lacks, with their expected values."""
    for key, value in expected.items():
        if not isinstance(node, dict) or key not in node:
            yield f"{path}{key}", value
        elif isinstance(value, dict):
            yield from _missing_keys(value, node[key], f"{path}{key}.")


def _values(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every value in nested dictionaries and lists."""
    if isinstance(node, dict | list) and node:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from _values(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def resumed(cfg: DictConfig, root: type) -> DictConfig:
    """The configuration of the run that `resume` names, or `cfg` without `resume`.

    A resumed run keeps its original overrides. Only keys without influence on the result may change, and locations of
    the data.

    Raises:
        UserError: the folder holds no run, or an override would change the result.
    """
    if not cfg.resume:
        return cfg
    given = [override for override in overrides() if not override.startswith("resume=")]
    if others := [override for override in given if not override.startswith(CHANGEABLE)]:
        raise UserError(f"A resumed run keeps its original overrides. Leave out: {', '.join(others)}.")
    folder = Path(cfg.resume).resolve()
    stored = load_config(folder, root)
    for key in CHANGEABLE:
        if any(override.startswith(key) for override in given):
            OmegaConf.update(stored, key, OmegaConf.select(cfg, key), merge=False)
    stored.paths.run_dir = stored.trainer.default_root_dir = str(folder)
    stored.paths.cache_dir = cfg.paths.cache_dir
    stored.resume = None if stored.get("checkpoint") else str(folder)  # checkpoint fits nothing that could continue
    return stored
