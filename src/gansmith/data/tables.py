"""Tables beside images: CSV, TSV, JSONL, and lines of a name and a label, as rows of text with their line numbers.

Nothing in a table is believed: bytes, rows and lines are bounded, and what is malformed is one line with its place.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from gansmith.errors import DataError
from gansmith.plain_json import parse_json

__all__ = ["LARGEST_BYTES", "MOST_ROWS", "UNPRINTABLE", "Cells", "Table", "list_columns", "open_table", "short"]

LARGEST_BYTES = 2**26
MOST_ROWS = 5_000_000
LONGEST_ROW = 2**20  # characters; it bounds the number of fields too
SAMPLE = 100  # objects that show the columns
SHOWN = 5  # columns of a message
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Cells: TypeAlias = list[str]
Rows: TypeAlias = Iterator[tuple[int, Cells]]  # the number of the line where each begins, counted from 1


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows are parsed when they are asked for.

    Args:
        where: the file, for messages.
        columns: their names, in the table's order.
        headed: the first row of text holds the names, and is no row of the table.
        parse: makes the rows anew.
    """

    where: str
    columns: tuple[str, ...]
    headed: bool
    parse: Callable[[], Rows]

    def headless(self) -> Table:
        """The same table, whose first row is a row like the others; its columns are called 1, 2, 3 and so on."""
        return replace(self, columns=tuple(str(i + 1) for i in range(len(self.columns))), headed=False)

    def rows(self) -> Rows:
        """All rows, each with one cell a column.

        Raises:
            DataError: a row is malformed, or there are too many.
        """
        rows = self.parse()
        if self.headed:
            next(rows)
        for count, (line, cells) in enumerate(rows, start=1):
            if len(cells) != len(self.columns):
                expected = f"expected {len(self.columns)} ({list_columns(self.columns)})"
                raise DataError(
                    f"{self.where}: line {line}: {len(cells)} fields, {expected}; "
                    "a field that holds the separator needs quotes"
                )
            if count > MOST_ROWS:
                raise DataError(f"{self.where}: line {line}: more than the limit of {MOST_ROWS:,} rows")
            yield line, cells

    def read(self, columns: Sequence[int]) -> tuple[Sequence[int], dict[int, Cells]]:
        """Some columns of all rows.

        Returns:
            The line of each row, and the cells of each column.

        Raises:
            DataError: a row is malformed, or there are too many.
        """
        lines, cells = array("q"), {column: Cells() for column in columns}
        known: dict[str, str] = {}  # so that a label is kept once
        for line, row in self.rows():
            lines.append(line)
            for column, kept in cells.items():
                cell = row[column].strip()
                kept.append(known.setdefault(cell, cell))
        return lines, cells


def open_table(data: bytes, where: str) -> Table:
    """Recognise a table's form by its name, and its columns by its first row.

    Args:
        data: the file's bytes.
        where: the file, for messages; its ending decides: .csv, .tsv, .jsonl or .txt.

    Raises:
        DataError: it is not text, or has no rows.
    """
    text = _decode(data, where)
    if where.lower().endswith(".jsonl"):
        return _open_jsonl(text, where)
    parse = _parser(text, where)
    columns = next((cells for _, cells in parse()), None)
    if columns is None:
        raise DataError(f"{where}: the table is empty")
    return Table(where=where, columns=tuple(cell.strip() for cell in columns), headed=True, parse=parse)


def list_columns(columns: Sequence[str]) -> str:
    """The first columns, for a message."""
    return ", ".join(map(short, columns[:SHOWN])) + (", ..." if len(columns) > SHOWN else "")


def short(text: str) -> str:
    """A cell, for a message."""
    plain = UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
    return plain if len(plain) <= 60 else f"{plain[:57]}..."


def _decode(data: bytes, where: str) -> str:
    if len(data) > LARGEST_BYTES:
        raise DataError(f"{where}: more than the limit of {LARGEST_BYTES:,} bytes for a table")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{where}: line {line}: not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        ) from error
    nul = text.find("\0")
    if nul >= 0:
        raise DataError(f"{where}: line {text.count(chr(10), 0, nul) + 1}: a NUL character; this is no text")
    return text


# --- CSV, TSV and plain lines ------------------------------------------------------------------------------


def _parser(text: str, where: str) -> Callable[[], Rows]:
    """The way to parse a text with separators, by its name and first line."""
    text = re.sub(r"\Asep=.(?=\r?\n)", "", text)  # as Excel begins
    first = re.sub('"[^"]*"', "", next(filter(str.strip, text[:LONGEST_ROW].splitlines()), ""))
    counts = {mark: first.count(mark) for mark in "\t,;"}
    if where.lower().endswith(".tsv") and counts["\t"]:
        return lambda: _separated_rows(text, where, "\t")
    mark = max(counts, key=lambda each: counts[each])
    if where.lower().endswith(".txt") and not counts[mark]:
        return lambda: _spaced_rows(text, where)
    return lambda: _separated_rows(text, where, mark if counts[mark] else ",")


class _Lines:
    """The lines of a text; a row of too many characters is refused before it is taken apart."""

    def __init__(self, text: str) -> None:
        self.lines = io.StringIO(text, newline="")
        self.taken = 0  # characters of the row so far

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken += len(line)
        if self.taken > LONGEST_ROW:
            raise csv.Error(f"a row of more than {LONGEST_ROW:,} characters")
        return line


def _separated_rows(text: str, where: str, separator: str) -> Rows:
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    while True:
        lines.taken, begin = 0, reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{where}: line {begin}: {short(str(error))}") from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield begin, cells


def _spaced_rows(text: str, where: str) -> Rows:
    lines = _Lines(text)
    number = 0
    while True:
        lines.taken, number = 0, number + 1
        try:
            line = next(lines, None)
        except csv.Error as error:
            raise DataError(f"{where}: line {number}: {error}") from error
        if line is None:
            return
        if cells := line.split():
            yield number, cells


# --- JSONL -------------------------------------------------------------------------------------------------


def _open_jsonl(text: str, where: str) -> Table:
    first = [plain for _, plain in itertools.islice(_objects(text, where), SAMPLE)]
    if not first:
        raise DataError(f"{where}: the table is empty")
    columns = tuple(dict.fromkeys(key for plain in first for key in plain))
    if not columns:
        raise DataError(f"{where}: line 1: the object is empty; expected file_name and a label")

    def parse() -> Rows:
        for line, plain in _objects(text, where):
            yield line, [_as_text(plain.get(column)) for column in columns]

    return Table(where=where, columns=columns, headed=False, parse=parse)


def _objects(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if not line.strip():
            continue
        try:
            if len(line) > LONGEST_ROW:
                raise ValueError(f"more than {LONGEST_ROW:,} characters")
            plain = parse_json(line)
        except ValueError as error:
            raise DataError(f"{where}: line {number}: not JSON ({error})") from error
        if not isinstance(plain, dict):
            raise DataError(f'{where}: line {number}: expected an object such as {{"file_name": "1.png", "label": 0}}')
        yield number, plain


def _as_text(value: Any) -> str:
    """A value of JSON as a table of text would have it; empty for null and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
