"""Settings of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gansmith.component import (
    Between,
    Component,
    Seed,
    override,
)
from gansmith.data import resolve
from gansmith.data.source import Source
from gansmith.data.store import Preparation
from gansmith.errors import ConfigError
from gansmith.metrics import list_metrics
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.metric import Metric
from gansmith.training.snapshots import Which
from gansmith.trust import trust_user_input

__all__ = ["FIRST_SEED", "EvaluationOptions"]

FIRST_SEED = 1_000_000  # above all seeds that tracking selects with: see ``Tracking.num`` and ``Tracker.decide``


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Component):
    """Settings of an evaluation.

    Args:
        metrics: what is measured; None is all metrics.
        extractor: the feature extractor; None chooses one for the data, see ``metrics.default_extractor``.
        num: number of generated images, and largest number of real ones.
        seed: of the first generated image of a run. Training selects the best generator with seeds below 1,000,000;
            the default uses none of those.
        snapshot: the best generator that training kept, or the one of the newest checkpoint; for a run.
        ema: whether to use the averaged weights; for a run.
        against: the real images; None is the run's training images.
        held_out: real images that the generator was not trained on; None is the images that the run held out. For
            files it says that the generator was trained on ``against``.
        preparation: of ``against`` and ``held_out``. Without a size they are resized to the samples' size, unless that
            enlarges most of them. Its channels apply to samples in files too.
        device: of the generator.
    """

    metrics: tuple[Metric, ...] | None = None
    extractor: Extractor | None = None
    num: Annotated[int, Between(2, 1_000_000)] = 10_000
    seed: Seed = FIRST_SEED
    snapshot: Which = "best"
    ema: bool = True
    against: Source | None = None
    held_out: Source | None = None
    preparation: Preparation = Preparation()
    device: str = "auto"

    @property
    def chosen_metrics(self) -> tuple[Metric, ...]:
        """The metrics to measure: all of them unless some were named."""
        return list_metrics() if self.metrics is None else self.metrics

    @classmethod
    def of(
        cls,
        against: str | Path | None = None,
        *,
        root: str | Path | None = None,
        held_out: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> EvaluationOptions:
        """Return the settings for a user's words.

        Args:
            against: the real images: a source's name, or a path.
            root: the folder with a local copy of the source that ``against`` names.
            held_out: real images that the generator was not trained on: a source's name, or a path.
            overrides: any field by dotted path, as {"metrics": "fid,density-coverage", "metrics.1.neighbours": 9}.

        Raises:
            ConfigError: an unknown name or field, or a value that does not fit.
            DataError: neither a source nor a path.
        """
        if root is not None and against is None:
            raise ConfigError("evaluate.root: says where the data set of --against lies; name that too")
        sources: dict[str, Any] = {}
        with trust_user_input():
            if against is not None:
                sources["against"] = resolve(str(against), None if root is None else Path(root))
            if held_out is not None:
                sources["held_out"] = resolve(str(held_out))
            return override(cls(), sources | dict(overrides or {}), "evaluate")
