"""Classifiers as ONNX files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from omegaconf import DictConfig
from onnx import TensorProto, helper
from programs import ROOT, composed, load_module
from scipy.special import softmax
from torch import Tensor
from typer.testing import CliRunner, Result
from wfdb_factories import error_message

from ecg import build
from ecg.cli import app
from ecg.config.stored import config_for_model_file
from ecg.data.aami import labels_from_symbols
from ecg.data.beats import Beats
from ecg.data.physionet import PhysioNet
from ecg.data.recording import Recording
from ecg.data.simulated import Simulated
from ecg.data.window import Window
from ecg.models.network import Network
from ecg.onnx_files import COMPARED, read_onnx, write_onnx
from ecg.prediction import load_classifier

SMALL = ["model.hidden=8", "logger=none"]
SINGLE = ["model=cnn", "data.before=0.2", "data.after=0.3"]
CONTEXT = ["data.context=5", "data.features=rhythm_and_shape", "data.leads=2", "protocol.classes=[N,S,V,F]"]
KAGGLE = ["model=cnn_lstm", "data.window=kaggle", "prediction.shifts={V: 0.5}"]
SOURCE = Simulated(name="simulated", records=None, n_patients=3, minutes=1, seed=1)


@dataclass(frozen=True)
class Fitted:
    """A network after some steps of training, and beats of simulated records."""

    cfg: DictConfig
    window: Window
    network: Network
    signal: Tensor
    features: Tensor

    def inputs(self, *shape: int) -> tuple[Tensor, Tensor]:
        """Beats in a shape (n,) or (batch, n)."""
        index = torch.arange(int(np.prod(shape))) % len(self.signal)
        return self.signal[index].unflatten(0, shape), self.features[index].unflatten(0, shape)


def fitted(*overrides: str, steps: int = 60) -> Fitted:
    cfg = composed("train", *overrides)
    window = build.window(cfg)
    torch.manual_seed(0)
    network = build.network(cfg, window, cfg.protocol.classes)
    beats: list[Beats] = [window.cut(SOURCE.read(name, window)) for name in SOURCE.record_names()]
    signal = torch.from_numpy(np.concatenate([each.signal for each in beats]))
    features = torch.from_numpy(np.concatenate([each.rr for each in beats]))
    label = torch.from_numpy(np.concatenate([each.label for each in beats])) % len(cfg.protocol.classes)
    weight = 1 / torch.bincount(label, minlength=len(cfg.protocol.classes)).clamp(min=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        inputs = (signal[None], features[None]) if cfg.data.context else (signal, features)
        loss = torch.nn.functional.cross_entropy(network(*inputs).flatten(0, -2), label, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Fitted(cfg, window, network.eval(), signal, features)


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def metadata_of(path: Path) -> dict[str, str]:
    metadata: dict[str, str] = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return metadata


Exported = Callable[..., tuple[Fitted, Path]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Returns a small model and its ONNX file. An export takes seconds, so there is one for each configuration."""

    @cache
    def export_once(*overrides: str) -> tuple[Fitted, Path]:
        context = any(override.startswith("data.context") for override in overrides)
        model, path = fitted(*SMALL, *overrides, steps=20 if context else 60), tmp_path_factory.mktemp("m") / "m.onnx"
        before = {name: value.clone() for name, value in model.network.state_dict().items()}
        assert write_onnx(model.network, model.cfg, model.window, path) is None
        torch.testing.assert_close(model.network.state_dict(), before, rtol=0, atol=0)
        return model, path

    return export_once


@pytest.fixture(scope="module")
def released(released_onnx: Callable[..., Path]) -> Path:
    """The released model as an ONNX file."""
    return released_onnx()


# Each case is exported after training steps and exports in the same process, which influenced earlier exports.
@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        SINGLE,
        KAGGLE,
        ["model=cnn_lstm_attn"],
        ["model=cnn", *CONTEXT],
        ["model=cnn_lstm", *CONTEXT, "data.causal=true"],
    ],
)
def test_an_onnx_file_computes_the_same_logits_for_any_number_of_beats(
    overrides: list[str], exported: Exported
) -> None:
    model, path = exported(*overrides)
    stored, logits = read_onnx(path)
    assert stored.model == model.cfg.model
    shapes = [(1,), (2,), (49,), (400,), (2000,)]
    if model.cfg.data.context:
        shapes = [*((1, *shape) for shape in shapes), (3, 7), (7, 1)]
    found = set()
    for shape in shapes:
        inputs = model.inputs(*shape)
        with torch.inference_mode():
            expected, computed = model.network(*inputs), logits(*inputs)
        torch.testing.assert_close(computed, expected, atol=1e-4, rtol=0)
        assert (computed.argmax(-1) == expected.argmax(-1)).all()
        found |= set(expected.argmax(-1).flatten().tolist())
    assert len(found) > 1


@pytest.mark.slow
def test_the_metadata_describe_the_inputs_and_nothing_of_the_machine(exported: Exported) -> None:
    model, path = exported(*SINGLE)
    metadata = metadata_of(path)
    values = {key: json.loads(metadata[key]) for key in ("classes", "window", "features", "channels", "prediction")}
    assert values["classes"] == list(model.cfg.protocol.classes)
    assert values["window"]["before"] == 0.2
    assert values["features"] == list(model.window.feature_names)
    assert len(values["channels"]) == int(metadata["n_channels"])
    assert float(metadata["sfreq"]) == model.cfg.data.sfreq
    assert values["prediction"]["temperature"] == model.cfg.prediction.temperature
    assert f"A beat has {model.window.n_times} samples" in metadata["instructions"]
    content = path.read_bytes()
    assert not any(str(folder).encode() in content for folder in (ROOT, Path(torch.__file__).parent, Path.home()))


@pytest.mark.slow
def test_int8_weights_are_smaller_and_their_effect_is_stated(tmp_path: Path) -> None:
    model, path = fitted("logger=none", "model=cnn", "data.window=kaggle", steps=20), tmp_path / "m.onnx"
    effect = write_onnx(model.network, model.cfg, model.window, path, int8=True)
    assert effect is not None
    assert path.stat().st_size < 0.4 * effect.float32_bytes
    assert json.loads(metadata_of(path)["int8"]) == asdict(effect)
    assert 0 < effect.largest_difference < 0.2  # the network is steep after steps on few beats
    beats = [model.window.cut(COMPARED.read(name, model.window)) for name in COMPARED.record_names()]
    inputs = [torch.from_numpy(np.concatenate([getattr(each, name) for each in beats])) for name in ("signal", "rr")]
    with torch.inference_mode():
        expected, computed = (softmax(f(*inputs).numpy(), axis=1) for f in (model.network, read_onnx(path)[1]))
    assert effect.n_beats == len(expected)
    assert effect.n_equal == (expected.argmax(axis=1) == computed.argmax(axis=1)).sum() > 0.98 * len(expected)
    assert effect.largest_difference == pytest.approx(np.abs(expected - computed).max(), abs=1e-4)


@pytest.mark.slow
def test_a_released_model_is_exported_by_its_name(released_onnx: Callable[..., Path]) -> None:
    released, int8 = released_onnx(), released_onnx("--int8")
    recording = SOURCE.read(SOURCE.record_names()[0], load_classifier("inter_patient").window)
    expected = load_classifier("inter_patient").predict_recording(recording)
    for path, tolerance in ((released, 1e-4), (int8, 0.1)):
        table = load_classifier(path).predict_recording(recording)
        np.testing.assert_allclose(table.filter(like="p_"), expected.filter(like="p_"), atol=tolerance)
        assert (table["class"] == expected["class"]).mean() > (0.97 if path == int8 else 0.9999)
    assert int8.stat().st_size < 0.4 * released.stat().st_size


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("record", ["100", "208"])
def test_the_beats_of_a_real_record_have_the_same_logits(released: Path, record: str, real_data: Path) -> None:
    model = load_classifier("inter_patient")
    source = PhysioNet(name="mitbih", records=None, dir=str(real_data / "mitdb"), url=None)
    beats = model.window.cut(source.read(record, model.window))
    inputs = torch.from_numpy(beats.signal)[None], torch.from_numpy(beats.rr)[None]
    with torch.inference_mode():
        expected, computed = model.network(*inputs), read_onnx(released)[1](*inputs)
    torch.testing.assert_close(computed, expected, atol=1e-4, rtol=0)
    assert (computed.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inter_patient", "m.safetensors", "--int8"], "--int8 needs a file NAME.onnx, not "),
        (["inter_patient", "m.txt"], "m.txt does not end in .safetensors or .onnx."),
        (["nothing", "m.onnx"], "nothing is neither a released model"),
        (["none.safetensors", "m.onnx"], "none.safetensors is missing."),
        (["m.onnx", "m2.onnx"], "m.onnx is an ONNX file already. Export the run folder or"),
    ],
)
def test_what_cannot_be_exported_gives_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = export(*arguments)
    assert ended.exit_code == 1
    assert message in ended.output
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def kaggle(exported: Exported) -> tuple[Fitted, Path]:
    """A model of single beats of the window kaggle, and its ONNX file."""
    return exported(*KAGGLE)


def run_example(path: Path, recording: Recording, folder: Path) -> list[list[str]]:
    """The rows that the example prints, in a process that imports neither PyTorch nor this package."""
    np.save(folder / "lead.npy", recording.signal[0])
    np.savetxt(folder / "peaks.txt", recording.sample, fmt="%d")
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "assert not {'ecg', 'torch', 'onnx', 'wfdb', 'pandas'} & set(sys.modules)"
    )
    arguments = [path, folder / "lead.npy", folder / "peaks.txt", "--sfreq", recording.sfreq]
    command = [sys.executable, "-c", program, ROOT / "examples" / "onnx_inference.py", *arguments]
    ended = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return [line.split(",") for line in ended.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("sfreq", [360.0, 250.0])
def test_the_example_predicts_the_same_labels_as_this_package(
    kaggle: tuple[Fitted, Path], sfreq: float, tmp_path: Path
) -> None:
    model, path = kaggle
    for name in SOURCE.record_names()[:2]:
        recording = beats_only(replace(SOURCE.read(name, model.window), sfreq=sfreq))
        assert_same_labels(model, recording, run_example(path, recording, tmp_path))


@pytest.mark.slow
@pytest.mark.real
def test_the_example_predicts_the_same_labels_of_a_real_record(
    kaggle: tuple[Fitted, Path], real_data: Path, tmp_path: Path
) -> None:
    model, path = kaggle
    source = PhysioNet(name="mitbih", records=None, dir=str(real_data / "mitdb"), url=None)
    recording = beats_only(source.read("208", model.window))
    assert_same_labels(model, recording, run_example(path, recording, tmp_path))


def beats_only(recording: Recording) -> Recording:
    """The recording without annotations of rhythm and noise."""
    beat = labels_from_symbols(recording.symbol) >= 0
    return replace(recording, sample=recording.sample[beat], symbol=recording.symbol[beat])


def assert_same_labels(model: Fitted, recording: Recording, rows: list[list[str]]) -> None:
    classes, beats = tuple(model.cfg.protocol.classes), model.window.cut(recording)
    with torch.inference_mode():
        logits = model.network(torch.from_numpy(beats.signal), torch.from_numpy(beats.rr)).numpy()
    logits[:, classes.index("V")] += 0.5
    assert rows[0] == ["sample", "class", *(f"p_{name}" for name in classes)]
    assert [int(row[0]) for row in rows[1:]] == beats.sample.tolist()
    assert [row[1] for row in rows[1:]] == [classes[c] for c in logits.argmax(axis=1)]
    np.testing.assert_allclose(np.array(rows[1:])[:, 2:].astype(float), softmax(logits, axis=1), atol=1e-4)
    assert len({row[1] for row in rows[1:]}) > 1


@pytest.mark.slow
def test_the_example_refuses_what_it_cannot_classify(kaggle: tuple[Fitted, Path], released: Path) -> None:
    classify = load_module(ROOT / "examples" / "onnx_inference.py").classify
    with pytest.raises(SystemExit, match="At least two R peaks are needed"):
        classify(str(kaggle[1]), np.zeros(1000), np.array([100]), 360)
    with pytest.raises(SystemExit, match="is not a model of single beats with the window kaggle"):
        classify(str(released), np.zeros(1000), np.array([100, 400]), 360)


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
    cfg = composed("train", *SMALL, "data.before=0.2", "data.after=0.3")
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
