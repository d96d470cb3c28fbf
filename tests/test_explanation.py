"""What a classifier used to classify one beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from programs import with_values
from typer.testing import CliRunner
from wfdb_factories import error_message, write_recording

from ecg import build
from ecg.cli import app
from ecg.data.recording import Recording
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow
from ecg.explanation import explain_beat
from ecg.model_files import write_model_file
from ecg.prediction import BeatClassifier, load_classifier

CONTEXT = ["data.context=3", "data.features=rhythm_and_shape", "data.leads=2", "protocol.classes=[N,S,V,F]"]


def make_file(folder: Path, *overrides: str) -> Path:
    """The model file of a classifier with random weights."""
    cfg = with_values("train", "model.hidden=8", "logger=none", *overrides)
    torch.manual_seed(0)
    network = build.network(cfg, build.window(cfg), cfg.protocol.classes)
    write_model_file(folder / "m.safetensors", "classifier", cfg, network.state_dict(), {})
    return folder / "m.safetensors"


@pytest.fixture(scope="module")
def recording() -> Recording:
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=1, seed=7)
    return source.read(source.record_names()[0], KaggleWindow("first"))


@pytest.fixture(scope="module")
def in_context(tmp_path_factory: pytest.TempPathFactory) -> BeatClassifier:
    return load_classifier(make_file(tmp_path_factory.mktemp("model"), *CONTEXT))


@pytest.mark.parametrize("overrides", [CONTEXT, ["data.window=centered"], ["data.window=kaggle"]])
@pytest.mark.parametrize("name", [None, "N", "V"])
def test_attributions_add_up_to_the_log_odds(
    overrides: list[str], name: str | None, recording: Recording, tmp_path: Path
) -> None:
    beat = explain_beat(load_classifier(make_file(tmp_path, *overrides)), recording, 30.0, name)
    total = beat.signal_attribution.sum() + beat.feature_attribution.sum() + beat.context_attribution
    assert total == pytest.approx(beat.log_odds, abs=0.02 * max(1, abs(beat.log_odds)))
    assert beat.feature_attribution.shape == (len(beat.features),)
    assert beat.signal.shape == beat.signal_attribution.shape
    assert abs(beat.time - 30) < 2
    assert beat.times[beat.neighbours == 0] == beat.time


def test_the_beat_itself_contributes_more_than_distant_beats(in_context: BeatClassifier, recording: Recording) -> None:
    beat = explain_beat(in_context, recording, 30.0, "V")
    of_beats = np.abs(beat.signal_attribution).sum(axis=1)
    assert of_beats[beat.neighbours == 0] > 3 * of_beats[np.abs(beat.neighbours) > 10].mean()


@pytest.mark.parametrize(
    ("at", "name", "message"),
    [(1e4, None, "No beat is within 2 s of 10000 s"), (30.0, "X", "This classifier has no class X")],
)
def test_what_cannot_be_explained_gives_one_sentence(
    at: float, name: str | None, message: str, in_context: BeatClassifier, recording: Recording
) -> None:
    assert message in error_message(lambda: explain_beat(in_context, recording, at, name))


def test_the_command_draws_a_figure(recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path, recording, "r1")
    command = ["explain", str(tmp_path / "r1"), "--at", "30", "--model", str(make_file(tmp_path, *CONTEXT)), "--out"]
    ended = CliRunner().invoke(app, [*command, str(tmp_path / "beat.png")])
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "beat.png").read_bytes().startswith(b"\x89PNG")
    for file, message in (("beat.png", "exists. Add --overwrite"), ("beat.txt", "does not end in .png")):
        ended = CliRunner().invoke(app, [*command, str(tmp_path / file)])
        assert ended.exit_code == 1
        assert message in ended.output
