"""A folder or a zip of images: flat, or with class folders, or with the dataset.json of StyleGAN's tools."""

from __future__ import annotations

import dataclasses
import hashlib
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
from gansmith.data.labels import folder_labels, numbered_labels, read_dataset_json
from gansmith.data.source import Records, Size, Source
from gansmith.errors import DataError, UnreadableImage

__all__ = ["SPLITS", "Folder", "known_set"]

TRAINING = ("train", "training")
SPLITS = (*TRAINING, "test", "testing", "val", "valid", "validation")
JSON_NAME = "dataset.json"
KNOWN_FILES = re.compile(
    r"(?P<gtsrb>GT-000\d\d\.csv|\d{5}_\d{5}_\d{5}\.png)$"
    r"|(?P<mnist>train-images[-.]idx3-ubyte)"
    r"|(?P<cifar10>data_batch_1|cifar-10-)"
)


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Images in a folder or a zip, at any depth.

    Folders that hold everything are seen through, so ``flowers/daisy/1.jpg`` and ``daisy/1.jpg`` are the same.
    If what remains is ``train/`` beside ``test/`` or ``val/``, only the training images are read.

    Args:
        path: the folder or zip.
        labels: where classes come from. "auto" takes a ``dataset.json`` if there is one, else the first folder of
            each image if all images lie in such folders, there are at least two of them, and they hold two
            images or more on average; else there are no classes. "json", "folders" and "none" insist on one.
        follow_links: read symbolic links out of the folder too, if they lead to regular image files that the user owns.
    """

    path: Path
    labels: Literal["auto", "json", "folders", "none"] = "auto"
    follow_links: bool = False

    def records(self, size: Size | None = None) -> Records:
        """Find the images; see ``Source.records``."""
        archive = open_archive(self.path, follow_links=self.follow_links)
        names, others = images_by_name(archive.names)
        if not names:
            raise DataError(_no_images(archive))
        layout = _layout(archive, names, self.labels)
        return _FolderRecords(
            archive=archive,
            size=size,
            names=layout.names,
            labels=layout.labels,
            class_names=layout.class_names,
            notes=layout.notes + _hints(archive) + _link_notes(archive),
            fingerprint=layout.fingerprint(archive),
            skipped=archive.skipped + tuple(entry for entry in others if not entry[0].endswith(JSON_NAME)),
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


@dataclass(frozen=True)
class _Layout:
    names: Sequence[str]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def fingerprint(self, archive: Archive) -> str:
        """What the archive and the way it is read come to."""
        chosen = "\n".join([archive.fingerprint, *self.class_names, *self.names]).encode(errors="backslashreplace")
        return hashlib.sha256(chosen + (b"" if self.labels is None else self.labels.tobytes())).hexdigest()


def _layout(archive: Archive, names: list[str], labels: str) -> _Layout:
    json_name = _find_json(archive, names)
    if labels == "json" and json_name is None:
        raise DataError(f"{archive.path}: labels=json, but there is no dataset.json")
    if json_name is not None and labels in ("auto", "json"):
        return _by_json(archive, names, json_name)
    names, notes = _training_part(names)
    if labels == "none":
        return _Layout(names, notes=notes)
    layout = _by_given_folders(archive.path, names) if labels == "folders" else _by_likely_folders(names)
    return dataclasses.replace(layout, notes=notes + layout.notes)


def _by_json(archive: Archive, names: list[str], json_name: str) -> _Layout:
    where = f"{archive.path}: {json_name}"
    start = len(json_name) - len(JSON_NAME)  # the file's names begin where it lies
    try:
        data = archive.read(json_name)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    labels = read_dataset_json(data, [name[start:] for name in names], where)
    return _Layout(names) if labels is None else _Layout(names, *numbered_labels(labels, where))


def _by_given_folders(path: Path, names: list[str]) -> _Layout:
    pairs = [(name, folder) for name, folder in zip(names, _first_folders(names), strict=True) if folder]
    folders = [folder for _, folder in pairs]
    if len(set(folders)) < 2:
        raise DataError(f"{path}: labels=folders, but there are no two folders of images; use labels=none")
    loose = len(names) - len(pairs)
    notes = (f"{loose:,} images lie in no class folder and are left out",) if loose else ()
    return _Layout([name for name, _ in pairs], *folder_labels(folders), notes)


def _by_likely_folders(names: list[str]) -> _Layout:
    folders = _first_folders(names)
    num_classes, loose = len(set(folders)), folders.count("")
    if num_classes == 1:
        return _Layout(names)
    if loose:
        note = (
            f"no classes, for {loose:,} of {len(names):,} images lie beside the folders; labels=folders leaves them out"
        )
        return _Layout(names, notes=(note,))
    if num_classes * 2 > len(names):
        note = f"no classes, for {num_classes:,} folders hold {len(names):,} images; labels=folders insists on them"
        return _Layout(names, notes=(note,))
    return _Layout(names, *folder_labels(folders), _nesting(names))


def _nesting(names: list[str]) -> tuple[str, ...]:
    start = len(_shared_folder(names))
    deeper = sum(name.count("/", start) > 1 for name in names)
    return (f"the folders within the classes ({deeper:,} images) are not told apart",) if deeper else ()


def _training_part(names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """What lies below ``train/``, if that stands beside ``test/`` or ``val/`` and nothing else."""
    folders = _first_folders(names)
    counts = Counter(folders)
    training = [folder for folder in counts if folder.lower() in TRAINING]
    if len(counts) < 2 or len(training) != 1 or any(folder.lower() not in SPLITS for folder in counts):
        return names, ()
    kept = [name for name, folder in zip(names, folders, strict=True) if folder == training[0]]
    others = ", ".join(f"{folder}/ ({count:,} images)" for folder, count in counts.items() if folder != training[0])
    return kept, (f"only {training[0]}/ is read; {others} left for tests, to be read by its own path",)


def _first_folders(names: list[str]) -> list[str]:
    """The first folder of each image below those that all share; empty where there is none."""
    start = len(_shared_folder(names))
    return [name[start : max(start, name.find("/", start))] for name in names]


def _shared_folder(names: list[str]) -> str:
    """The folder that holds all images, as "a/b/", or ""."""
    first, last = (name.split("/")[:-1] for name in (names[0], names[-1]))  # sorted: all others lie between
    shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(f"{part}/" for part, _ in shared)


def _find_json(archive: Archive, names: list[str]) -> str | None:
    """dataset.json at the top or in a folder that holds everything."""
    above = itertools.accumulate(_shared_folder(names).split("/")[:-1], lambda path, part: f"{path}{part}/", initial="")
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
