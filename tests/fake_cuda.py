"""Tensors that pretend to be on a GPU: their shapes, dtypes and devices are computed, their values are not.

They need no GPU. PyTorch computes no gradients of them without one, so gradients are off.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("cuda:0")
CUDA, META = 1, 14  # c10::DeviceType
M = TypeVar("M", bound=nn.Module)


class Operations(TorchDispatchMode):
    """Keeps the operations and the dtypes of their results, and refuses copies from one device to another.

    Reading a value, as in `float(loss)` or `if (x > 0).any()`, raises an exception already: a fake tensor has none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = op(*args, **(kwargs or {}))
        outputs = _tensors(result)
        # A scalar on the CPU is an argument of the operation, and not copied.
        inputs = [tensor for tensor in _tensors((args, kwargs)) if tensor.ndim or tensor.device == DEVICE]
        devices = {tensor.device for tensor in (*inputs, *outputs)}
        assert len(devices) <= 1, f"{op} copies between {devices}"
        self.dtypes.setdefault(str(op), set()).update(tensor.dtype for tensor in outputs)
        return result


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """`torch.autocast("cuda", torch.bfloat16)`, which switches itself off where there is no GPU."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_dtype("cuda", before)
        torch.clear_autocast_cache()


def lend_device_guard() -> None:
    """Lets a build of PyTorch without CUDA have fake tensors on a GPU, as a build with CUDA has them without a GPU.

    Operations need a device guard, which selects the current GPU. Such a build has none for CUDA. It is lent that of
    the meta device, which does nothing.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (META + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    guards[CUDA] = guards[CUDA] or guards[META]


@contextmanager
def fake_cuda() -> Iterator[Operations]:
    """Fails where an operation mixes devices, copies between them, or makes the CPU wait for a value of the GPU."""

    def gradient(outputs: Tensor, inputs: Tensor, **_: Any) -> Sequence[Tensor]:
        return (torch.zeros_like(inputs),)

    lend_device_guard()
    fake, gradients = FakeTensorMode(allow_non_fake_inputs=True), patch("torch.autograd.grad", gradient)
    with fake, gradients, torch.no_grad(), Operations() as operations:
        yield operations


def on_fake_cuda(values: Any) -> Any:
    """Fake copies of all tensors in nested tuples, lists and dictionaries. Must be called in `fake_cuda`."""

    def copy(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=DEVICE)

    return tree_map_only(Tensor, copy, values)


def move_to_fake_cuda(module: M) -> M:
    """Replaces the parameters and buffers of a module. Must be called in `fake_cuda`."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(on_fake_cuda(parameter), requires_grad=False))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, on_fake_cuda(buffer))
    return module


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
