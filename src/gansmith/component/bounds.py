"""Ranges of a component's fields, and converters of their text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

__all__ = [
    "AtLeast",
    "Between",
    "Fraction",
    "NonNegative",
    "Positive",
    "PositiveInt",
    "ReadAs",
    "Seed",
    "Side",
]


@dataclass(frozen=True)
class AtLeast:
    """The condition ``low <= value``."""

    low: float

    def __contains__(self, value: float) -> bool:
        return value >= self.low

    def __str__(self) -> str:
        return f"at least {self.low}"

    def to_schema(self) -> dict[str, Any]:
        """Return the condition as keywords of a JSON schema."""
        return {"minimum": self.low}


@dataclass(frozen=True)
class Between:
    """The condition ``low <= value <= high``; an open end is excluded."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"more than {self.low}"
        low, high = "more than" if self.open_low else "from", "to below" if self.open_high else "to"
        return f"{low} {self.low} {high} {self.high}"

    def to_schema(self) -> dict[str, Any]:
        """Return the condition as keywords of a JSON schema; an infinite end is left out, as JSON has no infinity."""
        low, high = (
            "exclusiveMinimum" if self.open_low else "minimum",
            "exclusiveMaximum" if self.open_high else "maximum",
        )
        return {low: self.low} | ({high: self.high} if self.high < math.inf else {})


@dataclass(frozen=True)
class ReadAs:
    """A converter of a field's text or number: ``Annotated[tuple[int, int], ReadAs(parse_size)]``.

    Args:
        read: a function of the text and the field's dotted path, which raises ConfigError.
        pattern: a regular expression of the texts that it takes, for the JSON schema.
    """

    read: Callable[[str, str], Any]
    pattern: str = ""


PositiveInt = Annotated[int, Between(1, 1_000_000)]  # fields that need memory have tighter bounds
Seed = Annotated[int, Between(0, 2**63 - 1)]
Side = Annotated[int, Between(1, 4096)]  # of an image, in pixels
Positive = Annotated[float, Between(0, math.inf, open_low=True, open_high=True)]
NonNegative = Annotated[float, AtLeast(0)]
Fraction = Annotated[float, Between(0, 1)]
