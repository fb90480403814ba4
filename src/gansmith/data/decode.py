"""Decodes image files with Pillow, within limits of memory and of the pixels that a file may claim."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import warnings
from typing import Any, BinaryIO

from PIL import (
    ExifTags,
    Image,
    TiffImagePlugin,  # noqa: F401 - importing it makes the format known without importing all of Pillow's
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from gansmith.data.budget import DECODING
from gansmith.data.claims import read_webp_size, refuse_claims
from gansmith.data.formats import FORMATS, RAW, explain_format, readable_formats
from gansmith.data.source import Size
from gansmith.data.tiles import LOW_BYTES, TILE_PIXELS
from gansmith.errors import UnreadableImage
from gansmith.types import size_text

__all__ = ["ANIMATED", "PIXEL_LIMIT", "decode"]

PIXEL_LIMIT = 100_000_000  # more than compact cameras take
ANIMATED = "animated"  # key in an image's info: the file has more frames or pages than the first
PNG = b"\x89PNG\r\n\x1a\n"

_STRETCH = {"L;2": 85, "L;4": 17}
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # bytes per pixel in memory; 4 in other modes
_COPY = 4  # bytes per pixel of a rotated or converted copy, while the original still exists
_BUFFERS = {"PNG": 0, "JPEG": 0, "GIF": 4, "BMP": 8, "PPM": 8}  # bytes per pixel that the decoder needs; else 12
_PROGRESSIVE = 6  # bytes per pixel at full size for a progressive JPEG, even if it is decoded at a smaller size
_TILE = 40 * TILE_PIXELS  # bytes to convert one tile

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(file: bytes | BinaryIO, size: Size | None = None, name: str = "") -> Image.Image:
    """Decode an image file and rotate it as its EXIF orientation says; of several frames, take the first.

    Args:
        file: its bytes, or the open file.
        size: the (height, width) needed later; a large JPEG may be decoded at a reduced size, at least twice this.
        name: the file's name, which distinguishes RAW photographs from the thumbnails inside them.

    Returns:
        The loaded image in any mode, with its ``format``.

    Raises:
        UnreadableImage: it cannot be decoded; the message gives the reason.
    """
    data = file if isinstance(file, bytes) else file.read()
    if not data:
        raise UnreadableImage("the file is empty")
    if name.lower().endswith(RAW):
        raise UnreadableImage(str(explain_format(data, name)))
    try:
        with _quiet_pillow:
            return _decoded(data, size)
    except UnidentifiedImageError as error:
        reason = explain_format(data, name) or f"not an image of a known format ({', '.join(FORMATS)})"
        raise UnreadableImage(reason) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"more than the limit of {PIXEL_LIMIT:,} pixels") from error
    except UnreadableImage:
        raise
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything
        raise UnreadableImage(f"damaged: {error or type(error).__name__}") from error


def _decoded(data: bytes, size: Size | None) -> Image.Image:
    _refuse_pixels(*read_webp_size(data[:30]))  # before Pillow allocates memory for them
    refuse_claims(data)
    if data.startswith(PNG):
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()  # loading does not compare the pixels' checksums
    image: Image.Image = Image.open(io.BytesIO(data), formats=readable_formats())
    _refuse_pixels(image.width, image.height)
    num_pixels = image.width * image.height
    if size is not None:
        side = 2 * max(size)  # for both sides, since EXIF may rotate the image afterwards
        image.draft(None, (side, side))
    rawmode = _rawmode(image)
    needed = _bytes_needed(image, rawmode, num_pixels, len(data))
    with DECODING.hold(needed, f"{size_text((image.height, image.width))} pixels of mode {image.mode}"):
        kind, animated = image.format, _is_animated(image, data)
        _scale_transparent_colour(image, rawmode)
        image.load()
        image = _upright(image)  # here, where nothing else references the original
        image.format = kind
        if _has_low_bytes(rawmode):
            image.info[LOW_BYTES] = _upright(_low_bytes(data, str(rawmode)))
        if animated:
            image.info[ANIMATED] = True
        return image


def _refuse_pixels(width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise UnreadableImage(f"{size_text((height, width))} pixels, more than the limit of {PIXEL_LIMIT:,}")


def _bytes_needed(image: Image.Image, rawmode: str | None, num_pixels: int, file_bytes: int) -> int:
    """Return the peak memory in bytes to decode, convert and resize an image, without its file.

    Args:
        image: opened but not loaded.
        rawmode: Pillow's name for the pixel format in the file.
        num_pixels: pixels in the file; the image may have fewer.
        file_bytes: size of the file.
    """
    here = image.width * image.height
    kept = (_BYTES.get(image.mode, 4) + (4 if _has_low_bytes(rawmode) else 0)) * here
    if image.format == "TIFF":
        buffers = kept + file_bytes
    elif image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        buffers = _PROGRESSIVE * num_pixels
    else:
        buffers = _BUFFERS.get("JPEG" if image.format == "MPO" else str(image.format), 12) * here
    return kept + max(_COPY * here, buffers) + min(_TILE, 40 * here)


def _is_animated(image: Image.Image, data: bytes) -> bool:
    """Return whether the file has several frames or pages; the extra images of an MPO photograph do not count."""
    if image.format == "MPO":
        return False
    if image.format == "GIF":  # on a new image, because Pillow seeks past the first frame to find out
        image = Image.open(io.BytesIO(data), formats=("GIF",))
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damage after the first frame, which is not read
        return True


def _has_low_bytes(rawmode: str | None) -> bool:
    colour, _, order = (rawmode or "").partition(";16")
    return colour in ("RGB", "RGBA") and order in ("B", "L", "N")


def _low_bytes(data: bytes, rawmode: str) -> Image.Image:
    """Return the lower bytes of 16-bit colours: decode with the other byte order, as Pillow keeps the upper bytes."""
    colour, _, order = rawmode.partition(";16")
    image = Image.open(io.BytesIO(data), formats=readable_formats())
    other = "L" if order == "B" or (order == "N" and sys.byteorder == "big") else "B"
    image.tile = [_in_mode(tile, f"{colour};16{other}") for tile in image.tile]
    image.load()
    return image


def _in_mode(tile: Any, rawmode: str) -> Any:
    codec, extents, offset, options = tile
    return type(tile)(codec, extents, offset, rawmode if isinstance(options, str) else (rawmode, *options[1:]))


def _rawmode(image: Image.Image) -> str | None:
    """Return Pillow's name for the pixel format in the file."""
    tile = getattr(image, "tile", None)
    options = tile[0][3] if tile else None
    mode = options[0] if isinstance(options, tuple) and options else options
    return mode if isinstance(mode, str) else None


def _scale_transparent_colour(image: Image.Image, rawmode: str | None) -> None:
    """Scale the colour that a PNG declares transparent as Pillow scales the pixels.

    Pillow scales pixels of 2 and 4 bits to 8 and cuts 16-bit colours to the upper 8, but keeps the declared value.
    """
    colour = image.info.get("transparency")
    if rawmode in _STRETCH and isinstance(colour, int):
        image.info["transparency"] = colour * _STRETCH[rawmode]
    elif rawmode == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _upright(image: Image.Image) -> Image.Image:
    try:
        method = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels are readable even if the metadata are broken
        return image
    return image if method is None else image.transpose(method)


class _QuietPillow:
    """Ignores Pillow's warnings about large images and odd metadata while any thread decodes.

    ``warnings.catch_warnings`` replaces the filters of the whole process, so threads have to share one block of it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.filters.close()


_quiet_pillow = _QuietPillow()
