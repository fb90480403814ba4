"""Which images of a folder are read, and the class of each."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansmith.data.archive import Archive
from gansmith.data.label_search import Choice, LabelSearch, search_labels
from gansmith.data.label_tables import WITHOUT, is_same_partition
from gansmith.data.labels import label_by_folder, label_by_number, read_dataset_json, sort_naturally
from gansmith.data.row_names import find_shared_folder
from gansmith.data.split_names import is_split, is_training_split
from gansmith.errors import DataError

__all__ = ["JSON_NAME", "Layout", "find_layout"]

JSON_NAME = "dataset.json"
SHOWN = 5  # names of a message


@dataclass(frozen=True)
class Layout:
    """The images of a folder and their classes.

    Args:
        names: the images that are read.
        labels: int64 [n], or None.
        class_names: names of the classes.
        notes: remarks about how images and classes were found, a sentence each.
        tables: names of the tables that the labels are from.
        digest: digest of the tables that the labels depend on.
    """

    names: Sequence[str]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    digest: str = ""

    def fingerprint(self, archive: Archive) -> str:
        """Return a digest of the archive, the images read and their labels."""
        chosen = "\n".join([archive.fingerprint, self.digest, *self.class_names, *self.names]).encode(
            errors="backslashreplace"
        )
        return hashlib.sha256(chosen + (b"" if self.labels is None else self.labels.tobytes())).hexdigest()


def find_layout(archive: Archive, names: list[str], *, labels: str, split: str, choice: Choice) -> Layout:
    """Return which images of a folder or zip are read, and their classes.

    Args:
        archive: the folder or zip.
        names: its images.
        labels: where the classes are from; see ``folder.Folder``.
        split: which splits are read; likewise.
        choice: the table and columns that the user chose.

    Raises:
        DataError: the layout is ambiguous, or is not what the user chose.
    """
    if choice.is_explicit and labels not in ("auto", "table"):
        raise DataError(
            f"{archive.path}: --data.labels {labels} contradicts the choice of a table or column of labels; "
            "omit one of them"
        )
    json_name = _find_json(archive, names)
    if labels == "json" and json_name is None:
        raise DataError(f"{archive.path}: --data.labels json, but there is no dataset.json; choose another source")
    if json_name is not None and labels in ("auto", "json") and not choice.is_explicit:
        return _by_json(archive, names, json_name)
    kept, folders, notes = _chosen_split(archive.path, names, split)
    if labels == "none":
        return Layout(kept, notes=notes)
    if labels == "folders":
        layout = _by_given_folders(archive.path, kept, folders)
    else:
        search = search_labels(archive, names, kept, choice)
        if labels == "table" or choice.is_explicit:
            layout = _use_chosen_tables(archive.path, kept, search, leave_out=labels == "table")
        else:
            layout = _by_folders_or_tables(archive.path, kept, folders, search)
    return dataclasses.replace(layout, notes=notes + layout.notes)


def _by_folders_or_tables(path: Path, names: list[str], folders: list[str], search: LabelSearch) -> Layout:
    """Take class folders if there are any, else tables; raise DataError if both give classes and they differ."""
    complete = search.labels is not None and bool((search.labels >= 0).all())
    sure = complete and search.sure and search.doubt() is None
    if folders == _first_folders(names) and not sure:  # no splits lie above the classes
        _refuse_alike_folders(path, names)
    layout = _by_likely_folders(names, folders)
    if layout.labels is None:
        return _use_likely_tables(path, names, search, layout)
    if sure and search.labels is not None and not is_same_partition(layout.labels, search.labels):
        differ = " and ".join(
            f"{what} ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})"
            for what, classes in (("the folders", layout.class_names), (search.tables[0], search.class_names))
        )
        raise DataError(
            f"{path}: {differ} give different classes; choose --data.labels folders or --data.labels table, "
            "or --data.labels none for no classes"
        )
    read = () if sure else search.tables
    return dataclasses.replace(
        layout,
        notes=layout.notes
        + tuple(f"classes are from folders; {table} is not read, --data.labels table reads it" for table in read)
        + tuple(f"classes are from folders; a table of labels cannot be read: {flaw}" for flaw in search.flaws),
    )


def _by_json(archive: Archive, names: list[str], json_name: str) -> Layout:
    where = f"{archive.path}: {json_name}"
    start = len(json_name) - len(JSON_NAME)  # names in the file are relative to its own folder
    try:
        data = archive.read(json_name)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    labels = read_dataset_json(data, [name[start:] for name in names], where)
    if labels is None:
        return Layout(names)
    numbers, class_names = label_by_number(labels, where)
    return Layout(names, numbers, class_names, _empty_classes(numbers, class_names, json_name))


def _empty_classes(labels: NDArray[np.int64], class_names: Sequence[str], where: str) -> tuple[str, ...]:
    empty = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0).tolist()
    named = ", ".join(class_names[label] for label in empty[:SHOWN]) + (", ..." if len(empty) > SHOWN else "")
    return (
        (f"{where} has no image of class {named}; these classes are not trained and cannot be sampled",)
        if empty
        else ()
    )


def _by_given_folders(path: Path, names: list[str], given: list[str]) -> Layout:
    pairs = [(name, folder) for name, folder in zip(names, given, strict=True) if folder]
    folders = [folder for _, folder in pairs]
    if len(set(folders)) < 2:
        raise DataError(
            f"{path}: --data.labels folders, but there are no two folders of images; choose --data.labels none"
        )
    loose = len(names) - len(pairs)
    notes = (f"{loose:,} images are in no class folder and are skipped",) if loose else ()
    return Layout([name for name, _ in pairs], *label_by_folder(folders), notes)


def _by_likely_folders(names: list[str], folders: list[str]) -> Layout:
    num_classes, loose = len(set(folders)), folders.count("")
    if num_classes == 1:
        return Layout(names)
    if loose:
        note = (
            f"no classes, because {loose:,} of {len(names):,} images are in no folder; --data.labels folders skips them"
        )
        return Layout(names, notes=(note,))
    if num_classes * 2 > len(names):
        note = (
            f"no classes, because {num_classes:,} folders have only {len(names):,} images; "
            "--data.labels folders takes them as classes"
        )
        return Layout(names, notes=(note,))
    return Layout(names, *label_by_folder(folders), _nesting(names, folders))


def _nesting(names: list[str], folders: list[str]) -> tuple[str, ...]:
    deeper = sum(name.split("/")[-2] != folder for name, folder in zip(names, folders, strict=True))
    return (f"folders inside class folders ({deeper:,} images) are ignored",) if deeper else ()


def _chosen_split(path: Path, names: list[str], split: str) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return the images to read, the first folder of each inside its split, and a note if some splits are not read."""
    folders = _first_folders(names)
    counts = Counter(folders)
    training = [folder for folder in counts if is_training_split(folder)]
    if len(counts) < 2 or not all(map(is_split, counts)):
        return names, folders, ()
    if split == "all":
        start = len(find_shared_folder(names))
        below = [name[start + len(folder) + 1 :] for name, folder in zip(names, folders, strict=True)]
        return names, _first_folders(below), ()
    if len(training) != 1:
        found = ", ".join(sort_naturally(counts))
        raise DataError(
            f"{path}: found the splits {found}, expected exactly one for training; "
            "give the path of one split, or read all with --data.split all"
        )
    kept = [name for name, folder in zip(names, folders, strict=True) if folder == training[0]]
    others = ", ".join(f"{folder}/ ({count:,} images)" for folder, count in counts.items() if folder != training[0])
    note = f"only {training[0]}/ is read; {others} not read: give its path to read it, or --data.split all to read all"
    return kept, _first_folders(kept), (note,)


def _refuse_alike_folders(path: Path, names: list[str]) -> None:
    """Raise DataError if every folder has the same two or more sub-folders, so that either level may be the classes."""
    start = len(find_shared_folder(names))
    inside: dict[str, set[str]] = {}
    for name in names:
        folder, *deeper = name[start:].split("/")[:-1] or [""]
        inside.setdefault(folder, set()).add(deeper[0] if deeper else "")
    alike = next(iter(inside.values()))
    if len(inside) < 2 or len(alike) < 2 or "" in alike or any(found != alike for found in inside.values()):
        return
    outer, inner = (", ".join(sort_naturally(found)[:SHOWN]) for found in (inside, alike))
    raise DataError(
        f"{path}: the folders {outer} have the same sub-folders {inner}, so either may be the classes; give the path "
        "of one folder, or choose --data.labels folders for the outer ones, --data.labels none for no classes"
    )


def _first_folders(names: list[str]) -> list[str]:
    """Return the first folder of each image below the shared folder; "" if there is none."""
    start = len(find_shared_folder(names))
    return [name[start : max(start, name.find("/", start))] for name in names]


def _find_json(archive: Archive, names: list[str]) -> str | None:
    """Return the path of dataset.json at the top or in a folder that contains all images, or None."""
    above = itertools.accumulate(
        find_shared_folder(names).split("/")[:-1], lambda path, part: f"{path}{part}/", initial=""
    )
    return next((path + JSON_NAME for path in above if path + JSON_NAME in archive.names), None)


# --- classes from tables -----------------------------------------------------------------------------------


def _use_likely_tables(path: Path, names: list[str], search: LabelSearch, otherwise: Layout) -> Layout:
    """Return the layout with labels from tables, or ``otherwise`` if no table has any.

    Raises:
        DataError: a table is malformed, or has no row for some images.
    """
    unlabelled = search.labels is None or bool((search.labels < 0).any())
    if search.flaws and unlabelled:
        raise _with_remedy(search.flaws[0])
    if search.labels is None:
        unread = search.unread  # in the digest too: a store keeps its notes, so other notes need a new store
        return dataclasses.replace(otherwise, notes=otherwise.notes + unread, digest="\n".join(unread))
    doubt = search.doubt()
    if doubt is not None:
        return Layout(names, notes=(doubt,), digest=search.digest)
    return _use_chosen_tables(path, names, search, leave_out=False)


def _use_chosen_tables(path: Path, names: list[str], search: LabelSearch, *, leave_out: bool) -> Layout:
    """Return the layout with labels from tables; skip images without a row, or raise DataError if not ``leave_out``."""
    labels = search.labels
    if labels is None:
        if search.flaws:
            raise _with_remedy(search.flaws[0])
        raise DataError(_no_table(path, search))
    if len(search.class_names) < 2:
        raise DataError(f"{path}: {search.doubt()}; {WITHOUT}")
    missing = [name for name, label in zip(names, labels.tolist(), strict=True) if label < 0]
    first = f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
    if missing and not leave_out:
        raise DataError(
            f"{path}: {' and '.join(search.tables)} has no row for {len(missing):,} of {len(names):,} images, "
            f"first {first}; add them, or skip these images with --data.labels table, or {WITHOUT}"
        )
    notes = (f"{len(missing):,} images without a row are skipped: {first}",) if missing else ()
    flaws = tuple(f"a table is skipped: {flaw}" for flaw in search.flaws)
    kept = [name for name, label in zip(names, labels.tolist(), strict=True) if label >= 0]
    return Layout(
        kept,
        labels[labels >= 0],
        search.class_names,
        search.notes + notes + flaws,
        search.tables,
        search.digest,
    )


def _no_table(path: Path, search: LabelSearch) -> str:
    if search.unread:
        return search.unread[0]
    return f"{path}: no table of labels; expected labels.csv, metadata.csv or similar, or --data.labels_table NAME"


def _with_remedy(error: DataError) -> DataError:
    return error if WITHOUT in str(error) else DataError(f"{error}; correct it, or {WITHOUT}")
