"""Invalid configurations end in one message that names the key, the value and the valid values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import composed, run, run_subprocess

from ecg.config.checks import check_synth, check_train
from ecg.config.ranges import Range
from ecg.errors import UserError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle=cnn", "Unknown key modle. Valid keys: .*model"),
        ("model.hiden=3", "Unknown key model.hiden. Valid keys: hidden, kernel_size, dropout"),
        ("trainer.max_epoch=3", "Unknown key trainer.max_epoch. Valid keys: .*max_epochs"),
        ("model=resnet", "Could not find 'model/resnet' Available options in 'model': cnn cnn_lstm cnn_lstm_attn$"),
        ("logger=nowhere", "Could not find 'logger/nowhere'"),
        ("model.hidden=wide", "model.hidden: Value 'wide' .* could not be converted to Integer"),
        ("loss.class_weights=heavy", "expected one of .none, fourth_root, log, inverse"),
        ("data.window=square", "expected one of .kaggle, centered"),
        ("model.hidden", "model.hidden"),
        ("hydra/sweeper=nothing", "Could not find 'hydra/sweeper/nothing'"),
    ],
)
def test_composition_errors_are_one_message(override: str, message: str, tmp_path: Path) -> None:
    ended = run("train", override, f"hydra.run.dir={tmp_path}/run")
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert re.search(message, ended.message), ended.message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model:\n  hiden: 4\n", "hiden"),
        ("optimizer:\n  lr: fast\n", "lr: Value 'fast'"),
        ("defaults:\n  - override /model: resnet\n", "resnet"),
    ],
)
def test_errors_in_an_experiment_file_are_one_message(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{content}")
    ended = run("train", "--config-dir", str(tmp_path), "experiment=mine", f"hydra.run.dir={tmp_path}/run")
    assert message in ended.message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.batch_size=0"], r"optimizer.batch_size is 0. Valid values: at least 1"),
        (["optimizer.lr=0"], r"optimizer.lr is 0.0. Valid values: above 0"),
        (["optimizer.lr=nan"], r"optimizer.lr is nan"),
        (
            ["protocol.validation_fraction=1.5"],
            r"protocol.validation_fraction is 1.5. Valid values: above 0 and below 1",
        ),
        (["model.hidden=2"], r"model.hidden is 2. Valid values: at least 4"),
        (["model.dropout=1"], r"model.dropout is 1.0. Valid values: at least 0 and below 1"),
        (["seed=-1"], r"seed is -1. Valid values: at least 0"),
        (["n_bootstrap=0"], r"n_bootstrap is 0"),
        (["trainer.accelerator=abacus"], r"trainer.accelerator is abacus. Valid values: auto, cpu"),
        (["trainer.accumulate_grad_batches=0"], r"trainer.accumulate_grad_batches is 0"),
        (["logger.mode=foo"], r"logger.mode is foo. Valid values: online, offline, disabled"),
        (["callbacks.patience=-1"], r"callbacks.patience is -1"),
        (["data.sfreq=1e9"], r"data.sfreq is 1000000000.0"),
        (["protocol.fold=5"], r"protocol.fold is 5. Valid folds: 0 to 4"),
        (["protocol=kaggle"], r"protocol=kaggle is a split of the MIT-BIH database, and data=simulated has none"),
        (["data=svdb", "protocol=kaggle"], r"data=svdb has none"),
        (["data=kaggle_csv", "protocol=inter_patient"], r"needs patients"),
        (["data=kaggle_csv", "protocol=kaggle", "data.window=centered"], r"holds beats of the window kaggle only"),
        (["data=wfdb"], r"data=wfdb needs the folder of the records. Add data.dir=FOLDER"),
        (["protocol.classes=[N,X]"], r"protocol.classes has X. Valid classes: N, S, V, F, Q"),
        (["protocol.classes=[N]"], r"Name two or more classes"),
        (["protocol.classes=[N,N]"], r"Name two or more classes"),
        (["protocol.keep={X: 0.5}"], r"protocol.keep has X. Valid classes"),
        (["protocol.keep={S: 0}"], r"protocol.keep has S: 0. Valid fractions"),
        (["protocol.keep={S: few}"], r"protocol.keep has S: few"),
        (["protocol.keep=0.1"], r"protocol.keep is 0.1. Write it as 'protocol.keep=\{S: 0.1, F: 0.1\}'"),
        (["data=wfdb", "data.dir=x", "data.patients=anna"], r"data.patients is anna. Write it as"),
        (["augmentation=gan"], r"Make one with: python synth.py data=simulated protocol=patient_kfold"),
        (["augmentation=smote", "augmentation.beats=x"], r"this balance method does not use it"),
        (["augmentation=smote", "augmentation.balance_to=X"], r"augmentation.balance_to has X"),
        (["augmentation=smote", "augmentation.fraction=0"], r"augmentation.fraction is 0.0"),
        (["augmentation.transforms.resample.warp=0.7"], r"below 0.5"),
        (["augmentation.transforms.scale.limit=-1"], r"at least 0"),
        (["augmentation.transforms.mixup.limit=0.6"], r"augmentation.transforms.mixup.limit is 0.6. .* at most 0.5"),
        (["augmentation.transforms.recorded_noise.dir=x"], r"Add augmentation.transforms.recorded_noise.snr=10"),
    ],
)
def test_invalid_values_of_train_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_train(composed("train", *overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["synth.per_class={X: 5}"], r"synth.per_class has X. Valid classes: N, S, V, F, Q"),
        (["synth.per_class={S: 0}"], r"at least 1"),
        (["synth.per_class=5"], r"Write it as 'synth.per_class=\{S: 5000, F: 5000\}'"),
        (["synth.balance_to=X"], r"synth.balance_to has X"),
        (["generator.hidden=12"], r"generator.hidden is 12. Valid values: .*a multiple of 8"),
        (["generator.lr=0"], r"generator.lr is 0"),
        (["checkpoint=a", "resume=b"], r"exclude each other"),
    ],
)
def test_invalid_values_of_synth_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_synth(composed("synth", *overrides))


def test_a_synthetic_set_may_be_given_to_every_job_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = composed("train", "augmentation=none", "augmentation.beats=x")
    with pytest.raises(UserError, match="does not use it"):
        check_train(cfg)
    monkeypatch.setenv("ECG_SWEEP", "a_sweep")
    check_train(cfg)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 100), st.floats(0, 100))
def test_a_range_contains_the_numbers_between_its_limits(value: float, low: float, span: float) -> None:
    assert (value in Range(at_least=low, below=low + span)) == (low <= value < low + span)
    assert (value in Range(above=low, at_most=low + span)) == (low < value <= low + span)
    assert float("nan") not in Range(at_least=low)
    assert float("nan") not in Range()


def test_a_wrong_value_exits_with_a_message_and_without_files(tmp_path: Path) -> None:
    ended = run_subprocess("train", "seed=-1", f"hydra.run.dir={tmp_path}/run")
    assert ended.message == "Error: seed is -1. Valid values: at least 0 and at most 4,294,967,295."
    assert ended.stdout == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
