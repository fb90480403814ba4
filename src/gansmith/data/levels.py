"""Images of more than 8 bits: which values become black and white, the same for all images of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.tiles import LOW_BYTES, tiles
from gansmith.errors import DataError, UnreadableImage
from gansmith.types import PixelArray

__all__ = [
    "RANGES",
    "WIDE_MODES",
    "Levels",
    "Span",
    "choose_levels",
    "eight_bit",
    "fitting_range",
    "from_16_bits",
    "levels_of",
    "span_of",
]

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # gray in more than 8 bit
DEPTHS = (8, 10, 12, 14, 16)
TOLERANCE = 1e-3  # of the range: what rounding and resizing add beyond its ends
RANGES = ((0.0, 1.0, 0.25), (-1.0, 1.0, 0.5), (0.0, 255.0, 64.0))  # low, high, and what the largest size must exceed
REMEDY = "state what becomes black and white with --preparation.levels '[LOW, HIGH]'"


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
        integers: of 16- and 32-bit images.
        floats: of float images; None decides by each image, [0, 1] or [0, 255].
        stated: by the user, so that values beyond are clipped.
    """

    integers: tuple[float, float] = (0, 65535)
    floats: tuple[float, float] | None = None
    stated: bool = False

    @classmethod
    def of(cls, stated: tuple[float, float] | None) -> Levels:
        """Return the levels that a preparation states, or those to begin with."""
        return cls() if stated is None else cls(stated, stated, stated=True)


def span_of(image: Image.Image) -> Span | None:
    """Return the range of an image of more than 8 bits; None for one of 8.

    Raises:
        UnreadableImage: some values are NaN or infinite.
    """
    if image.mode not in WIDE_MODES and not _has_low_bytes(image):
        return None
    ends = [(float(values.min()), float(values.max())) for values in (_values(part) for _, part in tiles(image))]
    if not np.isfinite(ends).all():
        raise UnreadableImage("values that are NaN or infinite; expected numbers")
    return Span(min(low for low, _ in ends), max(high for _, high in ends), image.mode == "F")


def _values(image: Image.Image) -> NDArray[Any]:
    """Of an image of more than 8 bits, alpha left out."""
    if image.mode in WIDE_MODES:
        return np.asarray(image)
    return _wide_colours(image, image.info[LOW_BYTES])[..., :3]


def _has_low_bytes(image: Image.Image) -> bool:
    low_bytes = image.info.get(LOW_BYTES)
    return low_bytes is not None and bool(low_bytes.size == image.size)


def choose_levels(spans: Sequence[Span], stated: tuple[float, float] | None) -> tuple[Levels, tuple[str, ...]]:
    """Choose the levels of a whole set.

    Args:
        spans: of its images of more than 8 bits.
        stated: by the user; None chooses. Integers get the least of 8, 10, 12, 14 and 16 bits that holds all of them.

    Returns:
        The levels, and a sentence for each kind of image there is.

    Raises:
        DataError: floats that use none of [0, 1], [-1, 1] and [0, 255].
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
        found = f"{len(integers):,} images of 16 bits use values to {high:g}"
        notes.append(f"{found}: read as {bits} bits, {2**bits - 1} is white; otherwise {REMEDY}")
    if floats:
        chosen = _levels_of_floats(floats)
        levels = Levels(levels.integers, chosen)
        notes.append(f"{len(floats):,} images of floats: {chosen[0]:g} is black, {chosen[1]:g} white")
    return levels, tuple(notes)


def _levels_of_floats(spans: Sequence[Span]) -> tuple[float, float]:
    low, high = min(span.low for span in spans), max(span.high for span in spans)
    found = fitting_range(low, high)
    if found is None:
        expected = "expected values that use 0 to 1, -1 to 1 or 0 to 255"
        raise DataError(f"{len(spans):,} images of floats have values from {low:g} to {high:g}; {expected}; {REMEDY}")
    return found


def fitting_range(least: float, most: float) -> tuple[float, float] | None:
    """Return the one of ``RANGES`` that values from least to most use, or None."""
    for low, high, needed in RANGES:
        slack = TOLERANCE * (high - low)
        if low - slack <= least and most <= high + slack and max(-least, most) > needed:
            return low, high
    return None


def levels_of(image: Image.Image, levels: Levels) -> Levels:
    """Return the levels of one whole image, for ``eight_bit`` of its parts.

    Raises:
        UnreadableImage: values that are NaN or infinite, or out of range where no levels are stated.
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


def eight_bit(image: Image.Image, levels: Levels) -> Image.Image:
    """Bring an image of more than 8 bits to 8, with a transparent value as an alpha channel; return any other as it is.

    Args:
        image: or a part of one.
        levels: those of ``levels_of`` the whole.
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
    """Return an array of 16-bit values [h w c] as an image, with all of its bits as those of files have."""
    if values.shape[2] == 1:
        return Image.fromarray(np.ascontiguousarray(values[..., 0], np.uint16))
    image, low_bytes = (Image.fromarray((part).astype(np.uint8)) for part in (values >> 8, values & 255))
    image.info[LOW_BYTES] = low_bytes
    return image


def _scaled(values: NDArray[Any], low: float, high: float) -> PixelArray:
    if values.dtype == np.uint16:  # by a table: quick, and no large array beside the pixels
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
    """Gray with an alpha channel, if the wide image that it comes from declares a transparent value."""
    transparent = wide.info.get("transparency")
    if not isinstance(transparent, int):
        return gray
    opaque = np.asarray(wide) != transparent
    return Image.merge("LA", (gray, Image.fromarray(opaque.astype(np.uint8) * 255)))
