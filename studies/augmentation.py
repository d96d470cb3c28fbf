"""Study: does adding synthetic beats improve a classifier? Compares five augmentations on the Kaggle split.

    ECG_DATA_DIR=... python studies/augmentation.py all SYNTH_RUN_DIR --runs FOLDER
    ECG_DATA_DIR=... python studies/augmentation.py scarce SYNTH_RUN_DIR_OF_THE_SAME_BEATS --runs FOLDER

`all` trains on all training beats, `scarce` on a tenth of them. The generator of each regime was fitted on the training
beats of that regime. All augmentations add the same number of beats and train for the same number of steps. The two
sweeps of train.py are compared as by `ecg compare`, and the result is written to results/study_REGIME.json. A study
that was interrupted continues.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = ["data=mitbih", "protocol=kaggle", "model=cnn", "model.hidden=48", "callbacks.patience=null"]
BASE += ["n_bootstrap=10", "logger=none", "trainer.enable_progress_bar=false"]
KEEP = "{N:0.1,S:0.1,V:0.1,F:0.1,Q:0.1}"
REGIMES = {
    # The same number of batches an epoch, so that every configuration is validated equally often.
    "all": ["trainer.limit_train_batches=370", "trainer.max_epochs=10"],
    "scarce": [f"protocol.keep={KEEP}", "trainer.limit_train_batches=60", "trainer.max_epochs=24"],
}
SWEEPS = {
    "balance": ["augmentation=none,oversample,smote,gan"],
    # The transforms are applied to oversampled beats, so that the number of added beats is the same.
    "waveform": ["augmentation=waveform", "augmentation/balance=oversample"],
}


def run_sweep(folder: Path, overrides: list[str], beats: list[str], n_jobs: int) -> None:
    """Runs a sweep in `folder`, or continues it."""
    parallel = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={n_jobs}"] if n_jobs > 1 else []
    arguments = [*overrides, *beats, *parallel, f"hydra.sweep.dir={folder}", "-m"]
    if (folder / "sweep.yaml").is_file():
        arguments = [f"sweep.resume={folder}"]
    subprocess.run([sys.executable, str(ROOT / "train.py"), *arguments], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the sweeps and writes their comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("beats", type=Path, help="run folder of synth.py")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the sweeps")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    options = parser.parse_args(arguments)
    seeds = ",".join(str(seed) for seed in range(1, options.seeds + 1))
    folders, commands = [], []
    for name, augmentation in SWEEPS.items():
        folder = options.runs.resolve() / f"{options.regime}_{name}"
        overrides = [*BASE, *REGIMES[options.regime], *augmentation, f"seed={seeds}"]
        uses_set = "gan" in augmentation[0]
        beats = [f"augmentation.beats={options.beats.resolve()}"] if uses_set else []
        run_sweep(folder, overrides, beats, options.jobs)
        folders.append(folder)
        shown = [*overrides, *(["augmentation.beats=RUN_DIR"] if uses_set else [])]
        commands.append(" ".join(["python train.py -m", *shown]))
    out = options.runs.resolve() / options.regime
    compare = [sys.executable, "-c", "from ecg.cli import app; app()", "compare", *map(str, folders), "--out", str(out)]
    subprocess.run(compare, check=True)
    board = json.loads((out / "leaderboard.json").read_text())
    board["differing_keys"].pop("augmentation.beats", None)  # a folder of this machine
    path = ROOT / "results" / f"study_{options.regime}.json"
    path.write_text(json.dumps({"commands": commands, **board}, indent=1) + "\n")


if __name__ == "__main__":
    main()
