"""Objects built from the configuration: every option of every group runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from programs import CONF, TINY_DATA, TINY_SYNTH, composed, with_values

from ecg import build, resources
from ecg.classification import predict_logits
from ecg.config.checks import check_synth, check_train
from ecg.config.help_text import options
from ecg.config.schema import SCHEMAS
from ecg.data.datamodule import BeatDataModule
from ecg.errors import UserError
from ecg.runs import Run
from ecg.training_memory import PROBE, require_step_memory

NEEDS_MORE = {
    ("protocol", "kaggle"),
    ("protocol", "cross_database"),
    ("protocol", "all_records"),
    ("augmentation", "gan"),
    ("augmentation", "synthetic"),
    ("augmentation/balance", "gan"),
    ("augmentation/balance", "synthetic"),
}
GROUPS = ("model", "loss", "protocol", "augmentation", "augmentation/balance", "callbacks", "trainer")
CASES = [(group, option) for group in GROUPS for option in options(CONF, group)]


def tiny(program: str, cache_dir: Path, *overrides: str) -> DictConfig:
    small = [*TINY_DATA, "logger=none", f"paths.cache_dir={cache_dir}", "trainer.enable_progress_bar=false"]
    small += ["model.hidden=8"] if program == "train" else TINY_SYNTH
    return with_values(program, *small, *overrides)


def make_run(folder: Path) -> Run:
    return Run(folder, choices={}, overrides=[], sweep=None, provenance={})


@pytest.mark.parametrize(("group", "option"), [case for case in CASES if case not in NEEDS_MORE])
def test_every_option_builds_and_runs_a_batch(group: str, option: str, tmp_path: Path, cache_dir: Path) -> None:
    cfg = tiny("train", cache_dir, f"{group}={option}", "trainer.fast_dev_run=true")
    cfg.trainer.accelerator, cfg.trainer.strategy = "cpu", "auto"
    check_train(cfg)
    data = build.classification_data(cfg)
    trainer = build.classification_trainer(cfg, make_run(tmp_path))
    trainer.fit(build.classifier(cfg, data), data)
    assert trainer.global_step == 1


@pytest.mark.parametrize("model", options(CONF, "model"))
@pytest.mark.parametrize("causal", [False, True])
def test_beats_in_context_are_fitted_and_predicted(model: str, causal: bool, tmp_path: Path, cache_dir: Path) -> None:
    overrides = ["data.context=5", "data.leads=2", "data.features=rhythm_and_shape", "trainer.max_epochs=1"]
    overrides += [f"data.causal={causal}", "augmentation.rhythm.fraction=0.5"]
    cfg = tiny("train", cache_dir, f"model={model}", *overrides, "trainer.accelerator=cpu", "callbacks.ema_decay=null")
    check_train(cfg)
    data = build.classification_data(cfg)
    trainer = build.classification_trainer(cfg, make_run(tmp_path))
    classifier = build.classifier(cfg, data)
    trainer.fit(classifier, data)
    assert trainer.global_step == len(data.split.train) // 11 // (cfg.optimizer.batch_size // 11)
    # The score of the epoch is that of the logits of all validation beats.
    positions = data.split.validation
    logits = predict_logits(classifier, data, positions, torch.device("cpu"))
    assert logits.shape == (len(positions), len(data.split.classes))
    accuracy = (logits.argmax(dim=1).numpy() == data.labels[positions]).mean()
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(accuracy, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("window", ["centered", "kaggle"])
@pytest.mark.parametrize("generator", SCHEMAS["generator"])
def test_every_generator_fits_and_samples(generator: str, window: str, tmp_path: Path, cache_dir: Path) -> None:
    overrides = ["data.n_patients=24", "data.minutes=2", f"data.window={window}", "trainer.fast_dev_run=true"]
    cfg = tiny("synth", cache_dir, f"generator={generator}", *overrides)
    check_synth(cfg)
    data = build.synthesis_data(cfg)
    synthesizer = build.synthesizer(cfg, data)
    build.synthesis_trainer(cfg, make_run(tmp_path)).fit(synthesizer, data)
    chunks = list(synthesizer.draw(torch.tensor([0, 1, 2, 3, 4] * 220), seed=0))
    assert [len(signal) for signal, _ in chunks] == [1024, 76]
    for signal, record in chunks:
        assert signal.shape[1:] == data.beats.signal.shape[1:]
        assert torch.isfinite(signal).all()
        assert (record < len(data.records)).all()


IN_CONTEXT = ["data.context=5", "data.features=rhythm_and_shape", "augmentation.rhythm.fraction=0.5"]


@pytest.mark.parametrize("name", ["oversample", "smote", "fusion"])
def test_added_beats_in_context_are_in_copies_of_their_records(name: str, cache_dir: Path) -> None:
    plain, data = (
        build.classification_data(tiny("train", cache_dir, *IN_CONTEXT, f"augmentation={option}"))
        for option in ("none", name)
    )
    added = data.class_counts() - plain.class_counts()
    assert added[data.split.classes.index("F")] > 0
    assert len(data.train_dataloader()) == len(plain.train_dataloader())
    for loader in ("val_dataloader", "test_dataloader"):
        for batch, expected in zip(getattr(data, loader)(), getattr(plain, loader)(), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))
    held_out = {*plain.split.validation.tolist(), *plain.split.test.tolist()}
    assert not held_out & set(data.train_positions.tolist())
    # Copies and recorded beats are used equally often, so the patients remain equally frequent.
    sequences = data.train_dataloader().dataset
    weight = torch.from_numpy(sequences.weight)[: len(sequences.starts)]
    originals = data.tensors.record[sequences.starts] < len(data.records)
    assert originals.sum() < len(originals)
    recorded_rhythm = 0.5  # the fraction of the sequences
    assert weight.sum() / recorded_rhythm == pytest.approx(float(originals.sum()), rel=0.01)


def test_added_waveforms_of_single_beats_have_the_features_of_their_record(cache_dir: Path) -> None:
    data = build.classification_data(tiny("train", cache_dir, "augmentation=fusion"))
    assert data.balanced is not None
    assert data.balanced.signal.shape[1:] == data.beats.signal.shape[1:]
    assert data.balanced.rr.shape[1:] == data.beats.rr.shape[1:]
    mean = data.beats.rr[data.split.train].mean(axis=0)
    np.testing.assert_allclose(data.balanced.rr.mean(axis=0), mean, rtol=0.3)


def test_pairs_of_class_and_record_are_left_out_of_the_fit(cache_dir: Path) -> None:
    data = build.synthesis_data(tiny("synth", cache_dir))
    v = data.split.train[data.labels[data.split.train] == data.split.classes.index("V")]
    record = str(data.beats.record[v[0]])
    less = build.synthesis_data(tiny("synth", cache_dir, f"fit.leave_out=['V:{record}']"))
    left_out = np.setdiff1d(data.split.train, less.split.train)
    assert left_out.tolist() == v[data.beats.record[v] == record].tolist()
    with pytest.raises(UserError, match="record 999 has no training beats of class V"):
        build.synthesis_data(tiny("synth", cache_dir, "fit.leave_out=['V:999']"))


@pytest.fixture(scope="module")
def plain(cache_dir: Path) -> BeatDataModule:
    return build.classification_data(tiny("train", cache_dir, "protocol=random"))


@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_methods_that_add_beats_add_the_same_numbers(plain: BeatDataModule, cache_dir: Path, fraction: float) -> None:
    counts = {}
    for name in ("oversample", "smote"):
        cfg = tiny("train", cache_dir, "protocol=random", f"augmentation={name}", f"augmentation.fraction={fraction}")
        counts[name] = build.classification_data(cfg).class_counts().tolist()
    assert counts["oversample"] == counts["smote"]
    second = sorted(plain.class_counts().tolist())[-2]
    for before, after in zip(plain.class_counts().tolist(), counts["smote"], strict=True):
        assert after == before + max(0, round(fraction * (second - before)))


def test_two_corrections_of_the_imbalance_give_a_warning(cache_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    balanced = ("protocol=random", "augmentation=class_balanced")
    build.classification_data(tiny("train", cache_dir, *balanced, "loss.class_weights=none"))
    assert not caplog.records
    build.classification_data(tiny("train", cache_dir, *balanced))
    assert "both correct the class imbalance" in caplog.text


def test_transforms_are_built_only_if_active(plain: BeatDataModule, cache_dir: Path) -> None:
    off = tiny("train", cache_dir)
    assert build.transforms(off, plain) is None
    assert build.mix(off, plain) is None
    waveform = tiny("train", cache_dir, "augmentation=waveform")
    assert build.transforms(waveform, plain) is not None
    assert build.mix(waveform, plain) is None
    assert build.mix(tiny("train", cache_dir, "augmentation.transforms.cutmix.limit=0.3"), plain) is not None


def test_patients_of_own_records_are_set_on_the_command_line(tmp_path: Path) -> None:
    named = composed("train", "data=wfdb", f"data.dir={tmp_path}", "data.patients={rec1: anna, 100: 5}")
    check_train(named)
    assert build.source(named).patients == {"rec1": "anna", "100": "5"}  # type: ignore[attr-defined]
    assert build.source(composed("train", "data=wfdb", f"data.dir={tmp_path}")).patients == {}  # type: ignore[attr-defined]


def test_beats_that_are_too_short_for_the_network_are_refused(cache_dir: Path) -> None:
    cfg = tiny("train", cache_dir, "data.before=0.05", "data.after=0.05")
    with pytest.raises(UserError, match="Beats of 12 samples are too short for this network, which needs 16"):
        build.classifier(cfg, build.classification_data(cfg))


def test_a_class_with_few_training_beats_is_refused_for_generators(cache_dir: Path) -> None:
    cfg = tiny("synth", cache_dir, "data.n_patients=8")
    with pytest.raises(UserError, match=r"Class \w has \d+ training beats. A generator needs at least 5"):
        build.synthesizer(cfg, build.synthesis_data(cfg))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_hardware_that_is_not_available_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"trainer.accelerator=gpu is not available on this machine\. Available: auto, cpu"
    ):
        build.prepare_hardware(composed("train", "trainer.accelerator=gpu"))


@pytest.mark.parametrize("option", options(CONF, "trainer"))
def test_one_device_is_the_default(option: str) -> None:
    assert composed("train", f"trainer={option}").trainer.devices == ("auto" if option == "ddp" else 1)


@pytest.mark.parametrize(
    ("overrides", "strategy"),
    [
        (["trainer.devices=1"], "auto"),
        (["trainer.devices=2"], "ddp_find_unused_parameters_true"),
        (["trainer.num_nodes=2"], "ddp_find_unused_parameters_true"),
        (["trainer=ddp"], "ddp_find_unused_parameters_true"),
        (["trainer.strategy=ddp_spawn"], "ddp_spawn_find_unused_parameters_true"),
        (["trainer.strategy=ddp_find_unused_parameters_true"], "ddp_find_unused_parameters_true"),
    ],
)
def test_ddp_searches_the_parameters_that_a_step_of_a_generator_uses(overrides: list[str], strategy: str) -> None:
    cfg = composed("synth", *overrides)
    cfg.trainer.accelerator = "cpu"
    assert build.synthesis_strategy(cfg) == strategy


def test_cudnn_computes_float32_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    build.prepare_hardware(composed("train"))
    assert not torch.backends.cudnn.allow_tf32


def test_arguments_that_lightning_refuses_are_one_message(tmp_path: Path, cache_dir: Path) -> None:
    cfg = tiny("train", cache_dir, "trainer.precision=7-half")
    with pytest.raises(UserError, match="Lightning refuses the trainer: "):
        build.classification_trainer(cfg, make_run(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.devices=999", r"trainer\.devices is 999, but this machine has"),
        ("trainer.num_nodes=2", r"trainer\.num_nodes is 2, but this process is not part of a cluster job"),
        ("trainer.strategy=magic", "Lightning refuses the trainer: .*magic"),
        ("trainer.max_time=5", "Lightning refuses the trainer: .*DD:HH:MM:SS"),
    ],
)
def test_the_trainer_is_checked_before_the_data_are_read(
    override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in build.CLUSTER_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match=message):
        build.prepare_hardware(composed("train", "trainer.accelerator=cpu", override))


def test_a_class_that_cannot_be_imported_is_a_user_error(plain: BeatDataModule, cache_dir: Path) -> None:
    with pytest.raises(UserError, match=r"The class nowhere\.Network cannot be imported"):
        build.classifier(tiny("train", cache_dir, "model._target_=nowhere.Network"), plain)


# -- memory -------------------------------------------------------------------------------------------------------


def test_beats_that_do_not_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 1_000_000)
    with pytest.raises(UserError, match=r"The beats of 12 records need about .* Decrease data\.n_patients"):
        build.classification_data(tiny("train", tmp_path))


def test_added_beats_that_do_not_fit_into_memory_are_refused(
    plain: BeatDataModule, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 1_000_000)
    cfg = tiny("train", cache_dir, "protocol=random", "augmentation=oversample", "augmentation.fraction=100")
    with pytest.raises(UserError, match=r"beats that the augmentation adds need .* Decrease augmentation\.fraction"):
        build.classification_data(cfg)


@pytest.mark.parametrize("model", SCHEMAS["model"])
def test_a_training_that_does_not_fit_into_memory_is_refused(
    model: str, plain: BeatDataModule, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny("train", cache_dir, f"model={model}", "optimizer.batch_size=100000")
    build.classifier(cfg, plain)
    monkeypatch.setattr(resources, "available_memory", lambda: 3_000_000)
    with pytest.raises(UserError, match=r"step with \d+ beats need .* Decrease optimizer\.batch_size or model\.hidden"):
        build.classifier(cfg, plain)
    cfg.model.hidden, cfg.optimizer.batch_size = 1024, 1
    with pytest.raises(UserError, match=r"[\d,]+ parameters in training need .* Decrease model\.hidden"):
        build.classifier(cfg, plain)


@pytest.mark.parametrize("generator", SCHEMAS["generator"])
def test_a_generator_that_does_not_fit_into_memory_is_refused_before_it_is_created(
    generator: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 3_000_000)
    cfg = tiny("synth", cache_dir, f"generator={generator}")
    cfg.generator.hidden = 4096
    with pytest.raises(UserError, match=r"parameters in training need about .* Decrease generator\.hidden"):
        build.unfitted_synthesizer(cfg, (2, 192), ["N", "S"], 3, padded=False)


def test_the_estimate_of_the_memory_changes_neither_the_network_nor_the_random_numbers() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(), torch.nn.ReLU())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"step with 1,000 beats need about 0\.0 GB"):
        require_step_memory(network, lambda probe: [probe(torch.ones(PROBE, 8))], 1000, 1000 * 16 * 4, "x")
    require_step_memory(network, lambda probe: [probe(torch.ones(PROBE, 8))], 1000, 1000 * 16 * 4 * 10, "x")
    assert torch.equal(torch.rand(1), expected)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
