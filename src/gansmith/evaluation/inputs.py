"""What the metrics compare: real images and samples as features of one network, and the measurement itself."""

from __future__ import annotations

from collections.abc import Callable, Set
from datetime import UTC, datetime

import numpy as np
import torch
from rich.console import Console

from gansmith import __version__, dist
from gansmith.component import member_name
from gansmith.console import work_progress
from gansmith.data.batches import Indices
from gansmith.devices import require_bytes
from gansmith.errors import MetricError
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import Real, Subset
from gansmith.metrics.combined import build_network
from gansmith.metrics.extractor import default_extractor
from gansmith.metrics.features import FeatureNetwork, Features, Selection, choose_subset, extract_store
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference
from gansmith.metrics.metric import Estimate, MetricInputs
from gansmith.types import ImageSpec

__all__ = ["collect_inputs", "count_images", "extract_subset", "load_extractor", "measure", "require_memory"]

MOST_VALIDATION = 10_000  # real images that a classifier's mistakes are counted on


def load_extractor(
    real: Real, options: EvaluationOptions, console: Console, backbones: Set[str] = frozenset()
) -> FeatureNetwork:
    """Return the feature extractor for these real images; it is trained now unless the cache holds it.

    Args:
        real: the real images.
        options: what is measured; without an extractor it is chosen.
        console: for the progress bar.
        backbones: pretrained networks that the discriminator looks through; none if unknown.

    Raises:
        MetricError: the extractor does not fit the images.
    """
    extractor = options.extractor or default_extractor(real.store, avoid=backbones)
    with dist.main_first(), work_progress("training the feature extractor", console) as progress:
        network = build_network(extractor, real.store, real.indices, options.chosen_metrics, progress)
    if extractor.backbone in backbones:
        network.note = f"{network.note}; the discriminator looks through it too, so the values are too good"
    return network


def require_memory(network: FeatureNetwork, real: Real, options: EvaluationOptions, num: int, spec: ImageSpec) -> None:
    """Raise an error if features and neighbours of the samples cannot fit into memory; called before sampling.

    Args:
        network: the feature extractor.
        real: the real images.
        options: what is measured.
        num: number of samples.
        spec: their shape.

    Raises:
        ConfigError: they need more memory than is free.
    """
    known = [len(_choose_real(real, options))]
    if any(metric.needs_training for metric in options.chosen_metrics):
        known = [len(real.indices), len(real.held_out.indices) if real.held_out else 0]
    with torch.no_grad():
        values, _ = network(torch.zeros(1, spec.channels, spec.height, spec.width, dtype=torch.uint8))
    rows, most, own = num + sum(known), max(num, *known), -(-num // dist.world_size())
    # each row of features, float32; twice in float64 for the neighbour search; this rank's pixels twice
    needed = values.shape[1] * (4 * rows + 16 * most) + 2 * own * spec.height * spec.width * spec.channels
    what = f"{num:,} samples and {sum(known):,} real images with {values.shape[1]:,} features each"
    require_bytes(needed, torch.device("cpu"), "evaluate.num", what)


def extract_subset(network: FeatureNetwork, subset: Subset, what: str, console: Console) -> Features:
    """Return features of images in a store, from the cache if it holds them; shows a progress bar."""
    with work_progress(f"extracting features of {what}", console) as progress:
        return extract_store(network, subset.store, subset.indices, count_images(progress, len(subset.indices)))


def collect_inputs(
    real: Real, fake: Features, network: FeatureNetwork, options: EvaluationOptions, console: Console, unlabelled: str
) -> MetricInputs:
    """Return the samples together with features of all real images that the metrics need.

    Args:
        real: the real images.
        fake: features of the samples.
        network: the feature extractor.
        options: what is measured.
        console: for progress bars.
        unlabelled: why the samples have no labels; see ``MetricInputs``.
    """
    chosen = _choose_real(real, options)
    training = held_out = None
    if any(metric.needs_training for metric in options.chosen_metrics):
        training = extract_subset(network, real, "training images", console) if real.trained_on else None
        held_out = extract_subset(network, real.held_out, "held-out images", console) if real.held_out else None

    def take(numbers: Indices, what: str) -> Features:
        if training is None:
            return extract_subset(network, Subset(store=real.store, indices=numbers), what, console)
        return _take_rows(training, np.searchsorted(real.indices, numbers), Selection(real.store.images, numbers))

    validation = None
    if network.validation is not None and any(metric.needs_validation for metric in options.chosen_metrics):
        validation = take(choose_subset(network.validation, MOST_VALIDATION), "validation images")
    return MetricInputs(
        real=take(chosen, "real images"),
        fake=fake,
        training=training,
        held_out=held_out,
        validation=validation,
        class_names=real.store.class_names,
        unlabelled=unlabelled,
        seed=options.seed,
    )


def measure(
    inputs: MetricInputs,
    generated: Generated,
    real: Real,
    network: FeatureNetwork,
    options: EvaluationOptions,
    console: Console,
) -> Measurement:
    """Return the values of all metrics, and a reason for each metric that could not be computed."""
    values: dict[str, Estimate] = {}
    failures: dict[str, str] = {}
    metrics = options.chosen_metrics
    for number, metric in enumerate(metrics, start=1):
        name = member_name(metric)
        with work_progress(f"measuring {name} ({number} of {len(metrics)})", console):
            try:
                values |= metric.measure(inputs)
            except MetricError as error:
                failures[name] = str(error)
    return Measurement(
        kind="evaluation",
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        generated=generated,
        reference=Reference.of(real.store, real.split, _choose_real(real, options), real.part),
        extractor=ExtractorFacts.of(network),
        values=values,
        failures=failures,
        gansmith=__version__,
    )


def count_images(progress: Callable[[int, int], object], total: int) -> Callable[[int], object]:
    """Return a callback that adds up numbers of images and reports the sum and the total to ``progress``."""
    done = 0

    def add(num: int) -> None:
        nonlocal done
        done += num
        progress(done, total)

    return add


def _choose_real(real: Real, options: EvaluationOptions) -> Indices:
    return choose_subset(real.indices, options.num)


def _take_rows(features: Features, rows: Indices, images: Selection) -> Features:
    return Features(
        values=features.values[rows],
        logits=None if features.logits is None else features.logits[rows],
        labels=None if features.labels is None else features.labels[rows],
        images=images,
    )
