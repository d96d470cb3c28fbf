"""The programs that write the result tables of docs/accuracy.md."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from comparison_factories import make_run
from factories import make_recording
from model_factories import make_signals
from programs import ROOT, load_module, with_values

from ecg.config.checks import check_train
from ecg.data.aami import labels_from_symbols
from ecg.data.noise import RECORDS, read_noise
from ecg.data.recording import Recording
from ecg.data.simulated import Simulated
from ecg.data.wfdb_reader import read_signals
from ecg.data.window import CenteredWindow
from ecg.errors import UserError
from ecg.evaluation.beat_matching import Comparison
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.predictions import Predictions
from ecg.prediction import BeatClassifier

TRAINING = {"history": [], "parameters": 7, "seconds": 90.0, "microseconds_per_beat": 5.0}


@pytest.fixture
def accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """studies/accuracy.py, which writes to a temporary folder."""
    module = load_module(ROOT / "studies" / "accuracy.py")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "READINGS", tmp_path / "readings.csv")
    return module


def make_seeds(folder: Path, data: str = "mitbih", protocol: str = "inter_patient", model: str = "cnn") -> list[str]:
    runs = [make_run(folder / f"{seed}_{model}", seed=seed, model=model) for seed in (2, 1)]
    for run in runs:
        choices = {"model": model, "augmentation": "none", "data": data, "protocol": protocol}
        (run / "provenance.json").write_text(json.dumps({"choices": choices, "git_commit": "0123456789"}))
        (run / "training.json").write_text(json.dumps(TRAINING))
    return [str(run) for run in runs]


def test_a_row_has_the_scores_of_every_seed_and_of_the_ensemble(accuracy: ModuleType, tmp_path: Path) -> None:
    runs = make_seeds(tmp_path, protocol="kaggle")
    accuracy.main(["row", "a title", *runs])
    row = json.loads((tmp_path / "results" / "accuracy" / "row.json").read_text())
    assert (row["title"], row["seeds"], row["runs"], row["parameters"]) == ("a title", [1, 2], 2, 7)
    assert row["overrides"] == ["model=cnn"]
    assert row["minutes"] == [1.5, 1.5]
    for folder, scores in zip(reversed(runs), row["seeds_of"]["test"], strict=True):
        metrics = json.loads((Path(folder) / "metrics.json").read_text())["subsets"]["test"]
        assert scores["macro_f1"] == metrics["macro"]["f1"]["value"]
        assert scores["f1"]["S"] == metrics["per_class"]["S"]["f1"]["value"]
    assert row["ensemble"]["test"]["interval"][0] <= row["ensemble"]["test"]["macro_f1"]
    assert not (tmp_path / "readings.csv").exists()


def test_runs_of_two_configurations_have_an_ensemble_only(accuracy: ModuleType, tmp_path: Path) -> None:
    runs = make_seeds(tmp_path, protocol="kaggle") + make_seeds(tmp_path, protocol="kaggle", model="lstm")
    accuracy.main(["row", "a title", *runs])
    row = json.loads((tmp_path / "results" / "accuracy" / "row.json").read_text())
    assert row["runs"] == 4
    assert "seeds_of" not in row


def test_every_reading_of_ds2_is_logged(accuracy: ModuleType, tmp_path: Path) -> None:
    for name in ("first", "second"):
        accuracy.main([name, "a title", *make_seeds(tmp_path / name)])
    with (tmp_path / "readings.csv").open() as file:
        rows = list(csv.reader(file))
    assert [row[1:] for row in rows] == [["0123456", name, "model=cnn", "1, 2"] for name in ("first", "second")]


def test_an_unfinished_run_gives_no_row(accuracy: ModuleType, tmp_path: Path) -> None:
    runs = [*make_seeds(tmp_path), str(make_run(tmp_path / "3_cnn", seed=3, state="failed"))]
    with pytest.raises(UserError, match="3_cnn is not finished"):
        accuracy.main(["row", "a title", *runs])
    assert not (tmp_path / "readings.csv").exists()


def test_mistakes_are_counted_by_record_and_symbol() -> None:
    errors = load_module(ROOT / "studies" / "errors.py")
    sample = list(range(500, 5000, 300))
    recording = make_recording(sample, ["N"] * 10 + ["A"] * 5)
    label = np.array([0] * 10 + [1] * 5)
    probability = np.tile([0.9, 0.1], (15, 1)).astype(np.float32)  # all N
    probability[:2] = [[0.2, 0.8], [0.4, 0.6]]
    record = np.full(15, recording.name)
    predictions = Predictions(label, probability, record, record, np.array(sample), ("N", "S"))
    found = errors.analyse(predictions, {recording.name: recording})
    assert found["by_record"] == {recording.name: [[8, 2], [5, 0]]}
    assert found["by_symbol"] == {"A": [[0, 0], [5, 0]], "N": [[8, 2], [0, 0]]}
    assert [(each["true"], each["predicted"], each["beats"]) for each in found["pictures"]] == [
        ("S", "N", 5),
        ("N", "S", 2),
    ]
    assert found["pictures"][1]["position"] == 0  # of two beats, the one with the larger probability of S
    figure = errors.picture(predictions, recording, 12)
    assert "S(N)" in [text.get_text() for text in figure.axes[0].texts]


def test_augmentations_are_compared_with_both_baselines() -> None:
    study = load_module(ROOT / "studies" / "augmentation.py")
    rng = np.random.default_rng(0)
    base = {score: rng.normal(0.8, 0.01, 5) for score in study.SCORES}
    scores = {
        name: {score: (values + gain + rng.normal(0, 0.002, 5)).tolist() for score, values in base.items()}
        for name, gain in (("none", 0), ("oversample", 0), ("fusion", 0.1))
    }
    found = study.compare(scores)
    assert found["none"] == {"none": {}, "oversample": {}}
    assert found["fusion"]["none"]["F"]["mean"] == pytest.approx(0.1, abs=0.01)
    assert found["fusion"]["oversample"]["macro_f1"]["p"] < 0.001
    assert found["oversample"]["none"]["S"]["p"] > 0.05
    assert found["oversample"]["oversample"] == {}


@pytest.mark.parametrize("regime", ["context", "single", "kaggle_10", "kaggle_1"])
def test_the_augmentations_of_a_regime_are_valid_configurations(regime: str, tmp_path: Path) -> None:
    study = load_module(ROOT / "studies" / "augmentation.py")
    settings = study.REGIMES[regime]
    assert "gan_unseen" not in study.arms(settings, tmp_path, None)
    arms = study.arms(settings, tmp_path, tmp_path)
    for overrides in arms.values():
        check_train(with_values("train", *settings.base, *overrides))
    if settings.folds:
        check_train(with_values("train", *settings.folds[0], "augmentation=fusion", "protocol.fold=1"))


def test_the_chosen_amount_has_the_largest_mean_score_of_both_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_module(ROOT / "studies" / "augmentation.py")
    monkeypatch.setattr(study, "ROOT", tmp_path)
    (tmp_path / "results").mkdir()
    scores = {("none", 1.0): 0.9, ("oversample", 0.1): 0.6, ("fusion", 0.1): 0.6}
    scores |= {("oversample", 1.0): 0.4, ("fusion", 1.0): 0.7}
    rows = [{"method": name, "fraction": amount, "f1": {"N": f1, "F": f1}} for (name, amount), f1 in scores.items()]
    (tmp_path / "results" / "amounts_single.json").write_text(json.dumps({"rows": rows}))
    assert study.chosen_amount("single") == 0.1


def test_missed_and_false_beats_are_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    study = load_module(ROOT / "studies" / "end_to_end.py")
    # N: 6 right, 2 missed. V: 3 right, 1 as N. One false N.
    counts = np.array([[6, 0, 2], [1, 3, 0], [1, 0, 0]])
    found = study.scores(Comparison(("N", "V"), counts))
    assert found["f1"] == pytest.approx({"N": 12 / 16, "V": 6 / 7})
    assert found["macro_f1"] == pytest.approx((12 / 16 + 6 / 7) / 2)
    assert (found["se"], found["ppv"]) == pytest.approx((10 / 12, 10 / 11))


def test_each_replaced_property_is_that_of_the_real_beat() -> None:
    study = load_module(ROOT / "studies" / "discriminator_causes.py")
    real, synthetic = (make_signals("kaggle", 20, seed).numpy() for seed in (0, 1))
    label = np.zeros(20, np.int64)
    changed = {
        name: beats.signal
        for name, beats in study.replaced(BeatSet(synthetic, label), BeatSet(real, label), 120).items()
    }
    np.testing.assert_array_equal(changed["nothing"], synthetic)
    np.testing.assert_array_equal(changed["first 8 samples"][:, :, :8], real[:, :, :8])
    np.testing.assert_array_equal(changed["first 8 samples"][:, :, 8:], synthetic[:, :, 8:])
    np.testing.assert_array_equal(study._lengths(changed["length"]), study._lengths(real))
    np.testing.assert_array_equal(study._lengths(changed["last fifth"]), study._lengths(real))
    between = changed["between"] == real
    assert between[:, :, 8:30].all()
    bands = [changed[name] for name in study.BANDS]
    inside = np.arange(187) < np.minimum(study._lengths(real), study._lengths(synthetic))
    # One band is real and three are synthetic in each, so that their sum has all bands of the real beat.
    total = np.where(inside, sum(bands) - 3 * synthetic - real, 0)
    assert np.abs(total).mean() < 0.005  # up to the limits at 0 and 1; 0.025 without one of the bands


@pytest.fixture
def simulated() -> Recording:
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=2, seed=1)
    return source.read(source.record_names()[0], CenteredWindow("auto", 0.35, 0.55, 120.0, difference=False))


@pytest.mark.parametrize("snr", [0, 12])
def test_added_noise_has_its_ratio_in_each_lead(simulated: Recording, snr: int) -> None:
    study = load_module(ROOT / "studies" / "noise.py")
    second = round(simulated.sfreq)
    noise = np.random.default_rng(0).normal(size=(2, 40 * second)) * [[1], [30]]
    added = study.add_noise(simulated, noise, snr).signal - simulated.signal
    reach = round(0.05 * simulated.sfreq)
    for lead, of_lead in zip(simulated.signal.astype(float), added, strict=True):
        normal = simulated.sample[labels_from_symbols(simulated.symbol) == 0]
        heights = [np.ptp(lead[max(0, sample - reach) : sample + reach + 1]) for sample in normal]
        ratio = np.median(heights) ** 2 / 8 / of_lead.var()
        assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.5)
        np.testing.assert_allclose(of_lead[: 40 * second], of_lead[40 * second : 80 * second])  # repeated


def test_the_amplitude_leaves_out_outliers() -> None:
    study = load_module(ROOT / "studies" / "noise.py")
    noise = np.tile([1.0, -1.0], 100 * 180)  # 100 s
    noise[:360] *= 1000
    assert study.noise_amplitude(noise, 360.0) == pytest.approx(1)


@pytest.mark.real
def test_the_noise_of_training_and_test_are_two_halves(real_noise: Path, tmp_path: Path) -> None:
    study = load_module(ROOT / "studies" / "noise.py")
    study.write_training_noise(real_noise, tmp_path)
    for name in RECORDS:
        whole, half = read_signals(real_noise, name).signal, read_signals(tmp_path, name).signal
        np.testing.assert_array_equal(half, whole[:, : whole.shape[1] // 2])
    em = read_signals(real_noise, "em").signal
    np.testing.assert_array_equal(study.noise_of_test(real_noise), em[:, em.shape[1] // 2 :])
    assert read_noise(tmp_path, 120.0, 108, 0.5).shape[0] == 6


def test_the_trainings_are_valid_configurations(tmp_path: Path) -> None:
    study = load_module(ROOT / "studies" / "noise.py")
    without, with_noise = (with_values("train", *overrides) for overrides in study.trainings(tmp_path).values())
    for cfg in (without, with_noise):
        check_train(cfg)
    assert without.augmentation.transforms.recorded_noise.snr is None
    assert with_noise.augmentation.transforms.recorded_noise.snr == 0


def test_beats_in_noise_are_compared_with_their_annotations(simulated: Recording) -> None:
    study = load_module(ROOT / "studies" / "noise.py")
    window = CenteredWindow("auto", 0.35, 0.55, 120.0, difference=False, features="rr")

    def all_normal(signal: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0, 0, 0]).expand(len(signal), 4)

    settings = {"shifts": {}, "temperature": 1.0, "recentre": None, "vote": False}
    classifier = BeatClassifier(all_normal, window, tuple("NSVF"), in_context=False, **settings)
    noise = np.random.default_rng(0).normal(size=(1, 10_000))
    rows = study.summarise(study.compare({1: classifier, 2: classifier}, [simulated], noise))
    assert [(row["snr"], row["peaks"]) for row in rows] == [
        (snr, peaks) for snr in (None, 24, 12, 6) for peaks in ("annotated", "detected")
    ]
    label = labels_from_symbols(simulated.symbol)
    n, normal = np.isin(label, range(4)).sum(), (label == 0).sum()
    assert rows[0]["f1"]["N"] == pytest.approx([2 * normal / (n + normal)] * 2)
    assert rows[0]["f1"]["V"] == [0, 0]
    assert rows[0]["f1"]["macro_f1"] == pytest.approx([rows[0]["f1"]["N"][0] / 4] * 2)
    assert all(("se" in row) == (row["peaks"] == "detected") for row in rows)
    assert rows[1]["se"] > 0.95
    assert rows[1]["f1"]["N"][0] <= rows[0]["f1"]["N"][0] + 0.01
