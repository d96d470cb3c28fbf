"""Documented configuration keys and their valid values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Range:
    """Valid values: the choices, and the numbers between the limits. Without limits, no number besides the choices.

    A NaN is in no range.
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    multiple_of: int | None = None
    whole: bool = False
    whole_from_1: bool = False
    choices: tuple[Any, ...] = ()

    def __contains__(self, value: Any) -> bool:
        # 1 == 1.0 == True, but a program may treat them differently.
        if any(value == choice and type(value) is type(choice) for choice in self.choices):
            return True
        if isinstance(value, bool) or not isinstance(value, int | float) or not self._limits():
            return False
        return (
            value == value
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
            and (self.multiple_of is None or value % self.multiple_of == 0)
            and (not self.whole or isinstance(value, int))
            and (not self.whole_from_1 or isinstance(value, int) or value <= 1)
        )

    def __str__(self) -> str:
        choices = ", ".join(str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in self.choices)
        limits = " and ".join(self._limits())
        if self.whole_from_1:
            limits += ": a fraction up to 1.0, or a whole number"
        return ", or ".join(filter(None, [choices, f"whole numbers {limits}" if self.whole else limits]))

    @property
    def bounded(self) -> bool:
        """Whether the range has a lower and an upper limit, or consists of choices."""
        if not self._limits():
            return bool(self.choices)
        return (self.above, self.at_least) != (None, None) and (self.below, self.at_most) != (None, None)

    def _limits(self) -> list[str]:
        limits = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        parts = [f"{words} {limit:,}" for words, limit in limits.items() if limit is not None]
        return parts + ([f"a multiple of {self.multiple_of}"] if self.multiple_of is not None else [])


def key(
    default: Any,
    doc: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    multiple_of: int | None = None,
    whole: bool = False,
    whole_from_1: bool = False,
    choices: tuple[Any, ...] = (),
    example: str = "",
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
        whole: whole numbers only; for a key whose type does not ensure this.
        whole_from_1: fractions up to 1.0, and whole numbers from 1, as Lightning states numbers of batches.
        choices: valid values besides the numbers between the limits.
        example: an example of a key that holds a mapping; the limits are those of its values.
    """
    valid = Range(above, at_least, below, at_most, multiple_of, whole, whole_from_1, choices)
    metadata = {"doc": doc, "range": valid if str(valid) else None, "example": example}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
