"""JSON and YAML files that are damaged, or made by someone else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ecg.errors import UserError
from ecg.reading import parse, read_json, read_yaml


@dataclass(frozen=True)
class Inner:
    value: float | None


@dataclass(frozen=True)
class Outer:
    name: str
    counts: dict[str, int]
    inner: list[Inner]
    shape: tuple[int, int]
    flag: bool = False


VALID: dict[str, Any] = {"name": "a", "counts": {"N": 1}, "inner": [{"value": 1}, {"value": None}], "shape": [1, 2]}


def test_valid_content_becomes_a_dataclass() -> None:
    assert parse(Outer, VALID) == Outer("a", {"N": 1}, [Inner(1), Inner(None)], (1, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name is 3, not text"),
        ({"counts": {"N": 1.5}}, "counts.N is 1.5, not a whole number"),
        ({"counts": {"N": True}}, "counts.N is True, not a whole number"),
        ({"counts": {"N": 10**30}}, "counts.N is 10+, not a whole number"),
        ({"counts": {"N": 10**5000}}, "counts.N is a huge number, not a whole number"),
        ({"counts": {1: 1}}, "counts is {1: 1}, not a mapping"),
        ({"inner": {}}, "inner is {}, not a list"),
        ({"inner": [{"value": "x" * 99}]}, r"inner.0.value is 'x{59}\.\.\., not a number"),
        ({"inner": [{}]}, "inner.0.value is missing"),
        ({"shape": [1, 2, 3]}, r"shape is \[1, 2, 3\], not a list"),
        ({"flag": 0}, "flag is 0, not true or false"),
        ({"other": 0}, "other is unknown"),
    ],
)
def test_a_value_of_another_type_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse(Outer, VALID | change)


@pytest.mark.parametrize("text", ["", "[", "[]", '{"value": NaN}', '{"value": 1e999}', "[" * 100_000, "\x00", "null"])
def test_a_damaged_json_file_is_one_message(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(UserError, match=r"^\S+file.json is damaged: .+\. Repeat it\.$") as caught:
        read_json(tmp_path / "file.json", Inner, "Repeat it.")
    assert len(str(caught.value)) < 500


def test_a_file_that_is_not_text_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is damaged"):
        read_json(tmp_path / "file.json", Inner, "Repeat it.")


BOMB = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    "text",
    [BOMB, "a: [", "- 1", "a: !!int ''", "a: !!bool x", "a: !!timestamp x", "!!python/name:os.system", "{" * 5000],
)
def test_a_damaged_yaml_file_is_one_message(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(UserError, match=r"^\S+file.yaml is damaged: .+\. Repeat it\.$"):
        read_yaml(tmp_path / "file.yaml", dict[str, Any], "Repeat it.")
