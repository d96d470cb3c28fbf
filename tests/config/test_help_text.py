"""The --help text."""

from __future__ import annotations

import subprocess
import sys

import pytest
from programs import CONF, ROOT, run

from ecg.config.help_text import options
from ecg.config.schema import SCHEMAS


@pytest.mark.parametrize(("program", "missing"), [("train", "generator"), ("synth", "model")])
def test_help_lists_every_option_and_key(program: str, missing: str) -> None:
    ended = run(program, "--help")
    assert ended.returncode == 0
    groups = {"train": set(SCHEMAS) - {"generator"}, "synth": {"data", "protocol", "generator", "logger"}}[program]
    for group in groups:
        for option in options(CONF, group):
            assert option in ended.stdout
    for key in ("trainer.max_epochs=12", "protocol.fold=0", "data.n_patients=24"):
        assert key in ended.stdout
    assert f"\n  {missing}=" not in ended.stdout


def test_help_gives_meaning_and_valid_range_of_a_key() -> None:
    line = next(line for line in run("train", "--help").stdout.splitlines() if "optimizer.lr=0.003" in line)
    assert "peak learning rate (above 0" in line


def test_nothing_heavy_is_imported_before_the_check() -> None:
    code = "import sys; sys.argv = ['train.py', 'seed=-1']; import train; print([m for m in "
    code += "('torch', 'pytorch_lightning', 'wandb', 'pandas', 'sklearn', 'numpy') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]", ended.stderr


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = f"{sys.executable} train.py --help | head -n 1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.startswith("usage: python train.py")
    assert ended.stderr == ""
