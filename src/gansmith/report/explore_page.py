"""Gather the page that explores a run's latent space: two questions answered, and pictures of every tool."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from gansmith.errors import ConfigError, RunError
from gansmith.evaluation.exploration import Compared, Exploration, ExplorationOptions, explore_run
from gansmith.evaluation.nearest import Neighbours
from gansmith.images.captions import shorten_name
from gansmith.images.pixels import on_white, png_bytes
from gansmith.images.tables import ImageTable
from gansmith.metrics.metric import Estimate
from gansmith.numerals import between, count, precise
from gansmith.report.exploration_words import Answer, answer_diversity, answer_realism
from gansmith.report.metric_table import find_quantity
from gansmith.report.reading import Section, attempt
from gansmith.report.sheets import Picture, ShownSheet, make_picture
from gansmith.runs import RunFolder
from gansmith.sampling.directions import find_directions
from gansmith.sampling.frames import WalkFrames
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.projections import Projections
from gansmith.sampling.sweeps import sweep_classes, sweep_truncation
from gansmith.sampling.walks import chain, random_walk
from gansmith.types import PixelArray
from gansmith.zoo.places import describe_run, entry_name

__all__ = ["Animation", "CaptionedTile", "ComparedRow", "ExplorePage", "NamedStrip", "gather_explore_page"]

SHOWN = 72  # pixels of the page: images of strips are enlarged to about this
TILE = 112  # likewise of single images
HALF_PAGE = 400
MOST_WIDTH = 48  # pixels: of larger images, an animation has one and the grid half; else the page has 6 MB
MOST_CLASSES = 60  # with a row each
TITLES = {
    "told_apart": "Nearest-neighbour test",
    "twins": "Same image twice",
    "within_classes": "Distance within classes, generated to real",
    "midway": "Precision in the middle of walks",
    "cross_fades": "Precision of cross-fades",
}


@dataclass(frozen=True, kw_only=True)
class NamedStrip:
    """A strip of images with its name."""

    name: str
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class CaptionedTile:
    """Pictures side by side, with lines of text below."""

    pictures: tuple[Picture, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Animation:
    """An animation, with its first frame for readers who want no motion, and a strip of its images."""

    title: str
    size: tuple[int, int]
    src: str
    first: str
    strip: Picture


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """A value of the samples beside that of real images."""

    title: str
    samples: str
    real: str
    note: str


@dataclass(frozen=True, kw_only=True)
class ExplorePage:
    """The content of the template, in its order."""

    title: str
    run: str
    answers: tuple[tuple[str, Answer], ...]
    origin: tuple[str, ...]
    samples: Section[Picture]
    classes: Section[tuple[NamedStrip, ...]]
    walks: Section[tuple[Animation, ...]]
    truncation: Section[tuple[NamedStrip, ...]]
    directions: Section[tuple[NamedStrip, ...]]
    projections: tuple[tuple[str, tuple[CaptionedTile, ...]], ...]
    neighbours: tuple[CaptionedTile, ...]
    values: tuple[ComparedRow, ...]
    failures: tuple[tuple[str, str], ...]


def gather_explore_page(folder: RunFolder, options: ExplorationOptions, console: Console | None = None) -> ExplorePage:
    """Measure and draw all that the page shows.

    Raises:
        GansmithError: the run has no generator, or its training images are missing.
    """
    generator, found = explore_run(folder, options, console)
    seed = options.seed
    return ExplorePage(
        title=f"{entry_name(folder.path) or folder.path.resolve().name}: latent space",
        run=describe_run(folder.path),
        answers=(("How diverse are the samples?", answer_diversity(found)), ("How realistic?", answer_realism(found))),
        origin=_describe(found, options),
        samples=attempt(_samples, generator, seed, what="Samples"),
        classes=attempt(lambda: _classes(generator, seed), what="Classes"),
        walks=attempt(_walks, generator, seed, what="Walks"),
        truncation=attempt(lambda: _rows(sweep_truncation(generator, num=4, seed=seed)), what="Truncation"),
        directions=attempt(lambda: _rows(find_directions(generator).strip(seed=seed)), what="Directions"),
        projections=tuple((name, tuple(_projected(each))) for name, each in found.projections.items()),
        neighbours=() if found.neighbours is None else tuple(_nearest(found.neighbours)),
        values=tuple(_value(name, compared) for name, compared in found.values.items()),
        failures=tuple((TITLES.get(name, name), why) for name, why in found.failures.items()),
    )


def _classes(generator: TrainedGenerator, seed: int) -> tuple[NamedStrip, ...]:
    if not generator.spec.num_classes:
        raise ConfigError("This model was trained without labels, so it has no classes.")
    return _rows(sweep_classes(generator, num=6, seed=seed))


def _describe(found: Exploration, options: ExplorationOptions) -> tuple[str, ...]:
    return (
        f"Compared: {count(found.num)} samples, seeds {count(options.seed)} to {count(options.seed + found.num - 1)}, "
        f"and {count(found.num)} images of the other half of the training images, each with {count(found.num)} images "
        "of the first half.",
        "Groups of images of one object, such as tracks, are not divided between the halves.",
        f"Feature extractor: {found.extractor}.",
        "Intervals: 95 %. Values depend on the number of images and on the extractor.",
    )


# --- pictures ----------------------------------------------------------------------------------------------


def _samples(generator: TrainedGenerator, seed: int) -> Picture:
    rows = 4 if generator.spec.width <= MOST_WIDTH else 2
    images = on_white(generator.sample(12 * rows, seed=seed).images)
    sheet = ShownSheet(pixels=images[0], tiles=images.reshape(rows, 12, *images.shape[1:]))
    return sheet.picture("samples of consecutive seeds", 12 * SHOWN)


def _rows(table: ImageTable) -> tuple[NamedStrip, ...]:
    """Return the rows of a table as strips with transparent gaps."""
    if len(table.images) > MOST_CLASSES:
        raise RunError(f"{len(table.images)} rows are too many for a page; gansmith sample --sweep draws them.")
    sheet = ShownSheet(pixels=table.images[0, 0], tiles=on_white(table.images))
    columns = table.images.shape[1]
    return tuple(
        NamedStrip(name=name, picture=sheet.picture(f"{name}: {columns} images", columns * SHOWN, slice(i, i + 1)))
        for i, name in enumerate(table.row_names)
    )


def _walks(generator: TrainedGenerator, seed: int) -> tuple[Animation, ...]:
    labels = () if generator.can_mix_classes() else _one_class(generator, seed)
    num = 4 if generator.spec.width <= MOST_WIDTH else 1
    frames = chain(generator, range(seed, seed + 4), labels, steps=12, loop=True, num=num).draw(generator)
    free = random_walk(generator, seed, steps=60, num=num).draw(generator)
    walked = (
        "From seed to seed" if labels or not generator.spec.num_classes else "From seed to seed, with their classes"
    )
    return (_moving(walked, frames), _moving("Random walks", free))


def _one_class(generator: TrainedGenerator, seed: int) -> tuple[int, ...]:
    _, labels = generator.draw([seed])
    return () if labels is None else (int(labels[0]),)


def _moving(title: str, walk: WalkFrames) -> Animation:
    with tempfile.TemporaryDirectory() as home:
        data = walk.save(Path(home) / "walk.gif", fps=12, scale=1).read_bytes()
    every = max(1, walk.images.shape[1] // 10)
    strip = ShownSheet(pixels=walk.images[0, 0], tiles=on_white(walk.images[:, ::every]))
    first = next(walk.frames(scale=1))
    height, width = first.shape[:2]
    factor = max(1, HALF_PAGE // width)
    return Animation(
        title=title,
        size=(width * factor, height * factor),
        src=f"data:image/gif;base64,{base64.b64encode(data).decode()}",
        first=f"data:image/png;base64,{base64.b64encode(png_bytes(first)).decode()}",
        strip=strip.picture(title, 8 * SHOWN),
    )


def _projected(projections: Projections) -> Iterator[CaptionedTile]:
    for image, made, lines in zip(projections.images, projections.reconstructions, projections.captions(), strict=True):
        yield CaptionedTile(pictures=(_tile(image, "real image"), _tile(made, "its reconstruction")), lines=lines)


def _nearest(neighbours: Neighbours) -> Iterator[CaptionedTile]:
    for i, sample in enumerate(neighbours.samples.images):
        near = [_tile(image, "training image") for image in neighbours.images[i]]
        names = [] if neighbours.labels is None else [_names(neighbours, i)]
        distances = ", ".join(f"{distance:.3g}" for distance in neighbours.distances[i])
        copied = ["a copy of a training image"] if neighbours.are_copies[i] else []
        yield CaptionedTile(
            pictures=(_tile(sample, "sample"), *near), lines=(f"distances {distances}", *names, *copied)
        )


def _names(neighbours: Neighbours, i: int) -> str:
    labels = [] if neighbours.labels is None else neighbours.labels[i].tolist()
    return ", ".join(dict.fromkeys(shorten_name(neighbours.class_names[label]) for label in labels))


def _tile(image: PixelArray, alt: str) -> Picture:
    return make_picture(np.ascontiguousarray(on_white(image)), alt, TILE)


# --- table -------------------------------------------------------------------------------------------------


def _value(name: str, compared: Compared) -> ComparedRow:
    quantity = find_quantity(name)
    return ComparedRow(
        title=TITLES.get(name) or (quantity.title if quantity else name),
        samples=f"{precise(*_ends(compared.samples))} ({between(*_ends(compared.samples)[1:])})",
        real=""
        if compared.real is None
        else f"{precise(*_ends(compared.real))} ({between(*_ends(compared.real)[1:])})",
        note=compared.samples.note,
    )


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
