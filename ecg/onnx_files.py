"""Classifiers as ONNX files, for programs without PyTorch.

    in context    signal (batch, beats, channels, samples), features (batch, beats, n) -> logits (batch, beats, classes)
    single beats  signal (batch, channels, samples), features (batch, n)               -> logits (batch, classes)

Batch and beats may have any size. A network without features has no such input. The metadata of the file hold the
classes, how a beat is cut, how the logits become probabilities, and the configuration of the fit.
`examples/onnx_inference.py` uses a file without this package.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from scipy.special import softmax
from torch import Tensor

from ecg.config.schema import TrainConfig
from ecg.config.stored import config_for_model_file, config_of_model_file
from ecg.data.simulated import Simulated
from ecg.data.window import CenteredWindow, KaggleWindow, Window
from ecg.errors import INSTALL, UserError
from ecg.files import atomic_write
from ecg.models.network import Network
from ecg.models.onnx_layers import with_onnx_layers
from ecg.reading import one_line

SUFFIX = ".onnx"
INPUTS, OUTPUT = ("signal", "features"), "logits"
TOLERANCE = 1e-4  # largest difference of a logit; relative to logits above 1
TRACED = (2, 30)  # batch and beats of the inputs that are traced
COMPARED = Simulated(name="simulated", records=None, n_patients=12, minutes=2, seed=0)  # about 1,700 beats
SMALLEST = 256  # values; smaller weights remain float32
INT8_MAX = 127
NEEDS = f"It needs: {INSTALL.format('onnx')}."

Logits = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Int8Effect:
    """What int8 weights change, measured on simulated beats.

    Attributes:
        float32_bytes: size of the file with float32 weights.
        n_beats: number of simulated beats.
        largest_difference: of a probability, between float32 and int8 weights.
        n_equal: number of beats with the same label.
    """

    float32_bytes: int
    n_beats: int
    largest_difference: float
    n_equal: int


@dataclass(frozen=True)
class _Examples:
    """Inputs of a network: the traced ones, and the beats of simulated records at `sfreq` Hz."""

    traced: tuple[Tensor, Tensor]
    simulated: list[tuple[Tensor, Tensor]]
    sfreq: float


def write_onnx(
    network: Network, cfg: DictConfig, window: Window, path: Path, *, int8: bool = False
) -> Int8Effect | None:
    """Writes a classifier as an ONNX file, and compares its logits with those of PyTorch.

    Args:
        network: the network, in evaluation mode.
        cfg: the configuration of its fit.
        window: its window.
        path: the file.
        int8: whether the weights are stored as int8. The network computes in float32.

    Returns:
        What the int8 weights change; None without them.

    Raises:
        UserError: a package is missing, or the file cannot be written.
        RuntimeError: the exported network computes something else.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401, used by PyTorch
    except ImportError as error:
        raise UserError(f"An ONNX file cannot be written without onnx, onnxscript and onnxruntime. {NEEDS}") from error
    in_context = bool(cfg.data.get("context", 0))
    examples = _examples(window, in_context)
    model = _export(network, examples.traced, in_context)
    difference = _largest_difference(network, model, [examples.traced, *examples.simulated])
    if difference > TOLERANCE:
        raise RuntimeError(f"The logits of the ONNX file differ by {difference:.2g}.")
    metadata = _metadata(cfg, window, in_context, examples.sfreq)
    _set_metadata(model, metadata)
    effect = None
    if int8:
        float32_bytes = model.ByteSize()
        _store_as_int8(model)
        effect = _int8_effect(network, model, cfg, examples.simulated, float32_bytes)
        _set_metadata(model, metadata | {"int8": json.dumps(asdict(effect))})
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(model.SerializeToString())
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}). Choose another file.") from error
    return effect


def read_onnx(path: Path) -> tuple[DictConfig, Logits]:
    """Returns the configuration of a classifier in an ONNX file, and the function that computes its logits.

    Raises:
        UserError: onnxruntime is missing, or the file is missing, damaged or not written by `ecg export`. The function
            raises it where the network does not match the configuration.
    """
    try:
        import onnxruntime  # noqa: F401, used by _session
    except ImportError as error:
        raise UserError(f"{path} cannot be read without onnxruntime. {NEEDS}") from error
    if not path.is_file():
        raise UserError(f"{path} is missing.")
    try:
        session = _session(path.read_bytes())
    except Exception as error:  # the errors of onnxruntime have no common class
        raise UserError(f"{path} is damaged, or is no ONNX file ({one_line(error)[:80]}).") from error
    try:
        content = json.loads(session.get_modelmeta().custom_metadata_map["config"])
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} was not written by ecg export, or is damaged.") from error
    cfg = config_of_model_file(content, TrainConfig, path)

    def logits(signal: Tensor, features: Tensor) -> Tensor:
        try:
            values = _run(session, signal, features)
        except Exception as error:  # the errors of onnxruntime have no common class
            raise UserError(f"{path} is damaged: {one_line(error)[:80]}.") from error
        if values.shape != (*signal.shape[:-2], len(cfg.protocol.classes)):
            raise UserError(f"{path} is damaged: its network does not match its configuration.")
        return values

    return cfg, logits


# -- export -------------------------------------------------------------------------------------------------------


def _export(network: Network, traced: tuple[Tensor, Tensor], in_context: bool) -> Any:
    """The ONNX model of a network, without metadata."""
    import onnx

    axes = {0: torch.export.Dim("batch")} | ({1: torch.export.Dim("beats")} if in_context else {})
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            with_onnx_layers(network),
            traced,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=(axes, axes),
        )
        assert program is not None
        program.save(str(file))
        model = onnx.load(str(file))
    graph = model.graph
    # The exporter adds its stack traces, with paths of this machine.
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
    used = {name for node in graph.node for name in node.input}
    for value in [value for value in graph.input if value.name not in used]:
        graph.input.remove(value)  # features that the window does not have
    return model


def _examples(window: Window, in_context: bool) -> _Examples:
    rng = torch.Generator().manual_seed(0)
    shape = TRACED if in_context else TRACED[:1]
    signal = torch.randn(*shape, window.n_channels, window.n_times, generator=rng)
    traced = signal, torch.randn(*shape, window.n_rr, generator=rng)
    # Simulated records do not have every lead.
    assert isinstance(window, CenteredWindow | KaggleWindow)
    auto = replace(window, lead="auto")
    beats = [auto.cut(COMPARED.read(name, auto)) for name in COMPARED.record_names()]
    simulated = [(torch.from_numpy(b.signal), torch.from_numpy(b.rr)) for b in beats]
    if in_context:
        simulated = [(signal[None], features[None]) for signal, features in simulated]
    return _Examples(traced, simulated, beats[0].sfreq)


def _metadata(cfg: DictConfig, window: Window, in_context: bool, sfreq: float) -> dict[str, str]:
    described = {
        "classes": list(cfg.protocol.classes),
        "in_context": in_context,
        "window": window.settings(),
        "instructions": window.instructions,
        "sfreq": sfreq,
        "n_times": window.n_times,
        "n_channels": window.n_channels,
        "n_features": window.n_rr,
        "channels": window.channels,
        "features": window.feature_names,
        "prediction": OmegaConf.to_container(cfg.prediction, resolve=True, enum_to_str=True),
        "config": config_for_model_file(cfg),
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in described.items()}
    return texts | {
        "probabilities": "softmax((logits + prediction.shifts) / prediction.temperature). Before that, "
        "ecg/evaluation/adaptation.py changes the logits, if prediction.recentre or prediction.vote are set."
    }


def _set_metadata(model: Any, metadata: dict[str, str]) -> None:
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what the exporter prints about its progress and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# -- int8 weights -------------------------------------------------------------------------------------------------


def _store_as_int8(model: Any) -> None:
    """Replaces the weights of a model by int8 values, each with the scale of its row or output channel.

    The dynamic quantisation of onnxruntime has larger errors, no GRU, and is slower (`docs/onnx.md`).
    """
    from onnx import helper, numpy_helper

    nodes = []
    for tensor in list(model.graph.initializer):
        weight = numpy_helper.to_array(tensor)
        if weight.dtype != np.float32 or weight.ndim < 2 or weight.size < SMALLEST or tensor.name.endswith("bias"):
            continue
        axis = int(weight.ndim == 3)  # weights of a GRU or LSTM are (directions, outputs, inputs)
        scale = np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != axis), keepdims=True) / INT8_MAX
        scale[scale == 0] = 1
        rounded = np.rint(weight / scale).astype(np.int8)
        inputs = [f"{tensor.name}.int8", f"{tensor.name}.scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], axis=axis))
        model.graph.initializer.remove(tensor)
        for name, value in zip(inputs, (rounded, scale.reshape(-1)), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _int8_effect(
    network: Network, model: Any, cfg: DictConfig, inputs: Sequence[tuple[Tensor, Tensor]], float32_bytes: int
) -> Int8Effect:
    session = _session(model.SerializeToString())
    with torch.inference_mode():
        before = _probability(torch.cat([network(*values).flatten(0, -2) for values in inputs]), cfg)
        after = _probability(torch.cat([_run(session, *values).flatten(0, -2) for values in inputs]), cfg)
    equal = before.argmax(axis=1) == after.argmax(axis=1)
    return Int8Effect(float32_bytes, len(equal), float(np.abs(after - before).max()), int(equal.sum()))


def _probability(logits: Tensor, cfg: DictConfig) -> NDArray[np.float64]:
    """Probabilities (n, n_classes) of logits (n, n_classes), without adaptations to a record."""
    shifts = dict(cfg.prediction.shifts or {})
    offset = np.array([float(shifts.get(name, 0)) for name in cfg.protocol.classes])
    probability: NDArray[np.float64] = softmax((logits.double().numpy() + offset) / cfg.prediction.temperature, axis=1)
    return probability


# -- run ----------------------------------------------------------------------------------------------------------


def _largest_difference(network: Network, model: Any, inputs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The largest difference of a logit between PyTorch and ONNX, relative to logits above 1."""
    session, largest = _session(model.SerializeToString()), 0.0
    for values in inputs:
        with torch.inference_mode():
            expected = network(*values)
        difference = (_run(session, *values) - expected).abs() / expected.abs().clamp(min=1)
        largest = max(largest, float(difference.max()))
    return largest


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors become exceptions
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 once, not per run
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: Any, signal: Tensor, features: Tensor) -> Tensor:
    values = {"signal": signal.numpy(), "features": features.numpy()}
    names = [node.name for node in session.get_inputs()]
    (logits,) = session.run([OUTPUT], {name: np.ascontiguousarray(values[name]) for name in names})
    return torch.from_numpy(logits)
