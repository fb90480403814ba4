"""What images are like: sizes, modes, colour, transparency; and the shape to store them in that follows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gansmith.data.budget import one_image
from gansmith.data.decode import ANIMATED, convert
from gansmith.data.levels import WIDE_MODES, Levels, Span, span_of
from gansmith.data.parallel import map_in_order
from gansmith.data.source import Record, Records, Size
from gansmith.data.tiles import tiles
from gansmith.errors import UnreadableImage

__all__ = ["CLIPPED", "Facts", "facts_of", "parts_of", "propose_channels", "propose_size", "survey"]

CLIPPED = Levels(floats=(0, 255), stated=True)  # whatever the values: of interest are colour and transparency
SIDES = (8, 16, 32, 48, 64, 96, 128)
GRAY_MODES = ("1", "L", "LA", *WIDE_MODES)


@dataclass(frozen=True)
class Facts:
    """What one image is like.

    Args:
        size: height and width.
        mode: Pillow's name for its kind of pixels.
        format: of its file; "array" if it came from none.
        coloured: some pixel is not gray.
        transparent: some pixel is not opaque.
        span: the range of its values, if they have more than 8 bits.
        animated: the file has more frames or pages.
    """

    size: Size
    mode: str
    format: str
    coloured: bool
    transparent: bool
    span: Span | None = None
    animated: bool = False


def survey(records: Records, indices: Iterable[int]) -> tuple[list[Facts], list[tuple[str, str]]]:
    """Look at some images.

    Returns:
        The facts of those that can be read, and the names of the others, each with the reason.
    """
    facts, failed = [], []
    for index, found in map_in_order(lambda index: (index, _facts_or_reason(records, index)), indices):
        if isinstance(found, Facts):
            facts.append(found)
        else:
            failed.append((records.names[index], found))
    return facts, failed


def _facts_or_reason(records: Records, index: int) -> Facts | str:
    try:
        with one_image():
            return facts_of(records.read(index))
    except UnreadableImage as error:
        return str(error)


def facts_of(record: Record) -> Facts:
    """Look at every pixel of an image.

    Raises:
        UnreadableImage: its mode cannot be converted.
    """
    if isinstance(record, Image.Image):
        size, mode, kind = (record.height, record.width), record.mode, record.format or "array"
        maybe_coloured, maybe_transparent = mode not in GRAY_MODES, record.has_transparency_data
    else:
        size, kind = (record.shape[0], record.shape[1]), "array"
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[record.shape[2]]
        maybe_coloured, maybe_transparent = mode != "L", mode == "RGBA"
    return Facts(
        size=size,
        mode=mode,
        format=kind,
        coloured=maybe_coloured and _is_coloured(record),
        transparent=maybe_transparent and _is_transparent(record),
        span=span_of(record) if isinstance(record, Image.Image) else None,
        animated=isinstance(record, Image.Image) and ANIMATED in record.info,
    )


def _is_coloured(record: Record) -> bool:
    return any(_part_is_coloured(part) for part in parts_of(record))


def _part_is_coloured(part: Record) -> bool:
    red, green, blue = (band.tobytes() for band in convert(part, 3, CLIPPED).split())
    return not red == green == blue


def _is_transparent(record: Record) -> bool:
    return any(np.asarray(convert(part, 4, CLIPPED).getchannel("A")).min() < 255 for part in parts_of(record))


def parts_of(record: Record) -> Iterator[Record]:
    """Return a large image in parts, see ``tiles``, and any other record as it is."""
    return (part for _, part in tiles(record)) if isinstance(record, Image.Image) else iter((record,))


def propose_size(sizes: Sequence[Size]) -> Size:
    """Height and width to store images of these sizes at.

    The common size, if there is one and no side of it is over 128; else the largest square of 8, 16, 32, 48, 64, 96
    or 128 whose side is at most the median short side, so that half of the images or more are not blown up.
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= SIDES[-1]:
        return sizes[0]
    median = statistics.median_low([min(size) for size in sizes])
    side = max((side for side in SIDES if side <= median), default=SIDES[0])
    return side, side


def propose_channels(facts: Sequence[Facts]) -> int:
    """4 if most images show transparency, else 3 if any shows colour, else 1."""
    if sum(fact.transparent for fact in facts) * 2 > len(facts):
        return 4
    return 3 if any(fact.coloured for fact in facts) else 1
