"""Reads tables (CSV, TSV, JSONL, and lines of a name and a label) as rows of text with line numbers.

Tables are not trusted: bytes, rows and lines are limited, and an error names the line.
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

__all__ = ["LARGEST_BYTES", "MOST_ROWS", "UNPRINTABLE", "Cells", "Table", "list_columns", "open_table", "shorten"]

LARGEST_BYTES = 2**26
MOST_ROWS = 5_000_000
LONGEST_ROW = 2**20  # characters; this also limits the number of fields
SAMPLE = 100  # objects of a JSONL that define the columns
SHOWN = 5  # columns that a message shows
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Cells: TypeAlias = list[str]
Rows: TypeAlias = Iterator[tuple[int, Cells]]  # with the number of the line where each row begins, counted from 1


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows are parsed on demand.

    Args:
        where: the file, for messages.
        columns: the names of the columns, in order.
        headed: the first parsed row is the header.
        parse: a function that parses all rows from the start.
    """

    where: str
    columns: tuple[str, ...]
    headed: bool
    parse: Callable[[], Rows]

    def headless(self) -> Table:
        """Return the same table without a header: the first row is data, and the columns are called 1, 2, 3, ..."""
        return replace(self, columns=tuple(str(i + 1) for i in range(len(self.columns))), headed=False)

    def rows(self) -> Rows:
        """Yield (line, cells) of every row.

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
                    "quote fields that contain the separator"
                )
            if count > MOST_ROWS:
                raise DataError(f"{self.where}: line {line}: more than the limit of {MOST_ROWS:,} rows")
            yield line, cells

    def read(self, columns: Sequence[int]) -> tuple[Sequence[int], dict[int, Cells]]:
        """Read some columns of all rows.

        Returns:
            The line of each row, and the cells by column index.

        Raises:
            DataError: a row is malformed, or there are too many.
        """
        lines, cells = array("q"), {column: Cells() for column in columns}
        known: dict[str, str] = {}  # so that equal cells share one string
        for line, row in self.rows():
            lines.append(line)
            for column, kept in cells.items():
                cell = row[column].strip()
                kept.append(known.setdefault(cell, cell))
        return lines, cells


def open_table(data: bytes, where: str) -> Table:
    """Open a table: recognise the format by its suffix and the columns by its first row.

    Args:
        data: the file's bytes.
        where: the file, with the suffix .csv, .tsv, .jsonl or .txt, for messages too.

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
    """Return the first columns, for a message."""
    return ", ".join(map(shorten, columns[:SHOWN])) + (", ..." if len(columns) > SHOWN else "")


def shorten(text: str) -> str:
    """Return a cell for a message: printable and at most 60 characters."""
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
        raise DataError(f"{where}: line {text.count(chr(10), 0, nul) + 1}: a NUL character; expected text")
    return text


# --- CSV, TSV and plain lines ------------------------------------------------------------------------------


def _parser(text: str, where: str) -> Callable[[], Rows]:
    """Return the parser of a text with separators, chosen by its suffix and first line."""
    text = re.sub(r"\Asep=.(?=\r?\n)", "", text)  # the first line that Excel writes
    first = re.sub('"[^"]*"', "", next(filter(str.strip, text[:LONGEST_ROW].splitlines()), ""))
    counts = {mark: first.count(mark) for mark in "\t,;"}
    if where.lower().endswith(".tsv") and counts["\t"]:
        return lambda: _separated_rows(text, where, "\t")
    mark = max(counts, key=lambda each: counts[each])
    if where.lower().endswith(".txt") and not counts[mark]:
        return lambda: _spaced_rows(text, where)
    return lambda: _separated_rows(text, where, mark if counts[mark] else ",")


class _Lines:
    """Iterates over the lines of a text, and refuses a row of too many characters before it is parsed."""

    def __init__(self, text: str) -> None:
        self.lines = io.StringIO(text, newline="")
        self.taken = 0  # characters of the row so far

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken += len(line)
        if self.taken > LONGEST_ROW:
            raise csv.Error(f"the row has more than {LONGEST_ROW:,} characters")
        return line


def _separated_rows(text: str, where: str, separator: str) -> Rows:
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    while True:
        lines.taken, begin = 0, reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{where}: line {begin}: {shorten(str(error))}") from error
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
    """Return a JSON value as text; "" for null and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
