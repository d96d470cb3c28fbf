"""Writing and reading of checkpoints."""

from __future__ import annotations

import errno
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from ecg.errors import UserError
from ecg.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: a crash during a write leaves the previous checkpoint unchanged.

    Lightning's default writes to the temporary folder of the system and, if that is another disk, copies from there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Saves a checkpoint.

        Raises:
            OSError: the disk is full, or the folder is read-only.
        """
        path, buffer = Path(path), io.BytesIO()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, buffer)  # to memory: on a full disk, torch.save raises a RuntimeError, not an OSError
        with atomic_write(path, exclusive=True) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Loads a checkpoint.

        Raises:
            UserError: the file is damaged, or is no checkpoint.
        """
        with _damaged_checkpoints(Path(path)):
            checkpoint: dict[str, Any] = super().load_checkpoint(path, *arguments, **options)
        return checkpoint


def load_weights(path: Path) -> dict[str, Tensor]:
    """Returns the state dict of the Lightning module in a checkpoint, on the CPU. Executes no pickled code.

    Raises:
        UserError: the file is damaged, or is no checkpoint.
    """
    with _damaged_checkpoints(path):
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return weights


@contextmanager
def _damaged_checkpoints(path: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError, pickle.UnpicklingError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which torch meets in a truncated file
            raise
        raise UserError(f"{path} is damaged or is not a checkpoint. Start a new run in another folder.") from error
