"""Models on the Hugging Face Hub, with a server on this machine."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import READ_TOKEN, SIGNATURE, TOKEN, Hub, run_hub
from programs import TINY_DATA, TINY_SYNTH, TINY_TRAIN, with_values
from typer.testing import CliRunner, Result
from wfdb_factories import error_message, write_recording

import ecg
from ecg import build
from ecg.cli import app
from ecg.data.simulator import simulate
from ecg.model_files import read_model_file, write_model_file
from ecg.pretrained import model_card, released_models
from ecg.sharing import describe_model, push_model

RECORDING = simulate(3, minutes=0.5, seed=0)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server, to which the owner of the repositories of `user` is logged in."""
    with run_hub() as hub:
        for name in ("HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        set_environment(monkeypatch, HF_HOME=tmp_path / "hub", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN, no_proxy="*")
        # Uploads to the content-addressed storage of the Hub need a server of their own; LFS is the alternative.
        set_environment(monkeypatch, HF_HUB_DISABLE_XET=1, HF_HUB_DISABLE_TELEMETRY=1)
        yield hub


def set_environment(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    """Sets variables that `huggingface_hub` reads when it is imported."""
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("classifier") / "mine.safetensors", "N,S,V,F,Q")


@pytest.fixture(scope="module")
def other_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("other") / "mine.safetensors", "N,V")


def make_file(path: Path, classes: str) -> Path:
    """The model file of a classifier with random weights."""
    cfg = with_values("train", "model=cnn", "model.hidden=8", "logger=none", f"protocol.classes=[{classes}]")
    torch.manual_seed(0)
    network = build.network(cfg, build.window(cfg), cfg.protocol.classes)
    write_model_file(path, "classifier", cfg, network.state_dict(), {})
    return path


def ecg_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def push(*arguments: object) -> str:
    ended = ecg_command("push", *arguments)
    assert ended.exit_code == 0, ended.output
    return ended.output


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_pushed_classifier_predicts_the_same(hub: Hub, classifier: Path, tmp_path: Path) -> None:
    assert f"{hub.url}/user/beats\n" in push(classifier, "user/beats")
    repository = hub.repositories["user/beats"]
    assert repository.files["model.safetensors"] == classifier.read_bytes()
    assert not repository.private
    expected, table = (
        ecg.load(model).predict(RECORDING.signal, RECORDING.sfreq) for model in (classifier, "hf://user/beats")
    )
    assert len(table) > 20
    assert table.equals(expected)


def test_the_card_states_what_the_model_file_states(hub: Hub, classifier: Path) -> None:
    push(classifier, "user/beats")
    card = hub.repositories["user/beats"].files["README.md"].decode()
    assert card.startswith(
        "---\nlibrary_name: ecg-synthesis-classification\ntags:\n- ecg\n- heartbeat-classification\n"
    )
    for text in (
        "# user/beats\n",
        "as N, S, V, F, Q.",
        "classifier, `cnn`.",
        "`centered` (lead=auto, before=0.7, after=0.9, ",
        "beats of 2 x 192 (channels x samples).",
        "`simulated`.",
        "`patient_kfold`.",
        "Not a medical device",
        'ecg.load("hf://user/beats")',
    ):
        assert text in card, text


def test_a_released_model_is_pushed_with_its_card(hub: Hub) -> None:
    push("inter_patient", "user/beats")
    card = hub.repositories["user/beats"].files["README.md"].decode()
    assert card.startswith("---\n")
    assert card.endswith(model_card("inter_patient"))
    made = describe_model(read_model_file(released_models()["inter_patient"]), "user/beats")
    assert "with 24 beats before and after each" in made
    assert "`mitbih`, the MIT-BIH Arrhythmia Database." in made
    assert "The other database is `svdb`." in made


def test_the_card_of_a_repository_is_replaced_by_a_given_one_only(
    hub: Hub, classifier: Path, other_classifier: Path, tmp_path: Path
) -> None:
    repository = hub.add("user/beats", {"README.md": b"mine"})
    push(classifier, "user/beats")
    assert repository.files == {"README.md": b"mine", "model.safetensors": classifier.read_bytes()}
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\nnew", encoding="utf-8")
    push(other_classifier, "user/beats", "--card", tmp_path / "card.md")
    expected = {"README.md": b"---\nlicense: mit\n---\nnew", "model.safetensors": other_classifier.read_bytes()}
    assert repository.files == expected


def test_a_private_model_needs_a_token(
    hub: Hub, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(classifier, "user/beats", "--private")
    assert hub.repositories["user/beats"].private
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert ecg.load("hf://user/beats").classes == ("N", "S", "V", "F", "Q")
    monkeypatch.delenv("HF_TOKEN")
    set_environment(monkeypatch, HF_HOME=tmp_path / "empty")
    message = error_message(lambda: ecg.load("hf://user/beats"))
    assert "has no repository user/beats, or you are not logged in" in message
    assert "hf auth login" in message


def test_a_revision_is_a_tag_a_branch_or_a_commit(hub: Hub, classifier: Path, other_classifier: Path) -> None:
    repository = hub.add("user/beats", {"model.safetensors": classifier.read_bytes()})
    first = repository.revisions["v1"] = repository.revisions["main"]
    repository.commit({"model.safetensors": other_classifier.read_bytes()})
    for revision, n_classes in (("", 2), ("@main", 2), ("@v1", 5), (f"@{first}", 5)):
        assert len(ecg.load(f"hf://user/beats{revision}").classes) == n_classes


def test_a_model_in_the_cache_is_not_downloaded_again(hub: Hub, classifier: Path) -> None:
    hub.add("user/beats", {"model.safetensors": classifier.read_bytes()})
    ecg.load("hf://user/beats")
    assert [method for method, path in hub.requests if path.startswith("/large/")] == ["GET"]
    hub.requests.clear()
    ecg.load("hf://user/beats")
    assert [method for method, path in hub.requests if "/user/beats/" in path] == ["HEAD"]
    assert not [path for _, path in hub.requests if path.startswith("/large/")]


@pytest.mark.parametrize("variables", [{"HF_HUB_OFFLINE": 1}, {"HF_ENDPOINT": "http://127.0.0.1:{port}"}])
def test_a_model_in_the_cache_needs_no_network(
    hub: Hub, classifier: Path, variables: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("user/beats", {"model.safetensors": classifier.read_bytes()})
    ecg.load("hf://user/beats")
    hub.requests.clear()
    port = closed_port()
    set_environment(monkeypatch, **{name: str(value).format(port=port) for name, value in variables.items()})
    assert ecg.load("hf://user/beats").classes == ("N", "S", "V", "F", "Q")
    assert hub.requests == []


def test_no_token_is_printed_or_stored(
    hub: Hub, classifier: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = push(classifier, "user/beats", "--private")
    ecg.load("hf://user/beats")
    captured = capfd.readouterr()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert classifier.read_bytes() in files
    files += [printed.encode(), captured.out.encode(), captured.err.encode()]
    files += hub.repositories["user/beats"].files.values()
    for secret in (TOKEN, SIGNATURE):
        assert not any(secret.encode() in content for content in files)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://beats", "hf://beats is not an address of a model. Write hf://USER/NAME"),
        ("hf://user/beats/model.safetensors", "is not an address of a model"),
        ("hf://user/beats@", "is not an address of a model"),
        ("hf://user/--beats", "user/--beats is not a valid name of a repository"),
        ("hf://user/nothing", "has no repository user/nothing, or you are not logged in"),
        ("hf://user/beats@v9", "user/beats has no revision v9."),
        ("hf://user/empty", "user/empty has no file model.safetensors"),
        ("hf://user/text", "is not a model file, or is damaged"),
        ("hf://user/pickle", "is not a model file, or is damaged"),
    ],
)
def test_a_model_that_is_not_there_gives_one_sentence(
    hub: Hub, classifier: Path, tmp_path: Path, address: str, message: str
) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle")
    hub.add("user/beats", {"model.safetensors": classifier.read_bytes()})
    hub.add("user/empty", {"README.md": b"nothing"})
    hub.add("user/text", {"model.safetensors": b"text"})
    hub.add("user/pickle", {"model.safetensors": (tmp_path / "pickle").read_bytes()})
    assert message in error_message(lambda: ecg.load(address))
    assert message in error_message(lambda: ecg.sample("F", 5, model=address))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (200, "is not a server of the Hugging Face Hub"),
        (401, "or you are not logged in"),
        (403, "The token has no permission for user/beats"),
        (429, "answers 429 for user/beats. Try again later."),
        (503, "answers 503 for user/beats. Try again later."),
    ],
)
def test_an_answer_of_the_server_gives_one_sentence(
    hub: Hub, classifier: Path, status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between attempts
    hub.status = status
    assert message in error_message(lambda: ecg.load("hf://user/beats"))
    ended = ecg_command("push", classifier, "user/beats")
    assert ended.exit_code == 1
    assert ended.output.count("Error: ") == 1
    assert message in ended.output


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:{port}"}, "127.0.0.1:{port} is not reachable (Connection refused)."),
        ({"HF_ENDPOINT": "http://name:hf_password@127.0.0.1:{port}"}, "Error: 127.0.0.1:{port} is not reachable"),
        ({"HF_ENDPOINT": "127.0.0.1:{port}"}, "is not reachable"),
        ({"HF_ENDPOINT": "http://127.0.0.1:port"}, "HF_ENDPOINT"),
        ({"HF_ENDPOINT": "http://[::1"}, "HF_ENDPOINT"),
        (
            {"HF_HUB_ETAG_TIMEOUT": "soon"},
            "A variable of huggingface_hub is not valid, such as HF_ENDPOINT: invalid literal",
        ),
        ({"HF_HUB_OFFLINE": 1}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_without_a_network_one_sentence_names_the_server(
    hub: Hub, classifier: Path, variables: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between attempts
    port = closed_port()
    set_environment(monkeypatch, **{name: str(value).format(port=port) for name, value in variables.items()})
    for arguments in (("push", classifier, "user/beats"), ("predict", "unused", "--model", "hf://user/beats")):
        ended = ecg_command(*arguments)
        assert ended.exit_code == 1
        line = next(line for line in ended.output.splitlines() if line.startswith("Error: "))
        assert message.format(port=port) in line
        assert "hf_password" not in line


@pytest.mark.parametrize(
    ("token", "repository", "message"),
    [
        (TOKEN, "beats", "beats is not the name of a repository. Write USER/NAME."),
        (TOKEN, "other/beats", "The token has no permission for other/beats"),
        (READ_TOKEN, "user/beats", "The token has no permission for user/beats"),
        ("hf_\x01unprintable", "user/beats", "Error: "),
        (None, "user/beats", "has no repository user/beats, or you are not logged in"),
    ],
)
def test_a_push_without_permission_gives_one_sentence(
    hub: Hub, classifier: Path, token: str | None, repository: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    ended = ecg_command("push", classifier, repository)
    assert ended.exit_code == 1
    assert ended.output.count("Error: ") == 1
    assert message in ended.output
    assert token is None or token not in ended.output
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "nothing is neither a released model"),
        (("model.onnx",), "model.onnx is not a model file. Use the run folder"),
        (("none.safetensors",), "none.safetensors is missing"),
        (("inter_patient", "--card", "none.md"), "Cannot read the model card none.md (No such file or directory)"),
    ],
)
def test_a_push_of_something_else_gives_one_sentence(hub: Hub, arguments: tuple[str, ...], message: str) -> None:
    ended = ecg_command("push", arguments[0], "user/beats", *arguments[1:])
    assert ended.exit_code == 1
    assert message in ended.output
    assert hub.requests == []


def test_a_card_with_an_invalid_header_gives_one_sentence(hub: Hub, classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("---\na: [\n---\n", encoding="utf-8")
    ended = ecg_command("push", classifier, "user/beats", "--card", tmp_path / "card.md")
    assert ended.exit_code == 1
    assert "refuses the files. Check HF_ENDPOINT and the card." in ended.output


def test_a_cache_that_cannot_be_written_gives_one_sentence(
    hub: Hub, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("user/beats", {"model.safetensors": classifier.read_bytes()})
    (tmp_path / "file").touch()
    set_environment(monkeypatch, HF_HOME=tmp_path / "file" / "hub")
    message = error_message(lambda: ecg.load("hf://user/beats"))
    assert f"Cannot write {tmp_path / 'file'}" in message
    assert "HF_HOME" in message


@pytest.mark.parametrize(
    "call", [lambda: ecg.load("hf://user/beats"), lambda: push_model("inter_patient", "user/beats")]
)
def test_without_the_package_the_extra_is_named(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = error_message(call)
    assert (
        'cannot be used without huggingface_hub. It needs: pip install "ecg-synthesis-classification[hub]".' in message
    )


@pytest.mark.slow
def test_recordings_are_annotated_in_parallel_with_a_model_of_the_hub(
    hub: Hub, classifier: Path, tmp_path: Path
) -> None:
    hub.add("user/beats", {"model.safetensors": classifier.read_bytes()})
    for name in ("a", "b"):
        write_recording(tmp_path / "records", RECORDING, name)
    ended = ecg_command("predict", tmp_path / "records", "--model", "hf://user/beats", "--jobs", 2)
    assert ended.exit_code == 0, ended.output
    for name in ("a", "b"):
        assert "hf://user/beats" in (tmp_path / "records" / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["train", "synth"])
def test_a_pushed_run_is_the_model_of_the_run(program: str, hub: Hub, finished_run: Callable[..., Path]) -> None:
    tiny = {"train": TINY_TRAIN, "synth": [*TINY_SYNTH, *TINY_DATA, "data.window=kaggle", "trainer.max_epochs=1"]}
    folder = finished_run(program, *tiny[program], "logger=none")
    push(folder, "user/beats")
    assert str(folder.parent).encode() not in b"".join(hub.repositories["user/beats"].files.values())
    if program == "train":
        tables = [ecg.load(m).predict(RECORDING.signal, RECORDING.sfreq) for m in (folder, "hf://user/beats")]
        assert tables[0].equals(tables[1])
        return
    beats = [ecg.sample("F", 5, model=model) for model in (folder, "hf://user/beats")]
    # The file holds float16: some beats are rounded to a neighbouring ADC step.
    assert np.median(np.abs(beats[0] - beats[1])) < 0.01
    card = hub.repositories["user/beats"].files["README.md"].decode()
    assert "Draws synthetic heartbeats of the classes N, S, V, F, Q." in card
    assert "generator, `r3gan`." in card
    assert "is a generator, not a classifier" in error_message(lambda: ecg.load("hf://user/beats"))
