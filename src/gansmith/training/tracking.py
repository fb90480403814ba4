"""Settings for measuring the generator while it trains."""

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
    """Measure one metric at intervals and keep the generator with the best value in ``best/``.

    Args:
        metric: what is measured, its first value if it has several; None is FID if there are enough images, else KID.
        extractor: the feature extractor; None chooses one for the data, see ``metrics.default_extractor``.
        every: the shortest interval.
        num: generated images, those of seeds 0 to num - 1 each time.
        num_real: most real images, always the same.
        max_share: largest share of the training time. A measurement that would exceed it is delayed. The measurement
            at the end always takes place, and time is kept for it.
    """

    metric: Metric | None = None
    extractor: Extractor | None = None
    every: Duration = Duration(2, "%")
    num: Annotated[int, Between(2, 100_000)] = 1000
    num_real: Annotated[int, Between(2, 1_000_000)] = 5000
    max_share: Fraction = 0.05
