"""Measure the generator while it trains, and keep the best one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gansmith import __version__, dist
from gansmith.component import member_name
from gansmith.data.store import Store
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.combined import build_network
from gansmith.metrics.extractor import Extractor, default_extractor, explain_default
from gansmith.metrics.features import FeatureNetwork, Features, choose_subset, extract_batches, extract_store
from gansmith.metrics.frechet import FID
from gansmith.metrics.image_sequence import run_on_main
from gansmith.metrics.kernel import KID
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference, rename_old_keys
from gansmith.metrics.metric import Estimate, Metric, MetricInputs
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.checkpoint import rebuild_generator, save_generator
from gansmith.training.checkpoint_files import Checkpoint, open_checkpoint, read_state
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.tracking import Tracking

__all__ = ["Tracker", "choose_extractor", "open_tracker"]

FOR_THE_DECISION = 0.25  # of what tracking has cost, left over for the decision at the end
MOST_TO_DECIDE = 5  # times as many images as are tracked
LEVEL = 0.1  # of a value: where two differ by less, another feature extractor may rank them the other way round


@dataclass(frozen=True, kw_only=True, eq=False)
class _Average:
    """One average of the generator's weights, with its tracked value.

    Args:
        sampler: generates images with it.
        value: of the tracked metric.
        factor: on the half-life of the running average.
        weights: the averaged networks; None for the running average.
    """

    sampler: TrainedGenerator
    value: float
    factor: float = 1.0
    weights: Mapping[str, nn.Module] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracker:
    """Measures the current generator and keeps the best one.

    Args:
        tracking: the settings.
        metric: what is measured.
        network: the feature extractor.
        real: the features of the real images.
        reference: where the real images come from.
        validation: real images that the feature extractor was not trained on, if the metric needs them.
        run: the folder for measurements and the best generator.
        sampler: generates the images, with the averaged weights if there are any.
    """

    tracking: Tracking
    metric: Metric
    network: FeatureNetwork
    real: Features
    reference: Reference
    validation: Features | None
    run: RunFolder
    sampler: TrainedGenerator

    @property
    def value_name(self) -> str:
        """The name of the tracked value: the metric's first."""
        return next(iter(self.metric.quantities))

    def summary(self) -> str:
        """Describe what is measured, in one line."""
        note = f" ({self.network.note})" if self.network.note else ""
        return (
            f"{self.value_name} of {self.tracking.num:,} images, extractor {self.network.name}{note}; the best is kept"
        )

    def affordable(self, state: TrainState) -> bool:
        """Return whether this measurement, those at the end and the decision fit into tracking's share of the time."""
        to_come = 2 + len(state.other_averages)  # this one, the last one, and its other averages
        expected = state.tracking_seconds * (1 + FOR_THE_DECISION + to_come / max(1, state.num_tracked))
        return expected <= self.tracking.max_share * state.seconds

    def measure(self, state: TrainState) -> Measurement:
        """Measure the current generator, record the result, and keep the generator if it is the best; on all ranks."""
        began = time.perf_counter()
        measurement = self._measurement(state)
        if dist.is_main():
            self.run.append_measurement(measurement.to_plain())
            if self.value_name in measurement.values:
                value = measurement.values[self.value_name].value
                self._keep_if_best(state, measurement, _Average(sampler=self.sampler, value=value))
        _charge(state, began)
        state.num_tracked += 1
        return measurement

    def decide(self, state: TrainState, measurement: Measurement) -> None:
        """At the end, choose among the averages of the last generator, and between that and the kept one.

        The last generator replaces the kept one unless that is clearly better on more and other images: the best of
        many noisy values is partly luck, and of two equal generators the one that trained longer tends to look better.
        All ranks take part. The comparison uses the rest of tracking's share of the time; nothing changes if that is
        too little for as many images as were tracked.

        Args:
            state: of the last generator.
            measurement: what ``measure`` returned for it.
        """
        if self.value_name not in measurement.values:
            return
        last = self._choose_average(state, measurement)
        num = self._num_to_decide(state)
        kept = dist.from_main(lambda: self._kept_instead_of(state))
        if num < self.tracking.num or kept is None:
            return
        began = time.perf_counter()
        network = rebuild_generator(state, kept)
        seeds = range(self.tracking.num, self.tracking.num + num)
        rivals = (last.sampler, dataclasses.replace(self.sampler, network=network))
        now, before = (self._measured(rival, seeds)[self.value_name].value for rival in rivals)
        if dist.is_main() and not self._better(before, now, by=LEVEL * abs(now)):
            self._keep(state, measurement, last)
        _charge(state, began)

    def _choose_average(self, state: TrainState, measurement: Measurement) -> _Average:
        """Measure the other averages on the images' seeds of ``measurement``; return the best of all, and keep it.

        The half-life is chosen after training, as by Karras et al. 2024 (EDM2, section 3), but among few.
        """
        began, name = time.perf_counter(), self.value_name
        best = running = _Average(sampler=self.sampler, value=measurement.values[name].value)
        found = {running.factor: running.value}
        for factor, averages in state.other_averages.items():
            network = state.config.recipe.generator({**state.networks, **averages})
            sampler = dataclasses.replace(self.sampler, network=network)
            value = self._measured(sampler, range(self.tracking.num))[name].value
            found[factor] = value
            if self._better(value, best.value):
                best = _Average(sampler=sampler, value=value, factor=factor, weights=averages)
        if dist.is_main() and best is not running:
            self._keep_if_best(state, measurement, best)
        if state.other_averages:
            values = ", ".join(f"{value:.3g} times {factor:g}" for factor, value in sorted(found.items()))
            state.notices.append(f"averages by half-life, {name}: {values}; the best is times {best.factor:g}")
            _charge(state, began)
        return best

    def _num_to_decide(self, state: TrainState) -> int:
        """Return the number of images for each of the two generators."""
        left = self.tracking.max_share * state.seconds - state.tracking_seconds
        each = state.tracking_seconds / max(1, state.num_tracked)
        return int(min(MOST_TO_DECIDE, left / (2 * each)) * self.tracking.num) if each else 0

    def _kept_instead_of(self, state: TrainState) -> Checkpoint | None:
        """Return the kept generator's checkpoint; None if it is the current one, or there is none."""
        home = self.run.best
        if home is None or read_state(home)["step"] == state.step:
            return None
        return open_checkpoint(home)

    def _measured(self, sampler: TrainedGenerator, seeds: Sequence[int]) -> dict[str, Estimate]:
        inputs = MetricInputs(real=self.real, fake=self._fake(sampler, seeds), validation=self.validation)
        return run_on_main(inputs.fake.pixels, lambda: self.metric.measure(inputs))

    def _measurement(self, state: TrainState) -> Measurement:
        values: dict[str, Estimate] = {}
        failures: dict[str, str] = {}
        try:
            values = self._measured(self.sampler, range(self.tracking.num))
        except MetricError as error:
            failures[member_name(self.metric)] = str(error)
        return Measurement(
            kind="tracking",
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            generated=Generated(
                path=str(self.run.path),
                num=self.tracking.num,
                snapshot="now",
                ema=bool(state.averages),
                seed=0,
                nimg=state.nimg,
                step=state.step,
                seconds=round(state.seconds - state.tracking_seconds, 3),
            ),
            reference=self.reference,
            extractor=ExtractorFacts.of(self.network),
            values={self.value_name: values[self.value_name]} if values else {},
            failures=failures,
            gansmith=__version__,
        )

    def _fake(self, sampler: TrainedGenerator, seeds: Sequence[int]) -> Features:
        """Return features of a generator's images; each rank computes its share and receives all."""
        share = np.array_split(np.asarray(seeds), dist.world_size())[dist.rank()].tolist()
        return extract_batches(self.network, ((batch.images, batch.labels) for batch in sampler.batches(share)))

    def _keep_if_best(self, state: TrainState, measurement: Measurement, average: _Average) -> None:
        before = self._best_before(measurement)
        if before is None or self._better(average.value, before):
            self._keep(state, measurement, average)

    def _better(self, value: float, than: float, by: float = 0.0) -> bool:
        cost = self.metric.quantities[self.value_name].cost
        return cost(value) < cost(than) - by

    def _keep(self, state: TrainState, measurement: Measurement, average: _Average) -> None:
        extractor = measurement.to_plain()["extractor"]
        facts = {"metric": self.value_name, "value": average.value, "extractor": extractor}
        chosen = {"ema_factor": average.factor} if state.other_averages else {}
        self.run.keep_best(lambda folder: save_generator(state, folder, facts | chosen, average.weights))

    def _best_before(self, measurement: Measurement) -> float | None:
        """Return the kept generator's value; None if another metric or feature extractor measured it."""
        if self.run.best is None:
            return None
        plain = rename_old_keys(read_state(self.run.best))
        same_extractor = plain["extractor"]["digest"] == measurement.extractor.digest
        comparable = plain["metric"] == self.value_name and same_extractor
        return float(plain["value"]) if comparable else None


def _charge(state: TrainState, began: float) -> None:
    """Count the time since then as tracking's."""
    cost, _ = dist.agree(time.perf_counter() - began, False)
    state.tracking_seconds += cost


def choose_extractor(config: Config, store: Store) -> tuple[Extractor, str]:
    """Return the extractor that tracks a training, and the reason for it; never one that the discriminator uses too.

    Args:
        config: of the training, which is tracked.
        store: the real images.

    Raises:
        ConfigError: the user has set an extractor that looks through the same network as the discriminator.
    """
    assert config.tracking is not None
    chosen, backbones = config.tracking.extractor, config.backbones
    if chosen is None:
        extractor = default_extractor(store, config.length, backbones)
        return extractor, f"{member_name(extractor)}: {explain_default(store, backbones)}"
    if chosen.backbone in backbones:
        other = member_name(default_extractor(store, config.length, backbones))
        raise ConfigError(
            f"config.tracking.extractor: {member_name(chosen)} is the network that the discriminator looks through, so "
            f"its values would be too good; leave it out, or choose another, as --tracking.extractor {other}"
        )
    return chosen, f"{member_name(chosen)}, as you set it"


def open_tracker(
    tracking: Tracking,
    store: Store,
    training: NDArray[np.int64],
    run: RunFolder,
    sampler: TrainedGenerator,
    progress: Callable[[int, int], object] | None = None,
) -> Tracker:
    """Return a tracker for a data set; the feature extractor is trained now unless the cache holds it.

    Args:
        tracking: the settings.
        store: the real images.
        training: indices of the images that are trained on.
        run: the folder for measurements and the best generator.
        sampler: the generator.
        progress: called with the work done and all the work, while the feature extractor is trained.

    Raises:
        MetricError: the metric or the feature extractor does not fit these images.
    """
    extractor = tracking.extractor or default_extractor(store)
    network = build_network(extractor, store, training, [tracking.metric] if tracking.metric else [], progress)
    chosen = choose_subset(training, tracking.num_real)
    real = extract_store(network, store, chosen)
    enough = min(len(real), tracking.num) > real.values.shape[1]
    metric = tracking.metric or (FID() if enough else KID())
    validation = network.validation if metric.needs_validation else None
    return Tracker(
        tracking=tracking,
        metric=metric,
        network=network,
        real=real,
        reference=Reference.of(store, "training", chosen),
        validation=None
        if validation is None
        else extract_store(network, store, choose_subset(validation, tracking.num_real)),
        run=run,
        sampler=sampler,
    )
