"""Facts about images (size, mode, colour, transparency), and the shape to store them in that follows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gansmith.data.budget import hold_image_memory
from gansmith.data.convert import convert
from gansmith.data.decode import ANIMATED
from gansmith.data.levels import WIDE_MODES, Levels, Span, span_of
from gansmith.data.parallel import map_in_order
from gansmith.data.source import Record, Records, Size
from gansmith.data.tiles import cut_tiles
from gansmith.errors import UnreadableImage

__all__ = ["CLIPPED", "Facts", "cut_record", "inspect_image", "propose_channels", "propose_size", "survey"]

CLIPPED = Levels(floats=(0, 255), stated=True)  # accepts all values: only colour and transparency are of interest
SIDES = (8, 16, 32, 48, 64, 96, 128)
GRAY_MODES = ("1", "L", "LA", *WIDE_MODES)


@dataclass(frozen=True)
class Facts:
    """Facts about one image.

    Args:
        size: height and width.
        mode: Pillow's mode.
        format: format of its file; "array" if it is not from a file.
        coloured: some pixel is not gray.
        transparent: some pixel is not opaque.
        span: the range of its values, if it has more than 8 bits.
        animated: the file has more frames or pages than the first.
    """

    size: Size
    mode: str
    format: str
    coloured: bool
    transparent: bool
    span: Span | None = None
    animated: bool = False


def survey(records: Records, indices: Iterable[int]) -> tuple[list[Facts], list[tuple[str, str]]]:
    """Read some images and collect facts about them.

    Returns:
        The facts about readable images, and (name, reason) of the others.
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
        with hold_image_memory():
            return inspect_image(records.read(index))
    except UnreadableImage as error:
        return str(error)


def inspect_image(record: Record) -> Facts:
    """Return the facts about an image, from all of its pixels.

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
    return any(_part_is_coloured(part) for part in cut_record(record))


def _part_is_coloured(part: Record) -> bool:
    red, green, blue = (band.tobytes() for band in convert(part, 3, CLIPPED).split())
    return not red == green == blue


def _is_transparent(record: Record) -> bool:
    return any(np.asarray(convert(part, 4, CLIPPED).getchannel("A")).min() < 255 for part in cut_record(record))


def cut_record(record: Record) -> Iterator[Record]:
    """Yield the tiles of a large image (see ``cut_tiles``), and any other record unchanged."""
    return (part for _, part in cut_tiles(record)) if isinstance(record, Image.Image) else iter((record,))


def propose_size(sizes: Sequence[Size]) -> Size:
    """Return the (height, width) in which to store images of these sizes.

    If all images have one size, and no side is over 128, it is that size. Otherwise it is the largest square with a
    side of 8, 16, 32, 48, 64, 96 or 128 that is at most the median short side, so that at least half of the images are
    not enlarged.
    """
    if len(set(sizes)) == 1 and max(sizes[0]) <= SIDES[-1]:
        return sizes[0]
    median = statistics.median_low([min(size) for size in sizes])
    side = max((side for side in SIDES if side <= median), default=SIDES[0])
    return side, side


def propose_channels(facts: Sequence[Facts]) -> int:
    """Return 4 if most images are transparent, else 3 if any has colour, else 1."""
    if sum(fact.transparent for fact in facts) * 2 > len(facts):
        return 4
    return 3 if any(fact.coloured for fact in facts) else 1
