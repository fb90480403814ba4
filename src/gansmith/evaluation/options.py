"""How generated images are judged."""

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
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.metric import Metric
from gansmith.training.snapshots import Which
from gansmith.trust import from_the_user

__all__ = ["FIRST_SEED", "EvaluationOptions"]

FIRST_SEED = 1_000_000  # beyond all that tracking selects by: see ``Tracking.num`` and ``Tracker.decide``


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Component):
    """How generated images are judged.

    Args:
        metrics: what is measured; None measures all there is.
        extractor: the feature network; None takes the one that suits the data: see ``metrics.default_extractor``.
        num: generated images, and real ones at most.
        seed: the first generated image's; of a run. Training selects the best generator by images of seeds below
            1,000,000, so the default takes none of those.
        snapshot: the best generator that training kept, or that of the newest checkpoint; of a run.
        ema: with the averaged weights; of a run.
        against: the real images; None takes those that the run was trained on.
        held_out: real images that the generator never saw; None takes those that the run held out. For files, it
            makes ``against`` the images that the generator was trained on.
        preparation: of ``against`` and ``held_out``. Without a size they are brought to that of the samples, unless
            most of them would have to be enlarged; its channels hold for samples in files too.
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

    @classmethod
    def of(
        cls,
        against: str | Path | None = None,
        *,
        root: str | Path | None = None,
        held_out: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> EvaluationOptions:
        """From what a user says.

        Args:
            against: real images: a source's name, or a path.
            root: where a local copy lies of the source that ``against`` names.
            held_out: real images that the generator never saw: a source's name, or a path.
            overrides: any field by dotted path, as {"metrics": "fid,density-coverage", "metrics.1.neighbours": 9}.

        Raises:
            ConfigError: an unknown name or field, or a value that does not fit.
            DataError: neither a source nor a path.
        """
        if root is not None and against is None:
            raise ConfigError("evaluate.root: says where the data set of --against lies; name that too")
        sources: dict[str, Any] = {}
        with from_the_user():
            if against is not None:
                sources["against"] = resolve(str(against), None if root is None else Path(root))
            if held_out is not None:
                sources["held_out"] = resolve(str(held_out))
            return override(cls(), sources | dict(overrides or {}), "evaluate")
