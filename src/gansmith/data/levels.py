"""Images of more than 8 bits: which values become black and white, the same for all images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.tiles import LOW_BYTES, cut_tiles
from gansmith.errors import DataError, UnreadableImage
from gansmith.types import PixelArray

__all__ = [
    "RANGES",
    "WIDE_MODES",
    "Levels",
    "Span",
    "choose_levels",
    "from_16_bits",
    "match_range",
    "resolve_levels",
    "span_of",
    "to_eight_bit",
]

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # gray with more than 8 bits
DEPTHS = (8, 10, 12, 14, 16)
TOLERANCE = 1e-3  # share of the range by which rounding and resizing may exceed it
RANGES = ((0.0, 1.0, 0.25), (-1.0, 1.0, 0.5), (0.0, 255.0, 64.0))  # low, high, least magnitude that some value exceeds
REMEDY = "give the values of black and white with --preparation.levels '[LOW, HIGH]'"


@dataclass(frozen=True)
class Span:
    """The least and the greatest value of an image of more than 8 bits."""

    low: float
    high: float
    floats: bool


@dataclass(frozen=True)
class Levels:
    """The values that become black and white.

    Args:
        integers: for 16- and 32-bit images.
        floats: for float images; None chooses [0, 1] or [0, 255] for each image.
        stated: the user gave them, so values outside are clipped.
    """

    integers: tuple[float, float] = (0, 65535)
    floats: tuple[float, float] | None = None
    stated: bool = False

    @classmethod
    def of(cls, stated: tuple[float, float] | None) -> Levels:
        """Return the levels that a preparation states, or the defaults."""
        return cls() if stated is None else cls(stated, stated, stated=True)


def span_of(image: Image.Image) -> Span | None:
    """Return the range of values of an image of more than 8 bits; None for 8 bits.

    Raises:
        UnreadableImage: some values are NaN or infinite.
    """
    if image.mode not in WIDE_MODES and not _has_low_bytes(image):
        return None
    ends = [(float(values.min()), float(values.max())) for values in (_values(part) for _, part in cut_tiles(image))]
    if not np.isfinite(ends).all():
        raise UnreadableImage("it has NaN or infinite values; expected finite numbers")
    return Span(min(low for low, _ in ends), max(high for _, high in ends), image.mode == "F")


def _values(image: Image.Image) -> NDArray[Any]:
    """Return the values of an image of more than 8 bits without alpha."""
    if image.mode in WIDE_MODES:
        return np.asarray(image)
    return _wide_colours(image, image.info[LOW_BYTES])[..., :3]


def _has_low_bytes(image: Image.Image) -> bool:
    low_bytes = image.info.get(LOW_BYTES)
    return low_bytes is not None and bool(low_bytes.size == image.size)


def choose_levels(spans: Sequence[Span], stated: tuple[float, float] | None) -> tuple[Levels, tuple[str, ...]]:
    """Choose the levels of a data set.

    Args:
        spans: value ranges of its images of more than 8 bits.
        stated: levels that the user gave. None chooses: for integers the least of 8, 10, 12, 14 and 16 bits that fits.

    Returns:
        The levels, and a sentence for each kind of image.

    Raises:
        DataError: floats fit none of [0, 1], [-1, 1] and [0, 255].
    """
    if stated is not None:
        return Levels.of(stated), ()
    integers = [span for span in spans if not span.floats and span.low >= 0 and span.high <= 65535]
    floats = [span for span in spans if span.floats]
    levels, notes = Levels(), []
    if integers:
        high = max(span.high for span in integers)
        bits = next(bits for bits in DEPTHS if high < 2**bits)
        levels = Levels((0, 2**bits - 1))
        found = f"{len(integers):,} images of 16 bits have values up to {high:g}"
        notes.append(f"{found}: read as {bits} bits, {2**bits - 1} is white; if that is wrong, {REMEDY}")
    if floats:
        chosen = _levels_of_floats(floats)
        levels = Levels(levels.integers, chosen)
        notes.append(f"{len(floats):,} float images: {chosen[0]:g} is black, {chosen[1]:g} is white")
    return levels, tuple(notes)


def _levels_of_floats(spans: Sequence[Span]) -> tuple[float, float]:
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    found = match_range(low, high)
    if found is None:
        expected = "expected most of the range 0 to 1, -1 to 1 or 0 to 255"
        raise DataError(f"{len(spans):,} float images have values from {low:g} to {high:g}; {expected}; {REMEDY}")
    return found


def match_range(least: float, most: float) -> tuple[float, float] | None:
    """Return (low, high) of the first of ``RANGES`` that values from least to most fit and mostly use, or None."""
    for low, high, needed in RANGES:
        slack = TOLERANCE * (high - low)
        if low - slack <= least and most <= high + slack and max(-least, most) > needed:
            return low, high
    return None


def resolve_levels(image: Image.Image, levels: Levels) -> Levels:
    """Return the levels of a whole image, which ``to_eight_bit`` needs for its parts.

    Raises:
        UnreadableImage: some values are NaN or infinite, or out of range and no levels are stated.
    """
    span = span_of(image) if image.mode in WIDE_MODES else None
    if span is None:
        return levels
    low, high, found = span.low, span.high, f"values from {span.low:g} to {span.high:g}"
    if not span.floats:
        if not levels.stated and not (low >= 0 and high <= 65535):
            raise UnreadableImage(f"{found}; expected 0 to 65535; {REMEDY}")
        return levels
    if levels.floats is None and not (low >= 0 and high <= 255):
        raise UnreadableImage(f"{found}; expected 0 to 1 or 0 to 255; {REMEDY}")
    return Levels(levels.integers, levels.floats or (0, 255 if high > 1 else 1), levels.stated)


def to_eight_bit(image: Image.Image, levels: Levels) -> Image.Image:
    """Convert an image of more than 8 bits to 8; a transparent value becomes an alpha channel.

    An image of 8 bits is returned unchanged.

    Args:
        image: an image or a part of one.
        levels: ``resolve_levels`` of the whole image.
    """
    if image.mode in WIDE_MODES:
        ends = (levels.floats or (0, 1)) if image.mode == "F" else levels.integers
        return _with_alpha(Image.fromarray(_scaled(np.asarray(image), *ends)), image)
    if not _has_low_bytes(image) or levels.integers == (0, 65535):
        return image
    colours = _scaled(_wide_colours(image, image.info[LOW_BYTES]), *levels.integers)
    colours[..., 3:] = np.asarray(image)[..., 3:]  # alpha always has 16 bits
    return Image.fromarray(colours)


def from_16_bits(values: NDArray[np.uint16]) -> Image.Image:
    """Return an array of 16-bit values [h w c] as an image that keeps the lower bytes, as images from files do."""
    if values.shape[2] == 1:
        return Image.fromarray(np.ascontiguousarray(values[..., 0], np.uint16))
    image, low_bytes = (Image.fromarray((part).astype(np.uint8)) for part in (values >> 8, values & 255))
    image.info[LOW_BYTES] = low_bytes
    return image


def _scaled(values: NDArray[Any], low: float, high: float) -> PixelArray:
    if values.dtype == np.uint16:  # look up in a table: fast, and without a large float array
        table = _scaled(np.arange(65536), low, high)
        looked_up: PixelArray = table[values]
        return looked_up
    unit = (values.astype(np.float64) - low) / (high - low)
    pixels: PixelArray = np.rint(unit.clip(0, 1) * 255).astype(np.uint8)
    return pixels


def _wide_colours(image: Image.Image, low_bytes: Image.Image) -> NDArray[np.uint16]:
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) * 256 + np.asarray(low_bytes)
    return values


def _with_alpha(gray: Image.Image, wide: Image.Image) -> Image.Image:
    """Add an alpha channel to a gray image if the 16-bit image that it is from declares a transparent value."""
    transparent = wide.info.get("transparency")
    if not isinstance(transparent, int):
        return gray
    opaque = np.asarray(wide) != transparent
    return Image.merge("LA", (gray, Image.fromarray(opaque.astype(np.uint8) * 255)))
