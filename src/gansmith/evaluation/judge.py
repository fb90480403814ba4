"""One network that looks at real and generated images alike, and what all metrics say of what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch
from rich.console import Console

from gansmith import __version__, dist
from gansmith.component import member, member_name, members
from gansmith.console import work_progress
from gansmith.data.batches import Indices
from gansmith.devices import require_bytes
from gansmith.errors import MetricError
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import Real, Subset
from gansmith.metrics import default_extractor
from gansmith.metrics.features import FeatureNetwork, Features, Selection, choose_subset, extract_store
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity
from gansmith.types import ImageSpec

__all__ = ["Judge", "count_images", "list_metrics", "list_quantities"]

MOST_VALIDATION = 10_000  # real images that mistakes are counted on


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """Who judges: the real images, the network that looks, and what is asked."""

    real: Real
    network: FeatureNetwork
    options: EvaluationOptions
    console: Console

    @classmethod
    def of(cls, real: Real, options: EvaluationOptions, console: Console) -> Judge:
        """The judge for these real images; the feature network is made now, unless the cache has it.

        Raises:
            MetricError: it cannot be made for them.
        """
        extractor = options.extractor or default_extractor(real.store)
        with dist.main_first(), work_progress("learning to judge", console) as progress:
            network = extractor.network(real.store, real.indices, progress)
        return cls(real=real, network=network, options=options, console=console)

    def require_memory(self, num: int, spec: ImageSpec) -> None:
        """Refuse samples whose features and neighbours cannot fit into memory, before any is made.

        Args:
            num: how many samples.
            spec: their shape.

        Raises:
            ConfigError: they need more than is free.
        """
        known = [len(self._chosen)]
        if any(metric.needs_training for metric in self.metrics):
            known = [len(self.real.indices), len(self.real.held_out.indices) if self.real.held_out else 0]
        with torch.no_grad():
            values, _ = self.network(torch.zeros(1, spec.channels, spec.height, spec.width, dtype=torch.uint8))
        rows, most = num + sum(known), max(num, *known)
        # each row of features, float32; twice in float64 for all that neighbours are looked for among; pixels twice
        needed = values.shape[1] * (4 * rows + 16 * most) + 2 * num * spec.height * spec.width * spec.channels
        what = f"{num:,} samples and {sum(known):,} real images with {values.shape[1]:,} features each"
        require_bytes(needed, torch.device("cpu"), "evaluate.num", what)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured."""
        return list_metrics() if self.options.metrics is None else self.options.metrics

    def features(self, part: Subset, what: str) -> Features:
        """Features of images in a store, which the cache keeps, with a bar."""
        with work_progress(what, self.console) as progress:
            return extract_store(self.network, part.store, part.indices, count_images(progress, len(part.indices)))

    def compare(self, fake: Features, unlabelled: str = "") -> MetricInputs:
        """Put the samples beside all real images that the metrics look at.

        Args:
            fake: the samples.
            unlabelled: why they have no labels; see ``MetricInputs``.
        """
        real, chosen = self.real, self._chosen
        training = held_out = None
        if any(metric.needs_training for metric in self.metrics):
            training = self.features(real, "looking at all real images") if real.trained_on else None
            held_out = self.features(real.held_out, "looking at those held out") if real.held_out else None
        if training is None:
            drawn = self.features(Subset(store=real.store, indices=chosen), "looking at real images")
        else:
            drawn = _rows(training, np.searchsorted(real.indices, chosen), Selection(real.store.images, chosen))
        return MetricInputs(
            real=drawn,
            fake=fake,
            training=training,
            held_out=held_out,
            validation=self._validation(training),
            class_names=real.store.class_names,
            unlabelled=unlabelled,
            seed=self.options.seed,
        )

    def _validation(self, training: Features | None) -> Features | None:
        """Real images that the network did not learn from, if a metric looks at them."""
        numbers = self.network.validation
        if numbers is None or not any(metric.needs_validation for metric in self.metrics):
            return None
        chosen = choose_subset(numbers, MOST_VALIDATION)
        if training is None:
            return self.features(Subset(store=self.real.store, indices=chosen), "looking at its mistakes")
        rows = np.searchsorted(self.real.indices, chosen)
        return _rows(training, rows, Selection(self.real.store.images, chosen))

    def judge(self, comparison: MetricInputs, generated: Generated) -> Measurement:
        """All figures; the main process measures, and all have them."""
        values, failures = dist.from_main(lambda: self._measure(comparison))
        return Measurement(
            kind="evaluation",
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            generated=generated,
            reference=Reference.of(self.real.store, self.real.split, self._chosen, self.real.part),
            extractor=ExtractorFacts.of(self.network),
            values=values,
            failures=failures,
            gansmith=__version__,
        )

    @property
    def _chosen(self) -> Indices:
        return choose_subset(self.real.indices, self.options.num)

    def _measure(self, comparison: MetricInputs) -> tuple[dict[str, Estimate], dict[str, str]]:
        values: dict[str, Estimate] = {}
        failures: dict[str, str] = {}
        for number, metric in enumerate(self.metrics, start=1):
            name = member_name(metric)
            with work_progress(f"measuring {name} ({number} of {len(self.metrics)})", self.console):
                try:
                    values |= metric.measure(comparison)
                except MetricError as error:
                    failures[name] = str(error)
        return values, failures


def count_images(progress: Callable[[int, int], object], total: int) -> Callable[[int], object]:
    """A callback for images as they come, from one for work done and all work."""
    done = 0

    def add(num: int) -> None:
        nonlocal done
        done += num
        progress(done, total)

    return add


def list_metrics() -> tuple[Metric, ...]:
    """All that there are, as they are if nothing is said."""
    return tuple(member(Metric, name, "metrics")() for name in members(Metric))  # type: ignore[type-abstract]


def list_quantities(metrics: Iterable[Metric] = ()) -> dict[str, Quantity]:
    """What the figures of measurements are, by their names: those of all our metrics, and of others given."""
    return {name: quantity for metric in (*list_metrics(), *metrics) for name, quantity in metric.quantities.items()}


def _rows(features: Features, rows: Indices, images: Selection) -> Features:
    return Features(
        values=features.values[rows],
        logits=None if features.logits is None else features.logits[rows],
        labels=None if features.labels is None else features.labels[rows],
        images=images,
    )
