"""Model files: the weights and the configuration of a fitted network in one file, for prediction and sampling.

A model file is a safetensors file. Its metadata holds the configuration, and for a generator what sampling needs. It
holds numbers and text only, so reading it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ecg.config.schema import SynthConfig, TrainConfig
from ecg.config.stored import config_for_model_file, config_of_model_file
from ecg.errors import UserError
from ecg.files import atomic_write
from ecg.reading import one_line

FORMAT = "1"
ROOTS = {"classifier": TrainConfig, "generator": SynthConfig}


@dataclass(frozen=True)
class ModelFile:
    """The content of a model file.

    Attributes:
        path: the file.
        kind: "classifier" or "generator".
        config: the configuration of the fit.
        weights: the weights by name.
        fitted: of a generator, what sampling needs beside the configuration; empty for a classifier.
    """

    path: Path
    kind: str
    config: DictConfig
    weights: dict[str, Tensor]
    fitted: dict[str, Any]

    def load_into(self, module: nn.Module, *, left_out: str | None = None) -> None:
        """Loads the weights into a module.

        Args:
            module: the module.
            left_out: start of the names of weights that the file does not have.

        Raises:
            UserError: the file has the weights of another network.
        """
        expected = {
            name: value.shape
            for name, value in module.state_dict().items()
            if left_out is None or not name.startswith(left_out)
        }
        if expected != {name: value.shape for name, value in self.weights.items()}:
            raise UserError(f"{self.path} is damaged: its weights do not match its configuration.")
        module.load_state_dict(self.weights, strict=False)


def write_model_file(
    path: Path, kind: str, config: DictConfig, weights: Mapping[str, Tensor], fitted: Mapping[str, Any]
) -> None:
    """Writes a model file.

    Args:
        path: the file.
        kind: "classifier" or "generator".
        config: the configuration of the fit.
        weights: the weights by name.
        fitted: of a generator, what sampling needs beside the configuration.
    """
    content, described = json.dumps(config_for_model_file(config)), json.dumps(fitted)
    metadata = {"format": FORMAT, "kind": kind, "config": content, "fitted": described}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def read_model_file(path: Path, kind: str | None = None) -> ModelFile:
    """Reads a model file.

    Args:
        path: the file.
        kind: "classifier" or "generator"; None for either.

    Raises:
        UserError: the file is missing or damaged, of another version, or of the other kind.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a model file, or is damaged: {one_line(error)}.") from error
    if metadata.get("format") != FORMAT or metadata.get("kind") not in ROOTS:
        raise UserError(f"{path} is not a model file of this version.")
    if kind not in (None, metadata["kind"]):
        raise UserError(f"{path} is a {metadata['kind']}, not a {kind}.")
    try:
        content, fitted = json.loads(metadata["config"]), json.loads(metadata["fitted"])
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {one_line(error)}.") from error
    if not all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point()):
        raise UserError(f"{path} is damaged: a weight is not a finite number.")
    config = config_of_model_file(content, ROOTS[metadata["kind"]], path)
    return ModelFile(path, metadata["kind"], config, weights, fitted)
