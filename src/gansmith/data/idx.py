"""MNIST and Fashion-MNIST, read from their IDX files.

An IDX file has two zero bytes, a byte for the type (8: unsigned bytes), a byte for the number of dimensions, each
dimension as a big-endian 32-bit number, and the values in row-major order.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gansmith.data.arrays import ArrayRecords, compute_fingerprint
from gansmith.data.source import Records, Size, Source, cache_folder
from gansmith.download import RemoteFile, fetch
from gansmith.errors import DataError
from gansmith.types import size_text

__all__ = ["FashionMnist", "Mnist", "read_idx", "read_idx_shape"]


@dataclass(frozen=True, kw_only=True)
class Mnist(Source):
    """70,000 handwritten digits, 28x28 gray (LeCun, Cortes and Burges 1998).

    Args:
        root: a folder with the four files, packed or not; None downloads them (11 MB).
        split: "train" (60,000 images), "test" (10,000), or "all" (both, in this order).
    """

    kind: ClassVar[str] = "digits"
    native_size: ClassVar[Size | None] = (28, 28)

    root: Path | None = None
    split: Literal["train", "test", "all"] = "train"

    def records(self, size: Size | None = None) -> Records:
        """Read the files; see ``Source.records``."""
        return _records(_MNIST, self.root, self.split)


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Source):
    """70,000 photographs of clothes, 28x28 gray (Xiao, Rasul and Vollgraf 2017).

    Args:
        root: a folder with the four files, packed or not; None downloads them (31 MB).
        split: "train" (60,000 images), "test" (10,000), or "all" (both, in this order).
    """

    kind: ClassVar[str] = "photos"
    native_size: ClassVar[Size | None] = (28, 28)

    root: Path | None = None
    split: Literal["train", "test", "all"] = "train"

    def records(self, size: Size | None = None) -> Records:
        """Read the files; see ``Source.records``."""
        return _records(_FASHION_MNIST, self.root, self.split)


# --- from files to records ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _IdxSet:
    """The properties of one data set in this format."""

    name: str
    class_names: tuple[str, ...]
    unpacked: str  # folder inside the root where torchvision puts the files
    files: dict[str, RemoteFile]  # by their unpacked names


_PREFIXES = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}


def _records(idx_set: _IdxSet, root: Path | None, split: str) -> Records:
    parts = [_read_part(idx_set, root, prefix) for prefix in _PREFIXES[split]]
    images = np.concatenate([images for images, _ in parts])[..., np.newaxis]
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return ArrayRecords(
        images=images,
        labels=labels,
        names=tuple(map(str, range(len(images)))),
        class_names=idx_set.class_names,
        fingerprint=compute_fingerprint([images, labels]),
    )


def _read_part(idx_set: _IdxSet, root: Path | None, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images_path = _locate(idx_set, root, f"{prefix}-images-idx3-ubyte")
    labels_path = _locate(idx_set, root, f"{prefix}-labels-idx1-ubyte")
    # The headers are compared before the values are unpacked, since a few bytes may declare a GiB.
    (num_images, height, width), (num_labels,) = read_idx_shape(images_path, 3), read_idx_shape(labels_path, 1)
    if (height, width) != Mnist.native_size:
        raise DataError(f"{images_path}: images of {size_text((height, width))}, expected 28x28")
    if num_images != num_labels:
        raise DataError(f"{labels_path}: {num_labels:,} labels for the {num_images:,} images of {images_path.name}")
    labels = read_idx(labels_path, dimensions=1)
    if labels.max() >= len(idx_set.class_names):
        raise DataError(f"{labels_path}: label {labels.max()}, expected 0 to {len(idx_set.class_names) - 1}")
    return read_idx(images_path, dimensions=3), labels


def _locate(idx_set: _IdxSet, root: Path | None, name: str) -> Path:
    if root is None:
        return fetch(idx_set.files[name], cache_folder() / idx_set.name)
    dotted = name.replace("-idx", ".idx")  # as some tools name them
    for folder in (root.expanduser(), root.expanduser() / idx_set.unpacked):
        for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
            if (folder / spelling).is_file():
                return folder / spelling
    raise DataError(f"{idx_set.name}: no {name} or {name}.gz in {root}; put it there, or omit --root to download it")


# --- the format --------------------------------------------------------------------------------------------

_UNSIGNED_BYTES = 8
_MOST_BYTES = 1 << 30  # 1.3 million images of 28x28


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or compressed by gzip.

    Args:
        path: the file.
        dimensions: the expected number: 3 for images [n h w], 1 for labels [n].

    Raises:
        DataError: it is not such a file, it is empty, or it is shorter or longer than its header says.
    """
    with _opened(path) as stream:
        return _read_values(stream, _read_shape(stream, dimensions))


def read_idx_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the shape in an IDX file's header; arguments and errors are those of ``read_idx``."""
    with _opened(path) as stream:
        return _read_shape(stream, dimensions)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Stream]:
    try:
        with path.open("rb") as file:
            yield gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file
    except (OSError, EOFError, zlib.error, _Malformed) as error:
        raise DataError(f"{path}: not a usable IDX file ({error}); delete it and download it again") from error


_Stream: TypeAlias = BufferedReader | gzip.GzipFile


class _Malformed(Exception):
    """Why the bytes are malformed; the caller adds the file's name."""


def _read_shape(stream: _Stream, dimensions: int) -> tuple[int, ...]:
    start = _read(stream, 4)
    if start != bytes([0, 0, _UNSIGNED_BYTES, dimensions]):
        raise _Malformed(f"it begins with {start.hex(' ')}, expected 00 00 08 {dimensions:02x}")
    shape = struct.unpack(f">{dimensions}I", _read(stream, 4 * dimensions))
    if not 0 < math.prod(shape) <= _MOST_BYTES:
        raise _Malformed(f"it declares {' x '.join(map(str, shape))} bytes, expected 1 to {_MOST_BYTES:,}")
    return shape


def _read_values(stream: _Stream, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    values = np.frombuffer(_read(stream, math.prod(shape)), np.uint8).reshape(shape)
    if stream.read(1):
        raise _Malformed(f"it continues after its {values.size:,} values")
    return values


def _read(stream: _Stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise _Malformed("it ends too early")
    return data


# --- addresses and digests of the files --------------------------------------------------------------------

_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _files(mirrors: tuple[str, ...], *pins: tuple[str, int]) -> dict[str, RemoteFile]:
    """Return the four files by name, given (SHA-256, size in bytes) of each."""
    return {
        name: RemoteFile(f"{name}.gz", tuple(f"{mirror}/{name}.gz" for mirror in mirrors), f"sha256:{sha256}", size)
        for name, (sha256, size) in zip(_NAMES, pins, strict=True)
    }


# The pins are those of tensorflow/datasets, url_checksums/mnist.txt and fashion_mnist.txt.
_MNIST = _IdxSet(
    name="mnist",
    class_names=tuple("0123456789"),
    unpacked="MNIST/raw",
    files=_files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
        ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
        ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
        ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
    ),
)

_CLOTHES = "T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot"
_FASHION_MNIST = _IdxSet(
    name="fashion-mnist",
    class_names=tuple(_CLOTHES.split(", ")),
    unpacked="FashionMNIST/raw",
    files=_files(
        (
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        ),
        ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
        ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
        ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
        ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
    ),
)
