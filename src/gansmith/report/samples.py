"""The pictures of a run's page: samples beside real images, the way there, nearest training images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gansmith.errors import RunError, command
from gansmith.report.reading import attempt, read_picture
from gansmith.report.sheets import GAP, Moment, Picture, Tiles, cut, evenly, moments, picture, rows_of, tiled
from gansmith.report.words import kimg
from gansmith.runs import RunFolder
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.sample_sheets import SampleGrid
from gansmith.training.snapshots import find_snapshot, load_generator

__all__ = ["ClassRow", "Pictures", "Samples", "Strip", "nearest"]

REAL_COLUMNS = 8  # of images/real.png
HALF_PAGE = 540  # pixels of the page
WIDE_ENOUGH = 700
SMALL = 48  # images up to this side are enlarged where there is room
MOST_ROWS = 100  # classes with a row each; more are shown as the sheet they are on
MOST_MOMENTS = 7
MOST_SAMPLES = 8000


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """Images of one class, real and generated."""

    name: str
    real: Picture | None
    generated: Picture


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Generated images beside real ones.

    Args:
        title: whose samples they are, and of when.
        rows: one a class, or none; then the two pictures show all.
        generated: samples.
        real: real images.
        notes: why something else is shown than one might expect.
    """

    title: str
    rows: tuple[ClassRow, ...] = ()
    generated: Picture | None = None
    real: Picture | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Strip:
    """The same latents at several moments, oldest first."""

    frames: tuple[tuple[str, Picture], ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """What a run's pictures show.

    Args:
        folder: the run.
        config: its configuration, plain.
        facts: of its data.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    facts: DataFacts

    @property
    def labelled(self) -> bool:
        """Whether sheets have a named row a class."""
        return bool(self.config["use_labels"] and self.facts.class_names)

    # --- samples -------------------------------------------------------------------------------------------

    def samples(self) -> Samples:
        """Those of the best generator that was kept, else the newest that training wrote.

        Raises:
            RunError: there are none, or they cannot be read.
        """
        title, tiles, notes = self.best_tiles()
        if self.labelled and len(self.facts.class_names) <= MOST_ROWS:
            return Samples(title=title, rows=self._rows(tiles), notes=notes)
        return self._side_by_side(title, tiles, notes)

    def best_tiles(self) -> tuple[str, Tiles, tuple[str, ...]]:
        """Which images they are, the images, and notes.

        Raises:
            RunError: there are none, or they cannot be read.
        """
        notes: tuple[str, ...] = ()
        if self.folder.best is not None:
            best = attempt(self._of_the_best, what="best/")
            if best.content is not None:
                return *best.content, ()
            notes = (f"The best generator could not be asked: {best.why}",)
        newest = self._moments()[-1]
        return f"the newest samples of training, at {newest.title}", self._tiles(newest), notes

    def _of_the_best(self) -> tuple[str, Tiles]:
        writer, snapshot = load_config(self.folder.config).samples, find_snapshot(self.folder)
        if not isinstance(writer, SampleGrid):
            writer = SampleGrid()
        num_rows = len(rows_of(self.facts)) if self.labelled else writer.rows
        num = num_rows * writer.columns
        if num > MOST_SAMPLES:
            raise RunError(f"a sheet of {num:,} samples is too large for a page")
        sheet = writer.sheet(load_generator(self.folder, snapshot))
        tiles = cut(sheet, self.facts, writer.columns, self.labelled)
        return f"samples of the best generator, at {kimg(snapshot.nimg)}", tiles

    def _tiles(self, moment: Moment) -> Tiles:
        return moment.tiles(self.facts, self.config["samples"].get("columns", 8), self.labelled)

    def _moments(self) -> list[Moment]:
        found = moments(self.folder, self.config)
        if not found:
            raise RunError("Training has left no pictures of samples yet.")
        return found

    def real_tiles(self) -> Tiles | None:
        """Real images, laid out alike; None if their sheet is missing or of another layout."""
        path = self.folder.images / "real.png"
        sheet = attempt(read_picture, path, what=path.name).content
        return (
            None
            if sheet is None
            else attempt(cut, sheet, self.facts, REAL_COLUMNS, self.labelled, what=path.name).content
        )

    def _rows(self, tiles: Tiles) -> tuple[ClassRow, ...]:
        num_real, num_generated = (3, 5) if self.facts.width <= SMALL else (2, 4) if self.facts.width <= 80 else (1, 3)
        real = self.real_tiles()
        shown = rows_of(self.facts, len(tiles))
        real = real if real is not None and len(real) == len(shown) else None
        return tuple(
            ClassRow(
                name=name,
                real=None if real is None else self._row(real[i : i + 1, :num_real], f"real: {name}"),
                generated=self._row(tiles[i : i + 1, :num_generated], f"generated: {name}"),
            )
            for i, name in enumerate(self.facts.class_names[number] for number in shown)
        )

    def _row(self, tiles: Tiles, alt: str) -> Picture:
        factor = max(1, 2 * SMALL // self.facts.width) if self.facts.width <= SMALL else 1
        return tiled(tiles, alt, factor * tiles.shape[1] * (self.facts.width + GAP))

    def _side_by_side(self, title: str, tiles: Tiles, notes: tuple[str, ...]) -> Samples:
        rows, columns = tiles.shape[:2]
        real = self.real_tiles()
        return Samples(
            title=title,
            generated=tiled(tiles, f"{rows * columns} generated images", HALF_PAGE),
            real=None if real is None else tiled(real[:rows, :columns], "real images", HALF_PAGE),
            notes=notes,
        )

    # --- the way there -------------------------------------------------------------------------------------

    def strip(self) -> Strip:
        """A few moments of training, evenly chosen.

        Raises:
            RunError: there are no pictures.
        """
        frames, unreadable = [], []
        for moment in evenly(self._moments(), MOST_MOMENTS):
            tiles = attempt(self._tiles, moment, what="The picture")
            if tiles.content is None:
                unreadable.append(f"{moment.title}: {tiles.why}")
            else:
                frames.append((moment.title, tiled(self.few(tiles.content), f"samples at {moment.title}", 140)))
        return Strip(frames=tuple(frames), unreadable=tuple(unreadable))

    def few(self, tiles: Tiles, *, more: int = 0) -> Tiles:
        """A small square of them, over all classes: fewer, the larger the images are."""
        side = (4 if self.facts.width <= SMALL else 3 if self.facts.width <= 80 else 2) + more
        rows = evenly(range(len(tiles)), side) if self.labelled else range(min(side, len(tiles)))
        return tiles[np.array(rows), :side]


def nearest(folder: RunFolder, facts: DataFacts) -> Picture:
    """The sheet of samples with the training image nearest to each below it.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    if not folder.nearest.exists():
        raise RunError(f"Nearest training images are drawn by an evaluation: {command('evaluate', folder.path)}")
    pixels, pair = read_picture(folder.nearest), dataclasses.replace(facts, height=2 * facts.height)
    tiles = attempt(cut, pixels, pair, 0, False, what="nearest.png").content
    alt = "samples, the training image nearest to each below it"
    return picture(pixels, alt, WIDE_ENOUGH) if tiles is None else tiled(tiles, alt, WIDE_ENOUGH)
