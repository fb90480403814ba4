"""Reads the labels in tables beside images, and explains which tables are not read."""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansmith.data.archive import Archive, read_bounded
from gansmith.data.class_names import to_nfc
from gansmith.data.formats import describe_pointer
from gansmith.data.label_columns import AUTO, NotLabels
from gansmith.data.label_tables import WITHOUT, TableLabels, are_amounts, join, read_labels
from gansmith.data.row_names import ImageNames
from gansmith.data.table_names import ENDINGS, describe_unread, find_tables, list_path_starts
from gansmith.data.tables import LARGEST_BYTES, list_columns, open_table
from gansmith.errors import DataError

__all__ = ["Choice", "LabelSearch", "search_labels"]

NONE = "none"
MOST_TABLES = 64  # limit of tables that are read without being named
SHOWN = 3  # notes about tables that are not read


@dataclass(frozen=True)
class Choice:
    """The table and columns that the user chose, or "auto".

    Args:
        table: file name or path; "none" reads none.
        name_column: the column of image names.
        label_column: the column of labels.
    """

    table: str = AUTO
    name_column: str = AUTO
    label_column: str = AUTO

    @property
    def is_explicit(self) -> bool:
        """Whether the user chose a table or a column."""
        return (self.table, self.name_column, self.label_column) != (AUTO,) * 3 and self.table != NONE


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelSearch:
    """The labels found in tables.

    Args:
        labels: int64 [n], -1 for images without a row; None if no table has labels of these images.
        class_names: names of the classes.
        tables: names of the tables that were read.
        sure: the columns of labels have usual names; see ``TableLabels``.
        notes: the origin of the labels and other remarks, a sentence each.
        unread: tables that may contain labels and are not read, a sentence each.
        flaws: errors in tables that would otherwise have been read.
        digest: SHA-256 of the bytes of each table read.
    """

    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    sure: bool = True
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    flaws: tuple[DataError, ...] = ()
    digest: str = ""

    def doubt(self) -> str | None:
        """Return why the labels are probably not classes; None if they may be."""
        num_classes, num = len(self.class_names), 0 if self.labels is None else len(self.labels)
        if num_classes == 1:
            return f"no classes, because {self._listed()} has only one label ({self.class_names[0]})"
        if are_amounts(self.class_names):
            example = next(name for name in self.class_names if are_amounts([name]))
            return f"no classes, because the labels of {self._listed()} are amounts such as {example}; {_INSIST}"
        if num_classes * 2 > num:
            return f"no classes, because {self._listed()} has {num_classes:,} labels for {num:,} images; {_INSIST}"
        return None

    def _listed(self) -> str:
        return " and ".join(self.tables)


_INSIST = "--data.labels table takes each as a class"


def search_labels(archive: Archive, names: Sequence[str], kept: Sequence[str], choice: Choice) -> LabelSearch:
    """Read the labels of images from tables.

    Args:
        archive: the folder or zip.
        names: all images in it.
        kept: the images that are read.
        choice: the user's choice of table and columns.

    Raises:
        DataError: two tables contradict each other, or the chosen table cannot be used.
    """
    if choice.table == NONE:
        return LabelSearch()
    if choice.table != AUTO:
        name, data, where = _named(archive, choice.table)
        labels = _labels_in(data, where, name, ImageNames(names, kept), choice)
        return _joined(archive, [labels], [hashlib.sha256(data).hexdigest()])
    usual, others = find_tables(archive, kept)
    if len(usual) > MOST_TABLES:
        found = (
            f"{archive.path}: {len(usual):,} tables may contain labels, such as {usual[0]}; "
            f"expected at most {MOST_TABLES}"
        )
        return LabelSearch(flaws=(DataError(f"{found}; choose one with --data.labels_table, or {WITHOUT}"),))
    search = _search_all(archive, usual, ImageNames(names, kept), choice) if usual else LabelSearch()
    unread = itertools.chain(search.unread, describe_unread(archive, others))
    return replace(search, unread=tuple(itertools.islice(unread, SHOWN)))


def _search_all(archive: Archive, tables: Sequence[str], images: ImageNames, choice: Choice) -> LabelSearch:
    found: list[tuple[TableLabels, str]] = []
    unread: list[str] = []
    flaws: list[DataError] = []
    for name in tables:
        try:
            data = _read(archive, name)
            labels = _labels_in(data, f"{archive.path}: {name}", name, images, choice)
            found.append((labels, hashlib.sha256(data).hexdigest()))
        except DataError as error:
            if isinstance(error, NotLabels) or name.lower().endswith(".txt"):  # a .txt may be any text
                unread.append(f"{error}; no labels are read from it")
            else:
                flaws.append(error)
    best = [each for each in found if each[0].sure] or found
    try:
        search = _joined(archive, *zip(*best, strict=True)) if best else LabelSearch()
    except DataError as error:
        return LabelSearch(flaws=(error, *flaws))
    return replace(search, unread=tuple(unread), flaws=tuple(flaws))


def _labels_in(data: bytes, where: str, name: str, images: ImageNames, choice: Choice) -> TableLabels:
    folders = list_path_starts(name, images.kept)
    return read_labels(open_table(data, where), name, images, folders, choice.name_column, choice.label_column)


def _joined(archive: Archive, found: Sequence[TableLabels], digests: Sequence[str]) -> LabelSearch:
    labels, class_names = join(found, str(archive.path))
    alike = [name for name, count in Counter(name.casefold() for name in class_names).items() if count > 1]
    spelled = [name for name in class_names if name.casefold() in alike]
    return LabelSearch(
        labels=labels,
        class_names=class_names,
        tables=tuple(table.table for table in found),
        sure=all(table.sure for table in found),
        notes=(
            *(f"labels are from {each.table} (columns {list_columns(each.columns)})" for each in found),
            *(note for each in found for note in each.notes),
            *((f"the classes {', '.join(spelled[:5])} differ only in upper and lower case",) if spelled else ()),
        ),
        digest=" ".join(digests),
    )


def _read(archive: Archive, name: str) -> bytes:
    try:
        return _whole(archive.read(name, LARGEST_BYTES))
    except DataError as error:
        raise DataError(f"{archive.path}: {name}: {error}") from error


def _whole(data: bytes) -> bytes:
    """Return a table's bytes; raise DataError if they are only a pointer to it."""
    pointer = describe_pointer(data[:4096])
    if pointer:
        raise DataError(pointer)
    return data


def _named(archive: Archive, table: str) -> tuple[str, bytes, str]:
    """Return the name, the bytes and the location of the table that the user chose."""
    if not table.lower().endswith(ENDINGS):
        expected = " ".join(ENDINGS)
        raise DataError(
            f"--data.labels_table {table}: expected a name that ends in {expected}; save it as CSV, or {WITHOUT}"
        )
    wanted = to_nfc(posixpath.normpath(table.replace("\\", "/")))
    inside = next((name for name in archive.names if to_nfc(name) == wanted), None)
    if inside is not None:
        return inside, _read(archive, inside), f"{archive.path}: {inside}"
    reason = dict(archive.skipped).get(wanted)
    if reason is not None:
        raise DataError(f"{archive.path}: {wanted}: {reason}; put the file itself there, or {WITHOUT}")
    start = archive.path if archive.path.is_dir() else archive.path.parent
    path = Path(os.path.normpath(start.absolute() / Path(table).expanduser()))
    if not path.is_file():
        here = Path(table).absolute()
        remedy = f"did you mean {here}?" if here.is_file() else f"expected a file in it, or a path relative to {start}"
        raise DataError(f"{archive.path}: --data.labels_table {table}: no such file; {remedy}")
    try:
        return table, _whole(read_bounded(path, LARGEST_BYTES)), str(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
