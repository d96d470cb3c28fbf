"""Invalid configurations end in one message that names the key, the value and the valid values."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from programs import ROOT, composed, run, run_subprocess, with_values

from ecg.config.checks import check_synth, check_train
from ecg.config.ranges import Range
from ecg.config.run_name import check_run_name
from ecg.errors import UserError

# Values that Hydra refuses.
COMPOSITION_ERRORS = [
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
    ("data=null", "A group cannot be null: data=null"),
    ("seed=true", "seed: Value 'True' of type 'bool' could not be converted to Integer"),
    ("data.records=5", "data.records must be a list. Write it as 'data.records=\\[A,B\\]'"),
    ("trainer.num_nodes=two", "trainer.num_nodes: Value 'two'"),
    ("optimizer.lr=[1]", "optimizer.lr"),
    ("name=Größe", "Cannot read name=Größe.*: \"name='Größe'\""),
    ("name=a=b", "Cannot read name=a=b.*: \"name='a=b'\""),
    ("run", "Cannot read run. Write it as KEY=VALUE.*\"name='my run'\""),
    ("protocol.keep={S 0.1}", "Cannot read protocol.keep=.*a mapping as 'protocol.keep=.A: 1, B: 2"),
    # In the run folder's name, which Hydra resolves before the job starts.
    ("name=../x", "name has a path separator: '../x'"),
]

# Values of train.py that the checks refuse.
WRONG_TRAIN = [
    (["optimizer.batch_size=0"], r"optimizer.batch_size is 0. Valid values: at least 1"),
    (["data.context=-1"], r"data.context is -1. Valid values: at least 0"),
    (["data.leads=3"], r"data.leads is 3. Valid values: at least 1 and at most 2"),
    (["data.window=kaggle", "data.context=4"], r"data.context is 4, which needs data.window=centered"),
    (["data.window=kaggle", "data.leads=2"], r"data.leads is 2, which needs data.window=centered"),
    (["data.context=4", "augmentation=smote_tomek"], r"removes or samples single beats. Use augmentation/balance=none"),
    (["augmentation=fusion", "protocol.classes=[N,S,V]"], r"Fusion beats need the classes N, V, F .* lacks F"),
    (
        ["augmentation=gan", "augmentation.beats=x", "augmentation.balance.fusion=0.5", "protocol.classes=[N,S,F]"],
        r"Fusion beats need the classes N, V, F .* lacks V",
    ),
    (["data.context=4", "augmentation.transforms.mixup.limit=0.2"], r"Set augmentation.transforms.mixup.limit=0"),
    (["sequence.hidden=2"], r"sequence.hidden is 2. Valid values: at least 4"),
    (["optimizer.lr=0"], r"optimizer.lr is 0.0. Valid values: above 0"),
    (["optimizer.lr=nan"], r"optimizer.lr is nan"),
    (
        ["protocol.validation_fraction=1.5"],
        r"protocol.validation_fraction is 1.5. Valid values: 0.0, or at least 0.01 and at most 0.5",
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
    (["protocol.fold=5"], r"protocol.fold is 5. Valid folds: 0 to 4, since protocol.n_folds is 5"),
    (["protocol=kaggle"], r"protocol=kaggle is a split of the MIT-BIH database, and data=simulated has none"),
    (["data=svdb", "protocol=kaggle"], r"data=svdb has none"),
    (["data=kaggle_csv", "protocol=inter_patient"], r"needs patients"),
    (["data=kaggle_csv", "protocol=kaggle", "data.window=centered"], r"holds beats of the window kaggle only"),
    (["data=wfdb"], r"data=wfdb needs the folder of the records. Add data.dir=FOLDER"),
    (["protocol.classes=[N,X]"], r"protocol.classes has X. Valid classes: N, S, V, F, Q"),
    (["protocol.classes=[N]"], r"Name two or more classes"),
    (["protocol.classes=[N,N]"], r"Name two or more classes"),
    (["protocol.keep={X: 0.5}"], r"protocol.keep has X. Valid classes"),
    (["protocol.keep={S: 0}"], r"protocol.keep has S: 0. Valid values: above 0 and at most 1"),
    (["protocol.keep={S: few}"], r"protocol.keep has S: few"),
    (["protocol.keep=0.1"], r"protocol.keep is 0.1. Write it as 'protocol.keep=\{S: 0.1, F: 0.1\}'"),
    (["data=wfdb", "data.dir=x", "data.patients=anna"], r"data.patients is anna. Write it as"),
    (["augmentation=gan"], r"Make one with: python synth.py data=simulated protocol=patient_kfold"),
    (["protocol.classes=[[N,S],V]"], r"^protocol.classes has \['N', 'S'\]. Valid classes"),
    (["augmentation=synthetic", "data.window=kaggle"], r"^augmentation=synthetic needs a synthetic set"),
    (["augmentation=synthetic", "augmentation.beats=x", "data.window=centered"], r"data.window is centered"),
    (["augmentation=smote", "augmentation.beats=x"], r"this balance method does not use it"),
    (["augmentation=smote", "augmentation.balance_to=X"], r"augmentation.balance_to has X"),
    (["augmentation=smote", "augmentation.fraction=0"], r"augmentation.fraction is 0.0"),
    (["augmentation.transforms.resample.warp=0.7"], r"below 0.5"),
    (["augmentation.transforms.scale.limit=-1"], r"at least 0"),
    (["augmentation.transforms.mixup.limit=0.6"], r"augmentation.transforms.mixup.limit is 0.6. .* at most 0.5"),
    (["augmentation.transforms.recorded_noise.dir=x"], r"Add augmentation.transforms.recorded_noise.snr=10"),
    (["name="], r"name is empty"),
    (["name=.hidden"], r"name starts with a dot or a dash: '.hidden'"),
    (["name=-rf"], r"name starts with a dot or a dash: '-rf'"),
    (["name='..'"], r"name starts with a dot"),
    (["name='a/b'"], r"name has a path separator: 'a/b'"),
    (["name='a\tb'"], r"name has a character that cannot be printed"),
    ([f"name={'x' * 300}"], r"name has 300 bytes.* At most 120 are valid"),
    ([f"name='{'ß' * 61}'"], r"name has 122 bytes"),
    (["n_bootstrap=1000000000"], r"n_bootstrap is 1000000000. Valid values: at least 1 and at most 10,000"),
    (["data.n_patients=1000000000"], r"data.n_patients is 1000000000"),
    (["data.minutes=1e9"], r"data.minutes is 1000000000.0"),
    (["data.minutes=inf"], r"data.minutes is inf"),
    (["data.before=-1"], r"data.before is -1.0"),
    (["data.seed=-1"], r"data.seed is -1"),
    (["protocol.split_seed=-1"], r"protocol.split_seed is -1"),
    (["protocol.validation_fraction=0.999"], r"protocol.validation_fraction is 0.999. .* at most 0.5"),
    (["protocol.validation_fraction=0.0001"], r"protocol.validation_fraction is 0.0001. .* at least 0.01"),
    (["protocol.n_folds=1"], r"protocol.n_folds is 1. Valid values: at least 2"),
    (["protocol=random", "protocol.test_fraction=1"], r"protocol.test_fraction is 1.0"),
    (["protocol=inter_patient", "protocol.test_fraction=0.9"], r"protocol.test_fraction is 0.9"),
    (["protocol.keep={S: true}"], r"protocol.keep has S: True"),
    (["data=wfdb", "data.dir=x", "data.patients={a: [b]}"], r"data.patients has a: \['b'\]. Write it as"),
    (["augmentation.fraction=1e6"], r"augmentation.fraction is 1000000.0"),
    (["augmentation=smote", "augmentation.balance.neighbours=0"], r"augmentation.balance.neighbours is 0"),
    (["augmentation.transforms.white_noise.snr=nan"], r"augmentation.transforms.white_noise.snr is nan"),
    (["augmentation.transforms.hum.frequency=0"], r"augmentation.transforms.hum.frequency is 0.0"),
    (["model.hidden=100000"], r"model.hidden is 100000. Valid values: at least 4 and at most 4,096"),
    (["model=cnn_lstm", "model.kernel_size=0"], r"model.kernel_size is 0"),
    (["loss.label_smoothing=1"], r"loss.label_smoothing is 1.0"),
    (["loss=focal", "loss.gamma=-1"], r"loss.gamma is -1.0"),
    (["optimizer.warmup=1"], r"optimizer.warmup is 1.0"),
    (["optimizer.weight_decay=-1"], r"optimizer.weight_decay is -1.0"),
    (["callbacks.ema_decay=1"], r"callbacks.ema_decay is 1.0"),
    (["trainer.devices=0"], r"trainer.devices is 0. Valid values: auto, -1, or whole numbers at least 1"),
    (["trainer.devices=many"], r"trainer.devices is many"),
    (["trainer.devices=[0,0]"], r"trainer.devices is \[0, 0\]. Valid lists: indices of GPUs, each once"),
    (["trainer.devices=1.5"], r"trainer.devices is 1.5"),
    (["trainer.num_nodes=0"], r"trainer.num_nodes is 0"),
    (["trainer.precision=8"], r"trainer.precision is 8. Valid values: auto, 32-true"),
    (["trainer.max_epochs=0"], r"trainer.max_epochs is 0"),
    (["trainer.max_steps=0"], r"trainer.max_steps is 0. Valid values: -1, or at least 1"),
    (["trainer.fast_dev_run=often"], r"trainer.fast_dev_run is often. Valid values: false, true, or whole numbers"),
    (["trainer.limit_train_batches=0"], r"trainer.limit_train_batches is 0. Valid values: above 0"),
    (["trainer.limit_train_batches=1.5"], r"trainer.limit_train_batches is 1.5. .* a fraction up to 1.0, or a whole"),
    (["trainer.limit_val_batches=none"], r"trainer.limit_val_batches is none"),
    (["trainer.limit_test_batches=true"], r"trainer.limit_test_batches is True"),
    (["trainer.overfit_batches=-1"], r"trainer.overfit_batches is -1"),
    (["trainer.val_check_interval=1000"], r"trainer.val_check_interval is 1000.0"),
    (["trainer.check_val_every_n_epoch=0"], r"trainer.check_val_every_n_epoch is 0"),
    (["trainer.gradient_clip_val=-1"], r"trainer.gradient_clip_val is -1.0"),
    (["trainer.gradient_clip_algorithm=max"], r"trainer.gradient_clip_algorithm is max. Valid values: norm, value"),
    (["trainer.deterministic=maybe"], r"trainer.deterministic is maybe. Valid values: false, true, warn"),
    (["trainer.profiler=fast"], r"trainer.profiler is fast. Valid values: simple, advanced, pytorch"),
]

# Values of synth.py that the checks refuse.
WRONG_SYNTH = [
    (["synth.per_class={X: 5}"], r"synth.per_class has X. Valid classes: N, S, V, F, Q"),
    (["synth.per_class={S: 0}"], r"at least 1"),
    (["synth.per_class=5"], r"Write it as 'synth.per_class=\{S: 5000, F: 5000\}'"),
    (["synth.balance_to=X"], r"synth.balance_to has X"),
    (["fit.leave_out=[V]"], r"fit.leave_out has V. Write a pair as CLASS:RECORD"),
    (["fit.leave_out=['X:1']"], r"fit.leave_out has X. Valid classes"),
    (["generator.packed=true", "fit.batch_size=33"], r"fit.batch_size is 33, but packed critics"),
    (["generator.hidden=12"], r"generator.hidden is 12. Valid values: .*a multiple of 8"),
    (["generator.lr=0"], r"generator.lr is 0"),
    (["data.window=kaggle", "data.leads=2"], r"data.leads is 2, which needs data.window=centered"),
    (["checkpoint=a", "resume=b"], r"exclude each other"),
    (["synth.per_class={S: 1000000000}"], r"synth.per_class has S: 1000000000. Valid values: whole numbers at least 1"),
    (["synth.per_class={S: 1.5}"], r"synth.per_class has S: 1.5"),
    (["synth.csv=true"], r"synth.csv=true needs beats of the window kaggle, and data.window is centered"),
    (["generator.gamma=-1"], r"generator.gamma is -1.0"),
    (["generator.max_shift=-1"], r"generator.max_shift is -1"),
    (["generator=wgan_gp", "generator.n_critic=0"], r"generator.n_critic is 0"),
    (["generator=wgan_gp", "generator.penalty=inf"], r"generator.penalty is inf"),
    (["generator=lstm_gan", "generator.latent=0"], r"generator.latent is 0"),
    (["generator=rectified_flow", "generator.steps=0"], r"generator.steps is 0"),
    (["generator.beta1=1"], r"generator.beta1 is 1.0"),
    (["fit.class_power=2"], r"fit.class_power is 2.0"),
    (["fit.ema_decay=0"], r"fit.ema_decay is 0.0"),
    (["fit.evaluation_steps=0"], r"fit.evaluation_steps is 0"),
    (["fit.n_evaluated=10000000"], r"fit.n_evaluated is 10000000"),
    (["fit.batch_size=0"], r"fit.batch_size is 0"),
]


@pytest.mark.parametrize(("override", "message"), COMPOSITION_ERRORS)
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


@pytest.mark.parametrize(("overrides", "message"), WRONG_TRAIN)
def test_invalid_values_of_train_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_train(with_values("train", *overrides))


@pytest.mark.parametrize(("overrides", "message"), WRONG_SYNTH)
def test_invalid_values_of_synth_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_synth(with_values("synth", *overrides))


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


def test_at_least_60_wrong_values_are_tested() -> None:
    assert len(COMPOSITION_ERRORS) + len(WRONG_TRAIN) + len(WRONG_SYNTH) >= 60


@pytest.mark.parametrize("name", ["my run", "Größe", "心電図", "a.b-c_d", "5"])
def test_names_with_spaces_and_letters_of_all_languages_are_valid(name: str) -> None:
    cfg = with_values("train", f"name='{name}'")
    check_train(cfg)
    assert cfg.name == name


@given(st.text())
def test_a_valid_name_can_be_part_of_the_name_of_a_folder(name: str) -> None:
    try:
        check_run_name(name)
    except UserError:
        return
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / f"23-59-59_{name}"
        folder.mkdir()
        assert list(Path(parent).iterdir()) == [folder]


def test_a_job_of_a_sweep_cannot_leave_the_folder_of_the_sweep(tmp_path: Path) -> None:
    sweep = tmp_path / "outputs" / "sweep"
    ended = run("train", "-m", "name=../../x,../../y", f"hydra.sweep.dir={sweep}")
    assert "name has a path separator" in ended.message
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_wrong_value_exits_with_a_message_and_without_files(tmp_path: Path) -> None:
    ended = run_subprocess("train", "seed=-1", f"hydra.run.dir={tmp_path}/run")
    assert ended.message == "Error: seed is -1. Valid values: at least 0 and at most 4,294,967,295."
    assert ended.stdout == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_logger_without_its_package_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf'^logger={name} needs an extra.*"ecg-synthesis-classification\[{name}\]"$'):
        check_train(composed("train", f"logger={name}"))


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_a_valid_configuration(path: Path) -> None:
    check, program = (check_synth, "synth") if path.stem.endswith("generator") else (check_train, "train")
    cfg = composed(program, f"experiment={path.stem}")
    check(cfg)
    values = OmegaConf.create(path.read_text())
    values.pop("defaults", None)
    assert OmegaConf.merge(cfg, values) == cfg  # no default replaces a value of the experiment


def test_only_what_needs_no_validation_beats_is_possible_without_them() -> None:
    for override in ("prediction.logit_adjustment=true", "prediction.temperature=null"):
        check_train(with_values("train", override))
        with pytest.raises(UserError, match=r"chosen on validation beats, and protocol\.validation_fraction is 0"):
            check_train(with_values("train", override, "protocol.validation_fraction=0"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prediction.shifts={X: 1}"], "prediction.shifts has X"),
        (
            ["prediction.vote=true", "protocol.classes=[N,V]"],
            "prediction.vote is True, which needs the classes N and S",
        ),
        (["augmentation.rhythm.fraction=0.5"], "Simulated rhythms need beats in context and rhythm features"),
        (["data.context=3", "protocol.classes=[N,V]"], "which needs the classes N, S and V"),
        (["data.causal=true"], "data.causal is true, which needs beats in context and rhythm features"),
        (["experiment=inter_patient_causal", "prediction.vote=true"], "prediction.vote needs the whole record"),
        (["data.window=kaggle", "data.causal=true"], "data.causal is True, which needs data.window=centered"),
        (["checkpoint=a", "resume=b"], "checkpoint and resume exclude each other"),
        (["data=mitbih", "protocol=cross_database", "protocol.test=mitbih"], "trains and tests on data=mitbih"),
        (["data=mitbih", "protocol=cross_database", "protocol.test=wfdb"], "protocol.test_dir=FOLDER"),
        (["protocol=cross_database"], "needs recorded training beats"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_train(with_values("train", *overrides))
