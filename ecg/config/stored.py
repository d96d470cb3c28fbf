"""Reads the configuration of an earlier run from its run folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ecg.config.job import overrides
from ecg.config.schema import SCHEMAS
from ecg.errors import UserError

CONFIG = "config.yaml"
# Keys that do not influence the result. They may change when a run is resumed.
CHANGEABLE = ("logger", "paths.cache_dir", "trainer.enable_progress_bar")


def load_config(folder: Path, root: type) -> DictConfig:
    """The stored configuration of a run folder, with the types of the schema.

    Args:
        folder: the run folder.
        root: schema of the program, TrainConfig or SynthConfig.

    Raises:
        UserError: the folder holds no configuration.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is not a run folder: {CONFIG} is missing.")
    stored = OmegaConf.load(folder / CONFIG)
    typed = OmegaConf.structured(root)
    for group, options in SCHEMAS.items():
        path = group.replace("/", ".")
        target = OmegaConf.select(stored, f"{path}._target_")
        name = OmegaConf.select(stored, f"{path}.name")
        # Databases share a class and differ in their name. A class outside the schema stays untyped.
        for option, schema in options.items():
            node = OmegaConf.structured(schema)
            if node._target_ == target and name in (None, option):
                OmegaConf.update(typed, path, node, force_add=True)
    try:
        merged = OmegaConf.merge(typed, stored)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / CONFIG} does not match the schema of this version: {reason}.") from error
    assert isinstance(merged, DictConfig)
    return merged


def resumed(cfg: DictConfig, root: type) -> DictConfig:
    """The configuration of the run that `resume` names, or `cfg` without `resume`.

    A resumed run keeps its original overrides. Only keys without influence on the result may change.

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
    stored.resume = stored.paths.run_dir = stored.trainer.default_root_dir = str(folder)
    return stored
