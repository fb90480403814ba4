"""The images that are judged: made by a run, or found in files, with the classes that they are meant to be."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from gansmith import dist
from gansmith.console import work_progress
from gansmith.data import resolve
from gansmith.data.batches import Indices
from gansmith.data.class_names import find_class
from gansmith.data.store import Store
from gansmith.data.survey import propose_channels, survey
from gansmith.errors import ConfigError, DataError, MetricError
from gansmith.evaluation.judge import Judge, count_images
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import CHANNELS, Subset, prepare_images
from gansmith.metrics.features import Features, choose_subset, extract_batches
from gansmith.sampling.generator import TrainedGenerator
from gansmith.types import size_text

__all__ = ["find_class_numbers", "hash_images", "made", "match_classes", "opened", "read"]

BLOCK = 128  # images whose bytes are hashed at once


def made(generator: TrainedGenerator, judge: Judge, numbers: Indices | None) -> Features:
    """What a generator makes; each rank makes its share, and all get all of it.

    Args:
        generator: what makes them.
        judge: how many of which seeds, and who looks at them.
        numbers: of its classes, as of ``match_classes``.
    """
    first, num = judge.options.seed, judge.options.num
    if num < dist.world_size():
        raise ConfigError(f"evaluate.num: {num} is less than the {dist.world_size()} processes; each needs one image")
    share: list[int] = np.array_split(np.arange(first, first + num), dist.world_size())[dist.rank()].tolist()
    batches = ((batch.images, batch.labels) for batch in generator.batches(share))
    with work_progress("sampling", judge.console) as progress:
        fake = extract_batches(judge.network, batches, count_images(progress, len(share)))
    return _renumbered(fake, numbers)


def read(store: Store, judge: Judge, numbers: Indices | None) -> Features:
    """Samples in files, ``num`` of them at most; the arguments are those of ``made``."""
    chosen = choose_subset(np.arange(len(store)), judge.options.num)
    fake = judge.features(Subset(store=store, indices=chosen), "looking at the samples")
    return _renumbered(fake, numbers)


def opened(path: Path, options: EvaluationOptions, console: Console) -> Store:
    """Samples in files, as they are: they are never resized.

    Raises:
        DataError: they cannot be read.
        MetricError: they are of several sizes.
    """
    source = resolve(str(path.absolute()))
    records = source.records()
    facts, failed = survey(records, range(len(records)))  # of all, for one of another size would be resized in silence
    if failed:
        name, reason = failed[0]
        count = f"{len(failed):,} of {len(records):,} samples"
        raise DataError(f"{path}: {count} cannot be read, first {name}: {reason}; mend or remove them")
    (height, width), *others = dict.fromkeys(fact.size for fact in facts)
    if others:
        raise MetricError(
            f"{path}: samples of {len(others) + 1} sizes, as {size_text((height, width), others[0])}; "
            "expected one size, for samples are judged as they are"
        )
    preparation = dataclasses.replace(options.preparation, size=(height, width))
    if preparation.channels == "auto":
        preparation = dataclasses.replace(preparation, channels=CHANNELS[propose_channels(facts)])
    return prepare_images(source, preparation, console)


def hash_images(fake: Features) -> str:
    """SHA-256 of the samples' pixels, a few at a time."""
    digest = hashlib.sha256()
    for start in range(0, len(fake), BLOCK):
        digest.update(fake.images[np.arange(start, min(start + BLOCK, len(fake)))].tobytes())
    return digest.hexdigest()


def match_classes(store: Store, names: Sequence[str]) -> tuple[Indices | None, str]:
    """Match classes as ``find_class_numbers`` does; if a name is unknown, the samples count as unlabelled.

    Metrics that need no labels are measured all the same.

    Returns:
        The numbers, or None; and why there are none, else empty.
    """
    try:
        return find_class_numbers(store, names), ""
    except MetricError as error:
        return None, str(error)


def find_class_numbers(store: Store, names: Sequence[str]) -> Indices:
    """Which of the real images' classes the samples' classes are, by their names or their numbers.

    Args:
        store: the real images.
        names: of the samples' classes.

    Returns:
        int64 [k], one number for each name; empty where one of both sides has no classes.

    Raises:
        MetricError: a name is neither.
    """
    if not names or not store.class_names:
        return np.empty(0, np.int64)
    try:
        return np.array([find_class(store.class_names, name, store.title) for name in names], np.int64)
    except ConfigError as error:
        remedy = "name the samples' classes as the real images' are, or leave them out (one folder, or no labels)"
        raise MetricError(f"the samples' classes do not match: {error}; {remedy}") from error


def _renumbered(fake: Features, numbers: Indices | None) -> Features:
    known = fake.labels is not None and numbers is not None and len(numbers) > 0
    labels = numbers[fake.labels] if known and numbers is not None else None
    return dataclasses.replace(fake, labels=labels)
