"""GTSRB's tables: the class and the region of interest of each image."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import NamedTuple

from gansmith.errors import DataError
from gansmith.types import size_text

__all__ = ["TABLE_LIMIT", "Roi", "is_table", "parse_table", "spell_size"]

TABLE_LIMIT = 2**26  # bytes of a table; Kaggle's table of all classes has 2 million


class Roi(NamedTuple):
    """The region of an image that shows the sign.

    Args:
        size: width and height of the image.
        box: left, top, right, bottom; right and bottom are exclusive, as in Pillow.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]


def is_table(name: str) -> bool:
    """Return whether a file is a table, by its name."""
    return name.lower().endswith(".csv")


def spell_size(size: tuple[int, int]) -> str:
    """Return a (width, height) as text."""
    return size_text(size[::-1])


def parse_table(data: bytes, where: str) -> dict[tuple[int, str], Roi]:
    """Return the regions by class and file name.

    Args:
        data: the table, with semicolons or commas.
        where: its name, for messages.

    Raises:
        DataError: a column is missing, or a value is not a number or is out of range.
    """
    text = data.decode("utf-8-sig", "replace")
    table = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text.partition("\n")[0] else ",")
    try:
        return dict(_parse_row(row) for row in table)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        columns = "Filename or Path, ClassId, Width, Height, Roi.X1, Roi.Y1, Roi.X2, Roi.Y2"
        raise DataError(f"{where}: line {table.line_num}: {error}; expected {columns}") from error


def _parse_row(row: Mapping[str, str]) -> tuple[tuple[int, str], Roi]:
    width, height = int(row["Width"]), int(row["Height"])
    left, top, right, bottom = (int(row[f"Roi.{corner}"]) for corner in ("X1", "Y1", "X2", "Y2"))
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"the region {left},{top} to {right},{bottom} is not inside {spell_size((width, height))}")
    file = (row.get("Path") or row["Filename"]).rpartition("/")[2]
    return (int(row["ClassId"]), file), Roi((width, height), (left, top, right, bottom))
