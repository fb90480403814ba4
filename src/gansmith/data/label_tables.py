"""Reads the class of each image from the rows of a table, and joins several tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansmith.data.class_names import to_nfc
from gansmith.data.label_columns import (
    AUTO,
    NotLabels,
    find_label_columns,
    find_name_columns,
    find_split_columns,
    has_header,
    is_label_name,
)
from gansmith.data.labels import CLASS_LIMIT, sort_naturally
from gansmith.data.row_names import AMBIGUOUS, ImageNames
from gansmith.data.tables import UNPRINTABLE, Cells, Table, list_columns, shorten
from gansmith.errors import DataError
from gansmith.plain_json import parse_json

__all__ = ["WITHOUT", "TableLabels", "are_amounts", "is_same_partition", "join", "read_labels"]

SHOWN = 5  # images of a message
LONGEST_LABEL = 255  # characters, as in a folder's name
WITHOUT = "train without labels: --data.labels none"

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class TableLabels:
    """The labels of images in one table.

    Args:
        table: the table's name.
        columns: the names of the columns of image names and of labels.
        sure: the user chose the column of labels, or it has a usual name; it is not just the only other column.
        codes: int64 [n], the index in ``values`` of each image's label; -1 if no row names the image.
        lines: int64 [n], the line of each image's row.
        values: the labels. Equal numbers in different spellings are one value.
        spellings: the spellings of each value in the table.
        notes: remarks, a sentence each.
    """

    table: str
    columns: tuple[str, str]
    sure: bool
    codes: NDArray[np.int64]
    lines: NDArray[np.int64]
    values: tuple[str, ...]
    spellings: tuple[frozenset[str], ...]
    notes: tuple[str, ...]


def read_labels(
    table: Table, name: str, images: ImageNames, folders: Sequence[str], name_column: str, label_column: str
) -> TableLabels:
    """Find the label of each image in a table.

    Args:
        table: the table.
        name: its name in notes.
        images: the names of all images.
        folders: folders that paths in the table may be relative to, the most likely first.
        name_column: the column of image names; "auto" finds it.
        label_column: the column of labels; "auto" finds it.

    Raises:
        NotLabels: it has no such columns, or no row names one of these images.
        DataError: it is malformed or contradicts itself, or a chosen column does not exist.
    """
    if table.headed and not has_header(table, images):
        table = table.headless()
    may_name = find_name_columns(table, name_column, label_column)
    may_label = find_label_columns(table, label_column, may_name)
    lines, cells = table.read(sorted({*may_name, *may_label}))
    found = [(column, *images.find_best_rule(cells[column], folders)) for column in may_name]
    chosen, _, places, num = max(found, key=lambda each: each[3])  # the first, if several are equal
    if not num and AMBIGUOUS not in places:
        raise NotLabels(_about_others(table, table.columns[chosen], cells[chosen]))
    _refuse_unclear(table, images, lines, places, cells[chosen])
    columns = [
        _Column(table, table.columns[column], lines, places, cells[column], images)
        for column in may_label
        if column != chosen
    ]
    best = _agreed(table, columns)
    return TableLabels(
        table=name,
        columns=(table.columns[chosen], best.name),
        sure=label_column != AUTO or is_label_name(best.name),
        codes=best.codes,
        lines=best.lines,
        values=tuple(best.values),
        spellings=tuple(frozenset(spelled) for spelled in best.values.values()),
        notes=tuple(_remarks(table, name, places, cells[chosen])),
    )


def _about_others(table: Table, column: str, names: Cells) -> str:
    if not names:
        return f"{table.where}: the table has a header but no rows"
    return (
        f"{table.where}: none of its {len(names):,} rows names an image here; column {shorten(column)} has names "
        f"such as {shorten(names[0])}; choose another column with --data.name_column"
    )


def _remarks(table: Table, name: str, places: Sequence[int], words: Cells) -> Iterator[str]:
    strays = sum(place == -1 for place in places)
    if strays:
        first = shorten(words[places.index(-1)])
        yield f"{strays:,} of {len(places):,} rows of {name} name no image here, first {first}"
    for column in find_split_columns(table):
        yield f"column {shorten(column)} of {name} is not read: images of all splits are taken"


# --- rows --------------------------------------------------------------------------------------------------


def _refuse_unclear(
    table: Table, images: ImageNames, lines: Sequence[int], places: Sequence[int], names: Sequence[str]
) -> None:
    if AMBIGUOUS not in places and "" not in names:
        return
    for line, place, name in zip(lines, places, names, strict=True):
        if not name:
            raise DataError(f"{table.where}: line {line}: the name of the image is empty")
        if place == AMBIGUOUS:
            meant = " or ".join(images.meant_by(name)[:SHOWN])
            raise DataError(f"{table.where}: line {line}: {shorten(name)} may be {meant}; write its path and suffix")


class _Column:
    """The labels in one column."""

    def __init__(
        self, table: Table, name: str, lines: Sequence[int], places: Sequence[int], cells: Cells, images: ImageNames
    ) -> None:
        self.where, self.name, self.images = table.where, name, images
        self.codes = np.full(len(images.kept), -1, np.int64)
        self.lines = np.zeros(len(images.kept), np.int64)
        self.values: dict[str, set[str]] = {}  # spellings by value, in the order of the codes
        self.flaw: DataError | None = None
        try:
            self._fill(lines, places, cells)
            self._refuse_several_labels()
        except DataError as error:
            self.flaw = error

    def _fill(self, lines: Sequence[int], places: Sequence[int], cells: Cells) -> None:
        known: dict[str, int] = {}  # as written
        codes: dict[str, int] = {}
        for line, place, cell in zip(lines, places, cells, strict=True):
            if place < 0:
                continue
            if cell not in known:
                value = self._value(cell, line, self.images.kept[place])
                self.values.setdefault(value, set()).add(to_nfc(cell))
                known[cell] = codes.setdefault(value, len(codes))
            code = known[cell]
            if self.codes[place] not in (-1, code):
                raise DataError(
                    f"{self.where}: lines {self.lines[place]} and {line} give {self.images.kept[place]} different "
                    f"labels ({shorten(list(self.values)[self.codes[place]])} and {shorten(cell)}); keep one of them"
                )
            if self.codes[place] < 0:
                self.codes[place], self.lines[place] = code, line

    def _value(self, cell: str, line: int, image: str) -> str:
        where = f"{self.where}: line {line}"
        if not cell or cell.casefold() == "nan":
            raise DataError(f"{where}: the label of {image} is empty; fill it in, or {WITHOUT}")
        if _is_list(cell):
            raise DataError(
                f"{where}: the label of {image} is {shorten(cell)}; expected one class per image; {WITHOUT}"
            )
        if UNPRINTABLE.search(cell) or len(cell) > LONGEST_LABEL:
            raise DataError(
                f"{where}: the label of {image} is {shorten(cell)!r}; "
                f"expected at most {LONGEST_LABEL} printable characters; {WITHOUT}"
            )
        if len(self.values) >= CLASS_LIMIT:
            raise DataError(f"{where}: more than {CLASS_LIMIT:,} different labels; {WITHOUT}")
        return str(int(cell.partition(".")[0])) if _WHOLE.fullmatch(cell) else to_nfc(cell)

    def _refuse_several_labels(self) -> None:
        for code, value in enumerate(self.values):
            parts = [part for part in re.split(r"[\s,;|]+", value) if part]
            if len(parts) < 2:
                continue
            if all(part in self.values for part in parts) or all(_NUMBER.fullmatch(part) for part in parts):
                place = int(np.flatnonzero(self.codes == code)[0])
                raise DataError(
                    f"{self.where}: line {self.lines[place]}: the label of {self.images.kept[place]} is "
                    f"{shorten(value)}, which is {len(parts)} labels; expected one class per image; {WITHOUT}"
                )


def _is_list(cell: str) -> bool:
    if not (cell[:1] in ("[", "{") and cell[-1:] in ("]", "}")):
        return False
    try:
        return isinstance(parse_json(cell), list | dict)
    except ValueError:
        return "," in cell or ":" in cell


def _agreed(table: Table, columns: Sequence[_Column]) -> _Column:
    """Return the only column; of several that group the images alike, the first whose labels are not whole numbers."""
    if not columns:
        raise NotLabels(f"{table.where}: only a column of file names; expected a second column of labels")
    if all(column.flaw for column in columns):
        raise columns[0].flaw or AssertionError
    if any(column.flaw or not is_same_partition(columns[0].codes, column.codes) for column in columns):
        raise DataError(
            f"{table.where}: the columns {list_columns([column.name for column in columns])} may all be the labels; "
            f"choose with --data.label_column, or {WITHOUT}"
        )
    return next((column for column in columns if not all(map(_WHOLE.fullmatch, column.values))), columns[0])


def is_same_partition(first: NDArray[np.int64], second: NDArray[np.int64]) -> bool:
    """Return whether two arrays of labels group the images alike, whatever the names of the classes."""
    pairs = np.unique(np.stack([first, second]), axis=1).shape[1]
    return bool(pairs == len(np.unique(first)) == len(np.unique(second)))


# --- several tables ----------------------------------------------------------------------------------------


def join(tables: Sequence[TableLabels], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Join the labels of several tables.

    Returns:
        int64 [n], -1 for images that no table names; and the class names, numbers sorted by value, others in natural
        order ("2" before "10").

    Raises:
        DataError: two tables give one image different labels.
    """
    spellings: dict[str, set[str]] = {}
    for table in tables:
        for value, spelled in zip(table.values, table.spellings, strict=True):
            spellings.setdefault(value, set()).update(spelled)
    ordered = _in_order(spellings)
    numbers = {value: number for number, value in enumerate(ordered)}
    labels = np.full(len(tables[0].codes), -1, np.int64)
    for table in tables:
        here = np.array([*(numbers[value] for value in table.values), -1])[table.codes]
        clash = np.flatnonzero((labels >= 0) & (here >= 0) & (labels != here))
        if len(clash):
            other = next(each for each in tables if each.codes[clash[0]] >= 0)
            raise DataError(
                f"{where}: {other.table} (line {other.lines[clash[0]]}) and {table.table} (line "
                f"{table.lines[clash[0]]}) give an image different labels, {ordered[labels[clash[0]]]} and "
                f"{ordered[here[clash[0]]]}; choose with --data.labels_table, or {WITHOUT}"
            )
        labels = np.where(here >= 0, here, labels)
    return labels, tuple(_name(value, spellings[value]) for value in ordered)


def are_amounts(class_names: Sequence[str]) -> bool:
    """Return whether labels are numbers with fractions, such as scores, and so probably not classes."""
    return all(map(_NUMBER.fullmatch, class_names)) and not all(map(_WHOLE.fullmatch, class_names))


def _in_order(values: Iterable[str]) -> list[str]:
    values = list(values)
    if all(map(_WHOLE.fullmatch, values)):
        return sorted(values, key=int)
    return sorted(values, key=float) if all(map(_NUMBER.fullmatch, values)) else sort_naturally(values)


def _name(value: str, spellings: Collection[str]) -> str:
    """Return a class's name; a number such as 00014 keeps its zeros if all rows write it so."""
    only = next(iter(spellings))
    return only if len(spellings) == 1 and only.isascii() and only.isdecimal() else value
