"""Sheets of images with lines of text below each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from gansmith.images.pixels import on_white, to_pillow
from gansmith.images.sheets import caption_font
from gansmith.types import PixelArray

__all__ = ["captioned", "shorten_name"]

FONT_SIZE = 12
LINE = 15  # pixels from line to line
SPACE = 12  # between tiles, and around the text
LONGEST = 24  # characters of a name


def captioned(images: Sequence[PixelArray], captions: Sequence[Sequence[str]], columns: int) -> PixelArray:
    """Draw images with lines of text below each, on white.

    Args:
        images: uint8 [h w c], all of one shape.
        captions: lines of text for each, without line breaks; long ones are cut. Tiles are as wide as the widest line.
        columns: images per row.

    Returns:
        uint8 [H W 3].
    """
    height, width = images[0].shape[:2]
    texts = [["".join(filter(str.isprintable, line)) for line in lines] for lines in captions]
    widest = max((caption_font(line, FONT_SIZE).getlength(line) for lines in texts for line in lines), default=0)
    tile_width = max(width, int(widest) + 1) + SPACE
    tile_height = height + LINE * max(map(len, texts)) + SPACE
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (tile_width * min(columns, len(images)), tile_height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        left, top = i % columns * tile_width, i // columns * tile_height
        sheet.paste(to_pillow(on_white(image)).convert("RGB"), (left, top))
        for row, line in enumerate(texts[i]):
            place = (left, top + height + 2 + LINE * row)
            draw.text(place, line, fill="black", font=caption_font(line, FONT_SIZE))
    return np.asarray(sheet)


def shorten_name(name: str) -> str:
    """Return a name of at most 24 characters without line breaks; the middle of a longer one is left out."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 10]}...{name[-7:]}"
