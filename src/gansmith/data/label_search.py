"""The tables beside images that may hold their labels: those that are read, and why others are not."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansmith.data.archive import Archive, read_bounded
from gansmith.data.class_names import composed
from gansmith.data.label_columns import AUTO, NotLabels
from gansmith.data.label_tables import WITHOUT, TableLabels, are_amounts, join, read_labels
from gansmith.data.row_names import ImageNames, shared_folder
from gansmith.data.split_names import is_split, is_training_split
from gansmith.data.tables import LARGEST_BYTES, open_table
from gansmith.errors import DataError

__all__ = ["Choice", "Consulted", "consult"]

NONE = "none"
SHOWN = 3  # notes of tables that are not read
ENDINGS = (".csv", ".tsv", ".jsonl")
STEMS = "[^/]*labels?|metadata|train(?:ing)?|annotations?|classes|data"
KNOWN = re.compile(rf"(?i)(?:{STEMS})\.(?:csv|tsv|jsonl)|[^/]*labels?\.txt")  # names of tables that are read unasked
OTHER_FORMS = re.compile(
    rf"(?i)(?:{STEMS})\.(?:xlsx?|ods|parquet|arrow|feather|json|xml|ya?ml|mat|pkl|npy|(?:csv|tsv|jsonl)\.(?:zip|gz|bz2|xz|7z))"
)


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
        notes: where the labels are from, and what else a person should know about them.
        unread: tables that may hold labels and are not read, a sentence each.
        flaws: what is the matter with tables that would have been read.
        digest: of the bytes of the tables read.
    """

    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
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
    images = ImageNames(names, kept)
    if choice.table != AUTO:
        name, data, where = _named(archive, choice.table)
        return _joined(archive, [_labels_in(data, where, name, images, choice)], [data])
    found: list[tuple[TableLabels, bytes]] = []
    unread: list[str] = []
    flaws: list[DataError] = []
    for name in _candidates(archive, kept):
        try:
            data = _read(archive, name)
            found.append((_labels_in(data, f"{archive.path}: {name}", name, images, choice), data))
        except DataError as error:
            if isinstance(error, NotLabels) or name.lower().endswith(".txt"):  # which may be any text
                unread.append(f"{error}; no labels are read from it")
            else:
                flaws.append(error)
    best = [each for each in found if each[0].sure] or found
    joined = _joined(archive, *zip(*best, strict=True)) if best else Consulted()
    unread += _not_read(archive, kept)
    return replace(joined, unread=tuple(unread[:SHOWN]), flaws=tuple(flaws))


def _labels_in(data: bytes, where: str, name: str, images: ImageNames, choice: Choice) -> TableLabels:
    folders = _beginnings(name, images.kept)
    return read_labels(open_table(data, where), name, images, folders, choice.name_column, choice.label_column)


def _joined(archive: Archive, found: Sequence[TableLabels], contents: Sequence[bytes]) -> Consulted:
    labels, class_names = join(found, str(archive.path))
    alike = [name for name, count in Counter(name.casefold() for name in class_names).items() if count > 1]
    spelled = [name for name in class_names if name.casefold() in alike]
    return Consulted(
        labels=labels,
        class_names=class_names,
        tables=tuple(table.table for table in found),
        notes=(
            *(f"labels are from {each.table} (columns {each.columns[0]}, {each.columns[1]})" for each in found),
            *(note for each in found for note in each.notes),
            *((f"the classes {', '.join(spelled[:5])} differ in capital letters alone",) if spelled else ()),
        ),
        digest=hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in contents)).hexdigest(),
    )


def _beginnings(table: str, kept: Sequence[str]) -> list[str]:
    """Folders in which the paths of a table may begin, likelier ones first."""
    folder, _, base = table.replace("\\", "/").rpartition("/")
    inside = f"{folder}/" if folder else ""
    return [inside, f"{inside}{_part_of(base)}/", shared_folder(kept), ""]


def _part_of(base: str) -> str:
    """The folder that a table is called after: train for trainLabels.csv and train.csv."""
    return re.sub(r"(?i)[ _.-]?labels?$", "", posixpath.splitext(base)[0])


# --- which tables ------------------------------------------------------------------------------------------


def _candidates(archive: Archive, kept: Sequence[str]) -> list[str]:
    """Tables beside the images or above them that are called as tables of labels are."""
    above = _folders_above(kept)
    return [
        name
        for name in archive.names
        if KNOWN.fullmatch(posixpath.basename(name)) and posixpath.dirname(name) in above and _may_be_of(name, above)
    ]


def _folders_above(names: Iterable[str]) -> set[str]:
    above = {""}
    for folder in {posixpath.dirname(name) for name in names}:
        while folder not in above:
            above.add(folder)
            folder = posixpath.dirname(folder)
    return above


def _may_be_of(table: str, above: Iterable[str]) -> bool:
    """Whether a table is not that of another split, as testLabels.csv is beside train/."""
    part = _part_of(posixpath.basename(table))
    if not is_split(part):
        return True
    splits = [word for folder in above if is_split(word := posixpath.basename(folder))]
    if is_training_split(part):
        return not splits or any(map(is_training_split, splits))
    return part.casefold() in map(str.casefold, splits)


def _read(archive: Archive, name: str) -> bytes:
    try:
        return archive.read(name, LARGEST_BYTES)
    except DataError as error:
        raise DataError(f"{archive.path}: {name}: {error}") from error


def _named(archive: Archive, table: str) -> tuple[str, bytes, str]:
    """The table that was asked for: what to call it, its bytes, and where it is."""
    if not table.lower().endswith((*ENDINGS, ".txt")):
        expected = " ".join((*ENDINGS, ".txt"))
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
        return table, read_bounded(path, LARGEST_BYTES), str(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


# --- what is not read --------------------------------------------------------------------------------------


def _not_read(archive: Archive, kept: Sequence[str]) -> Iterator[str]:
    """Sentences about files that may hold labels and were not tried."""
    above, tried = _folders_above(kept), set(_candidates(archive, kept))
    for name, reason in archive.skipped:
        if KNOWN.fullmatch(posixpath.basename(name)):
            yield f"{name} may hold labels and is not read: {reason}; put the file itself there"
    for name in archive.names:
        base = posixpath.basename(name)
        beside = base.lower().endswith(ENDINGS) and posixpath.dirname(name) in above
        if name not in tried and (beside or KNOWN.fullmatch(base)):
            yield f"{name} may hold labels and is not read; --data.labels_table {shlex.quote(name)} reads it"
        elif OTHER_FORMS.fullmatch(base):
            yield f"{name} may hold labels, in a form that is not read; save it as CSV"
    for path in _neighbours(archive):
        yield f"{path} may hold labels and is not read; --data.labels_table {shlex.quote(path)} reads it"


def _neighbours(archive: Archive) -> Iterator[str]:
    """Tables beside the folder or zip itself that are called as its table would be."""
    path, up = archive.path.absolute(), "../" if archive.path.is_dir() else ""
    own = path.name if up else path.stem
    for stem in ("labels", "metadata", own, f"{own}Labels", f"{own}_labels"):
        for ending in ENDINGS:
            if (path.parent / f"{stem}{ending}").is_file():
                yield f"{up}{stem}{ending}"
