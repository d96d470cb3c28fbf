"""`--help`: the groups with their options and every key with its default and its meaning, read from the schema.

Hydra's own help loads every configuration a hundred times over and does not know what a key means.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ecg.config import SCHEMAS

_FIELD = re.compile(r"^    (?P<name>[a-z]\w*): .*?  # (?P<doc>.*)$")


def answer(root: type, main: Path) -> None:
    """Prints the help of a program and ends it, if the command line asks for `--help` or `-h`.

    Args:
        root: the schema of the program's whole configuration.
        main: the program's own YAML file, which names its groups; the groups' folders stand beside it.
    """
    if not {"--help", "-h"} & set(sys.argv[1:]):
        return
    program = Path(sys.argv[0]).name
    print(f"usage: python {program} [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--cfg job]\n\n{inspect.getdoc(root)}\n")
    print("  -m         a sweep: several values for a key or group, separated by commas")
    print("  --cfg job  prints the configuration instead of running")
    print("\nGroups and their options, the default first:")
    defaults = dict(re.findall(r"^  - (\w+): (\w+)", main.read_text(), re.M))
    for group in sorted(defaults):
        options = (path.stem for path in (main.parent / group).glob("*.yaml"))
        print(f"  {group:<14}{', '.join(sorted(options, key=lambda o: (o != defaults.get(group), o)))}")
    print("\nKeys:")
    _keys(root, "")
    sys.exit(0)


def _keys(schema: type, prefix: str) -> None:
    """Prints a line for each key of a dataclass, one level deeper for each group below it."""
    comments = _comments(schema)
    for field in fields(schema):
        if field.name in SCHEMAS and not prefix:
            nodes = SCHEMAS[field.name]
            for node in dict.fromkeys(nodes.values()):  # options of one schema differ in their values alone
                options = " | ".join(option for option in nodes if nodes[option] is node)
                print(f"\n  {field.name}={options}: {inspect.getdoc(node)}")
                _keys(node, f"{field.name}.")
        elif is_dataclass(field.default_factory):
            print(f"\n  {field.name}: {inspect.getdoc(field.default_factory)}")
            _keys(field.default_factory, f"{field.name}.")
        elif not field.name.startswith("_"):
            key = f"{prefix}{field.name}={_typed(field)}"
            print(f"    {key:<44}  {comments.get(field.name, '')}".rstrip())


def _comments(schema: type) -> dict[str, str]:
    """The comment behind each field of a dataclass, its own before those of its bases."""
    lines = [line for cls in reversed(schema.__mro__[:-1]) for line in inspect.getsource(cls).splitlines()]
    return {m["name"]: m["doc"] for line in lines if (m := _FIELD.match(line))}


def _typed(field: Field[Any]) -> str:
    """A default as one types it on the command line."""
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if isinstance(value, list):
        return f"[{','.join(value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
