"""The real images that generated ones are measured against: a run's own, or any others in the samples' shape."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.console import Console

from gansmith import dist
from gansmith.console import work_progress
from gansmith.data.batches import ENOUGH_HELD_OUT, Indices, split
from gansmith.data.folder import Folder
from gansmith.data.source import Source
from gansmith.data.split_names import is_split
from gansmith.data.store import Preparation, Store, prepare
from gansmith.data.survey import survey
from gansmith.errors import ConfigError, DataError, MetricError, RunError
from gansmith.evaluation.options import EvaluationOptions
from gansmith.metrics.measurement import Split
from gansmith.runs import RunFolder
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts, match_trained_data
from gansmith.types import ImageSpec, size_text

__all__ = ["CHANNELS", "Real", "Subset", "open_other_images", "open_own_images", "prepare_images"]

CHANNELS: dict[int, Literal["gray", "rgb", "rgba"]] = {1: "gray", 3: "rgb", 4: "rgba"}
SURVEYED = 128  # images whose sizes are looked at


@dataclass(frozen=True, kw_only=True, eq=False)
class Subset:
    """Some images of a store, by their numbers."""

    store: Store
    indices: Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class Real(Subset):
    """What samples are measured against, before ``num`` of it are drawn.

    Args:
        split: which part of the store this is.
        trained_on: whether the generator is known to have learned from exactly these images.
        held_out: real images that it never saw, or None.
        part: what was read of the data set where that is not all of it; see ``Reference``.
    """

    split: Split
    trained_on: bool
    held_out: Subset | None
    part: str = ""


def open_own_images(folder: RunFolder, options: EvaluationOptions, console: Console) -> Real:
    """What a run was trained on, and what it held out.

    Raises:
        RunError: its images have gone or changed.
    """
    if options.preparation != Preparation():
        raise ConfigError("evaluate.preparation: a run's own images stay as it was trained on them; leave it out")
    config = load_config(folder.config)
    remedy = "bring them back, or name other images with --against DATA"
    try:
        store = prepare_images(config.data, config.preparation, console)
    except DataError as error:
        raise RunError(f"{folder.path}: the images that it was trained on cannot be had ({error}); {remedy}") from error
    facts = DataFacts.read(folder.data)
    store = match_trained_data(store, facts)
    if facts.digest != store.digest:
        raise RunError(
            f"{folder.path}: the images are not those that it was trained on (their digest differs); {remedy}"
        )
    training, rest = split(store, config.held_out, least=ENOUGH_HELD_OUT)
    held_out = Subset(store=store, indices=rest) if len(rest) else None
    if options.held_out is not None:
        held_out = _in_shape(options.held_out, store.spec, options, console)
    return Real(store=store, indices=training, split="training", trained_on=True, held_out=held_out)


def open_other_images(
    source: Source, spec: ImageSpec, options: EvaluationOptions, console: Console, *, trained_on: bool = False
) -> Real:
    """All images of a source, in the shape of the samples.

    Raises:
        MetricError: they cannot be brought to it, or only by enlarging them, which nobody has asked for.
        DataError: they cannot be read.
    """
    part = _in_shape(source, spec, options, console)
    held_out = None if options.held_out is None else _in_shape(options.held_out, spec, options, console)
    return Real(
        store=part.store,
        indices=part.indices,
        split="all",
        trained_on=trained_on,
        held_out=held_out,
        part=_part_read(source),
    )


def _part_read(source: Source) -> str:
    """Which split or sub-folder of a source is read, in words; empty if all of it is."""
    named = getattr(source, "split", "auto")
    if named != "auto":
        return "" if named == "all" else f"its split '{named}'"
    if not isinstance(source, Folder):
        return ""
    shared = os.path.commonpath([os.path.dirname(f"/{name}") for name in source.records().names]).strip("/")
    return f"its folder {shared}/" if any(is_split(folder) for folder in shared.split("/")) else ""


def prepare_images(source: Source, preparation: Preparation, console: Console) -> Store:
    """``prepare``, by the main process first, with a bar."""
    with dist.main_first(), work_progress("preparing images", console) as progress:
        return prepare(source, preparation, progress=progress)


def _in_shape(source: Source, spec: ImageSpec, options: EvaluationOptions, console: Console) -> Subset:
    preparation = options.preparation
    if preparation.size is None:
        _refuse_to_enlarge(source, spec)
        preparation = dataclasses.replace(preparation, size=(spec.height, spec.width))
    store = prepare_images(source, preparation, console)
    for note in store.notes:
        console.print(f"note  {store.title}: {note}", highlight=False, soft_wrap=True, markup=False)
    wanted, found = (dataclasses.replace(each, num_classes=0) for each in (spec, store.spec))
    if wanted != found:
        remedy = f"--size {spec.width}x{spec.height} --preparation.channels {CHANNELS[spec.channels]}"
        raise MetricError(f"the samples are {wanted}, but {store.title} is {found}; bring both to one with {remedy}")
    return Subset(store=store, indices=np.arange(len(store)))


def _refuse_to_enlarge(source: Source, spec: ImageSpec) -> None:
    records = source.records((spec.height, spec.width))
    facts, _ = survey(records, np.unique(np.linspace(0, len(records) - 1, SURVEYED).round().astype(int)).tolist())
    smaller = [fact for fact in facts if fact.size[0] < spec.height or fact.size[1] < spec.width]
    if len(smaller) * 2 > len(facts):
        height, width = np.median([fact.size for fact in smaller], axis=0).astype(int).tolist()
        raise MetricError(
            f"the samples are {size_text((spec.height, spec.width))}, but most images of {source.title} are smaller, "
            f"some {size_text((height, width))}; to enlarge them on purpose, say --size {spec.width}x{spec.height}"
        )
