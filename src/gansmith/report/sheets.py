"""Pictures of a run: sheets cut into their images, laid out anew, and as data that a page carries in itself."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gansmith.errors import RunError
from gansmith.images.pixels import png_bytes
from gansmith.images.sheets import MOST_CLASSES, grid, labelled_rows, num_present, shown_classes
from gansmith.report.reading import read_picture
from gansmith.report.words import count, kimg
from gansmith.runs import RunFolder
from gansmith.training.data_facts import DataFacts
from gansmith.training.sample_sheets import written
from gansmith.types import PixelArray, size_text

__all__ = ["GAP", "Moment", "Picture", "Tiles", "cut", "evenly", "moments", "picture", "rows_of", "tiled"]

T = TypeVar("T")
Tiles: TypeAlias = NDArray[np.uint8]  # [rows columns h w c]

GAP = grid(np.zeros((2, 1, 1, 3), np.uint8), columns=2).shape[1] - 2  # pixels between the images of a sheet
MOST_FIELDS = 3  # in the name of a picture
LONGEST_NAME = 200  # characters of a class that can head a row


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


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What training wrote at one moment.

    Args:
        title: which moment: "180 kimg", "epoch 15".
        paths: a sheet, or a file an image.
    """

    title: str
    paths: tuple[Path, ...]

    def tiles(self, facts: DataFacts, columns: int, labelled: bool) -> Tiles:
        """Its images; a row a class if labelled.

        Raises:
            RunError: a file cannot be read, or is no sheet of such images.
        """
        pictures = [read_picture(path) for path in self.paths]
        if len(pictures) == 1:
            return cut(pictures[0], facts, columns, labelled)
        across = min(len(pictures), 8 if len(pictures) % 8 == 0 else 6)
        whole = np.stack(pictures[: len(pictures) // across * across])
        return whole.reshape(-1, across, *whole.shape[1:])


def moments(folder: RunFolder, config: Mapping[str, Any]) -> list[Moment]:
    """The moments of which training left pictures, oldest first.

    Args:
        folder: the run.
        config: its configuration, plain.

    Raises:
        RunError: its pictures' names have more fields than anybody needs, whose search could take for ever.
    """
    samples = config["samples"]
    if samples["filename"].count("{") > MOST_FIELDS:
        raise RunError(f"Pictures called {samples['filename']} cannot be searched for.")
    home = folder.path if samples["name"] == "files" else folder.images
    found = written(samples["filename"], home)
    return [Moment(title=_title(samples["filename"], paths[0].name), paths=tuple(paths)) for paths in found]


def _title(pattern: str, name: str) -> str:
    field = re.search(r"\{(\w+)", pattern)
    digits = re.search(r"\d+", name[field.start() if field else 0 :])
    if not field or not digits:
        return name
    unit, num = field[1], int(digits[0])
    return kimg(num) if unit == "nimg" else kimg(1000 * num) if unit == "kimg" else f"{unit} {count(num)}"


def cut(sheet: PixelArray, facts: DataFacts, columns: int, labelled: bool) -> Tiles:
    """The images of a sheet.

    Args:
        sheet: uint8 [H W c], as ``images.grid`` or ``images.labelled_rows`` make it.
        facts: of the images on it.
        columns: images a row, of a labelled sheet.
        labelled: whether each row is a named class.

    Raises:
        RunError: it is not laid out like this.
    """
    tiles = _cut_rows(sheet, facts, columns) if labelled else _cut_grid(sheet, facts)
    if tiles is None:
        raise RunError(f"This picture is no sheet of {size_text((facts.height, facts.width))} images.")
    return tiles


def _cut_grid(sheet: PixelArray, facts: DataFacts) -> Tiles | None:
    step_down, step_right = facts.height + GAP, facts.width + GAP
    rows, down = divmod(sheet.shape[0] + GAP, step_down)
    columns, right = divmod(sheet.shape[1] + GAP, step_right)
    if down or right:
        return None
    padded = np.pad(sheet, ((0, GAP), (0, GAP), (0, 0)))
    tiles = padded.reshape(rows, step_down, columns, step_right, -1)[:, : facts.height, :, : facts.width]
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3, 4))


def _cut_rows(sheet: PixelArray, facts: DataFacts, columns: int) -> Tiles | None:
    if max(map(len, facts.class_names)) > LONGEST_NAME:
        return None
    now, before = rows_of(facts), rows_of(facts, len(facts.class_names))
    found = [_cut_rows_of(sheet, facts, shown, columns) for shown in dict.fromkeys((now, before))]
    fitting = [tiles for tiles in found if tiles is not None]
    if len(fitting) == 2 and (fitting[1][len(now) :] != 255).any():  # of one size, but not blank where now nothing is
        return fitting[1]
    return fitting[0] if fitting else None


def _cut_rows_of(sheet: PixelArray, facts: DataFacts, shown: tuple[int, ...], columns: int) -> Tiles | None:
    if len(shown) * columns * facts.height * facts.width > sheet.shape[0] * sheet.shape[1]:
        return None
    num = len(shown) if len(shown) < MOST_CLASSES else num_present(len(facts.class_names), facts.class_counts)
    shape, places = _places_of_rows(facts.class_names, shown, num, facts.height, facts.width, columns)
    if shape != sheet.shape[:2]:
        return None
    steps = np.arange(columns) * (facts.width + GAP)
    rows = [[sheet[top : top + facts.height, x : x + facts.width] for x in left + steps] for top, left in places]
    return np.array(rows)


def rows_of(facts: DataFacts, num_rows: int | None = None) -> tuple[int, ...]:
    """The numbers of the classes that have a row on a sheet; earlier versions drew classes without images too.

    Args:
        facts: of the images.
        num_rows: of the sheet, if known.
    """
    num = len(facts.class_names)
    now, before = tuple(shown_classes(num, facts.class_counts)), tuple(shown_classes(num))
    return before if num_rows is not None and len(now) != num_rows else now


@functools.lru_cache(maxsize=8)
def _places_of_rows(
    names: tuple[str, ...], shown: tuple[int, ...], num_present: int, height: int, width: int, columns: int
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The size of a labelled sheet and where its rows begin: found by laying out rows of a colour each."""
    colours = [(i >> 8, i & 255, 255) for i in range(len(shown))]
    rows = [np.full((columns, height, width, 3), colour, np.uint8) for colour in colours]
    sheet = labelled_rows(rows, names, shown, num_present)
    found, first = np.unique(_packed(sheet.astype(np.uint32)), return_index=True)
    at = dict(zip(found.tolist(), first.tolist(), strict=True))
    corners = [divmod(at[int(_packed(np.array(colour, np.uint32)))], sheet.shape[1]) for colour in colours]
    return (sheet.shape[0], sheet.shape[1]), corners


def _packed(colours: NDArray[np.uint32]) -> Any:
    return colours @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def tiled(tiles: Tiles, alt: str, wanted: int) -> Picture:
    """Images side by side, with gaps that the page shines through.

    Args:
        tiles: the images.
        alt: what they show.
        wanted: the width to come near to, in pixels of the page.
    """
    rows, columns, height, width, channels = tiles.shape
    sheet = np.zeros((rows, height + GAP, columns, width + GAP, 4), np.uint8)
    sheet[:, :height, :, :width, :3] = tiles[..., :3].transpose(0, 2, 1, 3, 4)
    sheet[:, :height, :, :width, 3:] = tiles[..., 3:].transpose(0, 2, 1, 3, 4) if channels == 4 else 255
    return picture(sheet.reshape(rows * (height + GAP), columns * (width + GAP), 4)[:-GAP, :-GAP], alt, wanted)


def picture(pixels: PixelArray, alt: str, wanted: int) -> Picture:
    """A picture uint8 [H W c], enlarged by a whole factor to come near to a width."""
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


def evenly(items: Sequence[T], num: int) -> list[T]:
    """At most so many of them, evenly chosen, the first and the last among them."""
    if len(items) <= num:
        return list(items)
    return [items[round(i * (len(items) - 1) / (num - 1))] for i in range(num)]
