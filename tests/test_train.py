"""`train.py` from the command line to the run folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from programs import TINY_TRAIN, folders, run

from ecg import build
from ecg.augmentation.insertion import waveforms
from ecg.checkpoints import load_weights
from ecg.classification import predict_logits
from ecg.config.schema import TrainConfig
from ecg.config.stored import load_config
from ecg.data import synthetic_set
from ecg.data.window import CenteredWindow


@pytest.fixture(scope="module")
def finished(finished_run: Callable[..., Path]) -> tuple[Path, str]:
    """Folder and output of a run with W&B offline."""
    folder = finished_run("train", *TINY_TRAIN, "prediction.logit_adjustment=true", "seed=0", figures=True)
    return folder, (folder.parent / "output").read_text()


def test_the_run_folder_is_complete(finished: tuple[Path, str]) -> None:
    folder, stdout = finished
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["hidden"] == 8
    assert config["data"]["window"] == "centered"
    assert "seed=0" in yaml.safe_load((folder / "overrides.yaml").read_text())
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["seed"] == 0
    assert provenance["command"].startswith("python train.py data.n_patients=12")
    assert len(provenance["beats_sha256"]) == 64
    assert re.fullmatch("(32-true|bf16-mixed) because .+", provenance["precision"])
    assert provenance["packages"]["torch"] == version("torch")
    for name in ("report.html", "metrics.json", "predictions.npz", "checkpoints/best.ckpt"):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in stdout
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert not list(folder.rglob("*.tmp"))


def test_metrics_match_the_predictions(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        predictions = {name: file[name] for name in file.files}
    for subset in ("validation", "test"):
        here = predictions["subset"] == subset
        correct = predictions["probability"][here].argmax(axis=1) == predictions["label"][here]
        assert metrics["subsets"][subset]["n_beats"] == here.sum() > 0
        assert metrics["subsets"][subset]["accuracy"]["value"] == pytest.approx(correct.mean(), abs=1e-6)
    records = [set(predictions["record"][predictions["subset"] == subset]) for subset in ("validation", "test")]
    assert not records[0] & records[1]
    assert metrics["simulated"] is True
    assert 0 <= metrics["logit_shift"] <= 1
    training = json.loads((folder / "training.json").read_text())
    assert training["epochs"] == len(training["history"]) == 2
    np.testing.assert_allclose(predictions["probability"].sum(axis=1), 1, atol=1e-5)


def test_every_output_states_that_the_recordings_are_simulated(finished: tuple[Path, str]) -> None:
    folder, stdout = finished
    assert "Simulated recordings" in stdout
    assert "Simulated recordings" in (folder / "report.html").read_text()


def test_the_w_and_b_run_holds_scores_and_figures(finished: tuple[Path, str]) -> None:
    (offline,) = (finished[0] / "wandb").glob("offline-run-*")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline)]
    records = subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=60).stdout
    for name in ("seed=0", "val/macro_f1", "test/macro_f1", "test/per_class", "figures/correct_and_wrong_beats"):
        assert name in records, name


def test_the_best_checkpoint_repeats_the_predictions(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    cfg = load_config(folder, TrainConfig)
    data = build.classification_data(cfg)
    classifier = build.classifier(cfg, data)
    load_weights(folder / "checkpoints" / "best.ckpt", classifier)
    logits = predict_logits(classifier, data, data.split.test, torch.device("cpu"))
    shift = json.loads((folder / "metrics.json").read_text())["logit_shift"]
    counts = data.class_counts()
    probability = torch.softmax(logits - shift * torch.log(counts / counts.sum()), dim=1)
    with np.load(folder / "predictions.npz") as file:
        np.testing.assert_allclose(probability, file["probability"][file["subset"] == "test"], atol=1e-5)


@pytest.mark.slow
def test_a_fitted_classifier_is_evaluated_again_with_other_settings_of_prediction(
    finished: tuple[Path, str], tmp_path: Path, cache_dir: Path
) -> None:
    fitted, overrides = finished[0], [*TINY_TRAIN, "seed=0", "logger=none", f"checkpoint={finished[0]}"]
    again = ["prediction.logit_adjustment=true", "prediction.temperature=2.0"]
    ended = run("train", *overrides, *again, *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (fitted, tmp_path / "run"))
    assert new["subsets"]["test"]["confusion_matrix"] == old["subsets"]["test"]["confusion_matrix"]
    assert new["subsets"]["test"]["ece"] != old["subsets"]["test"]["ece"]
    old, new = (json.loads((folder / "training.json").read_text()) for folder in (fitted, tmp_path / "run"))
    for name in ("steps", "seconds", "epochs", "history"):
        assert new[name] == old[name]
    ended = run("train", *overrides, *folders(tmp_path, cache_dir), "data.seed=5", f"hydra.run.dir={tmp_path}/other")
    assert ended.message.endswith("holds another run, which differs in data.seed. Choose another folder.")


@pytest.mark.slow
def test_beats_in_context_are_trained_without_validation_and_adapted_to_their_records(
    tmp_path: Path, cache_dir: Path
) -> None:
    context = ["experiment=in_context", "protocol=patient_kfold", "data.n_patients=12", "data.minutes=2"]
    adapted = ["prediction.recentre=-5", "prediction.vote=true", "prediction.shifts={V: 0.5}", "model.hidden=4"]
    small = ["trainer.max_epochs=2", "n_bootstrap=20", "logger=none", "trainer.accelerator=cpu"]
    ended = run("train", *context, *adapted, *small, *folders(tmp_path, cache_dir), figures=True)
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "validation" not in metrics["subsets"]
    training = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (training["epochs"], training["best_epoch"]) == (2, None)
    report = (tmp_path / "run" / "report.html").read_text()
    for text in ("S recentred by record to -5", "simulated rhythms in 60 %", "the last one evaluated"):
        assert text in report, text


@pytest.mark.slow
def test_the_report_of_a_causal_run_says_that_beats_depend_on_the_past_only(tmp_path: Path, cache_dir: Path) -> None:
    context = ["experiment=in_context", "protocol=patient_kfold", "data.causal=true", "model.hidden=4"]
    small = ["data.n_patients=12", "data.minutes=2", "trainer.max_epochs=1", "n_bootstrap=20", "logger=none"]
    ended = run("train", *context, *small, "trainer.accelerator=cpu", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    report = (tmp_path / "run" / "report.html").read_text()
    features = "features of rhythm, P wave and shape of the past"
    for text in (features, "all earlier beats as context", "median beat of the past"):
        assert text in report, text
    assert "whole record" not in report


@pytest.mark.slow
def test_the_same_command_and_seed_give_the_same_metrics(tmp_path: Path, cache_dir: Path) -> None:
    contents = []
    for name in ("a", "b"):
        overrides = [*TINY_TRAIN, "logger=csv", "trainer.precision=32-true", "optimizer.batch_size=32"]
        ended = run("train", *overrides, *folders(tmp_path, cache_dir), f"hydra.run.dir={tmp_path}/{name}")
        assert ended.returncode == 0, ended.stderr
        contents.append((tmp_path / name / "metrics.json").read_bytes())
    assert contents[0] == contents[1]
    # The monitored score covers the whole validation subset, and the weights of its best epoch are tested.
    monitored = pd.read_csv(tmp_path / "a" / "metrics.csv")["val/macro_f1"].dropna().reset_index(drop=True)
    validation = json.loads(contents[0])["subsets"]["validation"]
    assert validation["macro"]["f1"]["value"] == pytest.approx(monitored.max(), abs=1e-6)
    assert json.loads((tmp_path / "a" / "training.json").read_text())["best_epoch"] == monitored.idxmax()


@pytest.mark.slow
def test_added_beats_are_reported(tmp_path: Path, cache_dir: Path) -> None:
    augmentation = ["augmentation=waveform", "augmentation/balance=smote", "augmentation.transforms.mixup.limit=0.5"]
    overrides = [*TINY_TRAIN, *augmentation, "protocol=random", "logger=none", "trainer.max_epochs=1"]
    ended = run("train", *overrides, *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"waveform: \d+ S, .* added", (tmp_path / "run" / "report.html").read_text())
    assert "synthetic_set" not in json.loads((tmp_path / "run" / "provenance.json").read_text())


@pytest.mark.slow
def test_a_synthetic_set_is_recorded_in_the_provenance(
    finished: tuple[Path, str], tmp_path: Path, cache_dir: Path
) -> None:
    beats = synthetic_set_of(finished[0], tmp_path / "set")
    overrides = [*TINY_TRAIN, "augmentation=gan", f"augmentation.beats={beats}", "logger=none", "trainer.max_epochs=1"]
    ended = run("train", *overrides, *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert provenance["synthetic_set"]["sha256"] == synthetic_set.read_provenance(beats)["sha256"]
    assert re.search(r"gan: \d+ S, .* beats added", (tmp_path / "run" / "report.html").read_text())


def synthetic_set_of(folder: Path, target: Path) -> Path:
    """A set with the provenance of a generator fitted on the training beats of a run; its beats are copies."""
    data = build.classification_data(load_config(folder, TrainConfig))
    window = data.window
    assert isinstance(window, CenteredWindow)
    beats = waveforms(data.beats, window).take(np.concatenate([data.split.train] * 10))
    provenance = {
        "classes": list(data.split.classes),
        "source": data.source.name,
        "window": window.of_leads.settings(),
        "records": data.records.tolist(),
        "fitted_on": synthetic_set.beat_locations(data.beats, data.split.train),
        "chosen_on": synthetic_set.beat_locations(data.beats, data.split.validation),
    }
    record = np.searchsorted(data.records, beats.record)
    chunk = synthetic_set.Chunk(beats.signal, beats.label, record)
    shape = beats.signal.shape[1:]
    return synthetic_set.write_set(target, [chunk], n=len(beats), shape=shape, provenance=provenance)


@pytest.mark.slow
def test_the_kaggle_files_train(tmp_path: Path, cache_dir: Path) -> None:
    rng = np.random.default_rng(0)
    for name, n in (("mitbih_train", 200), ("mitbih_test", 50)):
        table = np.column_stack([rng.random((n, 187)), np.arange(n) % 5])
        np.savetxt(tmp_path / f"{name}.csv", table, delimiter=",")
    tiny = [override for override in TINY_TRAIN if not override.startswith("data.")]
    overrides = [*tiny, "data=kaggle_csv", f"data.dir={tmp_path}", "protocol=kaggle", "logger=none"]
    ended = run("train", *overrides, "trainer.max_epochs=1", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["subsets"]["test"]["n_beats"] == 50


REAL = ["data=mitbih", "model.hidden=8", "trainer.max_epochs=1", "trainer.limit_train_batches=5", "n_bootstrap=20"]
REAL += ["logger=none", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "n_test", "n_classes"), [("kaggle", 21892, 5), ("inter_patient", 44259 + 1837 + 3221 + 388, 4)]
)
def test_the_real_records_train(
    protocol: str, n_test: int, n_classes: int, real_data: Path, tmp_path: Path, cache_dir: Path
) -> None:
    overrides = [*REAL, f"protocol={protocol}", f"data.dir={real_data}/mitdb"]
    ended = run("train", *overrides, *folders(tmp_path, cache_dir), figures=True)
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["simulated"] is False
    test = metrics["subsets"]["test"]
    assert test["n_beats"] == n_test
    assert len(test["classes"]) == n_classes
    if protocol == "inter_patient":
        assert metrics["subsets"]["test without 202"]["n_beats"] < n_test
        assert set(test["ec57"]) == {"S", "V", "F"}


@pytest.mark.real
@pytest.mark.slow
def test_the_supraventricular_database_trains(real_svdb: Path, tmp_path: Path, cache_dir: Path) -> None:
    records = [str(record) for record in (800, 802, 804, 806, 808, 810, 860, 862)]
    overrides = [override for override in REAL if override != "data=mitbih"]
    overrides += ["data=svdb", f"data.dir={real_svdb}", f"data.records=[{','.join(records)}]"]
    ended = run("train", *overrides, "protocol.classes=[N,S,V]", *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    assert "860" in ended.stdout + ended.stderr  # an annotation at the end of the signal is left out
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["subsets"]["test"]["n_patients"] >= 1


@pytest.mark.real
def test_a_record_without_the_requested_lead_is_one_message(real_data: Path, tmp_path: Path, cache_dir: Path) -> None:
    overrides = [*REAL, "protocol=inter_patient", "protocol.paced_records=[]", f"data.dir={real_data}/mitdb"]
    ended = run("train", *overrides, *folders(tmp_path, cache_dir))
    assert "Record 102 has no lead MLII" in ended.message
