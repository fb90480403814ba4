"""The pictures of a run's page: samples beside real images, samples during training, nearest training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gansmith.errors import RunError, command
from gansmith.images.sheets import GAP
from gansmith.numerals import kimg
from gansmith.report.reading import attempt, read_picture
from gansmith.report.sheets import Picture, SavedSheet, ShownSheet, choose_evenly, find_sheets, make_picture
from gansmith.runs import RunFolder
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.sample_sheets import SampleGrid
from gansmith.training.snapshots import find_snapshot, load_generator

__all__ = ["ClassRow", "RunPictures", "SampleSection", "Strip", "show_nearest"]

HALF_PAGE = 540  # pixels of the page
WIDE_ENOUGH = 700
SMALL = 48  # images up to this side are enlarged where there is room
MOST_ROWS = 100  # classes with a row each; with more, the whole sheet is shown
MOST_SHEETS = 7
MOST_SAMPLES = 8000


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """Images of one class, real and generated."""

    name: str
    real: Picture | None
    generated: Picture


@dataclass(frozen=True, kw_only=True)
class SampleSection:
    """Generated images beside real ones.

    Args:
        title: which generator made the samples.
        rows: one per class; if empty, the two pictures show all.
        generated: samples.
        real: real images.
        notes: why something else is shown than a reader may expect.
    """

    title: str
    rows: tuple[ClassRow, ...] = ()
    generated: Picture | None = None
    real: Picture | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Samples of the same latents during training, oldest first."""

    frames: tuple[tuple[str, Picture], ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunPictures:
    """Finds and lays out the pictures of a run.

    Args:
        folder: the run.
        config: its configuration, plain.
        facts: of its data.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    facts: DataFacts

    # --- samples -------------------------------------------------------------------------------------------

    def samples(self) -> SampleSection:
        """Return samples of the best generator that was kept, or else the newest ones of training, with real images.

        Raises:
            GansmithError: there are none, or they cannot be read.
        """
        title, sheet, notes = self.best_sheet()
        real = self.real_sheet()
        in_rows = sheet.tiles is not None and len(sheet.classes) in range(1, MOST_ROWS + 1)
        if in_rows and (real is None or real.tiles is not None):
            return SampleSection(title=title, rows=self._class_rows(sheet, real), notes=notes)
        return SampleSection(
            title=title,
            generated=sheet.picture("generated images", HALF_PAGE),
            real=None if real is None else real.picture("real images", HALF_PAGE),
            notes=notes,
        )

    def best_sheet(self) -> tuple[str, ShownSheet, tuple[str, ...]]:
        """Return which samples they are, the samples, and notes.

        Raises:
            GansmithError: there are none, or they cannot be read.
        """
        notes: tuple[str, ...] = ()
        if self.folder.best is not None:
            best = attempt(self._of_the_best, what="best/")
            if best.content is not None:
                return *best.content, ()
            notes = (f"The best generator cannot be used: {best.why}",)
        newest = self._saved()[-1]
        return f"the newest samples of training, at {newest.title}", newest.read(), notes

    def _of_the_best(self) -> tuple[str, ShownSheet]:
        writer, snapshot = load_config(self.folder.config).samples, find_snapshot(self.folder)
        if not isinstance(writer, SampleGrid):
            writer = SampleGrid()
        generator = load_generator(self.folder, snapshot)
        num = (min(generator.spec.num_classes, MOST_ROWS) or writer.rows) * writer.columns
        if num > MOST_SAMPLES:
            raise RunError(f"a sheet of {num:,} samples is too large for a page")
        sheet = ShownSheet.of(writer.draw_rows(generator))
        return f"samples of the best generator, at {kimg(snapshot.nimg)}", sheet

    def real_sheet(self) -> ShownSheet | None:
        """Return the sheet of real images; None if it cannot be read."""
        return attempt(ShownSheet.read, self.folder.images / "real.png", what="real.png").content

    def _saved(self) -> list[SavedSheet]:
        found = find_sheets(self.folder, self.config)
        if not found:
            raise RunError("Training has saved no samples yet.")
        return found

    def _class_rows(self, sheet: ShownSheet, real: ShownSheet | None) -> tuple[ClassRow, ...]:
        num_real, num_generated = (3, 5) if self.facts.width <= SMALL else (2, 4) if self.facts.width <= 80 else (1, 3)
        real = real if real is not None and real.classes == sheet.classes else None
        return tuple(
            ClassRow(
                name=name,
                real=None if real is None else self._row(real, i, num_real, f"real: {name}"),
                generated=self._row(sheet, i, num_generated, f"generated: {name}"),
            )
            for i, name in enumerate(self.facts.class_names[number] for number in sheet.classes)
        )

    def _row(self, sheet: ShownSheet, row: int, num: int, alt: str) -> Picture:
        factor = max(1, 2 * SMALL // self.facts.width) if self.facts.width <= SMALL else 1
        num = num if sheet.tiles is None else min(num, sheet.tiles.shape[1])
        return sheet.picture(alt, factor * num * (self.facts.width + GAP), slice(row, row + 1), num)

    # --- during training -----------------------------------------------------------------------------------

    def strip(self) -> Strip:
        """Return samples at a few times of training, evenly spaced.

        Raises:
            RunError: there are no pictures.
        """
        frames, unreadable = [], []
        for saved in choose_evenly(self._saved(), MOST_SHEETS):
            sheet = attempt(saved.read, what="The picture")
            if sheet.content is None:
                unreadable.append(f"{saved.title}: {sheet.why}")
            else:
                frames.append((saved.title, self.show_few(sheet.content, f"samples at {saved.title}", 140)))
        return Strip(frames=tuple(frames), unreadable=tuple(unreadable))

    def show_few(self, sheet: ShownSheet, alt: str, wanted: int, *, more: int = 0) -> Picture:
        """Return a small square of images, over all classes: fewer, the larger they are."""
        side = (4 if self.facts.width <= SMALL else 3 if self.facts.width <= 80 else 2) + more
        rows = range(0 if sheet.tiles is None else len(sheet.tiles))
        chosen = choose_evenly(rows, side) if sheet.classes else list(rows[:side])
        return sheet.picture(alt, wanted, chosen, side)


def show_nearest(folder: RunFolder) -> Picture:
    """Return the sheet of samples with the training image nearest to each below it.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    if not folder.nearest.exists():
        raise RunError(f"There is no {folder.nearest.name}; an evaluation draws it: {command('evaluate', folder.path)}")
    return make_picture(
        read_picture(folder.nearest), "samples, the training image nearest to each below it", WIDE_ENOUGH
    )
