"""Writing and reading of checkpoints. Each file holds its sha256, so that a damaged or changed one is refused."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecg.config.stored import CONFIG
from ecg.errors import UserError
from ecg.files import atomic_write
from ecg.runs import ANOTHER_FOLDER

# The digest is the comment at the end of the zip archive that torch.save writes, after the two bytes of its length.
# torch.load ignores it.
NETWORK = "network."  # start of the names of its weights in a classifier
NO_COMMENT, LENGTH = b"\0\0", (32).to_bytes(2, "little")


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Writes a checkpoint atomically: a crash during a write leaves the previous checkpoint unchanged.

    Raises:
        OSError: the disk is full, or the folder is read-only.
    """
    buffer = io.BytesIO()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, buffer)  # to memory: on a full disk, torch.save raises a RuntimeError, not an OSError
    content = buffer.getvalue()
    with atomic_write(path, exclusive=True) as temporary:
        temporary.write_bytes(content.removesuffix(NO_COMMENT) + LENGTH + hashlib.sha256(content).digest())


def read_checkpoint(path: Path, map_location: Any = "cpu") -> Any:
    """Reads a checkpoint. Executes no pickled code.

    Args:
        path: the file.
        map_location: see `torch.load`.

    Raises:
        UserError: the file is damaged, or was not written by `write_checkpoint`.
    """
    content = path.read_bytes()
    body, length, digest = content[:-34] + NO_COMMENT, content[-34:-32], content[-32:]
    if length != LENGTH or digest != hashlib.sha256(body).digest():
        raise UserError(f"{path} is damaged, was changed, or is not a checkpoint of this program. {ANOTHER_FOLDER}")
    try:
        return torch.load(io.BytesIO(body), map_location, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} was written by another version. {ANOTHER_FOLDER}") from error


def load_weights(path: Path, module: nn.Module) -> None:
    """Loads the weights of a checkpoint into a Lightning module. Executes no pickled code.

    Raises:
        UserError: the file is damaged, or holds the weights of another module.
    """
    checkpoint = read_checkpoint(path)
    require_same_weights(module, checkpoint["state_dict"], str(path))
    module.load_state_dict(checkpoint["state_dict"])


def load_network(path: Path, network: nn.Module) -> None:
    """Loads the weights of the network in the checkpoint of a classifier. Executes no pickled code.

    Raises:
        UserError: the file is damaged, or holds the weights of another network.
    """
    weights = read_checkpoint(path)["state_dict"]
    own = {name.removeprefix(NETWORK): value for name, value in weights.items() if name.startswith(NETWORK)}
    require_same_weights(network, own, str(path))
    network.load_state_dict(own)


def require_same_weights(module: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Refuses weights of another module, whose names or shapes differ.

    Args:
        module: the Lightning module that takes the weights.
        weights: its future state dict.
        origin: where the weights are from, for the message.

    Raises:
        UserError: a name or a shape differs.
    """
    expected, actual = ({name: value.shape for name, value in d.items()} for d in (module.state_dict(), weights))
    if expected != actual:
        raise UserError(f"{origin} does not match the {CONFIG} of its run folder. {ANOTHER_FOLDER}")
