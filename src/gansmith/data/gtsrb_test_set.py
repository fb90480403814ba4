"""GTSRB's official test set: 12,630 images of signs that the training set does not show, without tracks.

Official: ``GTSRB_Final_Test_Images.zip`` (``GTSRB/Final_Test/Images/00000.ppm``) and, with the classes,
``GTSRB_Final_Test_GT.zip`` (``GT-final_test.csv``). Kaggle: ``Test/00000.png`` and ``Test.csv``. Both are read packed
or unpacked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gansmith.data.archive import Archive, open_archive
from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.gtsrb_tables import TABLE_LIMIT, Roi, parse_table
from gansmith.errors import DataError

__all__ = ["TestImages", "find_test_images"]

_IMAGE = re.compile(r"(?P<folder>(?:.+/)?(?:Final_Test/Images|Test))/\d{5}\.[a-z]+", re.ASCII | re.I)
_TABLE = re.compile(r"(?:.+/)?(?:GT-final_test|Test)\.csv", re.ASCII | re.I)
_PACKED = re.compile(r"(?i)(?:archive|[^/]*gtsrb[^/]*)\.zip")


@dataclass(frozen=True, kw_only=True)
class TestImages:
    """The test set as found.

    Args:
        archive: holds the images.
        names: of the images, sorted.
        labels: class numbers.
        rois: the sign's region of each image.
    """

    __test__ = False  # for pytest

    archive: Archive
    names: tuple[str, ...]
    labels: tuple[int, ...]
    rois: Mapping[str, Roi]


def find_test_images(root: Path) -> TestImages | None:
    """Return the test set in a root, or None if its images or their classes are not there.

    Args:
        root: a folder, or Kaggle's archive.

    Raises:
        DataError: the root cannot be read, or the table does not fit the images.
    """
    archives = list(_archives(root))
    found = max(_folders(archives), key=lambda folder: len(folder[1]), default=None)
    table = next(_tables(archives), None)
    if found is None or table is None:
        return None
    archive, names = found
    where, rows = table
    by_file = {file: (label, roi) for (label, file), roi in rows.items()}
    files = [name.rpartition("/")[2] for name in names]
    missing = [file for file in files if file not in by_file]
    if missing:
        raise DataError(f"{where}: has no row for {len(missing):,} test images, first {missing[0]}; get the file again")
    labels = tuple(by_file[file][0] for file in files)
    if not 0 <= min(labels) <= max(labels) < len(GTSRB_CLASSES):
        raise DataError(f"{where}: has class {max(labels)} or {min(labels)}, expected 0 to {len(GTSRB_CLASSES) - 1}")
    rois = {name: by_file[file][1] for name, file in zip(names, files, strict=True)}
    return TestImages(archive=archive, names=tuple(names), labels=labels, rois=rois)


def _archives(root: Path) -> Iterator[Archive]:
    """Yield the root, and the zips in it that may hold the set."""
    archive = open_archive(root)
    yield archive
    if archive.path.is_dir():
        yield from (open_archive(archive.path / name) for name in archive.names if _PACKED.fullmatch(name))


def _folders(archives: list[Archive]) -> Iterator[tuple[Archive, list[str]]]:
    for archive in archives:
        folders: dict[str, list[str]] = defaultdict(list)
        for name in archive.names:
            if match := _IMAGE.fullmatch(name):
                folders[match["folder"]].append(name)
        yield from ((archive, names) for names in folders.values())


def _tables(archives: list[Archive]) -> Iterator[tuple[str, dict[tuple[int, str], Roi]]]:
    """Yield the tables that have classes; the official archive of images has another without."""
    for archive in archives:
        for name in filter(_TABLE.fullmatch, archive.names):
            where = f"{archive.path}: {name}"
            try:
                data = archive.read(name, TABLE_LIMIT)
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            if b"ClassId" in data.partition(b"\n")[0]:
                yield where, parse_table(data, where)
