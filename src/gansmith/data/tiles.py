"""Large images in parts, so that what is done to each pixel needs no second copy of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from PIL import Image

__all__ = ["LOW_BYTES", "TILE_PIXELS", "Box", "tiles"]

TILE_PIXELS = 2**18
LOW_BYTES = "low_bytes"  # in an image's info: the lower halves of 16-bit colours, whose upper halves are the image

Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom


def tiles(image: Image.Image) -> Iterator[tuple[Box, Image.Image]]:
    """Cut an image into parts of at most ``TILE_PIXELS``, row by row; one that is small enough is its only part.

    The parts keep the image's palette and its declared transparency, and have their own lower bytes.
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
