"""Do synthetic beats help a classifier? Five ways to meet the imbalance, with as many added beats and as many steps.

    ECG_DATA_DIR=... python benchmarks/study.py all SYNTH_RUN_DIR
    ECG_DATA_DIR=... python benchmarks/study.py scarce SYNTH_RUN_DIR_OF_THE_KEPT_BEATS

`all` trains on all training beats of the Kaggle split, `scarce` on a tenth of them; the generator of a regime has seen
that regime's training beats alone. Each training is written to results/study_REGIME.json as it ends, and a second call
goes on with what is missing. Seeds are paired: with the same seed all arms start from the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BASE = ["data=mitbih", "protocol=kaggle", "model=cnn", "model.hidden=48", "callbacks.patience=null"]
BASE += ["n_bootstrap=10", "logger=none", "trainer.enable_progress_bar=false"]
KEPT = "{N: 0.1, S: 0.1, V: 0.1, F: 0.1, Q: 0.1}"
REGIMES = {
    # An epoch is as many batches in every arm, however many beats it has, so that all are validated as often.
    "all": ["trainer.limit_train_batches=370", "trainer.max_epochs=10"],
    "scarce": [f"protocol.keep={KEPT}", "trainer.limit_train_batches=60", "trainer.max_epochs=24"],
}
ARMS = {
    "none": ["augmentation=none"],
    "oversample": ["augmentation=oversample"],
    "smote": ["augmentation=smote"],
    "waveform": ["augmentation=waveform", "augmentation.balance=oversample"],
    "gan": ["augmentation=gan"],
}


def train(overrides: list[str]) -> dict[str, Any]:
    """One training; what is kept of it."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, str(ROOT / "train.py"), *overrides, f"hydra.run.dir={folder}"]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
        training = json.loads((Path(folder) / "training.json").read_text())
        provenance = json.loads((Path(folder) / "provenance.json").read_text())
    row: dict[str, Any] = {
        "commit": provenance["git_commit"],
        "steps": training["steps"],
        "seconds": training["seconds"],
        "best_epoch": training["best_epoch"],
        "synthetic_set": provenance.get("synthetic_set", {}).get("sha256"),
    }
    for side in ("validation", "test"):
        found = metrics[side]
        row[side] = {"macro_f1": found["macro"]["f1"]["value"], "accuracy": found["accuracy"]["value"]}
        row[side] |= {name: scores["f1"]["value"] for name, scores in found["per_class"].items()}
    return row


def main() -> None:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("regime", choices=REGIMES)
    parser.add_argument("beats", type=Path, help="run folder of synth.py")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    arguments = parser.parse_args()
    path = ROOT / "results" / f"study_{arguments.regime}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {(row["arm"], row["seed"]) for row in rows}
    for seed in range(1, arguments.seeds + 1):
        for arm in arguments.arms:
            if (arm, seed) in done:
                continue
            overrides = [*BASE, *REGIMES[arguments.regime], *ARMS[arm], f"seed={seed}"]
            used = [f"augmentation.beats={arguments.beats.resolve()}"] if arm == "gan" else []
            rows.append({"arm": arm, "seed": seed, **train([*overrides, *used])})
            print(arm, seed, rows[-1]["validation"]["macro_f1"], rows[-1]["test"]["macro_f1"], flush=True)
            told = {"command": f"python train.py {' '.join([*BASE, *REGIMES[arguments.regime]])}", "arms": ARMS}
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")
            os.replace(temporary, path)


if __name__ == "__main__":
    main()
