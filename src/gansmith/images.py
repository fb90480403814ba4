"""Pixels: uint8 to float and back (the only two places), grids, PNG files."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gansmith.errors import ConfigError
from gansmith.types import PixelArray, Pixels

__all__ = [
    "SIGNED",
    "UNIT",
    "ValueRange",
    "grid",
    "labelled_rows",
    "png_bytes",
    "save_png",
    "to_array",
    "to_float",
    "to_uint8",
]

ValueRange: TypeAlias = tuple[float, float]
SIGNED: ValueRange = (-1.0, 1.0)
UNIT: ValueRange = (0.0, 1.0)

GAP = 2  # pixels between the images of a grid
PAPER = 255


def to_float(pixels: UInt8[Tensor, "*shape"], value_range: ValueRange = SIGNED) -> Float32[Tensor, "*shape"]:
    """uint8 in [0, 255] to float32 in the range that the networks work in; keeps the memory format.

    Args:
        pixels: uint8, any shape.
        value_range: what 0 and 255 become.
    """
    low, high = value_range
    return pixels.to(torch.float32).mul_((high - low) / 255).add_(low)


def to_uint8(images: Float[Tensor, "*shape"], value_range: ValueRange = SIGNED) -> UInt8[Tensor, "*shape"]:
    """Float in the networks' range to the nearest uint8; what lies outside is clipped."""
    low, high = value_range
    scaled = images.detach().to(torch.float32).sub(low).mul_(255 / (high - low))
    return scaled.round_().clamp_(0, 255).to(torch.uint8)


def to_array(pixels: Pixels) -> PixelArray:
    """uint8 [n c h w] on any device to a NumPy array [n h w c]."""
    array: PixelArray = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


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


def labelled_rows(rows: Sequence[PixelArray], labels: Sequence[str]) -> PixelArray:
    """One labelled row of images a class, in as many blocks side by side as make the sheet about square.

    Args:
        rows: one uint8 [n h w c] a label, all of one shape.
        labels: the text left of each row.

    Returns:
        uint8 [H W c].
    """
    strips = [grid(row, columns=len(row)) for row in rows]
    height, width, channels = strips[0].shape
    font_size = max(9, min(14, height // 2))
    font = ImageFont.load_default(size=font_size)
    margin = math.ceil(max(font.getlength(label) for label in labels)) + 8
    step = max(height, font_size + 2) + GAP
    blocks = max(1, round(math.sqrt(len(rows) * step / (margin + width))))
    depth = math.ceil(len(rows) / blocks)
    block_width = margin + width + 4 * GAP
    sheet = Image.new("RGBA", (blocks * block_width - 4 * GAP, math.ceil(depth * step) - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (strip, label) in enumerate(zip(strips, labels, strict=True)):
        left, top = i // depth * block_width, math.ceil(i % depth * step)
        draw.text((left + margin - 6, top + height // 2), label, fill="black", font=font, anchor="rm")
        sheet.paste(_pillow(strip).convert("RGBA"), (left + margin, top))
    return np.asarray(sheet.convert(_MODES[channels])).reshape(*sheet.size[::-1], channels)


def save_png(image: PixelArray, path: Path) -> Path:
    """Write one image, uint8 [h w c], as PNG, all of it or nothing; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    _pillow(image).save(unfinished, format="PNG")
    return unfinished.replace(path)


def png_bytes(image: PixelArray) -> bytes:
    """One image, uint8 [h w c], as the bytes of a PNG file."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, format="PNG")
    return buffer.getvalue()


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _pillow(image: PixelArray) -> Image.Image:
    channels = image.shape[2]
    if channels not in _MODES:
        raise ConfigError(f"image: {channels} channels cannot be drawn; expected 1 (gray), 3 (RGB) or 4 (RGBA)")
    return Image.fromarray(image[:, :, 0] if channels == 1 else np.ascontiguousarray(image))
