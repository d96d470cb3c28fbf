"""Do synthetic beats help a classifier? Five ways to meet the imbalance, with as many added beats and as many steps.

    ECG_DATA_DIR=... python benchmarks/study.py all SYNTH_RUN_DIR --runs FOLDER
    ECG_DATA_DIR=... python benchmarks/study.py scarce SYNTH_RUN_DIR_OF_THE_KEPT_BEATS --runs FOLDER

`all` trains on all training beats of the Kaggle split, `scarce` on a tenth of them; the generator of a regime has seen
that regime's training beats alone. Two sweeps of train.py, compared with `ecg compare`; what they find goes to
results/study_REGIME.json. Called again, it goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASE = ["data=mitbih", "protocol=kaggle", "model=cnn", "model.hidden=48", "callbacks.patience=null"]
BASE += ["n_bootstrap=10", "logger=none", "trainer.enable_progress_bar=false"]
KEPT = "{N:0.1,S:0.1,V:0.1,F:0.1,Q:0.1}"
REGIMES = {
    # An epoch is as many batches in every arm, however many beats it has, so that all are validated as often.
    "all": ["trainer.limit_train_batches=370", "trainer.max_epochs=10"],
    "scarce": [f"protocol.keep={KEPT}", "trainer.limit_train_batches=60", "trainer.max_epochs=24"],
}
# The transforms multiply as many beats as the others add.
SWEEPS = {
    "balance": ["augmentation=none,oversample,smote,gan"],
    "waveform": ["augmentation=waveform", "augmentation.balance=oversample"],
}


def main() -> None:
    """Trains what is missing and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("beats", type=Path, help="run folder of synth.py")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the sweeps")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, which share the cores")
    arguments = parser.parse_args()
    seeds = ",".join(str(seed) for seed in range(1, arguments.seeds + 1))
    at_once = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={arguments.jobs}"] if arguments.jobs > 1 else []
    folders, commands = [], []
    for name, arms in SWEEPS.items():
        folder = arguments.runs.resolve() / f"{arguments.regime}_{name}"
        beats = [f"augmentation.beats={arguments.beats.resolve()}"] if "gan" in arms[0] else []
        said = [*BASE, *REGIMES[arguments.regime], *arms, f"seed={seeds}"]
        begun = (folder / "multirun.yaml").is_file()
        call = [f"sweep.resume={folder}"] if begun else [*said, *beats, *at_once, f"hydra.sweep.dir={folder}", "-m"]
        subprocess.run([sys.executable, str(ROOT / "train.py"), *call], check=True)
        folders.append(folder)
        commands.append(" ".join(["python train.py -m", *said, *(["augmentation.beats=RUN_DIR"] if beats else [])]))
    out = arguments.runs.resolve() / arguments.regime
    compare = [sys.executable, "-c", "from ecg.cli import app; app()", "compare", *map(str, folders), "--out", str(out)]
    subprocess.run(compare, check=True)
    found = json.loads((out / "leaderboard.json").read_text())
    del found["differs"]["augmentation.beats"]  # a folder of this machine
    path = ROOT / "results" / f"study_{arguments.regime}.json"
    path.write_text(json.dumps({"commands": commands, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
