"""Finds files that may be tables of labels, by their names and folders, and the folders that their paths start at."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from gansmith.data.archive import Archive
from gansmith.data.row_names import find_shared_folder
from gansmith.data.split_names import is_split, is_training_split

__all__ = ["ENDINGS", "describe_unread", "find_tables", "list_path_starts"]

TABLES = (".csv", ".tsv", ".jsonl")
ENDINGS = (*TABLES, ".txt")  # suffixes that can be read; a .txt is read without being named only if called labels
OTHER_FORMS = (
    *(".xlsx", ".xls", ".ods", ".parquet", ".arrow", ".feather", ".ndjson", ".json", ".xml", ".yaml", ".yml", ".mat"),
    *(f"{ending}.{packer}" for ending in TABLES for packer in ("zip", "gz", "bz2", "xz", "7z")),
)
_USUAL = re.compile("(?i)(?:.*(?:labels?|annotations?|classes|metadata)|data)")
_USUAL_TEXT = re.compile("(?i).*(?:labels?|annotations?)")


def find_tables(archive: Archive, kept: Sequence[str]) -> tuple[list[str], list[str]]:
    """Find tables of labels.

    Args:
        archive: the folder or zip.
        kept: the images that are read.

    Returns:
        The tables beside or above the images that have a usual name for labels; and the other files that may contain
        labels, whether tables or not.
    """
    files = [name for name in archive.names if name.lower().endswith((*ENDINGS, *OTHER_FORMS))]
    above = _folders_above(kept) if files else set()
    splits = [word for folder in above if is_split(word := posixpath.basename(folder))]
    splits = splits or list(filter(is_split, [archive.path.stem]))
    usual, others = [], []
    for name in files:
        near = posixpath.dirname(name) in above
        if near and name.lower().endswith(ENDINGS) and _is_usual(name) and _may_be_of(name, splits):
            usual.append(name)
        elif (near and name.lower().endswith(TABLES)) or _is_usual(name):
            others.append(name)
    return usual, others


def _is_usual(name: str) -> bool:
    """Return whether a file of any format has a usual name for tables of labels."""
    base = posixpath.basename(name)
    ending = next(ending for ending in (*OTHER_FORMS, *ENDINGS) if base.lower().endswith(ending))
    stem = base[: -len(ending)]
    pattern = _USUAL_TEXT if name.lower().endswith(".txt") else _USUAL
    return bool(pattern.fullmatch(stem)) or is_split(stem)


def _folders_above(names: Iterable[str]) -> set[str]:
    above = {""}
    for folder in {name.rpartition("/")[0] for name in names}:
        while folder not in above:
            above.add(folder)
            folder = posixpath.dirname(folder)
    return above


def _may_be_of(table: str, splits: Sequence[str]) -> bool:
    """Return whether a table may belong to one of these splits; testLabels.csv does not belong to train/."""
    part = _part_of(table)
    if not is_split(part):
        return True
    if is_training_split(part):
        return not splits or any(map(is_training_split, splits))
    return part.casefold() in map(str.casefold, splits)


def _part_of(table: str) -> str:
    """Return the folder that a table is named after: train for trainLabels.csv, train_annotations.csv and train.csv."""
    stem = posixpath.splitext(posixpath.basename(table))[0]
    return re.sub(r"(?i)[ _.-]?(?:labels?|annotations?|classes|metadata)$", "", stem)


def list_path_starts(table: str, kept: Sequence[str]) -> list[str]:
    """Return the folders that paths in a table may be relative to, the most likely first.

    Args:
        table: the table's path, in the same form as those of the images.
        kept: the images that are read.
    """
    folder = posixpath.dirname(table.replace("\\", "/"))
    inside = f"{folder}/" if folder else ""
    return [inside, f"{inside}{_part_of(table)}/", find_shared_folder(kept), ""]


def describe_unread(archive: Archive, others: Sequence[str]) -> Iterator[str]:
    """Yield a sentence about each file that may contain labels and is not read.

    Args:
        archive: the folder or zip; files that it skipped, and files beside it, are included.
        others: such files in it.
    """
    for name, reason in archive.skipped:
        if name.lower().endswith(ENDINGS) and _is_usual(name):
            yield f"{name} may contain labels and is not read: {reason}; put the file itself there"
    for name in others:
        if name.lower().endswith(ENDINGS):
            yield f"{name} may contain labels and is not read; --data.labels_table {shlex.quote(name)} reads it"
        else:
            yield f"{name} may contain labels, in a format that is not supported; save it as CSV"
    for name in _neighbours(archive):
        yield f"{name} may contain labels and is not read; --data.labels_table {shlex.quote(name)} reads it"


def _neighbours(archive: Archive) -> Iterator[str]:
    """Yield tables beside the folder or zip itself whose names fit it."""
    path, up = archive.path.absolute(), "../" if archive.path.is_dir() else ""
    own = path.name if up else path.stem
    for stem in ("labels", "metadata", own, f"{own}Labels", f"{own}_labels"):
        for ending in TABLES:
            if (path.parent / f"{stem}{ending}").is_file():
                yield f"{up}{stem}{ending}"
