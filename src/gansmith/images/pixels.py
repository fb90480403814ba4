"""Conversion between uint8 and float pixels, which happens only here, and PNG files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from gansmith.errors import ConfigError
from gansmith.files import replace_file
from gansmith.types import PixelArray, Pixels

__all__ = [
    "SIGNED",
    "UNIT",
    "ValueRange",
    "file_kind",
    "on_white",
    "png_bytes",
    "save_arrays",
    "save_png",
    "to_array",
    "to_float",
    "to_pillow",
    "to_uint8",
]

ValueRange: TypeAlias = tuple[float, float]
SIGNED: ValueRange = (-1.0, 1.0)
UNIT: ValueRange = (0.0, 1.0)

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Suffixes that name a file, whether gansmith can write it or not.
FILE_KINDS = {
    *("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "svg", "pdf"),
    *("gif", "apng", "mp4", "avi", "mov", "webm", "mkv", "npz", "npy", "zip", "tar", "json", "html"),
}


def to_float(pixels: UInt8[Tensor, "*shape"], value_range: ValueRange = SIGNED) -> Float32[Tensor, "*shape"]:
    """Convert uint8 pixels to float32 in the networks' range; keep the memory format.

    Args:
        pixels: uint8, any shape.
        value_range: the values for 0 and 255.
    """
    low, high = value_range
    return pixels.to(torch.float32).mul_((high - low) / 255).add_(low)


def to_uint8(images: Float[Tensor, "*shape"], value_range: ValueRange = SIGNED) -> UInt8[Tensor, "*shape"]:
    """Convert floats in the networks' range to the nearest uint8; clip values outside."""
    low, high = value_range
    scaled = images.detach().to(torch.float32).sub(low).mul_(255 / (high - low))
    return scaled.round_().clamp_(0, 255).to(torch.uint8)


def to_array(pixels: Pixels) -> PixelArray:
    """Convert uint8 [n c h w] on any device to a NumPy array [n h w c]."""
    array: PixelArray = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def on_white(images: PixelArray) -> PixelArray:
    """Remove alpha from images uint8 [... h w c]: composite RGBA on white, return gray and RGB unchanged."""
    if images.shape[-1] != 4:
        return images
    alpha = images[..., 3:].astype(np.float32) / 255
    mixed: PixelArray = np.rint(images[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return mixed


def file_kind(path: Path | str) -> str:
    """Return the lower-case suffix of an output path without the dot, such as "png"; "" for a folder.

    A path with a known suffix in any case is a file. Any other path ("out_psi0.7", "fakes.v2"), an existing folder, and
    a path that ends in a slash is a folder.
    """
    kind = Path(path).suffix[1:].lower()
    is_folder = str(path).endswith(("/", os.sep)) or Path(path).is_dir()
    return kind if kind in FILE_KINDS and not is_folder else ""


def save_png(image: PixelArray, path: Path, **texts: str) -> Path:
    """Write one image, uint8 [h w c], as PNG, atomically; create the folder if needed.

    Args:
        image: the pixels.
        path: the file.
        texts: text fields of the PNG.
    """
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as unfinished:
        to_pillow(image).save(unfinished, format="PNG", pnginfo=info)
    return path


def save_arrays(path: Path, **arrays: NDArray[Any]) -> Path:
    """Write arrays by their names as ``.npz``, compressed and atomically; create the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Given a path with a suffix such as ".NPZ", numpy would append ".npz".
    with replace_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return path


def png_bytes(image: PixelArray) -> bytes:
    """Return one image, uint8 [h w c], as the bytes of a PNG file."""
    buffer = io.BytesIO()
    to_pillow(image).save(buffer, format="PNG")
    return buffer.getvalue()


def to_pillow(image: PixelArray) -> Image.Image:
    """Convert one image, uint8 [h w c], to a Pillow image of mode L, RGB or RGBA."""
    channels = image.shape[2]
    if channels not in _MODES:
        raise ConfigError(f"image: {channels} channels cannot be drawn; expected 1 (gray), 3 (RGB) or 4 (RGBA)")
    return Image.fromarray(image[:, :, 0] if channels == 1 else np.ascontiguousarray(image))
