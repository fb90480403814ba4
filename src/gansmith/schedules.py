"""Training progress, durations, and values that change during training."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

from gansmith.component import Component, NonNegative
from gansmith.errors import ConfigError

__all__ = ["SCHEDULES", "Constant", "Cosine", "Duration", "Length", "Linear", "Progress", "Schedule"]

Unit: TypeAlias = Literal["epochs", "steps", "kimg", "s", "min", "h", "%"]

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_SPELLINGS: dict[str, Unit] = {
    "epoch": "epochs", "epochs": "epochs", "step": "steps", "steps": "steps", "kimg": "kimg",
    "s": "s", "sec": "s", "second": "s", "seconds": "s", "min": "min", "minute": "min", "minutes": "min",
    "h": "h", "hour": "h", "hours": "h", "%": "%",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Training progress.

    Args:
        nimg: number of real images that the discriminator has seen, by which progress is measured.
        step: number of generator updates.
        seconds: training time, over all sessions.
        epoch_size: number of images in the data set.
    """

    nimg: int
    step: int
    seconds: float
    epoch_size: int

    @property
    def epoch(self) -> float:
        """Number of passes over the data, including the fraction of the current one."""
        return self.nimg / self.epoch_size


@dataclass(frozen=True)
class Duration:
    """A length or an interval: "50 epochs", "3000 steps", "500 kimg", "10 min", "90 s", "2 h", "5 %".

    A percentage refers to the whole training, so it can be an interval but not the length of training.

    Class attributes:
        pattern: a regular expression of its texts, for the JSON schema; ``from_text`` also takes upper case.
    """

    pattern: ClassVar[str] = (
        r"^\s*(?=[0_]*\.?[0_]*[1-9])(?:[0-9]+(?:_[0-9]+)*\.?(?:[0-9]+)?|\.[0-9]+)(?:e[-+]?[0-9]+)?\s*"
        rf"(?:{'|'.join(_SPELLINGS)})\s*$"
    )

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", float(self.amount))
        if not (self.amount > 0 and math.isfinite(self.amount)):
            raise ConfigError(f"duration: got {self.amount} {self.unit}, expected a finite amount above 0")

    @classmethod
    def from_text(cls, text: str, where: str = "duration") -> Duration:
        """Parse a text such as "10 min".

        Raises:
            ConfigError: the text is not a positive number with a known unit.
        """
        match = re.fullmatch(r"\s*([0-9_.]+(?:e[-+]?[0-9]+)?)\s*([a-z%]+)\s*", text.lower())
        try:
            if match is not None and match[2] in _SPELLINGS:
                return cls(float(match[1]), _SPELLINGS[match[2]])
        except (ValueError, ConfigError):
            pass
        example = 'write "50 epochs", "3000 steps", "500 kimg", "10 min" or "2 h"'
        if text.lower() in ("never", "off", "no", "none"):
            example += '; for an interval that happens only at the end, "100 %"'
        raise ConfigError(f"{where}: {text!r} is not a duration; {example}")

    def __str__(self) -> str:
        amount = int(self.amount) if self.amount.is_integer() else self.amount
        return f"{amount} {self.unit}"

    @property
    def timed(self) -> bool:
        """Whether the unit is one of time."""
        return self.unit in _SECONDS

    def count(self, progress: Progress) -> float:
        """Return the progress in this duration's unit."""
        if self.timed:
            return progress.seconds / _SECONDS[self.unit]
        counts = {"epochs": progress.epoch, "steps": progress.step, "kimg": progress.nimg / 1000}
        return float(counts[cast(str, self.unit)])

    def fraction(self, progress: Progress) -> float:
        """Return the fraction of this length that has passed, in [0, 1]."""
        return min(1.0, self.count(progress) / self.amount)

    def reached(self, progress: Progress) -> bool:
        """Return whether this length has passed."""
        return self.count(progress) >= self.amount

    def due(self, before: Progress, now: Progress, length: Duration) -> bool:
        """Return whether a multiple of this interval lies in (before, now]; percentages refer to ``length``."""
        every = Duration(length.amount * self.amount / 100, length.unit) if self.unit == "%" else self
        # Tolerate rounding errors: 9.9999999999 epochs count as 10.
        passed = [math.floor(every.count(moment) / every.amount + 1e-9) for moment in (before, now)]
        return passed[1] > passed[0]


class _Absolute:
    """The condition on a length of training: not a percentage."""

    def __contains__(self, duration: Duration) -> bool:
        return duration.unit != "%"

    def __str__(self) -> str:
        return 'a length that is not a percentage, such as "10 min"'

    def to_schema(self) -> dict[str, Any]:
        """Return the condition as keywords of a JSON schema."""
        return {"not": {"pattern": "%"}}


Length = Annotated[Duration, _Absolute()]


@dataclass(frozen=True, kw_only=True)
class Schedule(Component):
    """A factor that changes during training."""

    table: ClassVar[str] = "gansmith.schedules:SCHEDULES"

    @abstractmethod
    def factor(self, fraction: float) -> float:
        """Return the factor after this fraction of training, which is in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A factor that is always 1."""

    def factor(self, fraction: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """A factor that changes linearly from ``begin`` to ``end``.

    Args:
        begin: the factor at the beginning.
        end: the factor at the end of training.
        start: the fraction of training after which the change starts.
    """

    begin: NonNegative = 1.0
    end: NonNegative = 0.0
    start: NonNegative = 0.0

    def factor(self, fraction: float) -> float:
        return self.begin + (self.end - self.begin) * _rescale(fraction, self.start)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """A factor that changes along half a cosine from ``begin`` to ``end``.

    Args:
        begin: the factor at the beginning.
        end: the factor at the end of training.
        start: the fraction of training after which the change starts.
    """

    begin: NonNegative = 1.0
    end: NonNegative = 0.0
    start: NonNegative = 0.0

    def factor(self, fraction: float) -> float:
        passed = (1.0 - math.cos(math.pi * _rescale(fraction, self.start))) / 2
        return self.begin + (self.end - self.begin) * passed


def _rescale(fraction: float, start: float) -> float:
    return min(1.0, max(0.0, (fraction - start) / max(1e-9, 1.0 - start)))


SCHEDULES: dict[str, type[Schedule] | str] = {"constant": Constant, "linear": Linear, "cosine": Cosine}
