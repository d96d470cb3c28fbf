"""Classifiers as ONNX files."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from programs import composed
from wfdb_factories import error_message

from ecg import build
from ecg.config.stored import config_for_model_file
from ecg.onnx_files import read_onnx, write_onnx

SMALL = ["model.hidden=8", "logger=none", "data.before=0.2", "data.after=0.3"]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [["model=cnn"], ["model=cnn_lstm"], ["model=cnn_lstm_attn"]])
def test_an_onnx_file_computes_the_same_logits(overrides: list[str], tmp_path: Path) -> None:
    cfg = composed("train", *SMALL, *overrides)
    window = build.window(cfg)
    torch.manual_seed(0)
    network = build.network(cfg, window, cfg.protocol.classes).eval()
    assert write_onnx(network, cfg, window, tmp_path / "m.onnx") < 1e-4
    stored, logits = read_onnx(tmp_path / "m.onnx")
    assert stored.model == cfg.model
    inputs = torch.randn(9, window.n_channels, window.n_times), torch.randn(9, window.n_rr)
    with torch.inference_mode():
        torch.testing.assert_close(logits(*inputs), network(*inputs), atol=1e-4, rtol=0)
    metadata = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(cfg.protocol.classes)
    assert json.loads(metadata["window"])["before"] == 0.2
    assert json.loads(metadata["prediction"])["temperature"] == cfg.prediction.temperature


def test_a_file_that_is_no_exported_classifier_gives_one_sentence(tmp_path: Path) -> None:
    assert "none.onnx is missing" in error_message(lambda: read_onnx(tmp_path / "none.onnx"))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"x" * 100)
    assert "is damaged, or is no ONNX file" in error_message(lambda: read_onnx(damaged))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    other = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), other)
    assert "was not written by ecg export" in error_message(lambda: read_onnx(other))


@pytest.mark.parametrize(
    ("output", "shape", "message"), [("y", [9], "is damaged: "), ("logits", [9, 2], "does not match its configuration")]
)
def test_a_network_of_another_configuration_is_refused(
    output: str, shape: list[int], message: str, tmp_path: Path
) -> None:
    cfg = composed("train", *SMALL)
    window = build.window(cfg)
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, window.n_rr])]
    node = helper.make_node("ConstantOfShape", ["shape"], [output])
    size = helper.make_tensor("shape", TensorProto.INT64, [len(shape)], shape)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info(output, 1, shape)], [size])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    model.metadata_props.add(key="config", value=json.dumps(config_for_model_file(cfg)))
    onnx.save(model, tmp_path / "m.onnx")
    _, logits = read_onnx(tmp_path / "m.onnx")
    signal, features = torch.zeros(9, window.n_channels, window.n_times), torch.zeros(9, window.n_rr)
    assert message in error_message(lambda: logits(signal, features))
