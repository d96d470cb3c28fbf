"""Time to sample a synthetic beat: microseconds a beat, for every generator with its default configuration.

    python benchmarks/sampling.py --out results/sampling.json

The window is that of the Kaggle set. The weights are random, since they do not change the time. The generators take
turns, and the best of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from ecg import build
from ecg.config.schema import SCHEMAS, register
from ecg.synthesizer import Synthesizer

ROOT = Path(__file__).parents[1]
N_RECORDS = 47  # training records of the Kaggle set


def make_synthesizer(generator: str, precision: str, tiny: bool) -> Synthesizer:
    """A synthesizer with random weights."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = [f"generator={generator}", "data.window=kaggle", f"trainer.precision={precision}"]
        overrides += ["name=sampling", "paths.run_dir=unused", *(["generator.hidden=8"] if tiny else [])]
        cfg = compose("synth", overrides)
    synthesizer = build.unfitted_synthesizer(cfg, (1, 187), tuple("NSVFQ"), N_RECORDS, padded=True)
    synthesizer.record_counts.fill_(1)
    return synthesizer


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--beats", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tiny", action="store_true", help="a quick check that the benchmark runs")
    options = parser.parse_args(arguments)
    n_beats, rounds = (10, 1) if options.tiny else (options.beats, options.rounds)
    register()
    precisions = dict.fromkeys(("32-true", build.best_precision("cpu")[0]))
    cases = {(g, p): make_synthesizer(g, p, options.tiny) for g in SCHEMAS["generator"] for p in precisions}
    label = torch.arange(5).repeat_interleave(-(-n_beats // 5))[:n_beats]
    best = dict.fromkeys(cases, float("inf"))
    for seed in range(rounds):
        for case, synthesizer in cases.items():
            start = time.perf_counter()
            for _ in synthesizer.draw(label, seed):
                pass
            best[case] = min(best[case], 1e6 * (time.perf_counter() - start) / n_beats)
    rows = []
    for (generator, precision), microseconds in best.items():
        rows.append({"generator": generator, "precision": precision, "microseconds": round(microseconds, 1)})
        print(f"{generator:<16}{precision:<12}{microseconds:8.1f} microseconds a beat")
    if options.out:
        machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        options.out.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
