"""Converts any image to uint8 pixels of a given size and number of channels."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from gansmith.data.levels import Levels, resolve_levels, to_eight_bit
from gansmith.data.source import Record, Size
from gansmith.data.tiles import cut_tiles
from gansmith.errors import UnreadableImage
from gansmith.types import PixelArray

__all__ = ["Fit", "compute_crop_loss", "convert", "to_pixels"]

Fit: TypeAlias = Literal["crop", "pad", "stretch"]

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
REDUCING_GAP = 3.0  # as Pillow documents: close to plain Lanczos, and fast on large images


def to_pixels(record: Record, size: Size, channels: int, fit: Fit = "crop", levels: Levels | None = None) -> PixelArray:
    """Convert an image to pixels of a given shape; an array that has this shape is returned unchanged.

    Args:
        record: a Pillow image of any mode, or uint8 [h w c].
        size: height and width.
        channels: 1 gray, 3 RGB, 4 RGBA. For gray and RGB, transparent images are composited on white.
        fit: how to change the aspect ratio. "crop" keeps the centre, "stretch" distorts, "pad" keeps the whole image
            and fills the rest with the median colour of its edge, which suits a plain black, white or transparent
            background.
        levels: black and white of images with more than 8 bits; see ``convert``.

    Returns:
        uint8 [h w c].

    Raises:
        UnreadableImage: the mode cannot be converted.
    """
    if isinstance(record, np.ndarray) and record.shape == (*size, channels):
        return record
    height, width = size
    image = _as_image(record)
    resized = image.size != (width, height)
    image = _converted(image, "RGBa" if resized and channels == 4 else MODES[channels], levels or Levels())
    if resized:
        image = _FITS[fit](image, width, height)
    return np.asarray(image).reshape(height, width, channels)


def convert(record: Record, channels: int, levels: Levels | None = None) -> Image.Image:
    """Convert an image to mode L, RGB or RGBA (1, 3 or 4 channels) without resizing it.

    Without levels, 16-bit values v become round(v / 257), and floats are scaled from [0, 1] or [0, 255].

    Raises:
        UnreadableImage: the mode cannot be converted.
    """
    return _converted(_as_image(record), MODES[channels], levels or Levels())


def _converted(image: Image.Image, mode: str, levels: Levels) -> Image.Image:
    """Convert an image to a mode; a large one tile by tile."""
    levels = resolve_levels(image, levels)
    parts = cut_tiles(image)
    box, part = next(parts)
    part = _part_in_mode(part, mode, levels)
    if part.size == image.size:
        return part
    whole = Image.new(mode, image.size)
    whole.paste(part, box)
    for box, part in parts:
        whole.paste(_part_in_mode(part, mode, levels), box)
    return whole


def _part_in_mode(image: Image.Image, mode: str, levels: Levels) -> Image.Image:
    image = to_eight_bit(image, levels)
    try:
        if image.has_transparency_data or mode == "RGBa":
            image = image.convert("RGBA")
            if mode in ("L", "RGB"):
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image if image.mode == mode else image.convert(mode)
    except ValueError as error:
        raise UnreadableImage(f"mode {image.mode} cannot be converted to {mode}") from error


def _as_image(record: Record) -> Image.Image:
    if isinstance(record, Image.Image):
        return record
    return Image.fromarray(record[..., 0] if record.shape[-1] == 1 else record)


def compute_crop_loss(size: Size, wanted: Size) -> float:
    """Return the share of an image's area that cropping to another aspect ratio removes, in [0, 1)."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    return 1 - wanted[0] * scale * wanted[1] * scale / (size[0] * size[1])


def _crop(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(image.width / width, image.height / height)
    left, top = (max(0.0, (image.width - width * scale) / 2), max(0.0, (image.height - height * scale) / 2))
    box = (left, top, image.width - left, image.height - top)
    return _resized(image, (width, height), box)


def _stretch(image: Image.Image, width: int, height: int) -> Image.Image:
    return _resized(image, (width, height), None)


def _resized(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> Image.Image:
    """Resize an image; return premultiplied RGBa as RGBA."""
    if image.mode == "RGBa":
        return image.resize(size, Image.Resampling.LANCZOS, box, REDUCING_GAP).convert("RGBA")
    return image.resize(size, Image.Resampling.LANCZOS, box, REDUCING_GAP)


def _pad(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = _stretch(image, max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    padded = Image.new(inner.mode, (width, height), _edge_colour(inner))
    padded.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return padded


def _edge_colour(image: Image.Image) -> tuple[int, ...]:
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return tuple(int(value) for value in np.median(edge, axis=0))


_FITS = {"crop": _crop, "pad": _pad, "stretch": _stretch}
