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
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ecg.config.schema import SCHEMAS


def print_help(root: type, main: Path) -> None:
    """Prints the help of a program and exits, if the command line has `--help` or `-h`.

    Args:
        root: schema of the program's configuration.
        main: the program's main YAML file; the folders of the groups are next to it.
    """
    if not {"--help", "-h"} & set(sys.argv[1:]):
        return
    program = Path(sys.argv[0]).name
    lines = [
        f"usage: python {program} [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--cfg job]",
        f"\n{inspect.getdoc(root)}\n",
        "  -m         run a sweep: several values of a key or group, separated by commas",
        "  --cfg job  print the configuration and exit",
        "\nGroups and their options, the default first:",
    ]
    for group, default in _defaults(main).items():
        lines.append(f"  {group:<22}{', '.join(options(main.parent, group, default))}")
    try:
        print("\n".join([*lines, "\nKeys:", *_key_lines(root, "")]), flush=True)
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


def _key_lines(schema: type, prefix: str) -> Iterator[str]:
    """A line for each key of a dataclass, and a paragraph for each group below it."""
    for field in fields(schema):
        key = f"{prefix}{field.name}"
        if (group := key.replace(".", "/")) in SCHEMAS:
            for node in dict.fromkeys(SCHEMAS[group].values()):
                names = " | ".join(name for name, other in SCHEMAS[group].items() if other is node)
                yield f"\n  {group}={names}: {inspect.getdoc(node)}"
                yield from _key_lines(node, f"{key}.")
        elif is_dataclass(field.default_factory):
            yield f"\n  {key}: {inspect.getdoc(field.default_factory)}"
            yield from _key_lines(field.default_factory, f"{key}.")
        elif not field.name.startswith("_"):
            yield f"    {f'{key}={_default(field)}':<52}  {_documentation(field)}".rstrip()


def _documentation(field: Field[Any]) -> str:
    limits = field.metadata.get("range")
    return f"{field.metadata.get('doc', '')}{f' ({limits})' if limits else ''}"


def _default(field: Field[Any]) -> str:
    """A default value, as typed on the command line."""
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if isinstance(value, list):
        return f"[{','.join(value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
