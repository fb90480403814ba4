"""A folder or a zip of images: flat, with class folders, with a table of labels, or with StyleGAN's dataset.json."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.archive import LINK_OUT, Archive, open_archive
from gansmith.data.decode import decode
from gansmith.data.formats import SUFFIXES, select_images
from gansmith.data.label_search import Choice, LabelSearch, search_labels
from gansmith.data.label_tables import is_same_partition
from gansmith.data.labels import label_by_folder, label_by_number, read_dataset_json, sort_naturally
from gansmith.data.layout import Layout, use_chosen_tables, use_likely_tables
from gansmith.data.row_names import find_shared_folder
from gansmith.data.source import Records, Size, Source
from gansmith.data.split_names import is_split, is_training_split
from gansmith.errors import DataError, UnreadableImage

__all__ = ["Folder", "recognise_source"]

JSON_NAME = "dataset.json"
SHOWN = 5  # names of a message
KNOWN_FILES = re.compile(
    r"(?P<gtsrb>GT-000\d\d\.csv|\d{5}_\d{5}_\d{5}\.png)$"
    r"|(?P<mnist>train-images[-.]idx3-ubyte)"
    r"|(?P<cifar10>data_batch_1|cifar-10-)"
)


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Images in a folder or a zip, at any depth.

    A folder that contains all images is ignored, so ``flowers/daisy/1.jpg`` and ``daisy/1.jpg`` are read alike. If the
    first folders are ``train/`` and ``test/`` or ``val/``, in any usual spelling, only the training images are read
    unless ``split`` is "all".

    Args:
        path: the folder or zip.
        labels: source of the classes. "json" reads ``dataset.json``, "folders" takes the first folder of each image,
            "table" reads a table and skips images without a row, "none" reads no labels. "auto" takes the first that
            applies: ``dataset.json`` if it exists; folders, if all images lie in at least two of them with two images
            or more on average; a table beside the images; else no labels.
        labels_table: file name or path of the table of labels; a relative path starts at the folder, or at the folder
            that contains the zip. "auto" reads tables called labels, metadata, train or similar, "none" reads none.
        name_column: the table's column of image file names; "auto" finds it. Without a header, the columns are called
            1, 2, 3, ...
        label_column: the table's column of labels; "auto" finds it.
        split: which splits to read if the folder has ``train/`` and others: "auto" reads ``train/``, "all" reads all.
        follow_links: read symbolic links that point outside the folder, if they lead to regular image files that the
            user owns.
    """

    path: Path
    labels: Literal["auto", "json", "folders", "table", "none"] = "auto"
    labels_table: str = "auto"
    name_column: str = "auto"
    label_column: str = "auto"
    split: Literal["auto", "all"] = "auto"
    follow_links: bool = False

    def records(self, size: Size | None = None) -> Records:
        """Find the images; see ``Source.records``."""
        archive = open_archive(self.path, follow_links=self.follow_links)
        names, others = select_images(archive.names)
        if not names:
            raise DataError(_no_images(archive))
        layout = _layout(archive, names, self)
        return _FolderRecords(
            archive=archive,
            size=size,
            names=layout.names,
            labels=layout.labels,
            class_names=layout.class_names,
            notes=layout.notes + _hints(archive) + _link_notes(archive),
            fingerprint=layout.fingerprint(archive),
            skipped=archive.skipped
            + tuple(entry for entry in others if not entry[0].endswith(JSON_NAME) and entry[0] not in layout.tables),
        )


@dataclass(frozen=True, kw_only=True)
class _FolderRecords(Records):
    archive: Archive
    size: Size | None

    def read(self, index: int) -> Image.Image:
        try:
            data = self.archive.read(self.names[index])
        except DataError as error:
            raise UnreadableImage(str(error)) from error
        return decode(data, self.size, self.names[index])


# --- classes from the layout -------------------------------------------------------------------------------


def _layout(archive: Archive, names: list[str], wanted: Folder) -> Layout:
    choice = Choice(wanted.labels_table, wanted.name_column, wanted.label_column)
    if choice.is_explicit and wanted.labels not in ("auto", "table"):
        raise DataError(
            f"{archive.path}: --data.labels {wanted.labels} contradicts the choice of a table or column of labels; "
            "omit one of them"
        )
    json_name = _find_json(archive, names)
    if wanted.labels == "json" and json_name is None:
        raise DataError(f"{archive.path}: --data.labels json, but there is no dataset.json; choose another source")
    if json_name is not None and wanted.labels in ("auto", "json") and not choice.is_explicit:
        return _by_json(archive, names, json_name)
    kept, folders, notes = _chosen_split(archive.path, names, wanted.split)
    if wanted.labels == "none":
        return Layout(kept, notes=notes)
    if wanted.labels == "folders":
        layout = _by_given_folders(archive.path, kept, folders)
    else:
        search = search_labels(archive, names, kept, choice)
        if wanted.labels == "table" or choice.is_explicit:
            layout = use_chosen_tables(archive.path, kept, search, leave_out=wanted.labels == "table")
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
        return use_likely_tables(path, names, search, layout)
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


# --- other files -------------------------------------------------------------------------------------------


def recognise_source(names: Iterable[str]) -> str | None:
    """Return the name of the source for files with such names, or None."""
    for name in names:
        found = KNOWN_FILES.search(name)
        if found is not None:
            return found.lastgroup
    return None


def _hints(archive: Archive) -> tuple[str, ...]:
    known = recognise_source(archive.names)
    return (f"this looks like {known}; '{known} --root {archive.path}' reads its labels",) if known else ()


def _link_notes(archive: Archive) -> tuple[str, ...]:
    count = sum(reason == LINK_OUT for _, reason in archive.skipped)
    return (f"{count:,} links point outside the folder and are skipped; {_FOLLOW}",) if count else ()


_FOLLOW = "--data.follow_links true reads those that lead to your own image files"


def _no_images(archive: Archive) -> str:
    known = recognise_source(archive.names)
    if known:
        return f"{archive.path}: no image files, but it looks like {known}; use '{known} --root {archive.path}'"
    if archive.skipped:
        (name, reason), count = archive.skipped[0], len(archive.skipped)
        remedy = f"; {_FOLLOW}" if reason == LINK_OUT else ""
        return f"{archive.path}: no readable image files; {count:,} skipped, first {name}: {reason}{remedy}"
    expected = " ".join(SUFFIXES)
    return f"{archive.path}: no image files among {len(archive.names):,}; expected names that end in {expected}"
