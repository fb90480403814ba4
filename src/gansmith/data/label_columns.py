"""Finds the columns of a table that contain image names, labels and splits, by their usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gansmith.data.class_names import to_nfc
from gansmith.data.formats import PHOTOGRAPHS, SUFFIXES
from gansmith.data.row_names import ImageNames
from gansmith.data.tables import Table, list_columns, shorten
from gansmith.errors import DataError, did_you_mean

__all__ = [
    "AUTO",
    "NotLabels",
    "find_label_columns",
    "find_name_columns",
    "find_split_columns",
    "has_header",
    "is_label_name",
]

AUTO = "auto"
MOST_NAMES = 5  # columns that are tried as image names

# Names of columns, reduced to lower-case letters and digits, the most likely first.
NAMES = (
    *("filename", "file", "filepath", "filepaths", "path", "imagepath", "imagefile", "imagefilename", "imagename"),
    *("imgpath", "imgfile", "imgname", "image", "images", "img", "imageid", "imgid", "id", "fname", "name"),
)
LABELS = (
    *("label", "labels", "class", "classes", "category", "categories", "target", "breed", "species", "labelname"),
    *("classname", "categoryname", "classlabel", "labelid", "classid", "categoryid", "classindex", "groundtruth", "y"),
)
NO_LABELS = (
    *("text", "caption", "captions", "prompt", "description", "comment", "title", "url", "source", "license", "author"),
    *("width", "height", "size", "bytes", "score", "date", "time", "timestamp", "hash", "md5", "sha256"),
)
COUNTS = ("", "index", "unnamed0")  # row numbers, as pandas writes them
PARTS = ("split", "subset", "partition", "fold", "set", "dataset", "istrain", "istraining", "usage")


class NotLabels(DataError):
    """Raised for a well-formed table that has no labels of these images."""


def has_header(table: Table, images: ImageNames) -> bool:
    """Return whether the first row has names of columns, rather than an image and its label."""
    cells = [cell.casefold() for cell in table.columns if cell]
    if any(cell.endswith((*SUFFIXES, *PHOTOGRAPHS)) for cell in cells):
        return False
    if any(_key(cell) in NAMES + LABELS for cell in cells):
        return True
    return not any(cell.isdecimal() or images.knows(cell) for cell in table.columns)


def find_name_columns(table: Table, wanted: str, label: str) -> list[int]:
    """Return the columns that may name the images, the most likely first.

    Args:
        table: the table.
        wanted: the column that the user chose, or "auto".
        label: the column of labels that the user chose, or "auto".

    Raises:
        NotLabels: no column fits.
        DataError: a chosen column does not exist.
    """
    if wanted != AUTO:
        return [_column(table, wanted, "name_column")]
    keys = [_key(column) for column in table.columns]
    known = [index for key in NAMES for index, found in enumerate(keys) if found == key]
    if not known and (len(_columns_of_use(table)) <= 2 or all(map(str.isdecimal, keys))):
        known = [index for index in range(len(keys)) if keys[index] not in LABELS]
    if label != AUTO:
        taken = _column(table, label, "label_column")
        known = [index for index in known if index != taken]
    if not known:
        raise NotLabels(
            f"{table.where}: no column has a usual name for file names ({list_columns(table.columns)}); "
            "choose it with --data.name_column"
        )
    return known[:MOST_NAMES]


def find_label_columns(table: Table, wanted: str, name_columns: Sequence[int]) -> list[int]:
    """Return the columns that may contain the labels, the most likely first.

    Args:
        table: the table.
        wanted: the column that the user chose, or "auto".
        name_columns: the columns that may name the images.

    Raises:
        NotLabels: no column fits.
        DataError: the chosen column does not exist.
    """
    if wanted != AUTO:
        return [_column(table, wanted, "label_column")]
    keys = [_key(column) for column in table.columns]
    known = [index for key in LABELS for index, found in enumerate(keys) if found == key]
    if known:
        return known
    useful = [index for index in _columns_of_use(table) if keys[index] not in NO_LABELS]
    if len(useful) == 2 == len(_columns_of_use(table)):
        return useful if len(name_columns) > 1 else [index for index in useful if index not in name_columns]
    raise NotLabels(
        f"{table.where}: no column has a usual name for labels ({list_columns(table.columns)}); "
        "choose it with --data.label_column"
    )


def _columns_of_use(table: Table) -> list[int]:
    """Return the indices of all columns except row numbers."""
    keys = [_key(column) for column in table.columns]
    return list(range(len(keys))) if len(keys) <= 2 else [i for i, key in enumerate(keys) if key not in COUNTS]


def _column(table: Table, wanted: str, field: str) -> int:
    """Return the index of a column by its name.

    Raises:
        DataError: no column has this name, or several do.
    """
    for spelled in (str, _key):
        found = [index for index, column in enumerate(table.columns) if spelled(column) == spelled(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{table.where}: {len(found)} columns are called {wanted!r}; rename all but one")
    expected = did_you_mean(wanted, map(shorten, table.columns[:50]))
    raise DataError(f"{table.where}: --data.{field}: no column is called {wanted!r}; {expected}")


def is_label_name(column: str) -> bool:
    """Return whether a column has a usual name for labels."""
    return _key(column) in LABELS


def find_split_columns(table: Table) -> list[str]:
    """Return the names of columns that say which split an image belongs to."""
    return [column for column in table.columns if _key(column) in PARTS]


def _key(column: str) -> str:
    return re.sub(r"[\W_]", "", to_nfc(column).casefold())
