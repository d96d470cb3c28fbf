"""Study: batch size and precision with the highest validation macro-F1 in the same time, for `cnn` on the Kaggle split.

    ECG_DATA_DIR=... python studies/recipe.py --minutes 3 --out results/recipe.json

Each recipe trains for the number of epochs that fit into the time at the speed measured by `benchmarks/step.py`. Test
beats are not used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINING_BEATS = 78_798  # of protocol=kaggle, without the validation beats
RECIPES = [("bf16-mixed", 64, 2e-3), ("bf16-mixed", 128, 3e-3), ("bf16-mixed", 256, 4e-3), ("32-true", 128, 3e-3)]


def validation_macro_f1(precision: str, batch_size: int, lr: float, epochs: int) -> float:
    """Trains a recipe and returns its validation macro-F1."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = [f"trainer.precision={precision}", f"optimizer.batch_size={batch_size}", f"optimizer.lr={lr}"]
        recipe += [f"trainer.max_epochs={epochs}", f"hydra.run.dir={folder}", "logger=none", "n_bootstrap=10"]
        call = [sys.executable, str(ROOT / "train.py"), "data=mitbih", "protocol=kaggle", *recipe]
        subprocess.run([*call, "trainer.enable_progress_bar=false"], check=True, stdout=subprocess.DEVNULL)
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    return float(metrics["subsets"]["validation"]["macro"]["f1"]["value"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains every recipe, prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--speeds", type=Path, default=ROOT / "results" / "step.json")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    speeds = {
        (row["precision"], row["batch_size"]): row["beats_per_second"]
        for row in json.loads(options.speeds.read_text())["rows"]
        if row["network"] == "cnn" and row["variant"] == "default"
    }
    rows = []
    for precision, batch_size, lr in RECIPES:
        epochs = max(1, round(options.minutes * 60 * speeds[precision, batch_size] / TRAINING_BEATS))
        score = validation_macro_f1(precision, batch_size, lr, epochs)
        row = {"precision": precision, "batch_size": batch_size, "lr": lr, "epochs": epochs}
        rows.append({**row, "validation_macro_f1": score})
        print(" ".join(f"{value!s:<12.6}" for value in rows[-1].values()), flush=True)
        if options.out:
            options.out.write_text(json.dumps({"minutes": options.minutes, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
