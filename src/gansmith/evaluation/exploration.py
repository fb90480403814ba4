"""Explore a run's latent space by numbers: diversity and realism of its samples beside those of real images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from gansmith.data.batches import Indices, split
from gansmith.errors import ConfigError, GansmithError, MetricError
from gansmith.evaluation.inputs import extract_subset, load_extractor
from gansmith.evaluation.nearest import Neighbours, find_neighbours
from gansmith.evaluation.options import FIRST_SEED, EvaluationOptions
from gansmith.evaluation.real import Real, Subset, open_own_images
from gansmith.metrics.copies import Originals
from gansmith.metrics.diversity import Diversity
from gansmith.metrics.extractor import Extractor, default_extractor
from gansmith.metrics.features import FeatureNetwork, Features, Selection, choose_subset, extract, extract_batches
from gansmith.metrics.fidelity import LabelFidelity
from gansmith.metrics.frechet import FID
from gansmith.metrics.intervals import wilson
from gansmith.metrics.kernel import KID
from gansmith.metrics.manifold import DensityCoverage, PrecisionRecall
from gansmith.metrics.memorisation import Memorisation
from gansmith.metrics.metric import Estimate, MetricInputs
from gansmith.metrics.perceptual import Perception
from gansmith.metrics.two_samples import compare_within_classes, tell_apart
from gansmith.runs import RunFolder
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.sampling.paths import walk
from gansmith.sampling.projection import MOST_PROJECTED, Search, choose_backbone, project
from gansmith.sampling.projections import Projections
from gansmith.sampling.smoothness import PathLength, measure_path_length
from gansmith.schedules import Duration
from gansmith.training.config import load_config
from gansmith.training.snapshots import find_snapshot, load_generator
from gansmith.types import PixelArray

__all__ = ["Compared", "Exploration", "ExplorationOptions", "choose_options", "explore_run"]

HALVES = (FID(), KID(), PrecisionRecall(), DensityCoverage(), LabelFidelity(), Diversity())
LEAST_IMAGES = 50
SHORT_TRAINING = Duration(1, "min")  # whose extractor is a light one


@dataclass(frozen=True, kw_only=True)
class ExplorationOptions:
    """How much is measured.

    Args:
        num: generated images, and largest number of real ones on each side.
        seed: of the first image; the default differs from all seeds that training selected the best generator with.
        num_projected: held-out images that are projected, and as many training images.
        num_neighbours: samples whose nearest training images are found.
        num_walks: walks whose smoothness is measured.
        search: of the projections.
        extractor: feature extractor; None takes the one that evaluates the run.
        light: take a light extractor instead, as short trainings are tracked with.
    """

    num: int = 1000
    seed: int = FIRST_SEED
    num_projected: int = 8
    num_neighbours: int = 6
    num_walks: int = 200
    search: Search = Search()
    extractor: Extractor | None = None
    light: bool = False

    def __post_init__(self) -> None:
        if not LEAST_IMAGES <= self.num <= 100_000:
            raise ConfigError(f"num: {self.num:,} images; expected {LEAST_IMAGES} to 100,000")
        if not 1 <= self.num_projected <= MOST_PROJECTED:
            raise ConfigError(f"num_projected: {self.num_projected:,} images; expected 1 to {MOST_PROJECTED}")


def choose_options(num: int, num_projected: int, seed: int, *, quick: bool) -> ExplorationOptions:
    """Return the options for a user's choices; quick ones take about a third of the time.

    Raises:
        ConfigError: a number is out of range.
    """
    if not quick:
        return ExplorationOptions(num=num, num_projected=num_projected, seed=seed)
    search = Search(num_candidates=512, starts=3, steps=60)
    return ExplorationOptions(
        num=max(LEAST_IMAGES, num // 2),
        num_projected=min(3, num_projected),
        seed=seed,
        num_walks=100,
        search=search,
        light=True,
    )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A value of the samples beside that of real images in their place.

    Args:
        samples: the samples against one half of the training images.
        real: the other half against the first, or what else real images reach; None if there is no such value.
    """

    samples: Estimate
    real: Estimate | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Exploration:
    """What was measured.

    Args:
        num: images on each side of a comparison.
        values: by name.
        failures: names of values that could not be computed, with the reason.
        class_ratios: distances within each class, generated to real.
        path: smoothness of walks.
        neighbours: samples and their nearest training images.
        projections: of held-out and of training images, by these words.
        extractor: name and quality of the feature extractor.
        class_names: names of the classes.
    """

    num: int
    values: dict[str, Compared] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    class_ratios: dict[int, float] = field(default_factory=dict)
    path: PathLength | None = None
    neighbours: Neighbours | None = None
    projections: dict[str, Projections] = field(default_factory=dict)
    extractor: str = ""
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Material:
    """Features of the two halves of the real images and of as many samples, with everything they come from."""

    generator: TrainedGenerator
    network: FeatureNetwork
    real: Real
    training: Features
    held_out: Features | None
    first: Features
    second: Features
    fake: Features
    options: ExplorationOptions

    def inputs(self, fake: Features) -> MetricInputs:
        return MetricInputs(
            real=self.first,
            fake=fake,
            training=self.training,
            held_out=self.held_out,
            class_names=self.real.store.class_names,
        )


def explore_run(
    folder: RunFolder, options: ExplorationOptions = ExplorationOptions(), console: Console | None = None
) -> tuple[TrainedGenerator, Exploration]:
    """Return a run's generator, and what its samples are like beside its training images.

    The training images are split in two halves, as groups such as tracks of GTSRB allow. Each value of the samples
    against the first half is set beside that of the second half against the first: what real images reach. What cannot
    be measured is listed with the reason.

    Args:
        folder: the run.
        options: how much is measured.
        console: for progress bars.

    Raises:
        RunError: the run has no generator, or its training images are missing or have changed.
    """
    console = console or Console(quiet=True)
    config = load_config(folder.config)
    generator = load_generator(folder, find_snapshot(folder))
    material = _gather(folder, generator, options, console)
    found = Exploration(
        num=len(material.fake),
        extractor=": ".join(filter(None, (material.network.name, material.network.note))),
        class_names=material.real.store.class_names,
    )
    _compare(material, found)
    found = _try(found, "path", lambda: _walks(material, choose_backbone(config.backbones)))
    found = _try(found, "neighbours", lambda: {"neighbours": _neighbours(material)})
    search = replace(options.search, backbone=choose_backbone(config.backbones))
    return generator, _try(found, "projections", lambda: {"projections": _project(material, search, console)})


def _try(found: Exploration, name: str, make: Callable[[], dict[str, object]]) -> Exploration:
    try:
        return replace(found, **make())  # type: ignore[arg-type]
    except GansmithError as error:
        found.failures[name] = str(error)
        return found


def _gather(folder: RunFolder, generator: TrainedGenerator, options: ExplorationOptions, console: Console) -> _Material:
    avoid = load_config(folder.config).backbones
    evaluation = EvaluationOptions(metrics=HALVES, num=options.num, seed=options.seed, extractor=options.extractor)
    real = open_own_images(folder, evaluation, console)
    if options.light and options.extractor is None:
        evaluation = replace(evaluation, extractor=default_extractor(real.store, SHORT_TRAINING, avoid))
    network = load_extractor(real, evaluation, console, avoid)
    training = extract_subset(network, real, "training images", console)
    held_out = extract_subset(network, real.held_out, "held-out images", console) if real.held_out else None
    first, second = (np.intersect1d(half, real.indices) for half in split(real.store, 0.5, seed=1))
    num = min(options.num, len(first), len(second))
    if num < LEAST_IMAGES:
        raise MetricError(f"{len(real.indices)} training images are too few; expected at least {2 * LEAST_IMAGES}")
    seeds = range(options.seed, options.seed + num)
    batches = ((batch.images, batch.labels) for batch in generator.batches(seeds))
    fake = extract_batches(network, batches)
    return _Material(
        generator=generator,
        network=network,
        real=real,
        training=training,
        held_out=held_out,
        first=_take(real, training, choose_subset(first, num)),
        second=_take(real, training, choose_subset(second, num)),
        fake=fake,
        options=options,
    )


def _take(real: Real, training: Features, numbers: Indices) -> Features:
    rows = np.searchsorted(real.indices, numbers)
    return Features(
        values=training.values[rows],
        logits=None if training.logits is None else training.logits[rows],
        labels=None if training.labels is None else training.labels[rows],
        images=Selection(real.store.images, numbers),
    )


# --- values ------------------------------------------------------------------------------------------------


def _compare(material: _Material, found: Exploration) -> None:
    conditional = material.generator.spec.num_classes > 0
    for metric in HALVES:
        if conditional or not isinstance(metric, LabelFidelity):
            _attempt(found, type(metric).__name__, lambda metric=metric: _beside(material, metric.measure))  # type: ignore[misc]
    _attempt(found, "told_apart", lambda: {"told_apart": _apart(material)})
    _attempt(found, "twins", lambda: {"twins": _twins(material)})
    _attempt(found, "memorisation", lambda: _alone(Memorisation().measure(material.inputs(material.fake))))
    _attempt(found, "midway", lambda: _midway(material))
    if conditional:
        _attempt(found, "within_classes", lambda: _within(material, found))


def _attempt(found: Exploration, name: str, make: Callable[[], Mapping[str, Compared]]) -> None:
    try:
        found.values.update(make())
    except MetricError as error:
        found.failures[name] = str(error)


def _beside(material: _Material, measure: Callable[[MetricInputs], Mapping[str, Estimate]]) -> dict[str, Compared]:
    """Return the values of the samples, each beside that of the second half of the real images."""
    samples, real = (measure(material.inputs(side)) for side in (material.fake, material.second))
    return {name: Compared(samples=value, real=real.get(name)) for name, value in samples.items()}


def _alone(values: Mapping[str, Estimate]) -> dict[str, Compared]:
    return {name: Compared(samples=value) for name, value in values.items()}


def _apart(material: _Material) -> Compared:
    first = material.first.values
    return Compared(samples=tell_apart(first, material.fake.values), real=tell_apart(first, material.second.values))


def _within(material: _Material, found: Exploration) -> dict[str, Compared]:
    value, ratios = compare_within_classes(material.first, material.fake)
    real, _ = compare_within_classes(material.first, material.second)
    found.class_ratios.update(ratios)
    return {"within_classes": Compared(samples=value, real=real)}


def _twins(material: _Material) -> Compared:
    """Return the share of images that are a copy of another one of their set; see ``metrics.copies``."""
    shares = []
    for side in (material.fake, material.second):
        copied = Originals.of(side.pixels).find_copies_within(np.arange(len(side)))
        shares.append(wilson(int(copied.sum()), len(copied)))
    return Compared(samples=shares[0], real=shares[1])


def _midway(material: _Material) -> dict[str, Compared]:
    """Return the precision of images in the middle of walks, and of pixel means of the ends, beside that of samples."""
    options, generator = material.options, material.generator
    num = len(material.fake)
    z, labels = generator.draw(range(options.seed, options.seed + 2 * num))
    classes = None if labels is None else labels[:num]
    middle = torch.stack([walk(start, end, 3)[1] for start, end in zip(z[:num], z[num:], strict=True)])
    ends = [generator.images(side, classes).astype(np.uint16) for side in (z[:num], z[num:])]
    faded: PixelArray = ((ends[0] + ends[1]) // 2).astype(np.uint8)
    precise = [_precision(material, images) for images in (generator.images(middle, classes), faded)]
    return {"midway": Compared(samples=precise[0]), "cross_fades": Compared(samples=precise[1])}


def _precision(material: _Material, images: PixelArray) -> Estimate:
    values, _ = extract(material.network, Selection(images, np.arange(len(images))).batches())
    return PrecisionRecall().measure(material.inputs(Features(values=values)))["precision"]


# --- pictures ----------------------------------------------------------------------------------------------


def _walks(material: _Material, backbone: str) -> dict[str, object]:
    options = material.options
    perception = Perception("lite1" if backbone == "lite1" else "lite0")
    return {"path": measure_path_length(material.generator, perception, options.num_walks, seed=options.seed)}


def _neighbours(material: _Material) -> Neighbours:
    options = material.options
    samples: Samples = material.generator.sample(options.num_neighbours, seed=options.seed)
    return find_neighbours(samples, material.real, material.training, material.network)


def _project(material: _Material, search: Search, console: Console) -> dict[str, Projections]:
    """Return projections of held-out and of training images, each with its own class."""
    subsets: dict[str, Subset] = {"training": material.real}
    if material.real.held_out is not None:
        subsets = {"held-out": material.real.held_out} | subsets
    found = {}
    for name, subset in subsets.items():
        numbers = _draw_numbers(subset.indices, material.options)
        labels = None
        if material.generator.spec.num_classes and subset.store.labels is not None:
            labels = subset.store.labels[numbers].tolist()
        images = np.ascontiguousarray(subset.store.images[numbers])
        found[name] = project(material.generator, images, label=labels, search=search)
    return found


def _draw_numbers(indices: Indices, options: ExplorationOptions) -> NDArray[np.int64]:
    num = min(options.num_projected, len(indices))
    return np.sort(np.random.default_rng(options.seed).choice(indices, num, replace=False))
