"""Pictures of a run: sheets with their images, laid out anew, and as data that a page carries in itself."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gansmith.errors import RunError
from gansmith.images.pixels import on_white, png_bytes
from gansmith.images.sheets import GAP, LAYOUT, SheetRows, cut_sheet
from gansmith.numerals import count, kimg
from gansmith.plain_json import parse_json
from gansmith.report.reading import UNSOUND, pixels_of, read_image, read_picture
from gansmith.runs import RunFolder
from gansmith.training.sample_sheets import find_pictures
from gansmith.types import PixelArray

__all__ = ["Picture", "SavedSheet", "ShownSheet", "Tiles", "choose_evenly", "find_sheets", "make_picture"]

T = TypeVar("T")
Tiles: TypeAlias = NDArray[np.uint8]  # [rows columns h w c]

MOST_FIELDS = 3  # in the name of a picture


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture inside the page.

    Args:
        src: a data URI.
        width: in pixels of the page, where there is room.
        height: likewise.
        alt: what it shows.
        enlarged: whether a pixel of the picture is several of the page.
    """

    src: str
    width: int
    height: int
    alt: str
    enlarged: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownSheet:
    """A sheet as the page can show it.

    Args:
        pixels: all of it, uint8 [H W c].
        tiles: its images; None for a sheet of an earlier version, which has no layout and is shown as a whole.
        classes: the number of each row's class; empty if rows are not classes.
    """

    pixels: PixelArray
    tiles: Tiles | None = None
    classes: tuple[int, ...] = ()

    @classmethod
    def of(cls, rows: SheetRows) -> ShownSheet:
        """Return the sheet of some rows."""
        return cls(pixels=rows.pixels(), tiles=on_white(rows.images), classes=rows.classes)

    @classmethod
    def read(cls, path: Path) -> ShownSheet:
        """Read a sheet.

        Raises:
            RunError: it cannot be read, or its layout does not fit it.
        """
        image = read_image(path)
        pixels, text = pixels_of(image), image.info.get(LAYOUT)
        if not isinstance(text, str):
            return cls(pixels=pixels)
        try:
            layout = parse_json(text)
            return cls(pixels=pixels, tiles=cut_sheet(pixels, layout), classes=tuple(layout["classes"]))
        except UNSOUND as error:
            raise RunError(f"{path.name} cannot be shown: its layout cannot be read ({error}).") from error

    def picture(self, alt: str, wanted: int, rows: Any = slice(None), columns: int | None = None) -> Picture:
        """Return some of its images side by side, or the whole sheet if it has no layout.

        Args:
            alt: what it shows.
            wanted: the width to approach, in pixels of the page.
            rows: which rows.
            columns: how many of the first columns; None for all.
        """
        if self.tiles is None:
            return make_picture(self.pixels, alt, wanted)
        tiles = self.tiles[rows, :columns]
        across, down, height, width, channels = tiles.shape
        sheet = np.zeros((across, height + GAP, down, width + GAP, 4), np.uint8)  # gaps are transparent
        sheet[:, :height, :, :width, :3] = tiles[..., :3].transpose(0, 2, 1, 3, 4)
        sheet[:, :height, :, :width, 3:] = tiles[..., 3:].transpose(0, 2, 1, 3, 4) if channels == 4 else 255
        pixels = sheet.reshape(across * (height + GAP), down * (width + GAP), 4)[:-GAP, :-GAP]
        return make_picture(pixels, alt, wanted)


@dataclass(frozen=True, kw_only=True)
class SavedSheet:
    """Samples that training saved at one time.

    Args:
        title: how far training was: "180 kimg", "epoch 15".
        paths: one sheet, or one file per image.
    """

    title: str
    paths: tuple[Path, ...]

    def read(self) -> ShownSheet:
        """Read its images; single files become rows of 6 or 8.

        Raises:
            GansmithError: a file cannot be read.
        """
        if len(self.paths) == 1:
            return ShownSheet.read(self.paths[0])
        pictures = [read_picture(path) for path in self.paths]
        across = min(len(pictures), 8 if len(pictures) % 8 == 0 else 6)
        whole = np.stack(pictures[: len(pictures) // across * across])
        return ShownSheet.of(SheetRows(images=whole.reshape(-1, across, *whole.shape[1:])))


def find_sheets(folder: RunFolder, config: Mapping[str, Any]) -> list[SavedSheet]:
    """Return the samples that training saved, oldest first.

    Args:
        folder: the run.
        config: its configuration, plain.

    Raises:
        RunError: the name of its pictures has so many fields that the search could take forever.
    """
    samples = config["samples"]
    if samples["filename"].count("{") > MOST_FIELDS:
        raise RunError(f"Pictures called {samples['filename']} cannot be searched for.")
    home = folder.path if samples["name"] == "files" else folder.images
    found = find_pictures(samples["filename"], home)
    return [SavedSheet(title=_title(samples["filename"], paths[0].name), paths=tuple(paths)) for paths in found]


def _title(pattern: str, name: str) -> str:
    field = re.search(r"\{(\w+)", pattern)
    digits = re.search(r"\d+", name[field.start() if field else 0 :])
    if not field or not digits:
        return name
    unit, num = field[1], int(digits[0])
    return kimg(num) if unit == "nimg" else kimg(1000 * num) if unit == "kimg" else f"{unit} {count(num)}"


def make_picture(pixels: PixelArray, alt: str, wanted: int) -> Picture:
    """Return a picture uint8 [H W c], enlarged by a whole factor to approach a width."""
    height, width, _ = pixels.shape
    factor = max(1, wanted // width)
    data = base64.b64encode(png_bytes(pixels)).decode()
    return Picture(
        src=f"data:image/png;base64,{data}",
        width=width * factor,
        height=height * factor,
        alt=alt,
        enlarged=factor > 1,
    )


def choose_evenly(items: Sequence[T], num: int) -> list[T]:
    """Return at most this many of them, evenly spaced, the first and the last included."""
    if len(items) <= num:
        return list(items)
    return [items[round(i * (len(items) - 1) / (num - 1))] for i in range(num)]
