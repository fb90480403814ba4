"""Class labels as people keep them: numbers, folder names, and the dataset.json of StyleGAN's tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.class_names import composed
from gansmith.errors import DataError
from gansmith.plain_json import parse_json

__all__ = ["CLASS_LIMIT", "check_labels", "folder_labels", "natural_order", "numbered_labels", "read_dataset_json"]

CLASS_LIMIT = 100_000  # a network keeps a vector a class
JSON_BYTES = 2**20  # of a dataset.json, and for each image
JSON_BYTES_AN_IMAGE = 2**10


def check_labels(labels: NDArray[Any], num: int, num_classes: int, where: str) -> None:
    """Refuse labels that cannot be the classes of some images.

    Args:
        labels: expected to be whole numbers [n].
        num: how many images there are, n.
        num_classes: labels lie below it; 0 if it is not known.
        where: what has the labels, for the message.

    Raises:
        DataError: they are not.
    """
    if labels.shape != (num,) or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {list(labels.shape)}"
        raise DataError(f"{where}: labels are {found}; expected one whole number for each of {num:,} images")
    most = num_classes or CLASS_LIMIT
    if num and not 0 <= int(labels.min()) <= int(labels.max()) < most:
        raise DataError(f"{where}: labels run from {labels.min()} to {labels.max()}; expected 0 to {most - 1} at most")


def natural_order(names: Iterable[str]) -> list[str]:
    """Sorted as people count: "2" before "10", capital letters beside small ones."""
    return sorted(names, key=lambda name: (_natural_key(name), name))


def _natural_key(name: str) -> list[tuple[int, str]]:
    # The length of a number without leading zeros orders it; int() would balk at a hostile name of 5000 digits.
    parts = (part.lstrip("0") if part.isdecimal() else part for part in re.split("([0-9]+)", name.casefold()))
    return [(len(part) if i % 2 else 0, part) for i, part in enumerate(parts)]


def folder_labels(folders: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels from the name of the folder that each image lies in.

    Returns:
        int64 [n], and the classes' names in natural order, in composed Unicode.
    """
    folders = [composed(folder) for folder in folders]
    class_names = tuple(natural_order(set(folders)))
    index = {name: label for label, name in enumerate(class_names)}
    return np.fromiter((index[folder] for folder in folders), np.int64, len(folders)), class_names


def numbered_labels(values: NDArray[Any], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Check labels that are numbers from 0.

    Args:
        values: whole numbers, [n].
        where: the file, for the message.

    Returns:
        int64 [n], and the numbers up to the largest as names.

    Raises:
        DataError: not whole numbers, negative, or absurdly large.
    """
    if values.ndim != 1 or values.dtype.kind not in "iu" or not len(values):
        raise DataError(f"{where}: labels are {values.dtype} {list(values.shape)}; expected one whole number an image")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= CLASS_LIMIT:
        raise DataError(f"{where}: labels run from {low} to {high}; expected 0 to {CLASS_LIMIT - 1} at most")
    return values.astype(np.int64), tuple(map(str, range(high + 1)))


def read_dataset_json(data: bytes, names: Sequence[str], where: str) -> NDArray[np.int64] | None:
    """Labels from ``{"labels": [["00000/img00000000.png", 6], ...]}``.

    Args:
        data: the file's bytes.
        names: the images, as the file names them.
        where: the file, for the message.

    Returns:
        int64 [n] in the images' order, or None where the file says null.

    Raises:
        DataError: it is something else, or files and labels do not match one to one.
    """
    most = JSON_BYTES + JSON_BYTES_AN_IMAGE * len(names)
    if len(data) > most:
        found = f"{len(data):,} bytes for {len(names):,} images; expected {most:,} at most"
        raise DataError(f"{where}: {found}; give it only labels, or leave it out with --data.labels none")
    try:
        content = parse_json(data)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); mend it, or set labels=folders or labels=none") from error
    if not isinstance(content, dict) or "labels" not in content:
        raise DataError(f'{where}: expected {{"labels": [["file.png", 0], ...]}} as StyleGAN\'s tools write')
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
        raise DataError(f"{where}: names files that are not there: {missing[0]} ({len(missing):,} in all)")
    unlabelled = [name for name in names if name not in labels]
    if unlabelled:
        raise DataError(
            f"{where}: has no label for {len(unlabelled):,} of {len(names):,} images, first {unlabelled[0]}"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
