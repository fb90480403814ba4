"""What a metric is: real and generated images' features in, figures with intervals out."""

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
    """One figure that a metric gives.

    Args:
        title: as tables show it, with its unit if it has one.
        better: which way is better; "nearer 1" for ratios of generated to real, "nearer 0.5" for chances that two
            kinds of images rank alike.
        published: whether papers report it in Inception's features; tables then name the feature network beside it.
    """

    title: str
    better: Better
    published: bool = False

    def cost(self, value: float) -> float:
        """Return a number that is lower for a better value."""
        if self.better.startswith("nearer "):
            return abs(value - float(self.better.removeprefix("nearer ")))
        return value if self.better == "lower" else -value

    def titled(self, extractor: str) -> str:
        """Return the title with the feature network where published values use another: "FID (classifier)"."""
        return f"{self.title} ({extractor})" if self.published else self.title


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval.

    Args:
        value: the figure.
        low: the interval's lower end.
        high: its upper end.
        interval: how the interval was found, in a few words, as "bootstrap of 100".
        note: what a reader has to know about this figure, or empty.
    """

    value: float
    low: float
    high: float
    interval: str
    note: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise MetricError(f"came out as {self.value} ({self.low} to {self.high}), which is no number")

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricInputs:
    """What a metric may look at; all in the features of one network.

    Args:
        real: the real images that the generated ones are measured against, a sample of the reference split.
        fake: the generated images; their labels are the classes that were asked for.
        training: all real images that the generator was trained on; None if unknown.
        held_out: real images that it never saw, or None.
        validation: labelled real images that the feature network did not learn from; None if unknown.
        class_names: k names; empty without labels.
        unlabelled: why the generated images have no labels, with the remedy; empty if nothing more is known.
        seed: of whatever a metric draws at random.
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
    """One or more figures about generated images.

    Class attributes:
        quantities: what it measures, by the figure's name in metrics.jsonl.
        needs_features: whether it reads features and not images alone.
        needs_training: whether it looks at ``MetricInputs.training`` and ``held_out``, which are had only for such.
        needs_validation: the same of ``MetricInputs.validation``.
    """

    table: ClassVar[str] = "gansmith.metrics:METRICS"
    quantities: ClassVar[Mapping[str, Quantity]]
    needs_features: ClassVar[bool] = True
    needs_training: ClassVar[bool] = False
    needs_validation: ClassVar[bool] = False

    @abstractmethod
    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        """The figures, under the names of ``quantities``.

        Raises:
            MetricError: they cannot be had from these images; the message says what is missing and how to get it.
        """
