"""A folder or a zip of images: flat, or with class folders, or with the dataset.json of StyleGAN's tools."""

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
from gansmith.data.formats import SUFFIXES, images_by_name
from gansmith.data.label_search import Choice, Consulted, consult
from gansmith.data.label_tables import same_parts
from gansmith.data.labels import folder_labels, natural_order, numbered_labels, read_dataset_json
from gansmith.data.layout import Layout, by_likely_tables, by_tables_asked_for
from gansmith.data.row_names import shared_folder
from gansmith.data.source import Records, Size, Source
from gansmith.data.split_names import is_split, is_training_split
from gansmith.errors import DataError, UnreadableImage

__all__ = ["Folder", "known_set"]

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

    Folders that hold everything are seen through, so ``flowers/daisy/1.jpg`` and ``daisy/1.jpg`` are the same.
    If what remains is ``train/`` beside ``test/`` or ``val/``, in any of their usual spellings, only the training
    images are read unless ``split`` is "all".

    Args:
        path: the folder or zip.
        labels: where classes come from. "auto" takes a ``dataset.json`` if there is one, else the first folder of
            each image if all images lie in such folders, there are at least two of them, and they hold two
            images or more on average; else a table beside the images; else there are no classes. "json", "folders",
            "table" and "none" insist on one. "table" leaves out images without a row.
        labels_table: the table of labels: its name among the files, or a path, from the folder (of the zip) if it is
            relative. "auto" reads those called labels, metadata, train and the like, "none" reads none.
        name_column: the table's column of file names; "auto" finds it. Without a header, columns are called 1, 2, 3.
        label_column: the table's column of labels; "auto" finds it.
        split: of a folder with ``train/`` beside others: "auto" reads that, "all" reads all of them.
        follow_links: read symbolic links out of the folder too, if they lead to regular image files that the user owns.
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
        names, others = images_by_name(archive.names)
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


# --- what the layout says ----------------------------------------------------------------------------------


def _layout(archive: Archive, names: list[str], wanted: Folder) -> Layout:
    choice = Choice(wanted.labels_table, wanted.name_column, wanted.label_column)
    if choice.insists and wanted.labels not in ("auto", "table"):
        raise DataError(
            f"{archive.path}: a table or a column of labels contradicts --data.labels {wanted.labels}; "
            "leave one of them out"
        )
    json_name = _find_json(archive, names)
    if wanted.labels == "json" and json_name is None:
        raise DataError(f"{archive.path}: labels=json, but there is no dataset.json")
    if json_name is not None and wanted.labels in ("auto", "json") and not choice.insists:
        return _by_json(archive, names, json_name)
    kept, folders, notes = _chosen_split(archive.path, names, wanted.split)
    if wanted.labels == "none":
        return Layout(kept, notes=notes)
    if wanted.labels == "folders":
        layout = _by_given_folders(archive.path, kept, folders)
    else:
        consulted = consult(archive, names, kept, choice)
        if wanted.labels == "table" or choice.insists:
            layout = by_tables_asked_for(archive.path, kept, consulted, leave_out=wanted.labels == "table")
        else:
            layout = _by_folders_or_tables(archive.path, kept, folders, consulted)
    return dataclasses.replace(layout, notes=notes + layout.notes)


def _by_folders_or_tables(path: Path, names: list[str], folders: list[str], consulted: Consulted) -> Layout:
    """The class folders if there are any, else the tables; where both would do and differ, ask."""
    complete = consulted.labels is not None and bool((consulted.labels >= 0).all())
    sure = complete and consulted.sure and consulted.doubt() is None
    if folders == _first_folders(names) and not sure:  # no splits lie above the classes
        _refuse_alike_folders(path, names)
    layout = _by_likely_folders(names, folders)
    if layout.labels is None:
        return by_likely_tables(path, names, consulted, layout)
    if sure and consulted.labels is not None and not same_parts(layout.labels, consulted.labels):
        differ = " and ".join(
            f"{what} ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})"
            for what, classes in (("the folders", layout.class_names), (consulted.tables[0], consulted.class_names))
        )
        raise DataError(
            f"{path}: {differ} give different classes; choose --data.labels folders or --data.labels table, "
            "or --data.labels none for no classes"
        )
    read = () if sure else consulted.tables
    return dataclasses.replace(
        layout,
        notes=layout.notes
        + tuple(f"the classes are the folders; {table} is not read, --data.labels table reads it" for table in read)
        + tuple(f"the classes are the folders; a table of labels cannot be read: {flaw}" for flaw in consulted.flaws),
    )


def _by_json(archive: Archive, names: list[str], json_name: str) -> Layout:
    where = f"{archive.path}: {json_name}"
    start = len(json_name) - len(JSON_NAME)  # the file's names begin where it lies
    try:
        data = archive.read(json_name)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    labels = read_dataset_json(data, [name[start:] for name in names], where)
    if labels is None:
        return Layout(names)
    numbers, class_names = numbered_labels(labels, where)
    return Layout(names, numbers, class_names, _empty_classes(numbers, class_names, json_name))


def _empty_classes(labels: NDArray[np.int64], class_names: Sequence[str], where: str) -> tuple[str, ...]:
    empty = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0).tolist()
    named = ", ".join(class_names[label] for label in empty[:SHOWN]) + (", ..." if len(empty) > SHOWN else "")
    return (
        (f"{where} has no image of class {named}; such classes are not trained and cannot be sampled",) if empty else ()
    )


def _by_given_folders(path: Path, names: list[str], given: list[str]) -> Layout:
    pairs = [(name, folder) for name, folder in zip(names, given, strict=True) if folder]
    folders = [folder for _, folder in pairs]
    if len(set(folders)) < 2:
        raise DataError(f"{path}: labels=folders, but there are no two folders of images; use labels=none")
    loose = len(names) - len(pairs)
    notes = (f"{loose:,} images lie in no class folder and are left out",) if loose else ()
    return Layout([name for name, _ in pairs], *folder_labels(folders), notes)


def _by_likely_folders(names: list[str], folders: list[str]) -> Layout:
    num_classes, loose = len(set(folders)), folders.count("")
    if num_classes == 1:
        return Layout(names)
    if loose:
        note = (
            f"no classes, for {loose:,} of {len(names):,} images lie beside the folders; labels=folders leaves them out"
        )
        return Layout(names, notes=(note,))
    if num_classes * 2 > len(names):
        note = f"no classes, for {num_classes:,} folders hold {len(names):,} images; labels=folders insists on them"
        return Layout(names, notes=(note,))
    return Layout(names, *folder_labels(folders), _nesting(names, folders))


def _nesting(names: list[str], folders: list[str]) -> tuple[str, ...]:
    deeper = sum(name.split("/")[-2] != folder for name, folder in zip(names, folders, strict=True))
    return (f"the folders within the classes ({deeper:,} images) are not told apart",) if deeper else ()


def _chosen_split(path: Path, names: list[str], split: str) -> tuple[list[str], list[str], tuple[str, ...]]:
    """The images to read, the class folder of each, and a note, if ``train/`` stands beside other splits alone."""
    folders = _first_folders(names)
    counts = Counter(folders)
    training = [folder for folder in counts if is_training_split(folder)]
    if len(counts) < 2 or not all(map(is_split, counts)):
        return names, folders, ()
    if split == "all":
        start = len(shared_folder(names))
        below = [name[start + len(folder) + 1 :] for name, folder in zip(names, folders, strict=True)]
        return names, _first_folders(below), ()
    if len(training) != 1:
        found = ", ".join(natural_order(counts))
        raise DataError(
            f"{path}: {found} are parts of a data set, and exactly one for training was expected; "
            "name one by its path, or take all with --data.split all"
        )
    kept = [name for name, folder in zip(names, folders, strict=True) if folder == training[0]]
    others = ", ".join(f"{folder}/ ({count:,} images)" for folder, count in counts.items() if folder != training[0])
    note = (
        f"only {training[0]}/ is read; {others} left for tests, to be read by its own path; --data.split all reads all"
    )
    return kept, _first_folders(kept), (note,)


def _refuse_alike_folders(path: Path, names: list[str]) -> None:
    """Ask which folders are the classes where each folder holds the same two or more sub-folders."""
    start = len(shared_folder(names))
    inside: dict[str, set[str]] = {}
    for name in names:
        folder, *deeper = name[start:].split("/")[:-1] or [""]
        inside.setdefault(folder, set()).add(deeper[0] if deeper else "")
    alike = next(iter(inside.values()))
    if len(inside) < 2 or len(alike) < 2 or "" in alike or any(found != alike for found in inside.values()):
        return
    outer, inner = (", ".join(natural_order(found)[:SHOWN]) for found in (inside, alike))
    raise DataError(
        f"{path}: the folders {outer} hold the same sub-folders {inner}, so either may be the classes; name one part "
        "by its path, or choose --data.labels folders for the outer ones, --data.labels none for no classes"
    )


def _first_folders(names: list[str]) -> list[str]:
    """The first folder of each image below those that all share; empty where there is none."""
    start = len(shared_folder(names))
    return [name[start : max(start, name.find("/", start))] for name in names]


def _find_json(archive: Archive, names: list[str]) -> str | None:
    """dataset.json at the top or in a folder that holds everything."""
    above = itertools.accumulate(shared_folder(names).split("/")[:-1], lambda path, part: f"{path}{part}/", initial="")
    return next((path + JSON_NAME for path in above if path + JSON_NAME in archive.names), None)


# --- other files -------------------------------------------------------------------------------------------


def known_set(names: Iterable[str]) -> str | None:
    """The source that is made for such files, where one of their names gives it away."""
    for name in names:
        found = KNOWN_FILES.search(name)
        if found is not None:
            return found.lastgroup
    return None


def _hints(archive: Archive) -> tuple[str, ...]:
    known = known_set(archive.names)
    return (f"this looks like {known}; '{known} --root {archive.path}' knows more about it",) if known else ()


def _link_notes(archive: Archive) -> tuple[str, ...]:
    count = sum(reason == LINK_OUT for _, reason in archive.skipped)
    return (f"{count:,} links lead out of the folder and are left out; {_FOLLOW}",) if count else ()


_FOLLOW = "--data.follow_links true reads those that lead to your own image files"


def _no_images(archive: Archive) -> str:
    known = known_set(archive.names)
    if known:
        return f"{archive.path}: no image files, but it looks like {known}; use '{known} --root {archive.path}'"
    if archive.skipped:
        (name, reason), count = archive.skipped[0], len(archive.skipped)
        remedy = f"; {_FOLLOW}" if reason == LINK_OUT else ""
        return f"{archive.path}: no image files that can be read; {count:,} skipped, first {name}: {reason}{remedy}"
    expected = " ".join(SUFFIXES)
    return f"{archive.path}: no image files among {len(archive.names):,}; expected names that end in {expected}"
