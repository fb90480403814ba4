"""How good the generator is on the way: what is measured, how often, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gansmith.component import (
    Between,
    Component,
    Fraction,
)
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.metric import Metric
from gansmith.schedules import Duration

__all__ = ["Tracking"]


@dataclass(frozen=True, kw_only=True)
class Tracking(Component):
    """A cheap figure at intervals; the generator that had the best one is kept in ``best/``.

    Args:
        metric: the figure, the first if it gives several; None takes the FID where there are images enough for
            it, else the KID.
        extractor: the feature network; None takes the one that suits the data: see ``metrics.default_extractor``.
        every: how often at most.
        num: generated images, those of the seeds 0 to num - 1 each time.
        num_real: real images at most, always the same.
        max_share: of the training's time; a measurement that would exceed it waits, and leaves room for the one at
            the end, which is always made.
    """

    metric: Metric | None = None
    extractor: Extractor | None = None
    every: Duration = Duration(2, "%")
    num: Annotated[int, Between(2, 100_000)] = 1000
    num_real: Annotated[int, Between(2, 1_000_000)] = 5000
    max_share: Fraction = 0.05
