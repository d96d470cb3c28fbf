"""`train.py` as a user runs it: whole programs on simulated records, and on the real ones where they are present."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from programs import ROOT, TINY, call, sentence, train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    tmp_path = tmp_path_factory.mktemp("train")
    ended = train(tmp_path, "callbacks.logit_adjustment=true", "seed=0")
    assert ended.returncode == 0, ended.stderr
    return tmp_path / "run", ended


def test_run_folder_is_complete(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, ended = finished
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["hidden"] == 8
    assert config["data"]["window"] == "centered"
    assert "seed=0" in yaml.safe_load((run / "overrides.yaml").read_text())
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["seed"] == 0
    assert len(provenance["beats_sha256"]) == 64
    assert provenance["packages"]["torch"] == version("torch")
    for name in ("report.html", "metrics.json", "predictions.npz", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (run / name).stat().st_size > 0
        if name != "checkpoints/last.ckpt":
            assert str(run / name) in ended.stdout
    assert not [path for path in run.rglob("*") if path.suffix == ".tmp"]


def test_metrics_are_those_of_the_predictions(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = finished
    metrics = json.loads((run / "metrics.json").read_text())
    with np.load(run / "predictions.npz", allow_pickle=False) as file:
        predictions = {name: file[name] for name in file.files}
    for side in ("validation", "test"):
        here = predictions["side"] == side
        hit = predictions["probability"][here].argmax(axis=1) == predictions["label"][here]
        assert metrics[side]["n_beats"] == here.sum() > 0
        assert metrics[side]["accuracy"]["value"] == pytest.approx(hit.mean(), abs=1e-6)
    patients = [set(predictions["record"][predictions["side"] == side]) for side in ("validation", "test")]
    assert not patients[0] & patients[1]
    assert metrics["simulated"] is True
    assert 0 <= metrics["logit_shift"] <= 1
    training = json.loads((run / "training.json").read_text())
    assert training["epochs"] == len(training["history"]) == 2
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    np.testing.assert_allclose(predictions["probability"].sum(axis=1), 1, atol=1e-5)


def test_every_output_says_that_the_data_is_simulated(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, ended = finished
    assert "Simulated recordings" in ended.stdout
    assert "Simulated recordings" in (run / "report.html").read_text()
    (folder,) = (run / "wandb").glob("offline-run-*")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    records = subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=60).stdout
    for words in ("seed=0", "val/macro_f1", "test/macro_f1", "test/per_class", "figures/beats_right_and_wrong"):
        assert words in records, words


def test_checkpoints_need_no_pickle_and_repeat_the_predictions(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    from omegaconf import OmegaConf

    from ecg import build
    from ecg.scoring import predict

    run, _ = finished
    cfg = OmegaConf.load(run / "config.yaml")
    data = build.datamodule(cfg)  # type: ignore[arg-type]
    classifier = build.classifier(cfg, data)  # type: ignore[arg-type]
    classifier.load_state_dict(torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"])
    logits = predict(classifier, data, data.split_of.test, torch.device("cpu"))
    shift = json.loads((run / "metrics.json").read_text())["logit_shift"]
    counts = data.class_counts()
    probability = torch.softmax(logits - shift * torch.log(counts / counts.sum()), dim=1)
    with np.load(run / "predictions.npz") as file:
        np.testing.assert_allclose(probability, file["probability"][file["side"] == "test"], atol=1e-5)


def test_same_command_and_seed_give_the_same_metrics(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        arguments = ["logger=csv", "trainer.max_epochs=4", "trainer.precision=32-true", "optimizer.batch_size=32"]
        ended = train(tmp_path, *arguments, f"hydra.run.dir={tmp_path}/{name}")
        assert ended.returncode == 0, ended.stderr
        found.append((tmp_path / name / "metrics.json").read_bytes())
    assert found[0] == found[1]
    metrics = json.loads(found[0])
    training = json.loads((tmp_path / "a" / "training.json").read_text())
    # What was monitored is over the whole set, and what is tested are the (averaged) weights of its best epoch.
    monitored = pd.read_csv(tmp_path / "a" / "metrics.csv")["val/macro_f1"].dropna()
    assert len(monitored) == 4
    assert metrics["validation"]["macro"]["f1"]["value"] == pytest.approx(monitored.max(), abs=1e-6)
    assert training["best_epoch"] == monitored.reset_index(drop=True).idxmax()


def test_multirun(tmp_path: Path) -> None:
    sweep = ["model=cnn,cnn_lstm,cnn_lstm_attn", "trainer.max_epochs=1", f"hydra.sweep.dir={tmp_path}/sweep"]
    ended = train(tmp_path, *sweep, "logger=csv", "-m")
    assert ended.returncode == 0, ended.stderr
    runs = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [name.split("_none_simulated")[0] for name in runs] == ["0_cnn", "1_cnn_lstm", "2_cnn_lstm_attn"]
    for name in runs:
        assert (tmp_path / "sweep" / name / "report.html").is_file()
        assert "val/macro_f1" in (tmp_path / "sweep" / name / "metrics.csv").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["waveform", "augmentation.balance=smote", "augmentation.transforms.mixup=0.5"], r"waveform: \d+ S, .* added"),
        (["gan"], r"gan: \d+ S, .* beats added"),
    ],
)
def test_augmented_training(overrides: list[str], told: str, tmp_path: Path) -> None:
    arguments = [f"augmentation={overrides[0]}", *overrides[1:], "protocol=random", "logger=none"]
    if overrides == ["gan"]:
        arguments.append(f"augmentation.beats={synthetic_set(tmp_path, 'protocol=random')}")
    ended = train(tmp_path, *arguments, "trainer.max_epochs=1")
    assert ended.returncode == 0, ended.stderr
    assert re.search(told, (tmp_path / "run" / "report.html").read_text())
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    if overrides == ["gan"]:
        written = json.loads((tmp_path / "set" / "provenance.json").read_text())
        assert provenance["synthetic_set"]["sha256"] == written["sha256"]
    else:
        assert "synthetic_set" not in provenance


def synthetic_set(tmp_path: Path, *overrides: str) -> Path:
    """A set as if fitted on the training beats of `train`: those beats, many times over."""
    from hydra import compose, initialize_config_dir

    from ecg import build
    from ecg.config import register
    from ecg.data import synthetic

    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        names = ["name=tiny", "paths.run_dir=unused", f"paths.cache_dir={tmp_path}/cache"]
        cfg = compose("train", [*TINY, *names, *overrides])
    data = build.datamodule(cfg)
    beats = data.beats.take(np.concatenate([data.split_of.train] * 10))
    provenance = {
        "classes": list(data.split_of.classes),
        "source": "simulated",
        "window": synthetic.window_of(cfg.data),
        "fitted_on": synthetic.places(data.beats, data.split_of.train),
        "chosen_on": synthetic.places(data.beats, data.split_of.validation),
    }
    chunk = synthetic.Chunk(beats.signal, beats.rr, beats.label)
    shape = (*beats.signal.shape[1:], beats.rr.shape[1])
    return synthetic.write(tmp_path / "set", [chunk], n=len(beats), shape=shape, provenance=provenance)


def test_absent_hardware_is_one_sentence(tmp_path: Path) -> None:
    ended = train(tmp_path, "trainer.accelerator=gpu")
    assert "trainer.accelerator=gpu cannot be had on this machine, only auto, cpu" in sentence(ended)
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_absent_records_offline_is_one_sentence(tmp_path: Path) -> None:
    absent = ["data=mitbih", f"data.dir={tmp_path}/none", "data.url=http://127.0.0.1:9", "logger=none"]
    own = [sys.executable, str(ROOT / "train.py"), *absent, f"hydra.run.dir={tmp_path}/run"]
    ended = subprocess.run(own, capture_output=True, text=True, timeout=120)
    assert f"{tmp_path}/none" in (line := sentence(ended))
    assert "ECG_DATA_DIR" in line


def test_run_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = train(tmp_path, "logger=none", f"hydra.run.dir={tmp_path}/file/run")
    assert f"{tmp_path}/file/run" in sentence(ended)


def test_beats_too_short_for_the_network_are_one_sentence(tmp_path: Path) -> None:
    ended = train(tmp_path, "data.before=0.05", "data.after=0.05", "logger=none")
    assert "Beats of 12 samples are too short for model.kernel_size=5, which needs 24" in sentence(ended)


def test_full_disk_is_one_sentence_and_leaves_nothing_half(tmp_path: Path) -> None:
    assert train(tmp_path, "logger=none", "trainer.fast_dev_run=true").returncode == 0  # prepares the beats

    def small_files() -> None:
        # Python ignores SIGXFSZ, so that a write beyond the limit fails as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    ended = train(tmp_path, "logger=none", f"hydra.run.dir={tmp_path}/full", preexec_fn=small_files)
    assert "File too large" in sentence(ended)
    assert (tmp_path / "full" / "config.yaml").is_file()
    for path in (tmp_path / "full" / "checkpoints").glob("*.ckpt"):
        torch.load(path, weights_only=True)


def test_ctrl_c_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    slow = ["trainer.max_epochs=500", "logger=none", "model.hidden=32", "data.minutes=3"]

    def listen() -> None:
        # A shell's job in the background ignores Ctrl-C, and so would whatever it starts.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(call(tmp_path, *slow), stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert f"Interrupted. The weights after the last whole epoch are in {last}" in errors
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["state_dict"]
    assert checkpoint["optimizer_states"]


def test_damaged_record_of_ones_own_is_one_sentence(tmp_path: Path) -> None:
    import wfdb

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        signal_ = rng.integers(-500, 500, (7200, 1))
        scale = {"fmt": ["16"], "adc_gain": [200], "baseline": [0], "write_dir": str(tmp_path)}
        wfdb.wrsamp(name, 360, ["mV"], ["II"], d_signal=signal_, **scale)
        wfdb.wrann(name, "atr", np.arange(100, 7000, 300), ["N"] * 23, write_dir=str(tmp_path))
    (tmp_path / "a.dat").write_bytes((tmp_path / "a.dat").read_bytes()[:-100])
    own = [sys.executable, str(ROOT / "train.py"), "data=wfdb", f"data.dir={tmp_path}", "logger=none"]
    ended = subprocess.run([*own, f"hydra.run.dir={tmp_path}/run"], capture_output=True, text=True, timeout=120)
    assert "a.dat is truncated" in sentence(ended)


def test_kaggle_files_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, n in (("mitbih_train", 200), ("mitbih_test", 50)):
        table = np.column_stack([rng.random((n, 187)), np.arange(n) % 5])
        np.savetxt(tmp_path / f"{name}.csv", table, delimiter=",")
    own = ["data=kaggle_csv", f"data.dir={tmp_path}", "protocol=kaggle", "model.hidden=8", "n_bootstrap=20"]
    own += ["trainer.max_epochs=1", "logger=none", f"hydra.run.dir={tmp_path}/run"]
    call = [sys.executable, str(ROOT / "train.py"), *own, f"paths.cache_dir={tmp_path}/cache"]
    ended = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["n_beats"] == 50
    (tmp_path / "mitbih_test.csv").unlink()
    (tmp_path / "run" / "status.json").unlink()
    ended = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert "mitbih_test.csv" in sentence(ended)


REAL = ["data=mitbih", "model.hidden=8", "trainer.max_epochs=1", "trainer.limit_train_batches=5"]
REAL += ["logger=none", "n_bootstrap=20"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("protocol", "n_test", "n_classes"), [("kaggle", 21892, 5), ("inter_patient", 44259 + 1837 + 3221 + 388, 4)]
)
def test_the_real_records(protocol: str, n_test: int, n_classes: int, real_data: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *REAL, f"protocol={protocol}", f"hydra.run.dir={tmp_path}/run"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "ECG_DATA_DIR": str(real_data), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["simulated"] is False
    assert metrics["test"]["n_beats"] == n_test
    assert len(metrics["test"]["classes"]) == n_classes
    if protocol == "inter_patient":
        assert metrics["test without 202"]["n_beats"] < n_test
        assert set(metrics["test"]["ec57"]) >= {"S", "V"}


@pytest.mark.real
def test_record_without_mlii_is_one_sentence(real_data: Path, tmp_path: Path) -> None:
    arguments = [*REAL, "protocol=inter_patient", "protocol.paced_records=[]", f"hydra.run.dir={tmp_path}/run"]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments, f"paths.cache_dir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "ECG_DATA_DIR": str(real_data)},
    )
    assert "Record 102 has no lead MLII, only V5, V2" in sentence(ended)
