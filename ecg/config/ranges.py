"""Documented configuration keys and their valid ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Range:
    """Valid values of a number. A NaN is in no range."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    multiple_of: int | None = None

    def __contains__(self, value: float) -> bool:
        return (
            value == value
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
            and (self.multiple_of is None or value % self.multiple_of == 0)
        )

    def __str__(self) -> str:
        limits = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        parts = [f"{words} {limit:,}" for words, limit in limits.items() if limit is not None]
        if self.multiple_of is not None:
            parts.append(f"a multiple of {self.multiple_of}")
        return " and ".join(parts)


def key(
    default: Any,
    doc: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    multiple_of: int | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field of the schema, with its documentation and its valid values as metadata.

    Args:
        default: the default value; a list is copied for each instance.
        doc: meaning, unit, and the reason for the default.
        above: exclusive lower limit of a number.
        at_least: inclusive lower limit.
        below: exclusive upper limit.
        at_most: inclusive upper limit.
        multiple_of: the number is a multiple of this.
        choices: the valid strings.
    """
    limits = Range(above, at_least, below, at_most, multiple_of)
    metadata = {"doc": doc, "range": limits if str(limits) else None, "choices": choices}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
