"""Cuts large images into tiles, so that pixel-wise operations need no second copy of the whole image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from PIL import Image

__all__ = ["LOW_BYTES", "TILE_PIXELS", "Box", "cut_tiles"]

TILE_PIXELS = 2**18
LOW_BYTES = "low_bytes"  # key in an image's info: the lower bytes of 16-bit colours; the image has the upper bytes

Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom


def cut_tiles(image: Image.Image) -> Iterator[tuple[Box, Image.Image]]:
    """Yield (box, tile) of at most ``TILE_PIXELS``, row by row; a small image is its only tile.

    Tiles keep the image's palette and declared transparency, and have their own lower bytes.
    """
    width = min(image.width, TILE_PIXELS)
    height = max(1, TILE_PIXELS // width)
    if image.width <= width and image.height <= height:
        yield (0, 0, *image.size), image
        return
    low_bytes = image.info.get(LOW_BYTES)
    for top in range(0, image.height, height):
        for left in range(0, image.width, width):
            box = (left, top, min(left + width, image.width), min(top + height, image.height))
            part = image.crop(box)
            if low_bytes is not None:
                part.info[LOW_BYTES] = low_bytes.crop(box)
            yield box, part
