"""The `--help` text: groups with their options, and every key with its default, meaning and valid range.

Hydra's own help composes every configuration many times, which takes seconds, and does not contain the documentation
of the keys.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ecg.config.installation import program
from ecg.config.schema import SCHEMAS


class Key(NamedTuple):
    """A key of the configuration: its dotted name, its default as typed on the command line, and its documentation."""

    name: str
    default: str
    documentation: str


@dataclass(frozen=True)
class Section:
    """Keys that belong together.

    Attributes:
        title: dotted key of a node, or group=OPTION; empty for the keys of the program.
        documentation: of the node.
        keys: the keys.
    """

    title: str
    documentation: str
    keys: list[Key] = field(default_factory=list)


def print_help(root: type, main: Path) -> None:
    """Prints the help of a program and exits, if the command line has `--help` or `-h`.

    Args:
        root: schema of the program's configuration.
        main: the program's main YAML file; the folders of the groups are next to it.
    """
    if not {"--help", "-h"} & set(sys.argv[1:]):
        return
    lines = [
        f"usage: {program(main.stem)} [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--cfg job]",
        f"\n{inspect.getdoc(root)}\n",
        "  -m         run a sweep: several values of a key or group, separated by commas",
        "  --cfg job  print the configuration and exit",
        "\nGroups and their options, the default first:",
    ]
    for group, default in _defaults(main).items():
        lines.append(f"  {group:<22}{', '.join(options(main.parent, group, default))}")
    try:
        print("\n".join([*lines, "\nKeys:", *_key_lines(root)]), flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def options(conf: Path, group: str, default: str = "") -> list[str]:
    """The options of a group: the default, then the others in alphabetical order."""
    names = (path.stem for path in (conf / group).glob("*.yaml"))
    return sorted(names, key=lambda name: (name != default, name))


def _defaults(main: Path) -> dict[str, str]:
    """The default option of each group, and of the groups nested in them."""
    top = dict(re.findall(r"^  - (\w+): (\w+)", main.read_text(encoding="utf-8"), re.M))
    nested = [group for group in SCHEMAS if "/" in group and group.split("/")[0] in top]
    return dict(sorted({**top, **dict.fromkeys(nested, "none")}.items()))


def _key_lines(root: type) -> Iterator[str]:
    for section in sections(root):
        if section.title:
            yield f"\n  {section.title}: {section.documentation}"
        for key in section.keys:
            yield f"    {f'{key.name}={key.default}':<52}  {key.documentation}".rstrip()


def sections(root: type) -> list[Section]:
    """All keys of a program's configuration, given its schema. The first section has those at the top."""
    found = [Section("", inspect.getdoc(root) or "")]
    _add_keys(root, "", found)
    return found


def _add_keys(schema: type, prefix: str, found: list[Section]) -> None:
    """Adds the keys of a dataclass to the last section, and a section for each node below it."""
    nested = []
    for item in fields(schema):
        name = f"{prefix}{item.name}"
        if (group := name.replace(".", "/")) in SCHEMAS:
            for node in dict.fromkeys(SCHEMAS[group].values()):
                options_ = " | ".join(option for option, other in SCHEMAS[group].items() if other is node)
                nested.append((f"{group}={options_}", node, name))
        elif is_dataclass(item.default_factory):
            nested.append((name, item.default_factory, name))
        elif not item.name.startswith("_"):
            found[-1].keys.append(Key(name, _default(item), _documentation(item)))
    for title, node, name in nested:
        found.append(Section(title, inspect.getdoc(node) or ""))
        _add_keys(node, f"{name}.", found)


def _documentation(item: Field[Any]) -> str:
    limits = item.metadata.get("range")
    return f"{item.metadata.get('doc', '')}{f' ({limits})' if limits else ''}"


def _default(item: Field[Any]) -> str:
    """A default value, as typed on the command line."""
    value = item.default_factory() if item.default_factory is not MISSING else item.default
    if isinstance(value, list):
        return f"[{','.join(value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
