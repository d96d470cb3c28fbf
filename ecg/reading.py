"""Reads JSON and YAML files that may be damaged, or made by someone else."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ecg.errors import UserError

T = TypeVar("T")
SHOWN = 60  # characters of a value in a message


def read_json(path: Path, kind: type[T], remedy: str) -> T:
    """Reads a JSON file.

    Args:
        path: the file.
        kind: type of the content, as for `parse`.
        remedy: what to do if the file is damaged, as a sentence.

    Raises:
        UserError: the file is missing or damaged, or a value has another type.
    """
    try:
        content = json.loads(_read_text(path, remedy), parse_constant=_refuse_constant)
        return parse(kind, content)  # type: ignore[no-any-return]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {one_line(error)}. {remedy}") from error


def read_yaml(path: Path, kind: type[T], remedy: str) -> T:
    """Reads a YAML file without aliases. With a few of them, a small file can exhaust the memory.

    Args:
        path: the file.
        kind: type of the content, as for `parse`.
        remedy: what to do if the file is damaged, as a sentence.

    Raises:
        UserError: the file is missing or damaged, or a value has another type.
    """
    try:
        return parse(kind, yaml.load(_read_text(path, remedy), _LoaderWithoutAliases))  # type: ignore[no-any-return]
    # PyYAML raises more than YAMLError for values such as `!!int ""`, `!!bool x` and `!!timestamp x`.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {one_line(error)}. {remedy}") from error


def _read_text(path: Path, remedy: str) -> str:
    if not path.is_file():
        raise UserError(f"{path} is missing. {remedy}")
    return path.read_text(encoding="utf-8")


class _LoaderWithoutAliases(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        return super().compose_node(parent, index)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a valid number")


def parse(kind: Any, content: Any, key: str = "") -> Any:
    """Converts the content of a JSON or YAML file to a type, and checks the type of every value.

    Args:
        kind: a dataclass, bool, int, float, str or Any, or a `dict`, `list`, `tuple` or `| None` of such types.
        content: the content: dictionaries, lists, strings, numbers and None.
        key: dotted key of the content in its file.

    Raises:
        ValueError: names the key of the first value with another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (other,) = (argument for argument in arguments if argument is not NoneType)
        return None if content is None else parse(other, content, key)
    if is_dataclass(kind) and isinstance(content, dict):
        return _parse_fields(kind, content, key)
    if origin is dict and isinstance(content, dict) and all(isinstance(name, str) for name in content):
        return {name: parse(arguments[1], value, _join(key, name)) for name, value in content.items()}
    if origin in (list, tuple) and isinstance(content, list | tuple):
        kinds = [arguments[0]] * len(content) if origin is list or arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(content):
            return origin(parse(kinds[i], value, _join(key, i)) for i, value in enumerate(content))
    if _is_plain(kind, content):
        return content
    raise ValueError(f"{key or 'the content'} is {_shorten(content)}, not {_describe(kind)}")


def _parse_fields(kind: Any, content: Mapping[str, Any], key: str) -> Any:
    hints, required = get_type_hints(kind), {f.name for f in fields(kind) if f.default is MISSING}
    if missing := sorted(required - content.keys()):
        raise ValueError(f"{_join(key, missing[0])} is missing")
    if unknown := [name for name in content if name not in {f.name for f in fields(kind)}]:
        raise ValueError(f"{_join(key, unknown[0])} is unknown")
    return kind(**{name: parse(hints[name], value, _join(key, name)) for name, value in content.items()})


def _is_plain(kind: Any, content: Any) -> bool:
    """Whether a value is a bool, text, or a number that NumPy can store."""
    if kind is Any:
        return True
    if isinstance(content, bool) or kind in (bool, str):
        return kind in (bool, str) and isinstance(content, kind)
    if kind is int:
        return isinstance(content, int) and abs(content) < 2**63
    return kind is float and isinstance(content, int | float) and abs(content) <= sys.float_info.max


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _describe(kind: Any) -> str:
    if is_dataclass(kind) or get_origin(kind) is dict:
        return "a mapping"
    if get_origin(kind) in (list, tuple):
        return "a list"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]


def _shorten(content: Any) -> str:
    text = repr(content) if not isinstance(content, int) or abs(content) < 10**SHOWN else "a huge number"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def one_line(error: Exception) -> str:
    """The message of an exception as one printable line without a full stop."""
    return printable(str(error)).rstrip(".") or type(error).__name__


def printable(text: str) -> str:
    """Returns text as one line, with a replacement for characters that a terminal could obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
