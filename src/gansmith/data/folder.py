"""A folder or a zip of images: flat, with class folders, with a table of labels, or with StyleGAN's dataset.json."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from gansmith.data.archive import LINK_OUT, Archive, open_archive
from gansmith.data.decode import decode
from gansmith.data.formats import SUFFIXES, select_images
from gansmith.data.label_search import Choice
from gansmith.data.layout import JSON_NAME, find_layout
from gansmith.data.source import Records, Size, Source
from gansmith.errors import DataError, UnreadableImage

__all__ = ["Folder", "recognise_source"]

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
        choice = Choice(self.labels_table, self.name_column, self.label_column)
        layout = find_layout(archive, names, labels=self.labels, split=self.split, choice=choice)
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
