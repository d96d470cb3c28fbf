"""Memory of a training, estimated before it starts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ecg.resources import require_disk, require_memory

PROBE = 4  # beats of the step that is measured
COPIES = 5  # of the parameters in training: weights, gradients, two moments of Adam, averaged weights
COPIES_ON_DISK = 8  # best.ckpt and last.ckpt without gradients
BYTES = 4  # of a float32

Module = TypeVar("Module", bound=nn.Module)


def require_space_for_parameters(make: Callable[[], nn.Module], run_dir: Path, key: str) -> None:
    """Refuses a network that does not fit into the memory of this machine or whose checkpoints do not fit on the disk.

    Args:
        make: creates the network; is called on the device "meta", which allocates nothing.
        run_dir: folder of the checkpoints.
        key: the key to decrease.

    Raises:
        UserError: the memory or the disk is too small.
    """
    with torch.device("meta"):
        n = sum(parameter.numel() for parameter in make().parameters())
    remedy = f"Decrease {key}."
    require_memory(COPIES * BYTES * n, f"{n:,} parameters in training", remedy)
    require_disk(COPIES_ON_DISK * BYTES * n, run_dir, f"The checkpoints of {n:,} parameters", remedy)


def require_step_memory(
    module: Module, step: Callable[[Module], list[Tensor]], batch_size: int, available: float | None, keys: str
) -> None:
    """Refuses a batch size whose activations do not fit into memory.

    Args:
        module: the network; it is not changed.
        step: computes the losses of `PROBE` beats with a copy of `module`.
        batch_size: beats a step.
        available: bytes that are available on the device; None for the memory of this machine.
        keys: the keys to decrease.

    Raises:
        UserError: the memory is too small.
    """
    n = sum(parameter.numel() for parameter in module.parameters())
    of_beat = _activation_bytes(module, step) / PROBE
    what = f"Parameters and activations of a training step with {batch_size:,} beats"
    require_memory(COPIES * BYTES * n + batch_size * of_beat, what, f"Decrease {keys}.", available)


def _activation_bytes(module: Module, step: Callable[[Module], list[Tensor]]) -> int:
    """Bytes of the tensors that autograd stores in a step for the gradients, without the parameters."""
    probe = copy.deepcopy(module)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in probe.parameters()}
    sizes: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]), saved_tensors_hooks(record, lambda tensor: tensor):
        step(probe)
    return sum(sizes.values())
