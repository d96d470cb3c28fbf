"""LSTMs and GRUs as single operators of ONNX, for the export of a network.

`torch.export` unrolls these layers over the steps of its example, so that their number would be fixed. The layers here
compute nothing in PyTorch. They name the operator of ONNX, its inputs and the shapes of its outputs.

The operators have the gates in another order than PyTorch, and the steps as the first dimension:

    GRU   PyTorch r, z, n       ONNX z, r, n
    LSTM  PyTorch i, f, g, o    ONNX i, o, f, g
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ecg.models.network import Network

GATES = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # positions in PyTorch, in the order of ONNX


class OnnxRecurrent(nn.Module):
    """An LSTM or GRU as an operator of ONNX.

    Args:
        layer: the LSTM or GRU, with one layer, biases, and the batch as the first dimension.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        if layer.num_layers != 1 or not layer.bias or not layer.batch_first or layer.proj_size:
            raise ValueError(f"{layer} has no equivalent operator in ONNX.")
        self.mode, self.hidden = layer.mode, layer.hidden_size
        self.directions = ("", "_reverse") if layer.bidirectional else ("",)
        bias = torch.cat([self._reordered(layer, "bias_ih"), self._reordered(layer, "bias_hh")], dim=1)  # (D, 2 G H)
        self.register_buffer("weight_ih", self._reordered(layer, "weight_ih"))  # (D, G H, input_size)
        self.register_buffer("weight_hh", self._reordered(layer, "weight_hh"))  # (D, G H, H)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, Any]:
        """Sequences (B, L, input_size) -> outputs (B, L, D H), last states: h, of an LSTM (h, c), each (D, B, H).

        The first state is zero.
        """
        assert state is None
        n, length = x.shape[:2]
        of_state = (len(self.directions), n, self.hidden)
        shapes = [(length, *of_state), of_state] + [of_state] * (self.mode == "LSTM")
        attributes: dict[str, Any] = {
            "direction": "bidirectional" if len(self.directions) == 2 else "forward",
            "hidden_size": self.hidden,
        }
        if self.mode == "GRU":
            attributes["linear_before_reset"] = 1
        outputs, h, *c = torch.onnx.ops.symbolic_multi_out(
            self.mode,
            (x.transpose(0, 1), self.weight_ih, self.weight_hh, self.bias),
            attributes,
            dtypes=[x.dtype] * len(shapes),
            shapes=shapes,
        )
        joined = outputs.permute(2, 0, 1, 3).flatten(2)  # (L, D, B, H) -> (B, L, D H)
        return joined, (h, *c) if c else h

    def _reordered(self, layer: nn.RNNBase, name: str) -> Tensor:
        """The weights of a name with the gates in the order of ONNX, (D, G H, ...)."""
        weights = [getattr(layer, f"{name}_l0{direction}").detach() for direction in self.directions]
        gates = [weight.chunk(len(GATES[self.mode])) for weight in weights]
        return torch.stack([torch.cat([gate[i] for i in GATES[self.mode]]) for gate in gates])


def with_onnx_layers(network: Network) -> Network:
    """Returns a copy of a network for the export, whose LSTMs and GRUs are operators of ONNX."""
    exported = copy.deepcopy(network)
    for name, module in list(exported.named_modules()):
        if isinstance(module, nn.RNNBase):
            exported.set_submodule(name, OnnxRecurrent(module))
    return exported
