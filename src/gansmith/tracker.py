"""The figure that is tracked while training, and the generator that had the best one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gansmith import __version__, dist
from gansmith.component import member_name
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics import default_extractor
from gansmith.metrics.features import FeatureNetwork, Features, features_of_batches, features_of_store, some_of
from gansmith.metrics.frechet import FID
from gansmith.metrics.judgement import Generated, Judgement, Reference, Seen
from gansmith.metrics.kernel import KID
from gansmith.metrics.metric import Comparison, Estimate, Metric
from gansmith.runs import RunFolder
from gansmith.sample import TrainedGenerator
from gansmith.state import TrainState
from gansmith.tracking import Tracking

__all__ = ["Tracker", "open_tracker"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracker:
    """Measures the generator of now and keeps the best one.

    Args:
        tracking: what was asked for.
        metric: the figure.
        network: what looks at the images.
        real: the features of the real images.
        reference: what those are.
        run: where lines and the best generator are written.
        sampler: makes the images, with the averaged weights if there are any.
    """

    tracking: Tracking
    metric: Metric
    network: FeatureNetwork
    real: Features
    reference: Reference
    run: RunFolder
    sampler: TrainedGenerator

    @property
    def figure(self) -> str:
        """The name of what is tracked: the metric's first figure."""
        return next(iter(self.metric.quantities))

    def summary(self) -> str:
        """What is measured, in one line."""
        note = f" ({self.network.note})" if self.network.note else ""
        return f"{self.figure} of {self.tracking.num:,} images, seen by {self.network.name}{note}; the best is kept"

    def affordable(self, state: TrainState) -> bool:
        """Whether this measurement and the last one keep within the share of the time that tracking may take."""
        expected = state.tracking_seconds * (1 + 2 / max(1, state.num_tracked))
        return expected <= self.tracking.max_share * state.seconds

    def measure(self, state: TrainState) -> Judgement:
        """Judge the generator of now, write it down, and keep it if it is the best so far; all ranks take part."""
        began = time.perf_counter()
        judgement = self._judgement(state)
        if dist.is_main():
            self.run.append_judgement(judgement.to_plain())
            self._keep_if_best(state, judgement)
        cost, _ = dist.agree(time.perf_counter() - began, False)
        state.tracking_seconds += cost
        state.num_tracked += 1
        return judgement

    def _judgement(self, state: TrainState) -> Judgement:
        figures: dict[str, Estimate] = {}
        failures: dict[str, str] = {}
        try:
            figures = self.metric.measure(Comparison(real=self.real, fake=self._fake()))
        except MetricError as error:
            failures[member_name(self.metric)] = str(error)
        return Judgement(
            kind="tracking",
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            generated=Generated(
                path=str(self.run.path),
                num=self.tracking.num,
                snapshot="now",
                ema=state.generator_ema is not state.generator,
                seed=0,
                nimg=state.nimg,
                step=state.step,
                seconds=round(state.seconds - state.tracking_seconds, 3),
            ),
            reference=self.reference,
            seen=Seen.of(self.network),
            figures={self.figure: figures[self.figure]} if figures else {},
            failures=failures,
            gansmith=__version__,
        )

    def _fake(self) -> Features:
        """The generator's images: each rank makes its share, all get all of them."""
        share = np.array_split(np.arange(self.tracking.num), dist.world_size())[dist.rank()].tolist()
        return features_of_batches(
            self.network, ((batch.images, batch.labels) for batch in self.sampler.batches(share))
        )

    def _keep_if_best(self, state: TrainState, judgement: Judgement) -> None:
        if self.figure not in judgement.figures:
            return
        value = judgement.figures[self.figure].value
        sign = 1 if self.metric.quantities[self.figure].better == "lower" else -1
        before = self._best_before(judgement)
        if before is None or sign * value < sign * before:
            told = {"figure": self.figure, "value": value, "seen": judgement.to_plain()["seen"]}
            self.run.keep_best(lambda folder: state.save_generator(folder, told))

    def _best_before(self, judgement: Judgement) -> float | None:
        """The figure of the generator that is kept now, if it was seen through the same network."""
        if self.run.best is None:
            return None
        plain = json.loads((self.run.best / "state.json").read_text(encoding="utf-8"))
        comparable = plain["figure"] == self.figure and plain["seen"]["digest"] == judgement.seen.digest
        return float(plain["value"]) if comparable else None


def open_tracker(
    tracking: Tracking,
    store: Store,
    training: NDArray[np.int64],
    run: RunFolder,
    sampler: TrainedGenerator,
    progress: Callable[[int, int], object] | None = None,
) -> Tracker:
    """A tracker for a data set; its feature network is made now, unless the cache has it.

    Args:
        tracking: what was asked for.
        store: the real images.
        training: which of them are trained on.
        run: where lines and the best generator are written.
        sampler: the generator.
        progress: called with the work done and all the work, while the feature network is made.

    Raises:
        MetricError: these images cannot be judged so.
    """
    extractor = tracking.extractor or default_extractor(store)
    network = extractor.network(store, training, progress)
    chosen = some_of(training, tracking.num_real)
    real = features_of_store(network, store, chosen)
    enough = min(len(real), tracking.num) > real.values.shape[1]
    return Tracker(
        tracking=tracking,
        metric=tracking.metric or (FID() if enough else KID()),
        network=network,
        real=real,
        reference=Reference.of(store, "training", chosen),
        run=run,
        sampler=sampler,
    )
