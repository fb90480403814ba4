"""Which files may be tables of labels, by their names and places, and where the paths in them may begin."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from gansmith.data.archive import Archive
from gansmith.data.row_names import shared_folder
from gansmith.data.split_names import is_split, is_training_split

__all__ = ["ENDINGS", "beginnings", "remarks", "tables_by_name"]

TABLES = (".csv", ".tsv", ".jsonl")
ENDINGS = (*TABLES, ".txt")  # of what can be read; a text is read unasked only if its name says labels
OTHER_FORMS = (
    *(".xlsx", ".xls", ".ods", ".parquet", ".arrow", ".feather", ".ndjson", ".json", ".xml", ".yaml", ".yml", ".mat"),
    *(f"{ending}.{packer}" for ending in TABLES for packer in ("zip", "gz", "bz2", "xz", "7z")),
)
_USUAL = re.compile("(?i)(?:.*(?:labels?|annotations?|classes|metadata)|data)")
_USUAL_TEXT = re.compile("(?i).*(?:labels?|annotations?)")


def tables_by_name(archive: Archive, kept: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell tables that are read unasked from others.

    Args:
        archive: all files.
        kept: the images that are read.

    Returns:
        The tables beside or above the images that are called as tables of labels are; and other files that may hold
        labels, tables or not.
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
    """Whether a file is called as a table of labels is, whatever its form."""
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
    """Whether a table is not that of another split than these, as testLabels.csv is beside train/."""
    part = _part_of(table)
    if not is_split(part):
        return True
    if is_training_split(part):
        return not splits or any(map(is_training_split, splits))
    return part.casefold() in map(str.casefold, splits)


def _part_of(table: str) -> str:
    """The folder that a table is called after: train for trainLabels.csv, train_annotations.csv and train.csv."""
    stem = posixpath.splitext(posixpath.basename(table))[0]
    return re.sub(r"(?i)[ _.-]?(?:labels?|annotations?|classes|metadata)$", "", stem)


def beginnings(table: str, kept: Sequence[str]) -> list[str]:
    """Folders in which the paths of a table may begin, likelier ones first.

    Args:
        table: its name, as the images are named.
        kept: the images that are read.
    """
    folder = posixpath.dirname(table.replace("\\", "/"))
    inside = f"{folder}/" if folder else ""
    return [inside, f"{inside}{_part_of(table)}/", shared_folder(kept), ""]


def remarks(archive: Archive, others: Sequence[str]) -> Iterator[str]:
    """Sentences about files that may hold labels and are not read.

    Args:
        archive: which may have skipped some, or lie beside them.
        others: those in it.
    """
    for name, reason in archive.skipped:
        if name.lower().endswith(ENDINGS) and _is_usual(name):
            yield f"{name} may hold labels and is not read: {reason}; put the file itself there"
    for name in others:
        if name.lower().endswith(ENDINGS):
            yield f"{name} may hold labels and is not read; --data.labels_table {shlex.quote(name)} reads it"
        else:
            yield f"{name} may hold labels, in a form that is not read; save it as CSV"
    for name in _neighbours(archive):
        yield f"{name} may hold labels and is not read; --data.labels_table {shlex.quote(name)} reads it"


def _neighbours(archive: Archive) -> Iterator[str]:
    """Tables beside the folder or zip itself that are called as its table would be."""
    path, up = archive.path.absolute(), "../" if archive.path.is_dir() else ""
    own = path.name if up else path.stem
    for stem in ("labels", "metadata", own, f"{own}Labels", f"{own}_labels"):
        for ending in TABLES:
            if (path.parent / f"{stem}{ending}").is_file():
                yield f"{up}{stem}{ending}"
