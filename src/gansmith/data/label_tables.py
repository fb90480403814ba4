"""Labels of images from the rows of a table: the class of each image, and the classes that there are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansmith.data.class_names import composed
from gansmith.data.label_columns import (
    AUTO,
    NotLabels,
    columns_of_parts,
    has_header,
    is_label_name,
    label_columns,
    name_columns,
)
from gansmith.data.labels import CLASS_LIMIT, natural_order
from gansmith.data.row_names import AMBIGUOUS, ImageNames
from gansmith.data.tables import UNPRINTABLE, Cells, Table, list_columns, short
from gansmith.errors import DataError
from gansmith.plain_json import parse_json

__all__ = ["WITHOUT", "TableLabels", "are_amounts", "join", "read_labels", "same_parts"]

SHOWN = 5  # images of a message
LONGEST_LABEL = 255  # characters, as of a folder's name
WITHOUT = "train without labels: --data.labels none"

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class TableLabels:
    """What a table says of the images that are read.

    Args:
        table: its name.
        columns: those of names and of labels.
        sure: the column of labels was asked for, or is called so; it is not just the only other one.
        codes: int64 [n], the value of each image; -1 where no row names it.
        lines: int64 [n], the line that labels it.
        values: what the codes mean: numbers are in one spelling, so that equal ones are one value.
        spellings: how each value is written in the table.
        notes: what else a person should know.
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
    """Find the label of each image.

    Args:
        table: what to read.
        name: what to call it in notes.
        images: all of them.
        folders: where the table's paths may begin, likelier ones first.
        name_column: the column of images; "auto" finds it.
        label_column: the column of labels; "auto" finds it.

    Raises:
        NotLabels: it has no such columns, or none of its rows is of these images.
        DataError: it is malformed or contradicts itself, or a column that was asked for is not there.
    """
    if table.headed and not has_header(table, images):
        table = table.headless()
    may_name = name_columns(table, name_column, label_column)
    may_label = label_columns(table, label_column, may_name)
    lines, cells = table.read(sorted({*may_name, *may_label}))
    found = [(column, *images.best_way(cells[column], folders)) for column in may_name]
    chosen, _, places, num = max(found, key=lambda each: each[3])  # the first of equals
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
        return f"{table.where}: a header and no rows"
    return (
        f"{table.where}: none of its {len(names):,} rows names an image here; names in column {short(column)} are "
        f"such as {short(names[0])}; another column is chosen with --data.name_column"
    )


def _remarks(table: Table, name: str, places: Sequence[int], words: Cells) -> Iterator[str]:
    strays = sum(place == -1 for place in places)
    if strays:
        first = short(words[places.index(-1)])
        yield f"{strays:,} of {len(places):,} rows of {name} name no image here, first {first}"
    for column in columns_of_parts(table):
        yield f"column {short(column)} of {name} is not read: images of all its values are taken"


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
            raise DataError(f"{table.where}: line {line}: {short(name)} may be {meant}; write its path and ending")


class _Column:
    """The labels in one column."""

    def __init__(
        self, table: Table, name: str, lines: Sequence[int], places: Sequence[int], cells: Cells, images: ImageNames
    ) -> None:
        self.where, self.name, self.images = table.where, name, images
        self.codes = np.full(len(images.kept), -1, np.int64)
        self.lines = np.zeros(len(images.kept), np.int64)
        self.values: dict[str, set[str]] = {}  # each with its spellings, in the order of their codes
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
                self.values.setdefault(value, set()).add(composed(cell))
                known[cell] = codes.setdefault(value, len(codes))
            code = known[cell]
            if self.codes[place] not in (-1, code):
                raise DataError(
                    f"{self.where}: lines {self.lines[place]} and {line} give {self.images.kept[place]} different "
                    f"labels ({short(list(self.values)[self.codes[place]])} and {short(cell)}); keep one of them"
                )
            if self.codes[place] < 0:
                self.codes[place], self.lines[place] = code, line

    def _value(self, cell: str, line: int, image: str) -> str:
        where = f"{self.where}: line {line}"
        if not cell or cell.casefold() == "nan":
            raise DataError(f"{where}: the label of {image} is empty; fill it in, or {WITHOUT}")
        if _is_list(cell):
            raise DataError(f"{where}: the label of {image} is {short(cell)}; expected one class an image; {WITHOUT}")
        if UNPRINTABLE.search(cell) or len(cell) > LONGEST_LABEL:
            raise DataError(
                f"{where}: the label of {image} is {short(cell)!r}; "
                f"expected at most {LONGEST_LABEL} printable characters; {WITHOUT}"
            )
        if len(self.values) >= CLASS_LIMIT:
            raise DataError(f"{where}: more than {CLASS_LIMIT:,} different labels; {WITHOUT}")
        return str(int(cell.partition(".")[0])) if _WHOLE.fullmatch(cell) else composed(cell)

    def _refuse_several_labels(self) -> None:
        for code, value in enumerate(self.values):
            parts = [part for part in re.split(r"[\s,;|]+", value) if part]
            if len(parts) < 2:
                continue
            if all(part in self.values for part in parts) or all(_NUMBER.fullmatch(part) for part in parts):
                place = int(np.flatnonzero(self.codes == code)[0])
                raise DataError(
                    f"{self.where}: line {self.lines[place]}: the label of {self.images.kept[place]} is "
                    f"{short(value)}, which is {len(parts)} labels; expected one class an image; {WITHOUT}"
                )


def _is_list(cell: str) -> bool:
    if not (cell[:1] in ("[", "{") and cell[-1:] in ("]", "}")):
        return False
    try:
        return isinstance(parse_json(cell), list | dict)
    except ValueError:
        return "," in cell or ":" in cell


def _agreed(table: Table, columns: Sequence[_Column]) -> _Column:
    """The only column, or that of names among several that part the images in the same way."""
    if not columns:
        raise NotLabels(f"{table.where}: no column beside that of file names; expected one of labels")
    if all(column.flaw for column in columns):
        raise columns[0].flaw or AssertionError
    if any(column.flaw or not same_parts(columns[0].codes, column.codes) for column in columns):
        raise DataError(
            f"{table.where}: the columns {list_columns([column.name for column in columns])} may all be the labels; "
            f"choose with --data.label_column, or {WITHOUT}"
        )
    return next((column for column in columns if not all(map(_WHOLE.fullmatch, column.values))), columns[0])


def same_parts(first: NDArray[np.int64], second: NDArray[np.int64]) -> bool:
    """Whether two arrays of labels put the same images together, whatever the classes are called."""
    pairs = np.unique(np.stack([first, second]), axis=1).shape[1]
    return bool(pairs == len(np.unique(first)) == len(np.unique(second)))


# --- several tables ----------------------------------------------------------------------------------------


def join(tables: Sequence[TableLabels], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels of several tables together.

    Returns:
        int64 [n], -1 for images that no table names; and the classes' names: numbers sorted by value, others as
        people count.

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
    """Whether labels are numbers of which some are not whole, as scores are, and not names of classes."""
    return all(map(_NUMBER.fullmatch, class_names)) and not all(map(_WHOLE.fullmatch, class_names))


def _in_order(values: Iterable[str]) -> list[str]:
    values = list(values)
    if all(map(_WHOLE.fullmatch, values)):
        return sorted(values, key=int)
    return sorted(values, key=float) if all(map(_NUMBER.fullmatch, values)) else natural_order(values)


def _name(value: str, spellings: Collection[str]) -> str:
    """A number that is always written with the same zeros keeps them, as 00014 does."""
    only = next(iter(spellings))
    return only if len(spellings) == 1 and only.isascii() and only.isdecimal() else value
