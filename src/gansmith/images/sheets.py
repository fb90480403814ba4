"""Sheets: grids of images, and rows of images beside their classes' names."""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from gansmith.images.pixels import to_pillow
from gansmith.types import PixelArray

__all__ = ["MOST_CLASSES", "grid", "labelled_rows", "num_present", "shown_classes"]

GAP = 2  # pixels between the images of a grid
PAPER = 255
MOST_CLASSES = 100  # named rows of one sheet; of more classes so many are shown
LONGEST_NAME = 32  # letters of a class's name on a sheet
FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"  # the same on every machine


def grid(images: PixelArray, columns: int | None = None) -> PixelArray:
    """Images side by side, row by row, with a thin gap.

    Args:
        images: uint8 [n h w c].
        columns: images a row; about as many as rows if not given.

    Returns:
        uint8 [H W c].
    """
    n, height, width, channels = images.shape
    columns = columns or max(1, math.ceil(math.sqrt(n * height / width)))
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), PAPER, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def shown_classes(num_classes: int, counts: Sequence[int] = ()) -> list[int]:
    """The numbers of the classes that have a row on a sheet: all with images, or ``MOST_CLASSES``, evenly chosen.

    Args:
        num_classes: how many there are.
        counts: images of each; none if it is not known.
    """
    present = _present(num_classes, counts)
    places = np.linspace(0, len(present) - 1, min(len(present), MOST_CLASSES)).round().astype(int)
    return [present[place] for place in places]


def num_present(num_classes: int, counts: Sequence[int] = ()) -> int:
    """How many classes have images; the arguments are those of ``shown_classes``."""
    return len(_present(num_classes, counts))


def _present(num_classes: int, counts: Sequence[int]) -> list[int]:
    return [number for number in range(num_classes) if not any(counts) or counts[number]]


def labelled_rows(
    rows: Sequence[PixelArray],
    names: Sequence[str],
    shown: Sequence[int] | None = None,
    num_present: int | None = None,
) -> PixelArray:
    """One named row of images a class, in as many blocks side by side as make the sheet about square.

    Where images stand depends on the names, never on the fonts of this machine.

    Args:
        rows: one uint8 [n h w c] a class, all of one shape.
        names: of all classes, shown or not.
        shown: the classes' numbers; those of all if not given. A line below says so if some are missing.
        num_present: how many classes have images; all if not given. The others are not missed.

    Returns:
        uint8 [H W c].
    """
    shown = range(len(names)) if shown is None else shown
    strips = [grid(row, columns=len(row)) for row in rows]
    height, width, channels = strips[0].shape
    font_size = max(9, min(14, height // 2))
    labels = [_Label.of(names[number], number, font_size) for number in shown]
    margin = math.ceil(max(label.width for label in labels)) + 8
    step = max(height, font_size + 2) + GAP
    blocks = max(1, round(math.sqrt(len(rows) * step / (margin + width))))
    depth = math.ceil(len(rows) / blocks)
    block_width = margin + width + 4 * GAP
    num_present = len(names) if num_present is None else num_present
    note = f"{len(shown)} of {num_present} classes" if len(shown) < num_present else ""
    size = blocks * block_width - 4 * GAP, depth * step - GAP + (2 * font_size if note else 0)
    sheet = Image.new("RGBA", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        left, top = i // depth * block_width, i % depth * step
        draw.text((left + margin - 6, top + height // 2), label.text, fill="black", font=label.font, anchor="rm")
        sheet.paste(to_pillow(strip).convert("RGBA"), (left + margin, top))
    draw.text((2, size[1] - 2), note, fill="black", font=ImageFont.truetype(FONT, font_size), anchor="ld")
    return np.asarray(sheet.convert(to_pillow(strips[0]).mode)).reshape(*sheet.size[::-1], channels)


@dataclass(frozen=True)
class _Label:
    """A name as it is drawn.

    Args:
        text: the name, or its class's number where no font has its letters; what cannot be printed is left out.
        font: made small enough for the width.
        width: in pixels, the same on every machine.
    """

    text: str
    font: ImageFont.FreeTypeFont
    width: float

    @classmethod
    def of(cls, name: str, number: int, size: int) -> _Label:
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


@functools.cache
def _font_with(letters: frozenset[str]) -> Path | None:
    """A font that has all these letters."""
    if _letters(FONT) >= letters:
        return FONT
    from matplotlib.font_manager import findSystemFonts  # slow to import, and seldom needed

    regular_first = sorted(findSystemFonts(), key=lambda path: ("regular" not in path.lower(), path))
    return next((Path(path) for path in regular_first if _letters(Path(path)) >= letters), None)


@functools.cache
def _letters(path: Path) -> frozenset[str]:
    try:
        ImageFont.truetype(path, 9)
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError):  # damaged, or of coloured pictures
        return frozenset()
