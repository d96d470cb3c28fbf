from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from ecg.augmentation.balance import Balanced, missing, oversample, smote, undersample
from ecg.config import check, register
from ecg.data import synthetic
from ecg.data.aami import CLASSES
from ecg.errors import UserError

ROOT = Path(__file__).parents[1]
TINY = ["protocol=random", "name=tiny", "logger=none", "paths.run_dir=unused"]
SIMULATED = ["data.n_patients=10", "data.minutes=1"]
ADDING = ("oversample", "smote", "gan")
register()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        simulated = [] if any(override.startswith("data=") for override in overrides) else SIMULATED
        return compose("train", [*TINY, *simulated, *overrides])


def datamodule(cache: Path, *overrides: str) -> Any:
    from ecg import build

    cfg = composed(f"paths.cache_dir={cache}", *overrides)
    check(cfg)
    return build.datamodule(cfg)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def plain(cache: Path) -> Any:
    return datamodule(cache)


def counts_of(data: Any) -> dict[str, int]:
    return dict(zip(data.split_of.classes, data.class_counts().tolist(), strict=True))


def a_set(folder: Path, data: Any, n: int, **told: Any) -> Path:
    """Beats that no generator made, with the provenance of one fitted on the training beats."""
    shape, m = data.beats.signal.shape[1:], n * len(CLASSES)
    signal = np.random.default_rng(5).random((m, *shape), dtype=np.float32)
    chunk = synthetic.Chunk(signal, np.ones((m, data.beats.rr.shape[1]), np.float32), np.arange(m) % len(CLASSES))
    cfg = composed()
    known = {
        "classes": list(data.split_of.classes),
        "source": "simulated",
        "window": synthetic.window_of(cfg.data),
        "fitted_on": synthetic.places(data.beats, data.split_of.train),
        "chosen_on": synthetic.places(data.beats, data.split_of.validation),
        "generator": "none",
    }
    shape = (*shape, data.beats.rr.shape[1])
    return synthetic.write(folder, [chunk], n=m, shape=shape, provenance=known | told)


@given(st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 50_000), min_size=2), st.floats(0.01, 1))
def test_what_is_missing_fills_up_to_the_second_largest(counts: dict[str, int], share: float) -> None:
    found, second = missing(counts, None, share), sorted(counts.values())[-2]
    assert all(0 < n <= second - counts[name] for name, n in found.items())
    for name, n in missing(counts, None).items():
        assert counts[name] + n == second


@settings(deadline=None)  # the first example imports imbalanced-learn
@given(st.integers(2, 6), st.integers(0, 30), st.integers(0, 2**31))
def test_smote_lies_between_beats_of_the_class_and_as_many_are_added(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal, rr = rng.random((n + 5, 1, 7), dtype=np.float32), rng.random((n + 5, 2), dtype=np.float32)
    label = np.r_[np.zeros(n, int), np.ones(5, int)]
    for made in (smote(signal, rr, label, {0: m}, seed, names="SV"), oversample(signal, rr, label, {0: m}, rng)):
        assert len(made.label) == len(made.signal) == len(made.rr) == m
        assert (made.label == 0).all()
        assert (made.kept == np.arange(n + 5)).all()
        if m:
            assert made.signal.min() >= signal[:n].min() - 1e-6
            assert made.signal.max() <= signal[:n].max() + 1e-6
            assert made.signal.dtype == np.float32
    assert all((beat == signal[:n]).all(axis=(1, 2)).any() for beat in made.signal)


def test_smote_of_a_single_beat_names_class_and_count() -> None:
    signal, rr, label = np.zeros((3, 1, 4), np.float32), np.zeros((3, 0), np.float32), np.array([0, 1, 1])
    with pytest.raises(UserError, match=r"F has 1: use another augmentation\.balance"):
        smote(signal, rr, label, {0: 2}, 0, names="FN")


def test_a_single_class_lacks_nothing() -> None:
    assert missing({"N": 7}, None) == {}


def test_tomek_removes_a_border_beat_of_the_larger_class() -> None:
    x = np.array([0.0, 0.1, 5.0, 5.1, 5.2, 5.3, 9.0, 0.11], np.float32)[:, None, None]
    label = np.array([0, 0, 1, 1, 1, 1, 1, 1])
    made = smote(x, np.zeros((8, 0), np.float32), label, {}, 0, names="SN", tomek=True)
    assert set(range(8)) - set(made.kept.tolist()) == {7}


def test_tomek_takes_neither_added_beats_nor_rare_ones() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [400, 20, 60])
    signal = (rng.normal(size=(480, 1, 4)) + 0.5 * label[:, None, None]).astype(np.float32)
    made = smote(signal, np.zeros((480, 0), np.float32), label, {1: 40}, 0, names="NSV", tomek=True)
    assert len(made.label) == 40
    left = np.bincount(label[made.kept])
    assert left[0] < 400
    assert left[1:].tolist() == [20, 60]


def test_undersample_keeps_at_most_the_target() -> None:
    label = np.repeat([0, 1, 2], [50, 10, 3])
    kept = undersample(label, 10, np.random.default_rng(0))
    assert np.bincount(label[kept]).tolist() == [10, 10, 3]
    assert len(set(kept.tolist())) == len(kept)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_every_balance_that_adds_adds_the_same_numbers(plain: Any, cache: Path, tmp_path: Path, share: float) -> None:
    expected = counts_of(plain)
    for name, n in missing(expected, None, share).items():
        expected[name] += n
    folder = a_set(tmp_path / "set", plain, n=400)
    for balance in ADDING:
        beats = [f"augmentation.beats={folder}"] if balance == "gan" else []
        data = datamodule(cache, f"augmentation={balance}", f"augmentation.share={share}", *beats)
        assert counts_of(data) == expected, balance
    cleaned = counts_of(datamodule(cache, "augmentation=smote_tomek", f"augmentation.share={share}"))
    assert cleaned | {"N": 0} == expected | {"N": 0}
    assert cleaned["N"] <= expected["N"]


@pytest.mark.parametrize("balance", ["oversample", "undersample", "smote", "smote_tomek", "class_balanced", "gan"])
def test_validation_and_test_beats_are_never_touched(plain: Any, cache: Path, tmp_path: Path, balance: str) -> None:
    beats = [f"augmentation.beats={a_set(tmp_path / 'set', plain, n=400)}"] if balance == "gan" else []
    data = datamodule(cache, f"augmentation={balance}", *beats)
    for side in ("val_dataloader", "test_dataloader"):
        for batch, same in zip(getattr(data, side)(), getattr(plain, side)(), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch, same, strict=True))
    held_out = set(data.split_of.validation.tolist()) | set(data.split_of.test.tolist())
    assert not held_out & set(data.train_positions.tolist())
    drawn = torch.cat([batch.label for batch in data.train_dataloader()])
    if balance == "class_balanced":
        assert torch.bincount(drawn, minlength=5).min() > 0.1 * len(drawn)


def test_two_corrections_of_the_imbalance_are_warned_of(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    datamodule(cache, "augmentation=class_balanced", "loss.class_weights=none")
    assert not caplog.records
    datamodule(cache, "augmentation=class_balanced")
    assert "correct the imbalance twice" in caplog.text


def test_scarcity_keeps_a_share_of_the_training_beats_alone(plain: Any, cache: Path) -> None:
    data = datamodule(cache, "protocol.keep={N: 0.1, F: 0.001}")
    assert counts_of(data)["N"] == round(0.1 * counts_of(plain)["N"])
    assert counts_of(data)["F"] == 1
    assert counts_of(data)["V"] == counts_of(plain)["V"]
    np.testing.assert_array_equal(data.split_of.test, plain.split_of.test)
    np.testing.assert_array_equal(data.split_of.validation, plain.split_of.validation)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["augmentation=gan"], r"make one with python synth.py data=simulated protocol=random"),
        (["augmentation=smote", "augmentation.beats=x"], "augmentation.balance=smote uses none"),
        (["augmentation=smote", "augmentation.balance_to=X"], "augmentation.balance_to is X"),
        (["augmentation=smote", "augmentation.share=0"], "augmentation.share is 0"),
        (["augmentation.transforms.warp=0.7"], "below 0.5"),
        (["augmentation.transforms.scale=-1"], "at least 0"),
        (["augmentation.transforms.mixup=0.6"], "augmentation.transforms.mixup is 0.6: .* at most 0.5"),
        (["augmentation.noise_dir=x"], "nothing uses it: add augmentation.transforms.recorded_snr"),
        (["protocol.keep={X: 0.5}"], "protocol.keep has X"),
        (["protocol.keep={S: 0}"], "protocol.keep has S: 0"),
        (["protocol.keep={S: few}"], "protocol.keep has S: few"),
        (["protocol.keep=0.1"], "protocol.keep is 0.1: write it as 'protocol.keep={S: 0.1, F: 0.1}'"),
        (["data=wfdb", "data.dir=x", "data.patients=anna"], "data.patients is anna: write it as"),
    ],
)
def test_wrong_choices_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(composed(*overrides))


def test_a_set_that_is_absent_too_small_or_leaks_is_refused(plain: Any, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no synthetic set in"):
        datamodule(cache, "augmentation=gan", f"augmentation.beats={tmp_path}")
    small = a_set(tmp_path / "small", plain, n=3)
    with pytest.raises(UserError, match=r"holds 3 beats of class .*synth.py checkpoint=.*synth.per_class=\{"):
        datamodule(cache, "augmentation=gan", f"augmentation.beats={small}")
    seen = synthetic.places(plain.beats, plain.split_of.test[:7])
    leaking = a_set(tmp_path / "leak", plain, n=400, fitted_on=seen)
    with pytest.raises(UserError, match="fitted on 7 beats that are test beats here"):
        datamodule(cache, "augmentation=gan", f"augmentation.beats={leaking}")


def test_balanced_beats_are_of_no_record(plain: Any, cache: Path) -> None:
    data = datamodule(cache, "augmentation=smote")
    assert isinstance(data.balanced, Balanced)
    assert (data.tensors.record[len(data.beats) :] == -1).all()


NOISE_HZ, NOISE_S = 360.0, 40


@pytest.fixture
def noise_dir(tmp_path: Path) -> Path:
    """Three records of a 10 Hz sine on a slow drift, at the rate of the recorded noise."""
    import wfdb

    t = np.arange(round(NOISE_HZ * NOISE_S)) / NOISE_HZ
    x = np.sin(2 * np.pi * 10 * t) + 3 * np.sin(2 * np.pi * 0.05 * t)
    for name in ("bw", "em", "ma"):
        signals = {"p_signal": np.stack([x, 2 * x], axis=1), "units": ["mV"] * 2, "sig_name": ["one", "two"]}
        wfdb.wrsamp(name, NOISE_HZ, fmt=["16", "16"], write_dir=str(tmp_path), **signals)
    return tmp_path


def test_recorded_noise_is_read_at_the_rate_of_the_beats(noise_dir: Path) -> None:
    from ecg.data.noise import read_noise

    noise = read_noise(noise_dir, 120.0, 187, highpass_hz=0.5)
    assert noise.shape == (6, 120 * NOISE_S)
    np.testing.assert_allclose(noise.std(axis=1), 1, rtol=1e-3)
    middle = noise[0, 1200:3600]  # 20 s
    power = np.abs(np.fft.rfft(middle)) ** 2
    assert power.argmax() == 20 * 10
    assert power[200] > 0.95 * power.sum()
    drifting = read_noise(noise_dir, 120.0, 187, highpass_hz=None)
    power = np.abs(np.fft.rfft(drifting[0, 1200:3600])) ** 2
    assert power[1] == pytest.approx(9 * power[200], rel=0.05)


def test_recorded_noise_that_is_absent_or_too_short_is_one_sentence(noise_dir: Path) -> None:
    from ecg.data.noise import read_noise

    with pytest.raises(UserError, match="last 4800 samples, and a beat lasts 9000"):
        read_noise(noise_dir, 120.0, 9000, None)
    (noise_dir / "ma.hea").unlink()
    with pytest.raises(UserError, match=r"lacks ma: get them from .* augmentation.noise_dir"):
        read_noise(noise_dir, 120.0, 187, None)


def test_the_real_noise_records(real_data: Path) -> None:
    from ecg.data.noise import read_noise

    if not (real_data / "nstdb").is_dir():
        pytest.skip("nstdb/ is not in ECG_DATA_DIR")
    noise = read_noise(real_data / "nstdb", 120.0, 187, None)
    assert noise.shape[0] == 6
    assert 0.99 < noise.shape[1] / (120 * 1805) < 1.01
    assert np.isfinite(noise).all()


def test_transforms_are_built_as_they_are_chosen(plain: Any, noise_dir: Path) -> None:
    from ecg import build

    assert build.transforms(composed(), plain) is None
    assert build.mix(composed("augmentation=waveform"), plain) is None
    cfg = composed("augmentation.transforms.recorded_snr=6", f"augmentation.noise_dir={noise_dir}")
    cfg.augmentation.transforms.cutmix = 0.3
    made, mixed = build.transforms(cfg, plain), build.mix(cfg, plain)
    assert made is not None
    assert made.recorded is not None
    assert made.recorded.shape == (6, 120 * NOISE_S)
    assert not made.state_dict()  # a checkpoint does not carry the noise
    assert mixed is not None
    assert (mixed.cutmix, mixed.mixup) == (0.3, 0.0)


def test_patients_of_ones_own_records_are_named_on_the_command_line(tmp_path: Path) -> None:
    from ecg import build

    named = composed("data=wfdb", f"data.dir={tmp_path}", "data.patients={rec1: anna, rec2: anna}")
    check(named)
    assert build.source(named).patients == {"rec1": "anna", "rec2": "anna"}  # type: ignore[attr-defined]
    assert build.source(composed("data=wfdb", f"data.dir={tmp_path}")).patients == {}  # type: ignore[attr-defined]
