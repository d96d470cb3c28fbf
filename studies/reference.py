"""Writes the reference of the configuration and of the commands: docs/reference/configuration.md and commands.md.

python studies/reference.py
"""

from __future__ import annotations

from pathlib import Path

import typer.main
from typer.cli import get_docs_for_click

from ecg.cli import app
from ecg.config.help_text import Section, sections
from ecg.config.schema import SynthConfig, TrainConfig

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- written by studies/reference.py -->"


def configuration() -> str:
    """The page of all keys, in Markdown: those of train.py, then those that only synth.py has."""
    of_train, of_synth = sections(TrainConfig), sections(SynthConfig)
    known = {(section.title, key.name) for section in of_train for key in section.keys}
    lines = [
        "# Configuration",
        NOTE,
        "Every key of `train.py` and `synth.py` with its default on the command line, its meaning and its valid range. "
        "A group such as `model` is selected by `model=cnn`, and a key is set by `model.hidden=64`. "
        "`python train.py --help` prints the same, and `--cfg job` prints the configuration of a command.",
        "## train.py",
        *(_section(section) for section in of_train),
        "## synth.py",
        "Keys and options that `train.py` does not have.",
    ]
    for section in of_synth:
        keys = [key for key in section.keys if (section.title, key.name) not in known]
        if keys:
            lines.append(_section(Section(section.title, section.documentation, keys)))
    return "\n\n".join(lines) + "\n"


def _section(section: Section) -> str:
    title = f"### `{section.title}`" if section.title else "### Keys at the top"
    lines = [title, "", section.documentation]
    if section.keys:
        lines += ["", "| key | default | meaning |", "|---|---|---|"]
    for key in section.keys:
        default, meaning = (text.replace("|", "\\|") for text in (key.default, key.documentation))
        lines.append(f"| `{key.name}` | `{default}` | {meaning} |" if default else f"| `{key.name}` | | {meaning} |")
    return "\n".join(lines)


def commands() -> str:
    """The page of the commands of `ecg`, in Markdown."""
    command = typer.main.get_command(app)
    text: str = get_docs_for_click(obj=command, ctx=typer.Context(command), name="ecg")
    _, rest = text.split("\n", 1)
    return f"# Commands\n\n{NOTE}\n{rest.rstrip()}\n"


def main() -> None:
    """Writes both pages."""
    for name, text in (("configuration", configuration()), ("commands", commands())):
        path = FOLDER / f"{name}.md"
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
