"""Sheets: grids of images, and rows of images with class names."""

from __future__ import annotations

import functools
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from gansmith.devices import require_bytes
from gansmith.errors import ConfigError
from gansmith.images.pixels import on_white, save_png, to_pillow
from gansmith.types import PixelArray

__all__ = [
    "GAP",
    "LAYOUT",
    "Caption",
    "SheetRows",
    "caption_font",
    "choose_classes",
    "choose_scale",
    "cut_sheet",
    "enlarge",
    "fit_scale",
    "grid",
    "labelled_rows",
    "num_present",
]

GAP = 2  # pixels between the images of a grid
LAYOUT = "layout"  # name of the text field of a sheet's PNG with its layout as JSON
PAPER = 255
LARGEST = 1536  # pixels per side of a grid of images that are enlarged to be seen
MOST_SCALE = 64
LARGE_BYTES = 2**28  # enlarged images beyond this must fit into free memory
VISIBLE = 256  # a sheet with fewer pixels than a square of this side is enlarged to about as many
MOST_CLASSES = 100  # limit of named rows on a sheet
LONGEST_NAME = 32  # characters of a class name on a sheet
FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"  # the same on every machine


@dataclass(frozen=True, kw_only=True, eq=False)
class SheetRows:
    """Images in rows and the sheet that shows them, on white, and enlarged if they are small.

    Args:
        images: uint8 [rows columns h w c].
        classes: class number of each row; empty if rows are not classes.
        class_names: names of all classes.
        num_present: number of classes with images; a line on the sheet says so if some of them have no row.
    """

    images: PixelArray
    classes: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    num_present: int = 0

    def pixels(self) -> PixelArray:
        """Return the sheet, uint8 [H W c]: a grid, or one named row per class."""
        if not self.classes:
            return grid(self.images.reshape(-1, *self.images.shape[2:]), self.images.shape[1])
        return labelled_rows(list(self.images), self.class_names, self.classes, self.num_present)

    def layout(self) -> dict[str, Any]:
        """Return the positions of the images on the sheet: see ``cut_sheet``."""
        rows, columns, height, width = self.images.shape[:4]
        if self.classes:
            scale = _scale_of_rows(self.class_names, self.classes, columns, height, width)
            labels = _labels(self.class_names, self.classes, height * scale)
            places, _ = _places(labels, height * scale, columns * (width * scale + GAP) - GAP)
        else:
            scale = choose_scale(rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
            places = tuple((row * (height * scale + GAP), 0) for row in range(rows))
        facts = {"height": height, "width": width, "columns": columns, "scale": scale}
        return {**facts, "rows": places, "classes": self.classes}

    def save(self, path: Path) -> Path:
        """Write the sheet as PNG, with its layout as JSON in a text field."""
        return save_png(self.pixels(), path, **{LAYOUT: json.dumps(self.layout())})


def cut_sheet(sheet: PixelArray, layout: Mapping[str, Any]) -> PixelArray:
    """Return the images of a sheet, uint8 [rows columns h w c].

    Args:
        sheet: uint8 [H W c].
        layout: ``height`` and ``width`` of an image, the ``scale`` by which it is enlarged on the sheet, ``columns``
            (images per row), and ``rows`` (top and left of each).

    Raises:
        ValueError: the images do not fit on the sheet.
    """
    columns, rows, scale = layout["columns"], layout["rows"], layout.get("scale", 1)
    height, width = layout["height"] * scale, layout["width"] * scale
    length = columns * (width + GAP) - GAP
    strips = [sheet[top : top + height, left : left + length] for top, left in rows]
    too_many = len(rows) * height * length > sheet.shape[0] * sheet.shape[1]
    if not strips or too_many or any(strip.shape[:2] != (height, length) for strip in strips):
        raise ValueError("its images do not fit on the sheet")
    padded = np.pad(np.stack(strips), ((0, 0), (0, 0), (0, GAP), (0, 0)))
    tiles = padded.reshape(len(strips), height, columns, width + GAP, -1).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiles[:, :, ::scale, :width:scale])


def choose_scale(height: int, width: int) -> int:
    """Return the whole factor that enlarges a sheet to about 256 x 256 pixels; 1 if it is larger."""
    return max(1, round(VISIBLE / math.sqrt(height * width)))


def fit_scale(rows: int, columns: int, height: int, width: int) -> int:
    """Return the whole factor that enlarges images to about 256 pixels; about 64 if the grid would fill a screen."""
    largest = choose_scale(height, width)
    most = min(LARGEST // (columns * (width + GAP)), LARGEST // (rows * (height + GAP)))
    return max(1, largest // 4, min(largest, most))


def enlarge(images: PixelArray, scale: int, *, smooth: bool = False) -> PixelArray:
    """Enlarge images, uint8 [... h w c], by a whole factor.

    Args:
        images: the pixels.
        scale: the factor.
        smooth: interpolate (bicubic) instead of repeating pixels.

    Raises:
        ConfigError: the factor is out of range, or the result does not fit into memory.
    """
    if not 1 <= scale <= MOST_SCALE:
        raise ConfigError(f"scale: {scale} is out of range; expected 1 to {MOST_SCALE}")
    *shape, height, width, channels = images.shape
    if images.size * scale**2 > LARGE_BYTES:
        num = math.prod(shape)
        require_bytes(
            2 * images.size * scale**2, torch.device("cpu"), "scale", f"{num:,} images {scale} times as large"
        )
    if not smooth:
        return images.repeat(scale, axis=-3).repeat(scale, axis=-2)
    size = width * scale, height * scale
    flat = images.reshape(-1, height, width, channels)
    made = [np.asarray(to_pillow(image).resize(size, Image.Resampling.BICUBIC)) for image in flat]
    return np.stack(made).reshape(*shape, height * scale, width * scale, channels)


def grid(images: PixelArray, columns: int | None = None, *, scale: int | None = None) -> PixelArray:
    """Arrange images in a grid, row by row, with a narrow gap; composite RGBA on white.

    Args:
        images: uint8 [n h w c].
        columns: images per row; None makes the grid about square.
        scale: factor of enlargement; None takes that of ``choose_scale``.

    Returns:
        uint8 [H W c], gray or RGB.
    """
    n, height, width = images.shape[:3]
    columns = columns or max(1, math.ceil(math.sqrt(n * height / width)))
    rows = math.ceil(n / columns)
    scale = scale or choose_scale(rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    images = enlarge(on_white(images), scale)
    height, width, channels = images.shape[1:]
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), PAPER, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def choose_classes(num_classes: int, counts: Sequence[int] = ()) -> list[int]:
    """Return the numbers of the classes that get a row: those with images, at most ``MOST_CLASSES``, evenly spaced.

    Args:
        num_classes: number of classes.
        counts: number of images of each class; empty if unknown.
    """
    present = _present(num_classes, counts)
    places = np.linspace(0, len(present) - 1, min(len(present), MOST_CLASSES)).round().astype(int)
    return [present[place] for place in places]


def num_present(num_classes: int, counts: Sequence[int] = ()) -> int:
    """Return the number of classes with images; the arguments are those of ``choose_classes``."""
    return len(_present(num_classes, counts))


def _present(num_classes: int, counts: Sequence[int]) -> list[int]:
    return [number for number in range(num_classes) if not any(counts) or counts[number]]


def labelled_rows(
    rows: Sequence[PixelArray],
    names: Sequence[str],
    shown: Sequence[int] | None = None,
    num_present: int | None = None,
    *,
    scale: int | None = None,
) -> PixelArray:
    """Draw one named row of images per class, in blocks side by side that make the sheet about square.

    The positions of the images depend on the names, not on the fonts of the machine. RGBA is composited on white.

    Args:
        rows: one uint8 [n h w c] per class, all of one shape.
        names: names of all classes, shown or not.
        shown: class numbers of the rows; None means all. If some classes are not shown, a line below says so.
        num_present: number of classes with images; None means all. Classes without images do not count as missing.
        scale: factor of enlargement; None takes that of ``choose_scale``.

    Returns:
        uint8 [H W c], gray or RGB.
    """
    shown = range(len(names)) if shown is None else shown
    scale = scale or _scale_of_rows(names, shown, *rows[0].shape[:3])
    strips = [grid(row, columns=len(row), scale=scale) for row in rows]
    height, width, channels = strips[0].shape
    font_size, labels = _font_size(height), _labels(names, shown, height)
    places, size = _places(labels, height, width)
    num_present = len(names) if num_present is None else num_present
    note = f"{len(shown)} of {num_present} classes" if len(shown) < num_present else ""
    sheet = Image.new("RGBA", (size[0], size[1] + (2 * font_size if note else 0)), "white")
    draw = ImageDraw.Draw(sheet)
    for strip, label, (top, left) in zip(strips, labels, places, strict=True):
        draw.text((left - 6, top + height // 2), label.text, fill="black", font=label.font, anchor="rm")
        sheet.paste(to_pillow(strip).convert("RGBA"), (left, top))
    draw.text((2, sheet.height - 2), note, fill="black", font=ImageFont.truetype(FONT, font_size), anchor="ld")
    return np.asarray(sheet.convert(to_pillow(strips[0]).mode)).reshape(*sheet.size[::-1], channels)


def _scale_of_rows(names: Sequence[str], shown: Sequence[int], columns: int, height: int, width: int) -> int:
    _, size = _places(_labels(names, shown, height), height, columns * (width + GAP) - GAP)
    return choose_scale(size[1], size[0])


def _font_size(height: int) -> int:
    return max(9, min(14, height // 2))


def _labels(names: Sequence[str], shown: Sequence[int], height: int) -> list[Caption]:
    return [Caption.of(names[number], number, _font_size(height)) for number in shown]


def _places(labels: Sequence[Caption], height: int, width: int) -> tuple[tuple[tuple[int, int], ...], tuple[int, int]]:
    """Return (top, left) of each row, and (width, height) of the sheet, for rows of a height and width."""
    margin = math.ceil(max(label.width for label in labels)) + 8
    step = max(height, _font_size(height) + 2) + GAP
    blocks = max(1, round(math.sqrt(len(labels) * step / (margin + width))))
    depth = math.ceil(len(labels) / blocks)
    block_width = margin + width + 4 * GAP
    places = tuple((i % depth * step, i // depth * block_width + margin) for i in range(len(labels)))
    return places, (blocks * block_width - 4 * GAP, depth * step - GAP)


@dataclass(frozen=True)
class Caption:
    """A name as drawn beside images.

    Args:
        text: the name without unprintable characters, or the class number if no font has its letters.
        font: the font, at a size that fits the width.
        width: width in pixels, the same on every machine.
    """

    text: str
    font: ImageFont.FreeTypeFont
    width: float

    @classmethod
    def of(cls, name: str, number: int, size: int) -> Caption:
        name = "".join(filter(str.isprintable, " ".join(unicodedata.normalize("NFC", name).split()))) or str(number)
        if len(name) > LONGEST_NAME:
            name = f"{name[: LONGEST_NAME - 12]}...{name[-9:]}"
        wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in name)
        measure = _font(FONT, size, layout_engine=ImageFont.Layout.BASIC).getlength
        width = max(measure(name) + wide * size / 2, measure(str(number)))
        path = _font_with(frozenset(name))
        text, font = (str(number), _font(FONT, size)) if path is None else (name, _font(path, size))
        too_long = font.getlength(text) / width
        return cls(text, font.font_variant(size=size / too_long) if too_long > 1 else font, width)


_font = functools.cache(ImageFont.truetype)


def caption_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font of a size that has all letters of a text; the usual font if none on this machine has."""
    return _font(_font_with(frozenset(text)) or FONT, size)


@functools.cache
def _font_with(letters: frozenset[str]) -> Path | None:
    """Return the path of a font that has all these letters, or None."""
    if _letters(FONT) >= letters:
        return FONT
    from matplotlib.font_manager import findSystemFonts  # imported here because it is slow and rarely needed

    regular_first = sorted(findSystemFonts(), key=lambda path: ("regular" not in path.lower(), path))
    return next((Path(path) for path in regular_first if _letters(Path(path)) >= letters), None)


@functools.cache
def _letters(path: Path) -> frozenset[str]:
    try:
        ImageFont.truetype(path, 9)
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError):  # a damaged font, or one of coloured bitmaps
        return frozenset()
