"""`synth.py` from the command line to the synthetic set."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from programs import TINY_SYNTH, folders, run

from ecg.data.aami import CLASSES
from ecg.data.synthetic_set import read_set
from ecg.synthesis import fit_warnings

FEW = "synth.per_class={S: 40, F: 3}"
DATA = ["data.minutes=2"]


def inspected(folder: Path, *options: str) -> str:
    """Content of an offline W&B run, as read by W&B."""
    call = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(folder)]
    return subprocess.run(call, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """Run folder of two epochs of wgan_gp, which embeds records by their normal beats."""
    tmp_path = tmp_path_factory.mktemp("fit")
    overrides = [*TINY_SYNTH, *DATA, "logger=none", "generator=wgan_gp", "trainer.max_epochs=2", FEW]
    overrides += ["generator.embedding=normal_beats"]
    overrides += ["protocol.keep={N: 0.05, V: 0.3, Q: 0.5}"]
    ended = run("synth", *overrides, *folders(tmp_path, cache_dir), figures=True)
    assert ended.returncode == 0, ended.stderr
    assert "S 40, F 3" in ended.stdout
    return tmp_path / "run"


@pytest.mark.slow
def test_the_set_records_the_beats_it_was_fitted_on(fit: Path) -> None:
    found = read_set(fit)
    assert found.provenance["counts"] == {"S": 40, "F": 3}
    assert found.signal.shape == (43, 1, 192)
    assert (np.bincount(found.label, minlength=5) == [0, 40, 0, 3, 0]).all()
    fitted, chosen = found.provenance["fitted_on"], found.provenance["chosen_on"]
    assert not set(fitted["patients"]) & set(chosen["patients"])
    assert found.provenance["generator"]["_target_"].endswith("WGANGP")


@pytest.mark.slow
def test_beats_are_evaluated_on_validation_and_test_beats(fit: Path) -> None:
    content = json.loads((fit / "fidelity.json").read_text())
    assert content["fit"]["parameters"].keys() == {"critic", "generator"}
    subsets = content["subsets"]
    for subset in ("validation", "test"):
        assert subsets[subset]["counts"]["synthetic"] == dict.fromkeys("NSVFQ", 40)
        assert len(subsets[subset]["gates"]) >= 6  # the gates of S and F need twenty held-out beats
        assert not subsets[subset]["passed"]  # after a dozen steps
    assert subsets["test"]["counts"]["held_out"] != subsets["validation"]["counts"]["held_out"]
    assert len(read_set(fit).provenance["gates_on_validation"]) == len(subsets["validation"]["gates"])


@pytest.mark.slow
def test_the_report_shows_the_evaluation(fit: Path) -> None:
    page = (fit / "report.html").read_text(encoding="utf-8")
    assert "Simulated recordings" in page
    assert "earest training beat" in page
    assert page.count('<img src="data:image/') == 5
    assert "http" not in re.sub(r"data:image/[^\"]+", "", page)


@pytest.mark.slow
def test_a_sweep_of_generators_ends_in_one_table(tmp_path: Path, cache_dir: Path) -> None:
    overrides = [*TINY_SYNTH, *DATA, "generator=lstm_gan,rectified_flow", "trainer.max_epochs=1"]
    overrides += ["trainer.limit_train_batches=2", "protocol.classes=[N,F]", "protocol.keep={N: 0.05}"]
    overrides += ["synth.per_class={F: 3}", "fit.batch_size=16"]
    ended = run("synth", "-m", *overrides, *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "sweep" / "fidelity.csv")
    names = sorted(name.split("_", 1)[1] for name in table["run"])
    assert names == ["lstm_gan_simulated_patient_kfold", "rectified_flow_simulated_patient_kfold"]
    (offline,) = (tmp_path / "sweep").glob("*lstm_gan*/wandb/offline-run-*")
    records = [json.loads(line) for line in inspected(offline).splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    logged = {name.split(".")[0] for row in history for name in row}
    for name in ("train/generator_loss", "train/critic_gradient", "val/frechet", "figures/gallery", "fidelity/gates"):
        assert name in logged, logged
    summary = inspected(offline, "--summary")
    for name in ("fidelity/test/discriminative", "fidelity/test/discriminative/F", "fidelity/validation/passed"):
        assert f'"{name}"' in summary


@pytest.mark.parametrize(
    ("frechet", "spread", "best", "message"),
    [
        ([3.0, 0.5, 0.6], 0.01, 1, "collapsed: in its best epoch, 1"),
        ([3.0, 1.0, 9.0], 1.0, 1, "diverged after epoch 1: .* from 1 to 9"),
        ([9.0, 4.0, 1.0], 1.0, 2, "last epoch was the best by a wide margin"),
        ([3.0, 1.0, 1.1, 1.05], 1.0, 1, None),
        ([float("nan")], 1.0, None, None),
        ([], 1.0, None, None),
    ],
)
def test_problems_of_a_fit_give_a_warning(
    frechet: list[float], spread: float, best: int | None, message: str | None
) -> None:
    warnings = fit_warnings({"val/frechet": frechet, "val/spread": [spread] * len(frechet)}, best)
    assert [bool(re.search(message or "", warning)) for warning in warnings] == ([True] if message else [])


@pytest.mark.slow
def test_a_checkpoint_samples_more_beats_and_the_same_for_the_same_seed(fit: Path, tmp_path: Path) -> None:
    for name, n in (("b", 40), ("c", 50)):
        overrides = [f"checkpoint={fit}", "logger=none", f"synth.per_class={{S: {n}, F: 3}}"]
        ended = run("synth", *overrides, f"hydra.run.dir={tmp_path}/{name}")
        assert ended.returncode == 0, ended.stderr
    np.testing.assert_array_equal(read_set(tmp_path / "b").signal, read_set(fit).signal)
    assert read_set(tmp_path / "c").provenance["counts"] == {"S": 50, "F": 3}
    assert read_set(tmp_path / "c").provenance["fitted_on"] == read_set(fit).provenance["fitted_on"]


def drawn(fit: Path, folder: Path, *overrides: str) -> tuple[list[str], list[str]]:
    """Records of more beats of the generator, by class V and S."""
    ended = run("synth", f"checkpoint={fit}", "logger=none", *overrides, f"hydra.run.dir={folder}")
    assert ended.returncode == 0, ended.stderr
    found = read_set(folder)
    names = np.array(found.provenance["records"])[found.record]
    of_v, of_s = (names[found.label == CLASSES.index(name)].tolist() for name in "VS")
    return of_v, of_s


@pytest.mark.slow
def test_beats_are_drawn_for_seen_pairs_unseen_pairs_or_one_record(fit: Path, tmp_path: Path) -> None:
    wanted = "synth.per_class={V: 60, S: 60}"
    provenance = read_set(fit).provenance
    training = set(provenance["fitted_on"]["samples"])
    seen = drawn(fit, tmp_path / "seen", wanted)
    unseen = drawn(fit, tmp_path / "unseen", wanted, "synth.pairs=unseen")
    for of_seen, of_unseen in zip(seen, unseen, strict=True):
        assert set(of_seen) | set(of_unseen) <= training
        assert not set(of_seen) & set(of_unseen)
    other = next(record for record in provenance["records"] if record not in training)
    assert set(drawn(fit, tmp_path / "one", wanted, f"synth.record={other}")[0]) == {other}


@pytest.mark.slow
def test_records_that_the_generator_cannot_draw_are_one_message(fit: Path, tmp_path: Path) -> None:
    cases = [
        (["synth.record=999"], "synth.record is 999, which is not a record of this generator"),
        (["synth.pairs=unseen"], "cannot draw beats of class N for a training record without it"),
    ]
    for i, (overrides, message) in enumerate(cases):
        few = ["synth.per_class={N: 4}", "logger=none", f"hydra.run.dir={tmp_path}/{i}"]
        assert message in run("synth", f"checkpoint={fit}", *few, *overrides).message


@pytest.mark.slow
def test_beats_in_context_can_be_synthetic(tmp_path: Path, cache_dir: Path) -> None:
    beats = ["data.n_patients=12", "data.minutes=3", "data.leads=2", "data.before=0.35", "data.after=0.55"]
    beats += ["protocol.classes=[N,S,V,F]", "logger=none"]
    few = ["trainer.max_epochs=1", "synth.per_class={S: 900, F: 900}", "generator.embedding=normal_beats"]
    ended = run("synth", *TINY_SYNTH, *beats, *few, f"hydra.run.dir={tmp_path}/synth", f"paths.cache_dir={cache_dir}")
    assert ended.returncode == 0, ended.stderr
    train = [
        "data.features=rhythm_and_shape",
        "data.context=5",
        "augmentation=gan",
        f"augmentation.beats={tmp_path}/synth",
    ]
    train += ["model.hidden=8", "trainer.max_epochs=1", "trainer.accelerator=cpu", "n_bootstrap=20"]
    ended = run("train", *beats, *train, *folders(tmp_path, cache_dir))
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"gan: [\d,]+ S, [\d,]+ F beats added", (tmp_path / "run" / "report.html").read_text())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["synth.pairs=unseen", "generator=lstm_gan"], "needs a generator that embeds records by their normal beats"),
        (["synth.pairs=unseen"], "Add generator.embedding=normal_beats"),
        (["synth.pairs=unseen", "synth.record=1"], "synth.pairs=unseen and synth.record exclude each other"),
    ],
)
def test_pairs_that_no_generator_can_draw_are_one_message(overrides: list[str], message: str, tmp_path: Path) -> None:
    assert message in run("synth", "logger=none", *overrides, f"hydra.run.dir={tmp_path}/run").message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("checkpoint=nowhere", "is not the run folder of a fitted generator"),
        ("resume=nowhere", "is not a run folder"),
        ("generator=vae", "vae"),
    ],
)
def test_a_folder_that_is_not_a_run_is_one_message(override: str, message: str, tmp_path: Path) -> None:
    assert message in run("synth", "logger=none", override, f"hydra.run.dir={tmp_path}/run").message


def test_failed_jobs_of_a_sweep_are_reported(tmp_path: Path, cache_dir: Path) -> None:
    few = ["data.n_patients=10", "data.minutes=1", "seed=1,2", "logger=none"]
    ended = run("synth", "-m", *few, *folders(tmp_path, cache_dir))
    assert ended.returncode == 1
    assert "Error in job 1: Class " in ended.stderr
    assert "2 of 2 jobs did not finish" in ended.stderr.splitlines()[-1]


@pytest.mark.slow
def test_an_empty_set_is_refused(fit: Path, tmp_path: Path) -> None:
    ended = run("synth", f"checkpoint={fit}", "logger=none", "synth.balance_to=F", f"hydra.run.dir={tmp_path}/run")
    assert "Set the numbers with synth.per_class" in ended.message
    assert not (tmp_path / "run" / "synthetic").exists()


@pytest.mark.slow
def test_the_checkpoint_of_another_generator_is_refused(fit: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for name in ("fitted.json", "checkpoints/best.ckpt"):
        (tmp_path / "run" / name).write_bytes((fit / name).read_bytes())
    config = (fit / "config.yaml").read_text().replace("hidden: 8", "hidden: 16")
    (tmp_path / "run" / "config.yaml").write_text(config)
    ended = run("synth", f"checkpoint={tmp_path}/run", "logger=none", f"hydra.run.dir={tmp_path}/more")
    assert "does not match the config.yaml of its run folder" in ended.message


def test_a_loss_that_is_not_finite_is_one_message(tmp_path: Path, cache_dir: Path) -> None:
    overrides = [*TINY_SYNTH, *DATA, "logger=none", "generator=wgan_gp", "generator.lr=1e30", "trainer.max_epochs=3"]
    ended = run("synth", *overrides, *folders(tmp_path, cache_dir))
    assert re.search(r"The loss of the \w+ is not a finite number in epoch \d+, batch \d+", ended.message)
