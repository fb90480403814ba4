"""The figure that is tracked while training, and the generator that had the best one."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gansmith import __version__, dist
from gansmith.component import member_name
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics import default_extractor
from gansmith.metrics.features import FeatureNetwork, Features, features_of_batches, features_of_store, some_of
from gansmith.metrics.frechet import FID
from gansmith.metrics.kernel import KID
from gansmith.metrics.measurement import Generated, Measurement, Reference, Seen
from gansmith.metrics.metric import Comparison, Estimate, Metric
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.checkpoint import open_checkpoint, read_state
from gansmith.training.state import TrainState
from gansmith.training.tracking import Tracking

__all__ = ["Tracker", "open_tracker"]

FOR_THE_DECISION = 0.25  # of what tracking has cost, left over for the decision at the end
MOST_TO_DECIDE = 5  # times as many images as are tracked
LEVEL = 0.1  # of a figure: where two differ by less, another feature network may well see it the other way round


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracker:
    """Measures the generator of now and keeps the best one.

    Args:
        tracking: what was asked for.
        metric: the figure.
        network: what looks at the images.
        real: the features of the real images.
        reference: what those are.
        unlearnt: real images that the network did not learn from, if the metric looks at such.
        run: where lines and the best generator are written.
        sampler: makes the images, with the averaged weights if there are any.
    """

    tracking: Tracking
    metric: Metric
    network: FeatureNetwork
    real: Features
    reference: Reference
    unlearnt: Features | None
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
        """Whether this measurement, the last one and the decision keep within tracking's share of the time."""
        expected = state.tracking_seconds * (1 + FOR_THE_DECISION + 2 / max(1, state.num_tracked))
        return expected <= self.tracking.max_share * state.seconds

    def measure(self, state: TrainState) -> Measurement:
        """Judge the generator of now, write it down, and keep it if it is the best so far; all ranks take part."""
        began = time.perf_counter()
        measurement = self._measurement(state)
        if dist.is_main():
            self.run.append_measurement(measurement.to_plain())
            self._keep_if_best(state, measurement)
        _charge(state, began)
        state.num_tracked += 1
        return measurement

    def decide(self, state: TrainState, measurement: Measurement) -> None:
        """At the end, keep the generator of now unless the kept one is clearly better on more and other images.

        The best of many noisy figures is in part a lucky one, and of two that are level the one that has learnt longer
        is the better one to look at. All ranks take part. This takes what is left of tracking's share of the time, and
        decides nothing where that is not enough for as many images as were tracked.

        Args:
            state: the generator of now.
            measurement: what ``measure`` found of it.
        """
        num = self._num_to_decide(state)
        kept = dist.from_main(lambda: self._kept_instead_of(state))
        if num < self.tracking.num or kept is None or self.figure not in measurement.figures:
            return
        began = time.perf_counter()
        network = copy.deepcopy(self.sampler.network)
        network.load_state_dict(kept)
        seeds = range(self.tracking.num, self.tracking.num + num)
        rivals = (self.sampler, dataclasses.replace(self.sampler, network=network))
        now, before = (self._measured(rival, seeds)[self.figure].value for rival in rivals)
        if dist.is_main() and not self._better(before, now, by=LEVEL * abs(now)):
            self._keep(state, measurement)
        _charge(state, began)

    def _num_to_decide(self, state: TrainState) -> int:
        """Images of each of the two."""
        left = self.tracking.max_share * state.seconds - state.tracking_seconds
        each = state.tracking_seconds / max(1, state.num_tracked)
        return int(min(MOST_TO_DECIDE, left / (2 * each)) * self.tracking.num) if each else 0

    def _kept_instead_of(self, state: TrainState) -> dict[str, Tensor] | None:
        """The weights of the best generator; None if that is the one of now, or there is none."""
        home = self.run.best
        if home is None or read_state(home)["step"] == state.step:
            return None
        (weights,) = open_checkpoint(home).tensors.values()
        return dict(weights)

    def _measured(self, sampler: TrainedGenerator, seeds: Sequence[int]) -> dict[str, Estimate]:
        return self.metric.measure(Comparison(real=self.real, fake=self._fake(sampler, seeds), unlearnt=self.unlearnt))

    def _measurement(self, state: TrainState) -> Measurement:
        figures: dict[str, Estimate] = {}
        failures: dict[str, str] = {}
        try:
            figures = self._measured(self.sampler, range(self.tracking.num))
        except MetricError as error:
            failures[member_name(self.metric)] = str(error)
        return Measurement(
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

    def _fake(self, sampler: TrainedGenerator, seeds: Sequence[int]) -> Features:
        """A generator's images: each rank makes its share, all get all of them."""
        share = np.array_split(np.asarray(seeds), dist.world_size())[dist.rank()].tolist()
        return features_of_batches(self.network, ((batch.images, batch.labels) for batch in sampler.batches(share)))

    def _keep_if_best(self, state: TrainState, measurement: Measurement) -> None:
        if self.figure not in measurement.figures:
            return
        before = self._best_before(measurement)
        if before is None or self._better(measurement.figures[self.figure].value, before):
            self._keep(state, measurement)

    def _better(self, value: float, than: float, by: float = 0.0) -> bool:
        cost = self.metric.quantities[self.figure].cost
        return cost(value) < cost(than) - by

    def _keep(self, state: TrainState, measurement: Measurement) -> None:
        value, seen = measurement.figures[self.figure].value, measurement.to_plain()["seen"]
        told = {"figure": self.figure, "value": value, "seen": seen}
        self.run.keep_best(lambda folder: state.save_generator(folder, told))

    def _best_before(self, measurement: Measurement) -> float | None:
        """The figure of the generator that is kept now, if it was seen through the same network."""
        if self.run.best is None:
            return None
        plain = read_state(self.run.best)
        comparable = plain["figure"] == self.figure and plain["seen"]["digest"] == measurement.seen.digest
        return float(plain["value"]) if comparable else None


def _charge(state: TrainState, began: float) -> None:
    """Count what has passed since as tracking's."""
    cost, _ = dist.agree(time.perf_counter() - began, False)
    state.tracking_seconds += cost


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
    metric = tracking.metric or (FID() if enough else KID())
    unlearnt = network.unlearnt if metric.needs_unlearnt else None
    return Tracker(
        tracking=tracking,
        metric=metric,
        network=network,
        real=real,
        reference=Reference.of(store, "training", chosen),
        unlearnt=None if unlearnt is None else features_of_store(network, store, some_of(unlearnt, tracking.num_real)),
        run=run,
        sampler=sampler,
    )
