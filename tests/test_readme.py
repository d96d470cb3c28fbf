from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from ecg.config import check, check_synth, register

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
register()


# `sweep.resume` is turned into the command of the sweep before Hydra sees it.
COMMANDS = sorted(set(re.findall(r"python (train|synth)\.py ((?:-m )?(?!sweep\.)[\w./]+=[^`\n]*)", README)))


@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_every_command_composes(program: str, command: str) -> None:
    words = [word for word in shlex.split(command, comments=True) if word != "-m"]
    # Of a sweep, the first of each list.
    overrides = [word if "[" in word or "{" in word else word.split(",")[0] for word in words]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(program, [*overrides, "name=x", "paths.run_dir=x"])
    (check if program == "train" else check_synth)(cfg)


def test_tables_are_those_of_the_results() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import results

    assert results.filled(README) == README
