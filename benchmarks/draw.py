"""How long does a synthetic beat take to draw? Every generator as it comes, in the window of the Kaggle set.

    python benchmarks/draw.py --out results/draw.json

The weights are random: they do not change how long it takes. All draw in turn, and the best of the rounds counts, so
that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from ecg import build, config

ROOT = Path(__file__).parents[1]
N_STYLES = 47  # records of the Kaggle set


def blank(generator: str, precision: str) -> Any:
    """A generator of random weights."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        chosen = [f"generator={generator}", "data.window=kaggle", f"trainer.precision={precision}", "name=draw"]
        cfg = compose("synth", [*chosen, "paths.run_dir=unused"])
    synthesizer = build.blank_synthesizer(cfg, (1, 187, 0), tuple("NSVFQ"), N_STYLES)
    synthesizer.styles.fill_(1)
    return synthesizer


def main() -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--beats", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    config.register()
    generators = ("r3gan", "wgan_gp", "lstm_gan", "rectified_flow")
    drawers = {(g, p): blank(g, p) for g in generators for p in ("32-true", build.best_precision("cpu"))}
    label = torch.arange(5).repeat_interleave(-(-arguments.beats // 5))[: arguments.beats]
    best = dict.fromkeys(drawers, float("inf"))
    for seed in range(arguments.rounds):
        for which, synthesizer in drawers.items():
            start = time.perf_counter()
            for _ in synthesizer.draw(label, seed):
                pass
            best[which] = min(best[which], 1e6 * (time.perf_counter() - start) / len(label))
    rows = []
    for (generator, precision), found in best.items():
        rows.append({"generator": generator, "precision": precision, "microseconds": round(found, 1)})
        print(f"{generator:<16}{precision:<12}{found:8.1f} microseconds a beat")
    if arguments.out:
        threads = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        arguments.out.write_text(json.dumps({**threads, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
