"""The documents: their commands run or compose, their tables match `results/`, their links lead somewhere.

Shell lines without a title run here, on small simulated recordings. Those with a title need records or runs of the
reader; of them, the configurations are composed and checked.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import ROOT, TINY_SYNTH, TINY_TRAIN, composed, load_module, run
from typer.testing import CliRunner
from wfdb_factories import write_recording

from ecg.cli import app
from ecg.config.checks import check_synth, check_train
from ecg.data.simulated import Simulated
from ecg.data.window import KaggleWindow

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference")]
TEXT = "\n".join(page.read_text() for page in PAGES)
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```', re.S | re.M)
INVALID = "An invalid value"
# `sweep.resume` and `resume` are replaced by an earlier command before Hydra reads them.
COMMANDS = sorted(
    set(re.findall(r"python (train|synth)\.py ((?:-m )?(?!sweep\.|resume=|model\.hidden=0)[\w./]+=[^`\n]*)", TEXT))
)


def fences(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Title and text of the code blocks in some languages."""
    return [(title, text) for language, title, text in FENCE.findall(page.read_text()) if language in languages]


def lines(page: Path, title: str = "") -> list[list[str]]:
    """The words of the shell lines in the blocks with a title."""
    text = "".join(text for other, text in fences(page, "bash") if other == title)
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


@pytest.mark.slow
@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_every_command_composes(program: str, command: str) -> None:
    words = [word for word in shlex.split(command, comments=True) if word != "-m"]
    # The first value of each list of a sweep.
    overrides = [word if "[" in word or "{" in word else word.split(",")[0] for word in words]
    cfg = composed(program, *overrides)
    (check_train if program == "train" else check_synth)(cfg)


def run_line(words: list[str], cache_dir: Path, released_onnx: Callable[..., Path]) -> None:
    """Runs a shell line in the current folder, with small settings. A sweep has two jobs: other lists are cut."""
    name, program, *given = words
    if (name, program) == ("ecg", "export"):
        assert given[0] == "inter_patient"
        shutil.copy(released_onnx(*given[2:]), given[1])
        return
    if name == "ecg":
        ended = CliRunner().invoke(app, words[1:])
        assert ended.exit_code == 0, ended.output
        return
    assert name == "python", words
    lists = [word for word in given if "," in word]
    given = [",".join(word.split(",")[: 2 if word == lists[-1] else 1]) if word in lists else word for word in given]
    latest = max(Path("outputs/synth").rglob("synthetic"), default=Path("none")).parent
    given = [word.replace("outputs/synth/DATE/RUN", str(latest)) for word in given]
    tiny = [*(TINY_TRAIN if program == "train.py" else TINY_SYNTH), f"paths.cache_dir={cache_dir}"]
    tiny += [] if "logger=none" in given else ["logger=none"]
    tiny += ["data.n_patients=12", "data.minutes=1", "trainer.max_epochs=1"]
    assert run(program.removesuffix(".py"), *given, *([] if "--help" in given else tiny)).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if lines(page)], ids=lambda page: page.name)
def test_shell_lines_run(
    page: Path,
    tmp_path: Path,
    cache_dir: Path,
    released_onnx: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = Simulated(name="simulated", records=None, n_patients=1, minutes=1, seed=0)
    write_recording(tmp_path, source.read(source.record_names()[0], KaggleWindow("first")), "RECORD")
    for _, text in fences(page, "python", "yaml"):
        if named := re.match(r"# (\S+\.\w+)\n", text):
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for words in lines(page):
        if words[0] != "pip":
            run_line([word for word in words if word != "PYTHONPATH=."], cache_dir, released_onnx)


def test_an_invalid_value_gives_one_sentence() -> None:
    shown = [words for page in PAGES for words in lines(page, INVALID)]
    assert shown
    for _, program, *given in shown:
        assert run(program.removesuffix(".py"), *given).message


def test_tables_match_the_results() -> None:
    results = load_module(ROOT / "studies" / "results.py")
    for path, tables in results.DOCUMENTS.items():
        text = path.read_text()
        assert results.render(text, tables) == text, path


def test_the_reference_is_up_to_date() -> None:
    reference = load_module(ROOT / "studies" / "reference.py")
    assert (reference.FOLDER / "configuration.md").read_text() == reference.configuration()
    # The layout of the other page is that of the installed version of typer.
    options = re.compile(r"^## `ecg [\w-]+`|^\* `--[\w-]+", re.M)
    written, now = (reference.FOLDER / "commands.md").read_text(), reference.commands()
    assert options.findall(written) == options.findall(now)


def test_linked_files_exist_and_pictures_have_alternative_text() -> None:
    for path in PAGES:
        text = path.read_text()
        for target in re.findall(r"\]\(((?!http|#)[^)#]+)(?:#[^)]*)?\)", text):
            assert (path.parent / target).exists(), f"{target} in {path}"
        assert "![](" not in text, path


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
