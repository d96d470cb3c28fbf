"""The documents: their commands compose, their tables match `results/`, and the README names every option."""

from __future__ import annotations

import re
import shlex

import pytest
from programs import ROOT, composed, load_module

from ecg.config.checks import check_synth, check_train

README = (ROOT / "README.md").read_text()
ACCURACY = (ROOT / "docs" / "accuracy.md").read_text()
SYNTHESIS = (ROOT / "docs" / "synthesis.md").read_text()
# `sweep.resume` is replaced by the command of the sweep before Hydra reads it.
COMMANDS = sorted(
    set(re.findall(r"python (train|synth)\.py ((?:-m )?(?!sweep\.)[\w./]+=[^`\n]*)", README + ACCURACY + SYNTHESIS))
)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_every_command_composes(program: str, command: str) -> None:
    words = [word for word in shlex.split(command, comments=True) if word != "-m"]
    # The first value of each list of a sweep.
    overrides = [word if "[" in word or "{" in word else word.split(",")[0] for word in words]
    cfg = composed(program, *overrides)
    (check_train if program == "train" else check_synth)(cfg)


def test_tables_match_the_results() -> None:
    results = load_module(ROOT / "studies" / "results.py")
    for path, tables in results.DOCUMENTS.items():
        text = path.read_text()
        assert results.render(text, tables) == text, path


def test_linked_files_exist() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(((?!http|#)[^)]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{target} in {path}"
