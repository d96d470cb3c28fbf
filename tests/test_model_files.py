"""Model files of classifiers and generators."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import TINY_DATA, TINY_SYNTH, TINY_TRAIN, folders, run
from safetensors.torch import load, save
from typer.testing import CliRunner, Result
from wfdb_factories import error_message

import ecg
from ecg.cli import app
from ecg.errors import UserError
from ecg.model_files import read_model_file
from ecg.pretrained import model_card, released_models


@pytest.fixture(scope="module")
def classifier_run(finished_run: Callable[..., Path]) -> Path:
    return finished_run("train", *TINY_TRAIN, "logger=none")


@pytest.fixture(scope="module")
def classifier_file(classifier_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(classifier_run, tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def generator_run(finished_run: Callable[..., Path]) -> Path:
    return finished_run("synth", *TINY_SYNTH, *TINY_DATA, "data.window=kaggle", "trainer.max_epochs=1", "logger=none")


@pytest.fixture(scope="module")
def generator_file(generator_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(generator_run, tmp_path_factory.mktemp("generator"))


def exported(run_folder: Path, folder: Path) -> Path:
    ended = ecg_command("export", run_folder, folder / "model.safetensors")
    assert ended.exit_code == 0, ended.output
    return folder / "model.safetensors"


def ecg_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def changed(path: Path, folder: Path, change: Callable[[dict[str, str], dict[str, torch.Tensor]], None]) -> Path:
    """A copy of a model file with other metadata or weights."""
    file = path.read_bytes()
    length = int.from_bytes(file[:8], "little")
    metadata, weights = json.loads(file[8 : 8 + length])["__metadata__"], load(file)
    change(metadata, weights)
    (folder / path.name).write_bytes(save(weights, metadata))
    return folder / path.name


@pytest.mark.slow
def test_the_file_of_a_classifier_predicts_what_its_run_predicts(classifier_file: Path, classifier_run: Path) -> None:
    signal = np.random.default_rng(0).normal(size=(1, 6000)).cumsum(axis=1)
    signal[0, 100::300] += 60
    tables = [ecg.load(model).predict(signal, 360, ["MLII"]) for model in (classifier_file, classifier_run)]
    assert len(tables[0]) > 10
    assert str(classifier_run.parent).encode() not in classifier_file.read_bytes()
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_the_file_of_a_generator_draws_what_its_run_draws(
    generator_file: Path, generator_run: Path, tmp_path: Path
) -> None:
    of_file, of_run, other = (
        ecg.sample("F", 5, model=model, seed=seed)
        for model, seed in ((generator_file, 1), (generator_run, 1), (generator_file, 2))
    )
    assert of_file.shape == (5, 1, 187)
    # The file holds float16: some beats are rounded to a neighbouring ADC step.
    assert np.median(np.abs(of_file - of_run)) < 0.01
    assert np.abs(of_file - other).mean() > 0.01
    for suffix in ("csv", "npy"):
        out = tmp_path / f"beats.{suffix}"
        arguments = ("synthesize", "--class", "F", "-n", 5, "--model", generator_file, "--seed", 1, "--out", out)
        assert ecg_command(*arguments).exit_code == 0
        again = ecg_command(*arguments)
        assert again.exit_code != 0
        assert "exists. Add --overwrite" in again.output
    rows = np.loadtxt(tmp_path / "beats.csv", delimiter=",")
    np.testing.assert_allclose(rows[:, :-1], of_file[:, 0])
    assert set(rows[:, -1]) == {3}
    np.testing.assert_array_equal(np.load(tmp_path / "beats.npy"), of_file)


@pytest.mark.slow
def test_a_classifier_trains_on_beats_of_a_generator_file(
    generator_file: Path, tmp_path: Path, cache_dir: Path
) -> None:
    of_classes = [word for name in "NSVFQ" for word in ("--class", name)]
    command = ("synthesize", *of_classes, "-n", 20, "--model", generator_file, "--out", tmp_path / "set")
    assert ecg_command(*command).exit_code == 0
    trained = run(
        "train",
        *(*TINY_TRAIN, "data.window=kaggle", "augmentation=synthetic", f"augmentation.beats={tmp_path}/set"),
        *("logger=none", *folders(tmp_path, cache_dir)),
    )
    assert trained.returncode == 0, trained.stderr
    assert "Training beats after Synthetic: N 20, S 20, V 20, F 20, Q 20" in trained.stdout
    # The generator has seen training beats of this split, which are test beats of the other one.
    other = run(
        "train",
        *(*TINY_TRAIN, "data.window=kaggle", "augmentation=synthetic", f"augmentation.beats={tmp_path}/set"),
        *("logger=none", "protocol.fold=1", *folders(tmp_path / "other", cache_dir)),
    )
    assert "Leakage: the generator was fitted on" in other.message


@pytest.mark.slow
def test_classes_that_a_file_cannot_hold_give_one_sentence(generator_file: Path, tmp_path: Path) -> None:
    def message(out: str, model: Path = generator_file) -> str:
        given = ("synthesize", "--class", "S", "--class", "F", "-n", 2, "--model", model, "--out", tmp_path / out)
        return " ".join(ecg_command(*given).output.split())

    assert "holds the beats of one class" in message("beats.npy")
    assert "does not end in .csv or .npy" in message("beats.txt")
    assert "S 2, F 2 beats" in message("beats.csv")
    assert np.loadtxt(tmp_path / "beats.csv", delimiter=",")[:, -1].tolist() == [1, 1, 3, 3]

    def without_locations(metadata: dict[str, str], _: dict[str, torch.Tensor]) -> None:
        fitted = json.loads(metadata["fitted"])
        fitted["fitted_on"]["samples"] = {}
        metadata["fitted"] = json.dumps(fitted)

    assert "does not list the beats" in message("set", changed(generator_file, tmp_path, without_locations))
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda file: ecg.load(file), "is a generator, not a classifier"),
        (lambda file: ecg.sample("X", 5, model=file), "This generator has no class X. Its classes: N, S, V, F, Q."),
        (lambda file: ecg.sample("F", 0, model=file), "The number of beats is 0"),
        (lambda file: ecg.sample("F", 5, model=file, record="x"), "This generator has no record x"),
        (lambda file: ecg.sample("F", 5, model="nothing"), "nothing is neither a released model"),
        (lambda file: ecg.sample("F", 5, model=file.with_name("none.safetensors")), "none.safetensors is missing"),
    ],
)
def test_what_a_generator_cannot_do_gives_one_sentence(
    call: Callable[[Path], object], message: str, generator_file: Path
) -> None:
    assert message in error_message(lambda: call(generator_file))


def set_config(key: str, value: object) -> Callable[[dict[str, str], dict[str, torch.Tensor]], None]:
    def change(metadata: dict[str, str], _: dict[str, torch.Tensor]) -> None:
        content = json.loads(metadata["config"])
        group, name = key.split(".")
        content[group][name] = value
        metadata["config"] = json.dumps(content)

    return change


def without_key(key: str) -> Callable[[dict[str, str], dict[str, torch.Tensor]], None]:
    def change(metadata: dict[str, str], _: dict[str, torch.Tensor]) -> None:
        content = json.loads(metadata["config"])
        group, name = key.split(".")
        del content[group][name]
        metadata["config"] = json.dumps(content)

    return change


@pytest.mark.slow
def test_a_file_from_before_a_key_existed_is_read_with_its_default(classifier_file: Path, tmp_path: Path) -> None:
    model = ecg.load(changed(classifier_file, tmp_path, without_key("data.causal")))
    assert model.window == ecg.load(classifier_file).window


def as_flag(config: str, group: str) -> str:
    return json.dumps(json.loads(config) | {group: True})


def set_infinite(_: dict[str, str], weights: dict[str, torch.Tensor]) -> None:
    next(value for value in weights.values() if value.is_floating_point()).view(-1)[0] = torch.inf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_config("model._target_", "os.system"), "os.system, a class outside this package"),
        (set_config("model._target_", []), "a class outside this package"),
        (set_config("model._target_", ["ecg.models.cnn.CNN"]), "a class outside this package"),
        (set_config("protocol.name", "mine"), "protocol is no valid option"),
        (set_config("model.hidden", "${oc.env:HOME}"), "holds an interpolation"),
        (set_config("model.hidden", 16), "its weights do not match its configuration"),
        (set_config("model.hidden", "many"), "does not match the schema of this version"),
        (set_config("model.hidden", 10**9), "is damaged, or was written by another version: model.hidden is 10"),
        (without_key("paths.run_dir"), "is damaged, or was written by another version: paths.run_dir is missing"),
        (set_config("prediction.temperature", None), "is damaged: it has no numbers for prediction.temperature"),
        (lambda metadata, _: metadata.update(config=as_flag(metadata["config"], "model")), "model is no valid option"),
        (lambda metadata, _: metadata.update(format="0"), "is not a model file of this version"),
        (lambda metadata, _: metadata.update(config="{"), "is damaged"),
        (lambda metadata, _: metadata.update(config="[]"), "is damaged"),
        (lambda _, weights: weights.popitem() and None, "its weights do not match its configuration"),
        (set_infinite, "a weight is not a finite number"),
    ],
)
def test_an_altered_file_is_refused(
    change: Callable[[dict[str, str], dict[str, torch.Tensor]], None],
    message: str,
    classifier_file: Path,
    tmp_path: Path,
) -> None:
    path = changed(classifier_file, tmp_path, change)
    assert message in error_message(lambda: ecg.load(path))


class Payload:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["m.ckpt", "m.pt", "m.pkl", "m.safetensors"])
@pytest.mark.parametrize("sealed", [pickle.dump, torch.save])
def test_no_pickle_is_loaded(
    name: str, sealed: Callable[[object, IO[bytes]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / name).open("wb") as file:
        sealed({"state_dict": Payload()}, file)
    np.save(tmp_path / "r.npy", np.zeros(5000))
    ended = ecg_command("predict", tmp_path / "r.npy", "--sfreq", 250, "--model", tmp_path / name)
    assert ended.exit_code == 1
    message = ended.output.lstrip()  # rich before 15 prints an empty line
    assert message.startswith(f"Error: {tmp_path / name} is n")  # neither a released model ..., or not a model file
    assert message.count("\n") == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_gives_one_sentence(
    at: float, byte: int, cut: bool, classifier_file: Path, tmp_path: Path
) -> None:
    content = bytearray(classifier_file.read_bytes())
    position = int(at**4 * len(content))  # most often in the header
    content = content[:position] if cut else content[:position] + bytes([byte]) + content[position + 1 :]
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(UserError):  # a byte of a weight may have another valid value
        read_model_file(path, "classifier")


def test_every_released_model_has_a_card() -> None:
    for name, path in released_models().items():
        card = model_card(name)
        assert card.startswith(f"# {name}\n")
        assert "medical device" in card
        assert path.stat().st_size < 6e6
    assert sum(path.stat().st_size for path in released_models().values()) <= 6e6
