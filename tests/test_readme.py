from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from ecg.config import check, register

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
register()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python train\.py ((?:-m )?\w+=[^`\n]*)", README))))
def test_every_command_composes(command: str) -> None:
    words = [word for word in command.split() if word != "-m"]
    # Of a sweep, the first of each list.
    overrides = [word if "[" in word else word.split(",")[0] for word in words]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        check(compose("train", [*overrides, "name=x", "paths.run_dir=x"]))


def test_tables_are_those_of_the_results() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import results

    assert results.filled(README) == README
