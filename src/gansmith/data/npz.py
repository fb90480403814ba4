"""An .npz file of arrays: images and, if it has them, labels."""

from __future__ import annotations

import hashlib
import math
import threading
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.labels import numbered_labels
from gansmith.data.source import Records, Size, Source
from gansmith.errors import DataError
from gansmith.types import PixelArray

__all__ = ["ARRAY_LIMIT", "Npz"]

ARRAY_LIMIT = 2**34  # bytes; the images have to fit into memory while the store is built
IMAGE_KEYS = ("images", "x_train", "arr_0", "x")
LABEL_KEYS = ("labels", "y_train", "arr_1", "y")
CHANNELS = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Npz(Source):
    """Arrays as ``numpy.savez`` writes them; nothing pickled is loaded.

    Images are found as ``images``, ``x_train``, ``arr_0`` or ``x``: [n h w], [n h w c] or [n c h w]; uint8, or float
    in [0, 1], or else in [-1, 1]. Labels are found as ``labels``, ``y_train``, ``arr_1`` or ``y``: whole numbers, [n]
    or [n 1].

    Args:
        path: the file.
    """

    path: Path

    def records(self, size: Size | None = None) -> Records:
        """Find the images, which are loaded when the first one is read; see ``Source.records``."""
        path = self.path.expanduser()
        headers = _read_headers(path)
        image_key, label_key = _find(IMAGE_KEYS, headers), _find(LABEL_KEYS, headers)
        if image_key is None:
            found = ", ".join(headers) or "nothing"
            raise DataError(f"{path}: holds {found}; expected the images as one of {', '.join(IMAGE_KEYS)}")
        images, labels = headers[image_key], None if label_key is None else headers[label_key]
        others = ", ".join(key for key in headers if key not in (image_key, label_key))
        _check_images(images, path)
        values, class_names = (None, ()) if labels is None else _read_labels(labels, len(images), path)
        return _NpzRecords(
            lazy=_LazyImages(path, images),
            names=[str(i) for i in range(len(images))],
            labels=values,
            class_names=class_names,
            notes=(f"not read: {others}",) if others else (),
            fingerprint=hashlib.sha256(repr((images, labels)).encode()).hexdigest(),
        )


@dataclass(frozen=True)
class _Header:
    """What is known of an array without loading it."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    checksum: int

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __str__(self) -> str:
        return f"{self.key} is {self.dtype} [{' '.join(map(str, self.shape))}]"


@dataclass(frozen=True, kw_only=True)
class _NpzRecords(Records):
    lazy: _LazyImages

    def read(self, index: int) -> PixelArray:
        return self.lazy.read(index)


@dataclass
class _LazyImages:
    path: Path
    header: _Header
    turn: threading.Lock = field(default_factory=threading.Lock)
    values: NDArray[Any] | None = None  # [n h w c]
    low: float = 0.0  # the smallest value of all, which tells [0, 1] from [-1, 1]

    def read(self, index: int) -> PixelArray:
        with self.turn:
            if self.values is None:
                self.values = self._load()
        image: NDArray[Any] = self.values[index]
        if image.dtype == np.uint8:
            return image
        wide = image.astype(np.float64)
        return np.rint((wide if self.low >= 0 else (wide + 1) / 2) * 255).astype(np.uint8)

    def _load(self) -> NDArray[Any]:
        values = _load(self.path, self.header)
        if values.dtype != np.uint8:
            self.low, high = float(values.min()), float(values.max())
            if not (self.low >= -1 and high <= 1):
                expected = "expected 0 to 1 or -1 to 1, or uint8"
                raise DataError(f"{self.path}: {self.header} from {self.low:g} to {high:g}; {expected}")
        if values.ndim == 3:
            return values[..., np.newaxis]
        return values if values.shape[3] in CHANNELS else np.moveaxis(values, 1, 3)


# --- reading no more than is allowed -----------------------------------------------------------------------

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _read_headers(path: Path) -> dict[str, _Header]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {header.key: header for header in (_read_header(archive, info) for info in archive.infolist())}
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Header:
    with archive.open(info) as stream:
        read = _HEADER_READERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = read(stream)
    return _Header(info.filename.removesuffix(".npy"), shape, dtype, info.CRC)


def _load(path: Path, header: _Header) -> NDArray[Any]:
    num_bytes = math.prod(header.shape) * header.dtype.itemsize
    if num_bytes > ARRAY_LIMIT:
        raise DataError(f"{path}: {header}, {num_bytes:,} bytes; at most {ARRAY_LIMIT:,} are read")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values: NDArray[Any] = arrays[header.key]
            return values
    except (*_UNREADABLE, MemoryError) as error:
        raise DataError(f"{path}: {header.key} cannot be read ({error})") from error


def _find(keys: tuple[str, ...], headers: Mapping[str, _Header]) -> str | None:
    return next((key for key in keys if key in headers), None)


def _check_images(header: _Header, path: Path) -> None:
    shape = header.shape
    is_shape = len(shape) == 3 or (len(shape) == 4 and (shape[1] in CHANNELS or shape[3] in CHANNELS))
    if not is_shape or 0 in shape or not (header.dtype == np.uint8 or header.dtype.kind == "f"):
        expected = "expected uint8 or float, [n h w], [n h w c] or [n c h w] with 1, 3 or 4 channels"
        raise DataError(f"{path}: {header}; {expected}")


def _read_labels(header: _Header, num_images: int, path: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if header.shape not in ((num_images,), (num_images, 1)):
        raise DataError(f"{path}: {header}; expected one whole number for each of {num_images:,} images")
    return numbered_labels(_load(path, header).reshape(-1), f"{path}: {header.key}")
