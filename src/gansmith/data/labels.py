"""Class labels from numbers, from folder names, and from the dataset.json of StyleGAN's tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.class_names import to_nfc
from gansmith.errors import DataError
from gansmith.plain_json import parse_json

__all__ = ["CLASS_LIMIT", "check_labels", "label_by_folder", "label_by_number", "read_dataset_json", "sort_naturally"]

CLASS_LIMIT = 100_000  # a network has a vector per class
JSON_BYTES = 2**20  # limit for a dataset.json, plus JSON_BYTES_AN_IMAGE per image
JSON_BYTES_AN_IMAGE = 2**10


def check_labels(labels: NDArray[Any], num: int, num_classes: int, where: str) -> None:
    """Check that labels are whole numbers [n] in the range of the classes.

    Args:
        labels: the labels.
        num: number of images, n.
        num_classes: number of classes; 0 if unknown.
        where: the file or data set, for the message.

    Raises:
        DataError: shape, type or range is wrong.
    """
    if labels.shape != (num,) or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {list(labels.shape)}"
        raise DataError(f"{where}: labels are {found}; expected one whole number for each of {num:,} images")
    most = num_classes or CLASS_LIMIT
    if num and not 0 <= int(labels.min()) <= int(labels.max()) < most:
        raise DataError(f"{where}: labels are from {labels.min()} to {labels.max()}; expected 0 to {most - 1}")


def sort_naturally(names: Iterable[str]) -> list[str]:
    """Sort names in natural order: "2" before "10", upper and lower case together."""
    return sorted(names, key=lambda name: (_natural_key(name), name))


def _natural_key(name: str) -> list[tuple[int, str]]:
    # Compare numbers by length without leading zeros, then as text: int() refuses a number of 5000 digits.
    parts = (part.lstrip("0") if part.isdecimal() else part for part in re.split("([0-9]+)", name.casefold()))
    return [(len(part) if i % 2 else 0, part) for i, part in enumerate(parts)]


def label_by_folder(folders: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels and class names from the name of each image's folder.

    Returns:
        int64 [n], and the class names in natural order, in composed Unicode.
    """
    folders = [to_nfc(folder) for folder in folders]
    class_names = tuple(sort_naturally(set(folders)))
    index = {name: label for label, name in enumerate(class_names)}
    return np.fromiter((index[folder] for folder in folders), np.int64, len(folders)), class_names


def label_by_number(values: NDArray[Any], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Check labels that are class numbers from 0 on, and name the classes by their numbers.

    Args:
        values: whole numbers, [n].
        where: the file, for the message.

    Returns:
        int64 [n], and the names "0" to the largest number.

    Raises:
        DataError: shape or type is wrong, or a number is negative or at least ``CLASS_LIMIT``.
    """
    if values.ndim != 1 or values.dtype.kind not in "iu" or not len(values):
        raise DataError(f"{where}: labels are {values.dtype} {list(values.shape)}; expected one whole number per image")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= CLASS_LIMIT:
        raise DataError(f"{where}: labels are from {low} to {high}; expected 0 to {CLASS_LIMIT - 1}")
    return values.astype(np.int64), tuple(map(str, range(high + 1)))


def read_dataset_json(data: bytes, names: Sequence[str], where: str) -> NDArray[np.int64] | None:
    """Read labels from ``{"labels": [["00000/img00000000.png", 6], ...]}``.

    Args:
        data: the file's bytes.
        names: paths of the images relative to the file.
        where: the file, for the message.

    Returns:
        int64 [n] in the order of the images, or None if the file's labels are null.

    Raises:
        DataError: the file has another form, or images and labels do not match one to one.
    """
    most = JSON_BYTES + JSON_BYTES_AN_IMAGE * len(names)
    if len(data) > most:
        found = f"{len(data):,} bytes for {len(names):,} images; expected at most {most:,}"
        raise DataError(f"{where}: {found}; remove everything but the labels, or ignore it with --data.labels none")
    try:
        content = parse_json(data)
    except ValueError as error:
        raise DataError(
            f"{where}: not JSON ({error}); correct it, or choose --data.labels folders or --data.labels none"
        ) from error
    if not isinstance(content, dict) or "labels" not in content:
        raise DataError(f'{where}: expected {{"labels": [["file.png", 0], ...]}}, as StyleGAN\'s tools write it')
    if content["labels"] is None:
        return None
    labels = _labels_by_name(content["labels"], where)
    _check_match(labels, names, where)
    return np.array([labels[name] for name in names])


def _labels_by_name(pairs: Any, where: str) -> dict[str, int]:
    labels: dict[str, int] = {}
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DataError(f'{where}: expected entries such as ["file.png", 0], got {_short(pair)}')
        name, label = pair
        if isinstance(label, list):
            raise DataError(
                f"{where}: the label of {name} is a vector of {len(label)} numbers; expected a whole number from 0 on; "
                "train without labels: --data.labels none"
            )
        if type(label) is not int or not 0 <= label < CLASS_LIMIT:
            expected = f"expected a whole number from 0 to {CLASS_LIMIT - 1}"
            raise DataError(f"{where}: the label of {name} is {_short(label)}; {expected}")
        name = name.replace("\\", "/")
        if name in labels:
            raise DataError(f"{where}: {name} is labelled twice")
        labels[name] = label
    return labels


def _check_match(labels: dict[str, int], names: Sequence[str], where: str) -> None:
    missing = sorted(labels.keys() - set(names))
    if missing:
        raise DataError(f"{where}: it names {len(missing):,} files that do not exist, first {missing[0]}")
    unlabelled = [name for name in names if name not in labels]
    if unlabelled:
        raise DataError(
            f"{where}: it has no label for {len(unlabelled):,} of {len(names):,} images, first {unlabelled[0]}"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
