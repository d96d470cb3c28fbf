"""Run folders as train.py and synth.py write them, without a training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from ecg.evaluation.metrics import evaluate
from ecg.evaluation.predictions import Predictions

CLASSES = ("N", "S", "V")


def make_run(
    folder: Path,
    *,
    seed: int,
    error: float = 0.2,
    model: str = "cnn",
    state: str = "finished",
    classes: tuple[str, ...] = CLASSES,
    **config: object,
) -> Path:
    """A run folder of train.py.

    Args:
        folder: the run folder.
        seed: seed of the run.
        error: fraction of the beats with a random prediction.
        model: option of the group model.
        state: state of the run; an unfinished run has no results.
        classes: names of three classes.
        config: more keys of the configuration, such as protocol={"fold": 1}.
    """
    folder.mkdir(parents=True)
    keys = {"name": "x", "seed": seed, "model": {"_target_": model}, "paths": {"run_dir": str(folder)}, **config}
    (folder / "config.yaml").write_text(yaml.safe_dump(keys))
    (folder / "overrides.yaml").write_text(yaml.safe_dump([f"model={model}", f"seed={seed}"]))
    status = {"state": state, "result": 0.5, "reason": "" if state == "finished" else "out of memory"}
    (folder / "status.json").write_text(json.dumps(status))
    if state == "finished":
        fold = int(config.get("protocol", {}).get("fold", 0))  # type: ignore[attr-defined]
        _write_results(folder, seed=seed, fold=fold, error=error, model=model, classes=classes)
    return folder


def make_sweep(folder: Path, seeds: range = range(1, 6)) -> Path:
    """A sweep in which the model lstm is better than cnn with every seed, and one job has failed."""
    jobs = [(model, error, seed) for model, error in (("cnn", 0.4), ("lstm", 0.1)) for seed in seeds]
    for number, (model, error, seed) in enumerate(jobs):
        make_run(folder / f"{number}_{model}", seed=seed, error=error, model=model)
    make_run(folder / f"{len(jobs)}_lstm", seed=99, model="lstm", state="failed")
    return folder


def _write_results(folder: Path, *, seed: int, fold: int, error: float, model: str, classes: tuple[str, ...]) -> None:
    subsets = {
        "validation": _predictions(100 * seed + fold, error, f"validation{fold}-", classes),
        "test": _predictions(1000 * seed + fold, error, f"test{fold}-", classes),
    }
    metrics = {name: evaluate(subset, by_patient=True, n_bootstrap=0).to_json() for name, subset in subsets.items()}
    (folder / "metrics.json").write_text(
        json.dumps({"simulated": True, "logit_shift": 0.0, "temperature": 1.0, "subsets": metrics})
    )
    history = [{"epoch": e, "train/loss": 1 / (e + 1), "val/macro_f1": 0.5 + 0.1 * e} for e in range(3)]
    (folder / "training.json").write_text(json.dumps({"history": history}))
    (folder / "provenance.json").write_text(json.dumps({"choices": {"model": model, "augmentation": "none"}}))
    columns = {
        name: np.concatenate([getattr(subset, name) for subset in subsets.values()])
        for name in ("record", "patient", "sample", "label", "probability")
    }
    subset = np.repeat(list(subsets), [len(predictions.label) for predictions in subsets.values()])
    np.savez(folder / "predictions.npz", **columns, subset=subset, classes=np.array(classes))  # type: ignore[arg-type]


def _predictions(seed: int, error: float, patients: str, classes: tuple[str, ...], n: int = 120) -> Predictions:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % len(classes)
    predicted = np.where(rng.random(n) < error, rng.integers(len(classes), size=n), label)
    patient = np.array([f"{patients}{i % 4}" for i in range(n)])
    probability = np.eye(len(classes), dtype=np.float32)[predicted]
    return Predictions(label.astype(np.int64), probability, patient, patient, np.arange(n), classes)
