"""The interface of metrics: features of real and generated images in, values with intervals out."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from gansmith.component import Component
from gansmith.errors import MetricError
from gansmith.metrics.features import Features

__all__ = ["Better", "Estimate", "Metric", "MetricInputs", "Quantity"]

Better: TypeAlias = Literal["lower", "higher", "nearer 1", "nearer 0.5"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One of the values that a metric computes.

    Args:
        title: heading in tables, with the unit if there is one.
        better: which direction is better; "nearer 1" for ratios of generated to real, "nearer 0.5" for a probability
            that is 0.5 if both sets have one distribution.
        published: whether papers report it with Inception's features; tables then add the feature extractor.
        by_classes: whether it is computed from a classifier's logits.
    """

    title: str
    better: Better
    published: bool = False
    by_classes: bool = False

    def cost(self, value: float) -> float:
        """Return a number that is lower for a better value."""
        if self.better.startswith("nearer "):
            return abs(value - float(self.better.removeprefix("nearer ")))
        return value if self.better == "lower" else -value

    def titled(self, extractor: str) -> str:
        """Return the title with the feature extractor if published values use another: "FID (classifier)"."""
        return f"{self.title} ({extractor})" if self.published else self.title


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval; prints as "0.268 (0.236 to 0.299)".

    Args:
        value: the value.
        low: lower end of the interval.
        high: upper end.
        interval: method of the interval, for example "bootstrap of 100".
        note: a remark for the reader, or "".
    """

    value: float
    low: float
    high: float
    interval: str
    note: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise MetricError(f"is {self.value} ({self.low} to {self.high}); expected finite numbers")

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"

    def to_plain(self) -> dict[str, Any]:
        """Return it as an object for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricInputs:
    """The inputs of a metric; all features are of one feature extractor.

    Args:
        real: the real images, a sample of the reference split.
        fake: the generated images; their labels are the requested classes.
        training: all real images that the generator was trained on; None if unknown.
        held_out: real images that it was not trained on, or None.
        validation: labelled real images that the feature extractor was not trained on; None if unknown.
        class_names: k names; empty without labels.
        unlabelled: why the generated images have no labels, with the remedy; "" if unknown.
        seed: of everything that a metric draws at random.
    """

    real: Features
    fake: Features
    training: Features | None = None
    held_out: Features | None = None
    validation: Features | None = None
    class_names: tuple[str, ...] = ()
    unlabelled: str = ""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Metric(Component):
    """Computes one or more values of generated images.

    Class attributes:
        quantities: the values that it computes, by their names in metrics.jsonl.
        needs_features: whether it reads features; False if it reads pixels only.
        needs_classes: whether it reads the logits of a classifier.
        needs_training: whether it reads ``MetricInputs.training`` and ``held_out``; they are None if no metric does.
        needs_validation: whether it reads ``MetricInputs.validation``; likewise.
    """

    table: ClassVar[str] = "gansmith.metrics:METRICS"
    quantities: ClassVar[Mapping[str, Quantity]]
    needs_features: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = False
    needs_training: ClassVar[bool] = False
    needs_validation: ClassVar[bool] = False

    @abstractmethod
    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        """Return the values under the names of ``quantities``.

        Raises:
            MetricError: they cannot be computed; the message says what is missing and how to provide it.
        """
