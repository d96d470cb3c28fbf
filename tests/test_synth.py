from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg.config import check_synth, register
from ecg.data.synthetic import read

ROOT = Path(__file__).parents[1]
GENERATORS = sorted(path.stem for path in (ROOT / "conf" / "generator").glob("*.yaml"))
TINY = ["logger=none", "generator.hidden=8", "fit.judge_steps=2", "fit.n_compared=20", "fit.n_judged=40"]
TINY += ["trainer.accelerator=cpu"]
TINY += ["trainer.precision=32-true", "trainer.enable_progress_bar=false", "trainer.limit_train_batches=6"]
FEW = "synth.per_class={S: 40, F: 3}"
register()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("synth", list(overrides))


def synth(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(ROOT / "synth.py"), *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=200)


def inspected(run: Path, *options: str) -> str:
    """What W&B's own reader finds in an offline run."""
    call = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(run)]
    return subprocess.run(call, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two epochs of wgan_gp."""
    folder = tmp_path_factory.mktemp("fit")
    ended = synth(
        *TINY, "generator=wgan_gp", "trainer.max_epochs=2", FEW, f"hydra.run.dir={folder}/a",
        f"paths.cache_dir={folder}/cache",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "S 40, F 3" in ended.stdout
    return folder / "a"


@pytest.mark.parametrize("window", ["centered", "kaggle"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_composes_builds_and_fits(generator: str, window: str, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from ecg import build
    from ecg.callbacks import Gallery, History

    cfg = composed(f"generator={generator}", *TINY, f"data.window={window}", f"paths.cache_dir={tmp_path}", "name=x")
    cfg.paths.run_dir, cfg.trainer.fast_dev_run = "unused", True
    check_synth(cfg)
    data = build.datamodule(cfg)
    synthesizer = build.synthesizer(cfg, data)
    run = SimpleNamespace(folder=tmp_path / "run", history=History(), gallery=Gallery(), sweep=None, choices={})
    build.trainer(cfg, run).fit(synthesizer, data)  # type: ignore[arg-type]
    for (signal, rr), n in zip(synthesizer.draw(torch.tensor([0, 1, 2, 3, 4] * 220), seed=0), (1024, 76), strict=True):
        assert signal.shape == (n, *data.beats.signal.shape[1:])
        assert rr.shape == (n, *data.beats.rr.shape[1:])
        assert torch.isfinite(signal).all()
        assert torch.isfinite(rr).all()


def test_the_set_says_what_it_was_fitted_on(fit: Path) -> None:
    found = read(fit)
    assert found.provenance["counts"] == {"S": 40, "F": 3}
    assert found.signal.shape == (43, 2, 192)
    assert (np.bincount(found.label, minlength=5) == [0, 40, 0, 3, 0]).all()
    fitted, chosen = found.provenance["fitted_on"], found.provenance["chosen_on"]
    assert not set(fitted["patients"]) & set(chosen["patients"])
    assert found.provenance["generator"]["_target_"].endswith("WGANGP")


def test_the_beats_are_judged_on_both_sides_and_reported(fit: Path) -> None:
    judged = json.loads((fit / "fidelity.json").read_text())
    for side in ("validation", "test"):
        found = judged[side]
        assert found["n"]["synthetic"] == dict.fromkeys("NSVFQ", 40)
        assert len(found["gates"]) >= 6  # those of S and F need twenty held-out beats
        assert not found["trusted"]  # after a dozen steps
    assert judged["test"]["n"]["held_out"] != judged["validation"]["n"]["held_out"]
    page = (fit / "report.html").read_text(encoding="utf-8")
    for text in (
        "These beats missed",
        "nearest training beat",
        "The same noise, epoch by epoch",
        "Simulated recordings",
    ):
        assert text in page, text
    assert page.count('<img src="data:image/') == 5
    assert "http" not in re.sub(r"data:image/[^\"]+", "", page)
    provenance = read(fit).provenance
    assert len(provenance["gates_on_validation"]) == len(judged["validation"]["gates"])


def test_a_sweep_of_generators_ends_in_one_table(fit: Path, tmp_path: Path) -> None:
    tracked = [word if word != "logger=none" else "logger.mode=offline" for word in TINY]
    ended = synth(
        "-m", *tracked, "generator=lstm_gan,rectified_flow", "trainer.max_epochs=1", "trainer.limit_train_batches=2",
        FEW, "generator.hidden=8", f"hydra.sweep.dir={tmp_path}/sweep", f"paths.cache_dir={fit.parent}/cache",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "judged on the validation beats" in ended.stdout
    rows = pd.read_csv(tmp_path / "sweep" / "fidelity.csv")
    assert sorted(name.split("_", 1)[1] for name in rows["run"]) == [
        "lstm_gan_simulated_patient_kfold", "rectified_flow_simulated_patient_kfold",
    ]  # fmt: skip
    assert rows["validation Fréchet"].is_monotonic_increasing or rows["validation gates passed"].nunique() > 1
    assert rows["test discrim."].notna().all()
    (run,) = (tmp_path / "sweep").glob("*lstm_gan*/wandb/offline-run-*")
    records = [json.loads(line) for line in inspected(run).splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    logged = {name.split(".")[0] for row in history for name in row}
    for name in ("train/generator_loss", "train/critic_gradient", "val/frechet", "figures/gallery", "fidelity/gates"):
        assert name in logged, logged
    summary = inspected(run, "--summary")
    for name in ("fidelity/test/discriminative", "fidelity/test/discriminative/F", "fidelity/validation/trusted"):
        assert f'"{name}"' in summary


@pytest.mark.parametrize(
    ("frechet", "spread", "message"),
    [
        ([3.0, 0.5, 0.6], 0.01, "collapsed: even in its best epoch, 1"),
        ([3.0, 1.0, 9.0], 1.0, "diverged after epoch 1: .* from 1 to 9"),
        ([9.0, 4.0, 1.0], 1.0, "last epoch was the best by far"),
        ([3.0, 1.0, 1.1, 1.05], 1.0, None),
        ([float("nan")], 1.0, None),
    ],
)
def test_a_fit_that_went_wrong_is_told_in_words(frechet: list[float], spread: float, message: str | None) -> None:
    from ecg.synthesis import troubles

    n = len(frechet)
    said = troubles({"val/frechet": frechet, "val/spread": [spread] * n, "val/coverage": [0.05] * n})
    assert [bool(re.search(message or "", sentence)) for sentence in said] == ([True] if message else [])


def test_a_checkpoint_draws_more_and_the_same_for_the_same_seed(fit: Path, tmp_path: Path) -> None:
    for name, n in (("b", 40), ("c", 50)):
        ended = synth(
            f"checkpoint={fit}", "logger=none", f"synth.per_class={{S: {n}, F: 3}}", f"hydra.run.dir={tmp_path}/{name}"
        )
        assert ended.returncode == 0, ended.stderr
    np.testing.assert_array_equal(read(tmp_path / "b").signal, read(fit).signal)
    assert read(tmp_path / "c").provenance["counts"] == {"S": 50, "F": 3}
    assert read(tmp_path / "c").provenance["fitted_on"] == read(fit).provenance["fitted_on"]


def test_an_interrupted_fit_goes_on_as_if_nothing_had_been(fit: Path, tmp_path: Path) -> None:
    again = [*TINY, "generator=wgan_gp", FEW, f"paths.cache_dir={fit.parent}/cache"]
    stop = "import ecg.synthesizer as s\nold = s.Synthesizer.training_step\ndef step(self, batch, batch_idx):\n"
    stop += "    if self.current_epoch == 1 and batch_idx == 2:\n        import os\n        os.kill(os.getpid(), 9)\n"
    stop += "    return old(self, batch, batch_idx)\ns.Synthesizer.training_step = step\n"
    stop += f"import runpy, sys\nsys.argv = ['synth.py', *sys.argv[1:]]\nsys.path.insert(0, {str(ROOT)!r})\n"
    stop += f"runpy.run_path({str(ROOT / 'synth.py')!r}, run_name='__main__')\n"
    (tmp_path / "killed.py").write_text(stop)
    folder = tmp_path / "run"
    call = [sys.executable, str(tmp_path / "killed.py"), *again, "trainer.max_epochs=2", f"hydra.run.dir={folder}"]
    assert subprocess.run(call, capture_output=True, timeout=200).returncode == -9
    ended = synth(f"resume={folder}", f"hydra.run.dir={tmp_path}/unused")
    assert ended.returncode == 0, ended.stderr
    a, b = (torch.load(at / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for at in (fit, folder))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    np.testing.assert_array_equal(read(folder).signal, read(fit).signal)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["synth.per_class={X: 5}"], "synth.per_class has X: the classes here are N, S, V, F, Q"),
        (["synth.per_class={S: 0}"], "at least 1 beat"),
        (["synth.balance_to=X"], "synth.balance_to is X"),
        (["generator=vae"], "vae"),
        (["generator.hidden=12"], "multiple of 8"),
        (["generator.lr=0"], "generator.lr is 0"),
        (["checkpoint=nowhere"], "no run folder of a fitted generator"),
        (["resume=nowhere"], "holds no run"),
        (["checkpoint=a", "resume=b"], "holds no run"),
        (["data.n_patients=10", "data.minutes=1"], "training beats"),
    ],
)
def test_bad_input_is_one_sentence(overrides: list[str], message: str, tmp_path: Path) -> None:
    ended = synth("logger=none", f"paths.cache_dir={tmp_path}/cache", f"hydra.run.dir={tmp_path}/run", *overrides)
    assert ended.returncode != 0
    (line,) = ended.stderr.strip().splitlines()[-1:]
    assert line.startswith("Error: ")
    assert re.search(message, line), line


def test_failed_jobs_of_a_sweep_are_told(tmp_path: Path) -> None:
    few = ["data.n_patients=10", "data.minutes=1", "seed=1,2", f"paths.cache_dir={tmp_path}/cache"]
    ended = synth("-m", "logger=none", *few, f"hydra.sweep.dir={tmp_path}/sweep")
    assert ended.returncode == 1
    assert "Error in job 1: Class " in ended.stderr
    assert "2 of 2 jobs did not finish" in ended.stderr.splitlines()[-1]


def test_a_set_without_a_beat_is_refused(fit: Path, tmp_path: Path) -> None:
    ended = synth(f"checkpoint={fit}", "logger=none", "synth.balance_to=F", f"hydra.run.dir={tmp_path}/run")
    assert ended.returncode != 0
    assert "say how many with synth.per_class" in ended.stderr
    assert not (tmp_path / "run" / "synthetic").exists()


def test_the_checkpoint_of_another_generator_is_refused(fit: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for name in ("fitted.json", "checkpoints/best.ckpt"):
        (tmp_path / "run" / name).write_bytes((fit / name).read_bytes())
    config = (fit / "config.yaml").read_text().replace("hidden: 8", "hidden: 16")
    (tmp_path / "run" / "config.yaml").write_text(config)
    ended = synth(f"checkpoint={tmp_path}/run", "logger=none", f"hydra.run.dir={tmp_path}/more")
    assert ended.returncode != 0
    assert "checkpoint of another generator" in ended.stderr


def test_a_loss_that_is_no_number_ends_in_one_sentence(tmp_path: Path) -> None:
    ended = synth(
        *TINY, "generator=wgan_gp", "generator.lr=1e30", "trainer.max_epochs=3", f"hydra.run.dir={tmp_path}/run"
    )
    assert ended.returncode != 0
    assert re.search(r"Error: The loss of the \w+ is (nan|inf|-inf) in epoch \d+, batch \d+", ended.stderr), (
        ended.stderr
    )


def test_help_shows_the_generators() -> None:
    ended = synth("--help")
    assert ended.returncode == 0
    for generator in GENERATORS:
        assert f"generator={generator}" in ended.stdout
    assert json.dumps("model=cnn") not in ended.stdout
