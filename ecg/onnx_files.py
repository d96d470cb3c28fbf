"""Classifiers as ONNX files, for programs without PyTorch.

    in context    signal (batch, beats, channels, samples), features (batch, beats, n) -> logits (batch, beats, classes)
    single beats  signal (batch, channels, samples), features (batch, n)               -> logits (batch, classes)

Batch and beats may have any size. The metadata of the file hold the classes, what the inputs are, how the logits become
probabilities, and the configuration of the fit.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ecg.config.schema import TrainConfig
from ecg.config.stored import config_for_model_file, config_of_model_file
from ecg.data.window import Window
from ecg.errors import INSTALL, UserError
from ecg.files import atomic_write
from ecg.models.network import Network
from ecg.reading import one_line

SUFFIX = ".onnx"
INPUTS, OUTPUT = ("signal", "features"), "logits"
TOLERANCE = 1e-4  # largest difference of a logit
EXAMPLES = ((2, 30), (1, 7))  # batch and beats of the inputs that are traced and compared
NEEDS = f"It needs: {INSTALL.format('onnx')}."

Logits = Callable[[Tensor, Tensor], Tensor]


def write_onnx(network: Network, cfg: DictConfig, window: Window, path: Path) -> float:
    """Writes a classifier as an ONNX file; returns the largest difference of a logit to PyTorch.

    Args:
        network: the network, in evaluation mode.
        cfg: the configuration of its fit.
        window: its window.
        path: the file.

    Raises:
        UserError: a package is missing, or the file cannot be written.
        RuntimeError: the exported network computes something else.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401, used by PyTorch
    except ImportError as error:
        raise UserError(f"An ONNX file cannot be written without onnx and onnxscript. {NEEDS}") from error
    in_context = bool(cfg.data.get("context", 0))
    examples = [_example(window, in_context, *sizes) for sizes in EXAMPLES]
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        axes = {0: torch.export.Dim("batch")} | ({1: torch.export.Dim("beats")} if in_context else {})
        # In some processes it falls back to fixed sizes. The comparison below, with two sizes, then fails.
        program = torch.onnx.export(
            network,
            examples[0],
            dynamo=True,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=(axes, axes),
        )
        assert program is not None
        program.save(str(file))
        model = onnx.load(str(file))
    for key, value in _metadata(cfg, window, in_context).items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    difference = max(_difference(content, network, example) for example in examples)
    if difference > TOLERANCE:
        raise RuntimeError(f"The logits of the ONNX file differ by {difference:.2g}.")
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}). Choose another file.") from error
    return difference


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


def _metadata(cfg: DictConfig, window: Window, in_context: bool) -> dict[str, str]:
    prediction = cfg.prediction
    described = {
        "classes": list(cfg.protocol.classes),
        "in_context": in_context,
        "window": window.settings(),
        "n_times": window.n_times,
        "n_channels": window.n_channels,
        "n_features": window.n_rr,
        "prediction": OmegaConf.to_container(prediction, resolve=True, enum_to_str=True),
        "config": config_for_model_file(cfg),
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in described.items()}
    return texts | {"probabilities": "softmax((logits + prediction.shifts) / prediction.temperature)"}


def _example(window: Window, in_context: bool, batch: int, beats: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    shape = (batch, beats) if in_context else (batch,)
    signal = torch.randn(*shape, window.n_channels, window.n_times, generator=rng)
    return signal, torch.randn(*shape, window.n_rr, generator=rng)


def _difference(content: bytes, network: Network, inputs: tuple[Tensor, Tensor]) -> float:
    with torch.inference_mode():
        return float((network(*inputs) - _run(_session(content), *inputs)).abs().max())


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors become exceptions
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: Any, signal: Tensor, features: Tensor) -> Tensor:
    values = {"signal": signal.numpy(), "features": features.numpy()}
    names = [node.name for node in session.get_inputs()]  # an input that the network does not use is left out
    (logits,) = session.run([OUTPUT], {name: np.ascontiguousarray(values[name]) for name in names})
    return torch.from_numpy(logits)


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
