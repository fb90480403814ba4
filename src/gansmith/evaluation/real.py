"""The real images of an evaluation: a run's training images, or any others in the shape of the samples."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.console import Console

from gansmith import dist
from gansmith.console import print_plain, work_progress
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
SURVEYED = 128  # images whose sizes are read


@dataclass(frozen=True, kw_only=True, eq=False)
class Subset:
    """Some images of a store, by their numbers."""

    store: Store
    indices: Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class Real(Subset):
    """The real images of an evaluation, before ``num`` of them are drawn.

    Args:
        split: which part of the store this is.
        trained_on: whether the generator is known to have been trained on exactly these images.
        held_out: real images that it was not trained on, or None.
        part: which part of the data set was read; see ``Reference``.
    """

    split: Split
    trained_on: bool
    held_out: Subset | None
    part: str = ""


def open_own_images(folder: RunFolder, options: EvaluationOptions, console: Console) -> Real:
    """Return a run's training images, and the images that it held out.

    Raises:
        RunError: the images are missing or have changed.
    """
    if options.preparation != Preparation():
        raise ConfigError("evaluate.preparation: a run's training images keep their shape; leave it out")
    config = load_config(folder.config)
    remedy = "restore them, or name other images with --against DATA"
    try:
        store = prepare_images(config.source, config.preparation, console)
    except DataError as error:
        raise RunError(f"{folder.path}: its training images cannot be read ({error}); {remedy}") from error
    facts = DataFacts.read(folder.data)
    store = match_trained_data(store, facts)
    if facts.digest != store.digest:
        raise RunError(f"{folder.path}: its training images have changed (their digest differs); {remedy}")
    training, rest = split(store, config.held_out, least=ENOUGH_HELD_OUT)
    held_out = Subset(store=store, indices=rest) if len(rest) else None
    if options.held_out is not None:
        held_out = _read_in_shape("held_out", options.held_out, store.spec, options, console)
    return Real(store=store, indices=training, split="training", trained_on=True, held_out=held_out)


def open_other_images(
    source: Source, spec: ImageSpec, options: EvaluationOptions, console: Console, *, trained_on: bool = False
) -> Real:
    """Return all images of a source in the shape of the samples.

    Raises:
        MetricError: they cannot be converted to that shape, or only by enlarging them without ``--size``.
        DataError: they cannot be read.
    """
    part = _read_in_shape("against", source, spec, options, console)
    held_out = None
    if options.held_out is not None:
        held_out = _read_in_shape("held_out", options.held_out, spec, options, console)
    return Real(
        store=part.store,
        indices=part.indices,
        split="all",
        trained_on=trained_on,
        held_out=held_out,
        part=_part_read(source),
    )


def _part_read(source: Source) -> str:
    """Return which split or sub-folder of a source is read, in words; "" if all of it is."""
    named = getattr(source, "split", "auto")
    if named != "auto":
        return "" if named == "all" else f"its split '{named}'"
    if not isinstance(source, Folder):
        return ""
    shared = os.path.commonpath([os.path.dirname(f"/{name}") for name in source.records().names]).strip("/")
    return f"its folder {shared}/" if any(is_split(folder) for folder in shared.split("/")) else ""


def prepare_images(source: Source, preparation: Preparation, console: Console) -> Store:
    """Call ``prepare`` on the main process first; shows a progress bar."""
    with dist.main_first(), work_progress("preparing images", console) as progress:
        return prepare(source, preparation, progress=progress)


def _read_in_shape(
    option: str, source: Source, spec: ImageSpec, options: EvaluationOptions, console: Console
) -> Subset:
    """Read a source that an option names; messages name the fields of that option."""
    try:
        return _in_shape(option, source, spec, options, console)
    except DataError as error:
        raise DataError(_name_option(str(error), option)) from error


def _name_option(message: str, option: str) -> str:
    """Replace training's options in a message about a data set by those of an evaluation."""
    return message.replace("train without labels", "measure without labels").replace("--data.", f"--{option}.")


def _in_shape(option: str, source: Source, spec: ImageSpec, options: EvaluationOptions, console: Console) -> Subset:
    preparation = options.preparation
    if preparation.size is None:
        _refuse_to_enlarge(source, spec)
        preparation = dataclasses.replace(preparation, size=(spec.height, spec.width))
    store = prepare_images(source, preparation, console)
    for note in store.notes:
        print_plain(console, f"note  {store.title}: {_name_option(note, option)}")
    wanted, found = (dataclasses.replace(each, num_classes=0) for each in (spec, store.spec))
    if wanted != found:
        remedy = f"--size {spec.width}x{spec.height} --preparation.channels {CHANNELS[spec.channels]}"
        raise MetricError(
            f"the samples are {wanted}, but {store.title} is {found}; convert the real images with {remedy}"
        )
    return Subset(store=store, indices=np.arange(len(store)))


def _refuse_to_enlarge(source: Source, spec: ImageSpec) -> None:
    records = source.records((spec.height, spec.width))
    facts, _ = survey(records, np.unique(np.linspace(0, len(records) - 1, SURVEYED).round().astype(int)).tolist())
    smaller = [fact for fact in facts if fact.size[0] < spec.height or fact.size[1] < spec.width]
    if len(smaller) * 2 > len(facts):
        height, width = np.median([fact.size for fact in smaller], axis=0).astype(int).tolist()
        raise MetricError(
            f"the samples are {size_text((spec.height, spec.width))}, but most images of {source.title} are smaller, "
            f"some {size_text((height, width))}; to enlarge them on purpose, add --size {spec.width}x{spec.height}"
        )
