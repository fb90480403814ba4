"""The tables beside images that may hold their labels: those that are read, and why others are not."""

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
from gansmith.data.class_names import composed
from gansmith.data.formats import is_pointer
from gansmith.data.label_columns import AUTO, NotLabels
from gansmith.data.label_tables import WITHOUT, TableLabels, are_amounts, join, read_labels
from gansmith.data.row_names import ImageNames
from gansmith.data.table_names import ENDINGS, beginnings, remarks, tables_by_name
from gansmith.data.tables import LARGEST_BYTES, list_columns, open_table
from gansmith.errors import DataError

__all__ = ["Choice", "Consulted", "consult"]

NONE = "none"
MOST_TABLES = 64  # that are read unasked
SHOWN = 3  # notes of tables that are not read


@dataclass(frozen=True)
class Choice:
    """What the user says about tables: "auto" where nothing is said.

    Args:
        table: its name among the files, or a path; "none" reads none.
        name_column: the column of images.
        label_column: the column of labels.
    """

    table: str = AUTO
    name_column: str = AUTO
    label_column: str = AUTO

    @property
    def insists(self) -> bool:
        """A table is asked for."""
        return (self.table, self.name_column, self.label_column) != (AUTO,) * 3 and self.table != NONE


@dataclass(frozen=True, kw_only=True, eq=False)
class Consulted:
    """What the tables come to.

    Args:
        labels: int64 [n], -1 for images without a row; None if no table is about these images.
        class_names: of the labels.
        tables: the names of those that were read.
        sure: their columns of labels are called so; see ``TableLabels``.
        notes: where the labels are from, and what else a person should know about them.
        unread: tables that may hold labels and are not read, a sentence each.
        flaws: what is the matter with tables that would have been read.
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
        """Why the labels may be no classes, unless the user insists; None if they may be."""
        num_classes, num = len(self.class_names), 0 if self.labels is None else len(self.labels)
        if num_classes == 1:
            return f"no classes, for {self._listed()} has one label alone ({self.class_names[0]})"
        if are_amounts(self.class_names):
            example = next(name for name in self.class_names if are_amounts([name]))
            return f"no classes, for the labels of {self._listed()} are amounts such as {example}; {_INSIST}"
        if num_classes * 2 > num:
            return f"no classes, for {self._listed()} has {num_classes:,} labels for {num:,} images; {_INSIST}"
        return None

    def _listed(self) -> str:
        return " and ".join(self.tables)


_INSIST = "--data.labels table takes each as a class"


def consult(archive: Archive, names: Sequence[str], kept: Sequence[str], choice: Choice) -> Consulted:
    """Read the tables that label some images.

    Args:
        archive: the folder or zip.
        names: all images in it.
        kept: those that are read.
        choice: what the user says.

    Raises:
        DataError: two tables contradict each other, or the one that was asked for cannot be used.
    """
    if choice.table == NONE:
        return Consulted()
    if choice.table != AUTO:
        name, data, where = _named(archive, choice.table)
        labels = _labels_in(data, where, name, ImageNames(names, kept), choice)
        return _joined(archive, [labels], [hashlib.sha256(data).hexdigest()])
    usual, others = tables_by_name(archive, kept)
    if len(usual) > MOST_TABLES:
        found = (
            f"{archive.path}: {len(usual):,} tables may hold labels, such as {usual[0]}; expected {MOST_TABLES} at most"
        )
        return Consulted(flaws=(DataError(f"{found}; name one with --data.labels_table, or {WITHOUT}"),))
    consulted = _consult_all(archive, usual, ImageNames(names, kept), choice) if usual else Consulted()
    unread = itertools.chain(consulted.unread, remarks(archive, others))
    return replace(consulted, unread=tuple(itertools.islice(unread, SHOWN)))


def _consult_all(archive: Archive, tables: Sequence[str], images: ImageNames, choice: Choice) -> Consulted:
    found: list[tuple[TableLabels, str]] = []
    unread: list[str] = []
    flaws: list[DataError] = []
    for name in tables:
        try:
            data = _read(archive, name)
            labels = _labels_in(data, f"{archive.path}: {name}", name, images, choice)
            found.append((labels, hashlib.sha256(data).hexdigest()))
        except DataError as error:
            if isinstance(error, NotLabels) or name.lower().endswith(".txt"):  # which may be any text
                unread.append(f"{error}; no labels are read from it")
            else:
                flaws.append(error)
    best = [each for each in found if each[0].sure] or found
    try:
        consulted = _joined(archive, *zip(*best, strict=True)) if best else Consulted()
    except DataError as error:
        return Consulted(flaws=(error, *flaws))
    return replace(consulted, unread=tuple(unread), flaws=tuple(flaws))


def _labels_in(data: bytes, where: str, name: str, images: ImageNames, choice: Choice) -> TableLabels:
    folders = beginnings(name, images.kept)
    return read_labels(open_table(data, where), name, images, folders, choice.name_column, choice.label_column)


def _joined(archive: Archive, found: Sequence[TableLabels], digests: Sequence[str]) -> Consulted:
    labels, class_names = join(found, str(archive.path))
    alike = [name for name, count in Counter(name.casefold() for name in class_names).items() if count > 1]
    spelled = [name for name in class_names if name.casefold() in alike]
    return Consulted(
        labels=labels,
        class_names=class_names,
        tables=tuple(table.table for table in found),
        sure=all(table.sure for table in found),
        notes=(
            *(f"labels are from {each.table} (columns {list_columns(each.columns)})" for each in found),
            *(note for each in found for note in each.notes),
            *((f"the classes {', '.join(spelled[:5])} differ in capital letters alone",) if spelled else ()),
        ),
        digest=" ".join(digests),
    )


def _read(archive: Archive, name: str) -> bytes:
    try:
        return _whole(archive.read(name, LARGEST_BYTES))
    except DataError as error:
        raise DataError(f"{archive.path}: {name}: {error}") from error


def _whole(data: bytes) -> bytes:
    """The bytes of a table, unless they only stand for it."""
    pointer = is_pointer(data[:4096])
    if pointer:
        raise DataError(pointer)
    return data


def _named(archive: Archive, table: str) -> tuple[str, bytes, str]:
    """The table that was asked for: what to call it, its bytes, and where it is."""
    if not table.lower().endswith(ENDINGS):
        expected = " ".join(ENDINGS)
        raise DataError(
            f"--data.labels_table {table}: expected a name that ends in {expected}; save it as CSV, or {WITHOUT}"
        )
    wanted = composed(posixpath.normpath(table.replace("\\", "/")))
    inside = next((name for name in archive.names if composed(name) == wanted), None)
    if inside is not None:
        return inside, _read(archive, inside), f"{archive.path}: {inside}"
    reason = dict(archive.skipped).get(wanted)
    if reason is not None:
        raise DataError(f"{archive.path}: {wanted}: {reason}; put the file itself there, or {WITHOUT}")
    start = archive.path if archive.path.is_dir() else archive.path.parent
    path = Path(os.path.normpath(start.absolute() / Path(table).expanduser()))
    if not path.is_file():
        here = Path(table).absolute()
        remedy = f"did you mean {here}?" if here.is_file() else f"expected a name in it, or a path from {start}"
        raise DataError(f"{archive.path}: --data.labels_table {table}: no such file; {remedy}")
    try:
        return table, _whole(read_bounded(path, LARGEST_BYTES)), str(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
