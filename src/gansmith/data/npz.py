"""An .npz file with arrays of images and optionally labels."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from gansmith.data.labels import label_by_number
from gansmith.data.levels import from_16_bits, match_range
from gansmith.data.npz_arrays import ARRAY_LIMIT, ArrayHeader, load_array, read_headers
from gansmith.data.source import Record, Records, Size, Source
from gansmith.devices import free_bytes
from gansmith.errors import DataError, did_you_mean
from gansmith.types import PixelArray

__all__ = ["Npz"]

IMAGE_LIMIT = 2**26
IMAGE_KEYS = ("images", "arr_0", "x")
LABEL_KEYS = {"images": "labels", "arr_0": "arr_1", "x": "y"}
SPLITS = ("train", "val", "test")
CHANNELS = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Npz(Source):
    """Arrays written by ``numpy.savez``; pickled objects are never loaded.

    The images are ``images``, ``arr_0`` or ``x`` and their labels ``labels``, ``arr_1`` or ``y``; or, with splits,
    ``x_train`` and ``y_train`` (Keras) or ``train_images`` and ``train_labels`` (MedMNIST), likewise for val and test.
    Images are [n h w], [n h w c] or [n c h w]; uint8, uint16, or float in [0, 1], [-1, 1] or [0, 255]. Labels are whole
    numbers, [n] or [n 1].

    Args:
        path: the file.
        split: the split to read if the file has splits; "all" joins them.
        images_key: name of the array of images; "auto" finds it.
        labels_key: name of the array of labels; "auto" finds it, "none" reads none.
    """

    path: Path
    split: Literal["train", "val", "test", "all"] = "train"
    images_key: str = "auto"
    labels_key: str = "auto"

    def records(self, size: Size | None = None) -> Records:
        """Find the images; reading the first one loads all of them. See ``Source.records``."""
        path = self.path.expanduser()
        headers = read_headers(path)
        pairs = self._pairs(headers, path)
        images = [headers[image] for image, _ in pairs]
        labels = [headers[label] for _, label in pairs if label is not None]
        for header in images:
            _check_images(header, path)
        if len({_image_shape(header) for header in images}) > 1:
            raise DataError(
                f"{path}: {' and '.join(map(str, images))}; expected one shape and type; "
                "choose one split with --data.split"
            )
        values, class_names = _read_labels(labels, [len(header) for header in images], path)
        count = sum(map(len, images))
        if count > IMAGE_LIMIT:
            raise DataError(f"{path}: {count:,} images; expected at most {IMAGE_LIMIT:,}; split the file")
        _require_memory(images, path)
        return _NpzRecords(
            lazy=_LazyImages(path, images),
            names=_Numbers(range(count)),
            labels=values,
            class_names=class_names,
            notes=_notes(headers, pairs),
            fingerprint=hashlib.sha256(repr((images, labels)).encode()).hexdigest(),
        )

    def _pairs(self, headers: Mapping[str, ArrayHeader], path: Path) -> list[tuple[str, str | None]]:
        """Return pairs of the names of arrays of images and labels, as the user chose them or by their usual names."""
        if self.images_key != "auto":
            pairs: list[tuple[str, str | None]] = [(self.images_key, None)]
            guess = _label_key(self.images_key)
        else:
            pairs = self._found(headers, path)
            guess = None
        if self.labels_key != "auto":
            pairs = [(image, self._stated_labels(image, len(pairs), path)) for image, _ in pairs]
        elif guess in headers and guess != self.images_key:
            pairs = [(self.images_key, guess)]
        missing = [key for pair in pairs for key in pair if key is not None and key not in headers]
        if missing:
            raise DataError(f"{path}: no array is called '{missing[0]}'; {did_you_mean(missing[0], headers)}")
        return pairs

    def _stated_labels(self, image: str, num_pairs: int, path: Path) -> str | None:
        if self.labels_key == "none":
            return None
        if num_pairs > 1:
            raise DataError(
                f"{path}: --data.labels_key names one array, but {num_pairs} splits are read; omit it, "
                "or choose one split with --data.split"
            )
        return self.labels_key

    def _found(self, headers: Mapping[str, ArrayHeader], path: Path) -> list[tuple[str, str | None]]:
        whole = next((key for key in IMAGE_KEYS if key in headers), None)
        if whole is not None:
            label = next((key for key in (LABEL_KEYS[whole], "labels", "y") if key in headers), None)
            return [(whole, label)]
        wanted = SPLITS if self.split == "all" else (self.split,)
        found = [key for split in wanted for key in (f"{split}_images", f"x_{split}") if key in headers]
        if not found:
            names = ", ".join(headers) or "nothing"
            expected = f"{', '.join(IMAGE_KEYS)}, x_{wanted[0]}, {wanted[0]}_images"
            remedy = "name them with --data.images_key KEY --data.labels_key KEY"
            raise DataError(f"{path}: it contains {names}; expected images as one of {expected}; {remedy}")
        labels = [(key, _label_key(key)) for key in found]
        return [(key, label if label in headers else None) for key, label in labels]


def _label_key(images_key: str) -> str:
    """Return the usual name of the labels that belong to an array of images."""
    if images_key in LABEL_KEYS:
        return LABEL_KEYS[images_key]
    return images_key.replace("images", "labels").replace("image", "label").replace("x_", "y_").replace("X_", "y_")


def _notes(headers: Mapping[str, ArrayHeader], pairs: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    read = {key for pair in pairs for key in pair}
    others = [key for key in headers if key not in read]
    if not others:
        return ()
    splits = [key for key in others if any(split in key.split("_") for split in SPLITS)]
    remedy = "; --data.split all reads all splits" if splits and len(pairs) == 1 else ""
    return (f"only {', '.join(image for image, _ in pairs)} is read; not read: {', '.join(others)}{remedy}",)


class _Numbers(Sequence[str]):
    """Names of images that are their numbers, created on access."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> _Numbers: ...
    def __getitem__(self, index: int | slice) -> str | _Numbers:
        return _Numbers(self.numbers[index]) if isinstance(index, slice) else str(self.numbers[index])


@dataclass(frozen=True, kw_only=True)
class _NpzRecords(Records):
    lazy: _LazyImages

    def read(self, index: int) -> Record:
        return self.lazy.read(index)


@dataclass
class _LazyImages:
    path: Path
    headers: list[ArrayHeader]
    turn: threading.Lock = field(default_factory=threading.Lock)
    values: NDArray[Any] | None = None  # [n h w c]
    low: float = 0.0  # what becomes black
    high: float = 255.0  # what becomes white

    def read(self, index: int) -> Record:
        with self.turn:
            if self.values is None:
                self.values = self._load()
        image: PixelArray = self.values[index]
        if image.dtype == np.uint8:
            return image
        if image.dtype.kind == "u":
            return from_16_bits(image.astype(np.uint16))
        unit = (image.astype(np.float64) - self.low) / (self.high - self.low)
        pixels: PixelArray = np.rint(unit.clip(0, 1) * 255).astype(np.uint8)
        return pixels

    def _load(self) -> NDArray[Any]:
        num_bytes = sum(header.num_bytes for header in self.headers)
        if num_bytes > ARRAY_LIMIT:
            names = " and ".join(map(str, self.headers))
            raise DataError(f"{self.path}: {names}, {num_bytes:,} bytes; expected at most {ARRAY_LIMIT:,}")
        parts = [load_array(self.path, header) for header in self.headers]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if values.dtype.kind == "f":
            self.low, self.high = _range_of(values, f"{self.path}: {self.headers[0]}")
        if values.ndim == 3:
            return values[..., np.newaxis]
        return values if values.shape[3] in CHANNELS else np.moveaxis(values, 1, 3)


def _require_memory(headers: Sequence[ArrayHeader], path: Path) -> None:
    """Raise DataError if the arrays do not fit into memory; joining several needs twice their bytes."""
    needed = sum(header.num_bytes for header in headers) * min(2, len(headers))
    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > free:
        found = f"need {needed / 2**20:,.0f} MiB of memory, but {free / 2**20:,.0f} MiB are free"
        remedy = "save the images in a folder or zip, which is read image by image"
        raise DataError(f"{path}: {' and '.join(map(str, headers))}, which {found}; {remedy}")


def _range_of(values: NDArray[Any], where: str) -> tuple[float, float]:
    """Return (low, high) of the first of ``RANGES`` that all values fit."""
    least, most = float(values.min()), float(values.max())
    found = match_range(least, most)
    if found is not None:
        return found
    expected = "expected most of the range 0 to 1, -1 to 1 or 0 to 255, or uint8"
    raise DataError(f"{where} with values from {least:g} to {most:g}; {expected}; scale them")


def _image_shape(header: ArrayHeader) -> tuple[Any, ...]:
    return (header.dtype, *header.shape[1:])


def _check_images(header: ArrayHeader, path: Path) -> None:
    shape = header.shape
    is_shape = len(shape) == 3 or (len(shape) == 4 and (shape[1] in CHANNELS or shape[3] in CHANNELS))
    is_kind = header.dtype.kind == "f" or (header.dtype.kind == "u" and header.dtype.itemsize <= 2)
    if not is_shape or 0 in shape or not is_kind:
        expected = "expected uint8, uint16 or float, [n h w], [n h w c] or [n c h w] with 1, 3 or 4 channels"
        raise DataError(f"{path}: {header}; {expected}")


def _read_labels(
    headers: Sequence[ArrayHeader], counts: Sequence[int], path: Path
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if len(headers) < len(counts):
        return None, ()
    for header, count in zip(headers, counts, strict=True):
        if header.shape not in ((count,), (count, 1)):
            expected = f"expected one whole number for each of {count:,} images"
            raise DataError(f"{path}: {header}; {expected}; ignore the labels with --data.labels_key none")
    values = np.concatenate([load_array(path, header).reshape(-1) for header in headers])
    return label_by_number(values, f"{path}: {headers[0].key}")
