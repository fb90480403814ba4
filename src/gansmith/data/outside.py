"""Images from outside a data set: a few files, bytes or arrays, checked and fitted as a run's training images were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.budget import hold_image_memory
from gansmith.data.convert import to_pixels
from gansmith.data.decode import PIXEL_LIMIT, decode
from gansmith.data.levels import Levels, Span, choose_levels, span_of
from gansmith.data.source import Record
from gansmith.data.store import Preparation
from gansmith.errors import DataError, UnreadableImage
from gansmith.types import ImageSpec, PixelArray

__all__ = ["GivenImage", "GivenImages", "fit_images"]

GivenImage: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.uint8]
GivenImages: TypeAlias = GivenImage | Sequence[GivenImage]

MOST_FITTED = 256
LARGEST_FILE = 100_000_000  # bytes


def fit_images(given: GivenImages, spec: ImageSpec, preparation: Preparation | None = None) -> PixelArray:
    """Return images in a generator's shape, fitted as those of a data set with this preparation are.

    Args:
        given: one image or several: the path of an image file, the bytes of one, a Pillow image, or uint8 [h w] or
            [h w c]. An array [n h w c] is n images.
        spec: the shape.
        preparation: of the training images; its fit and levels are used. None takes the defaults.

    Returns:
        uint8 [n h w c].

    Raises:
        DataError: there are none or too many, or one of them cannot be read; the message names it.
    """
    images = _list_images(given)
    if not 1 <= len(images) <= MOST_FITTED:
        raise DataError(f"images: got {len(images)}, expected 1 to {MOST_FITTED}")
    preparation = preparation or Preparation()
    assumed = Levels.of(preparation.levels)
    pixels, spans = _fit_all(images, spec, preparation, assumed)
    levels, _ = choose_levels(spans, preparation.levels)
    if levels != assumed:
        pixels, _ = _fit_all(images, spec, preparation, levels)
    return pixels


def _list_images(given: GivenImages) -> list[GivenImage]:
    if isinstance(given, np.ndarray):
        return list(given) if given.ndim == 4 else [given]
    if isinstance(given, (str, Path, bytes, Image.Image)):
        return [given]
    return list(given)


def _fit_all(
    images: Sequence[GivenImage], spec: ImageSpec, preparation: Preparation, levels: Levels
) -> tuple[PixelArray, list[Span]]:
    size, fitted, spans = (spec.height, spec.width), [], []
    for number, image in enumerate(images):
        name = str(image) if isinstance(image, (str, Path)) else f"image {number}"
        try:
            with hold_image_memory():
                record = _read(image, size)
                span = span_of(record) if isinstance(record, Image.Image) else None
                fitted.append(to_pixels(record, size, spec.channels, preparation.fit, levels))
        except (UnreadableImage, OSError) as error:
            raise DataError(f"{name}: cannot be read ({error}); expected an image file") from error
        spans += [] if span is None else [span]
    return np.stack(fitted), spans


def _read(image: GivenImage, size: tuple[int, int]) -> Record:
    """Decode or check one image.

    Raises:
        UnreadableImage: it is no image, or too large.
    """
    if isinstance(image, (str, Path)):
        return decode(_read_bytes(Path(image)), size, str(image))
    if isinstance(image, bytes):
        return decode(image, size)
    if isinstance(image, Image.Image):
        if image.width * image.height > PIXEL_LIMIT:
            raise UnreadableImage(f"more than the limit of {PIXEL_LIMIT:,} pixels")
        return image
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        expected = "uint8 [h w] or [h w c] of 1, 3 or 4 channels"
        raise UnreadableImage(f"{image.dtype} {list(image.shape)}, expected {expected}")
    if array.shape[0] * array.shape[1] > PIXEL_LIMIT:
        raise UnreadableImage(f"more than the limit of {PIXEL_LIMIT:,} pixels")
    return array


def _read_bytes(path: Path) -> bytes:
    path = path.expanduser()
    if path.is_dir():
        raise UnreadableImage("it is a folder; name the files in it")
    if not path.is_file():
        raise UnreadableImage("there is no such file")
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise UnreadableImage(f"more than {LARGEST_FILE:,} bytes")
    return data
