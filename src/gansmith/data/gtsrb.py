"""The German Traffic Sign Recognition Benchmark, in the layouts in which it is distributed."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.component import Between
from gansmith.data.archive import Archive, open_archive, read_bounded
from gansmith.data.decode import decode
from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.gtsrb_tables import TABLE_LIMIT, Roi, is_table, parse_table, spell_size
from gansmith.data.gtsrb_test_set import find_test_images
from gansmith.data.source import Records, Size, Source, cache_folder
from gansmith.download import RemoteFile, fetch
from gansmith.errors import DataError, UnreadableImage

__all__ = ["Gtsrb"]


@dataclass(frozen=True, kw_only=True)
class Gtsrb(Source):
    """39,209 photographs of 43 classes of traffic signs, RGB, from 25x25 to 243x225 (Stallkamp et al. 2012).

    The 30 frames of one passage by a sign are a track. The splits "train" and "held-out" have whole tracks only, and
    each has at least one track of every class with two or more.

    Args:
        root: path of the official archive, ``GTSRB-Training_fixed.zip``, or Kaggle's archive, packed or not; of the
            folder that contains it; or of a folder inside it, down to that of the class folders. None downloads the
            official archive (276 MB).
        split: "train", "held-out", or "all" for both; "test" for the official test set, 12,630 images without tracks,
            which must be in the root.
        roi: crop each image to the sign, as the data set's tables say; otherwise a margin of 10 % or more remains.
        held_out: the share of each class's tracks in the split "held-out".
    """

    kind: ClassVar[str] = "signs"
    native_size: ClassVar[Size | None] = (32, 32)  # sizes vary; published classifiers use 32x32

    root: Path | None = None
    split: Literal["all", "train", "held-out", "test"] = "all"
    roi: bool = False
    held_out: Annotated[float, Between(0, 1, open_low=True, open_high=True)] = 0.1

    def records(self, size: Size | None = None) -> Records:
        """Find the images; see ``Source.records``."""
        if self.split == "test":
            return self._test_records()
        root = fetch(_ARCHIVE, cache_folder() / "gtsrb") if self.root is None else self.root
        tree = _find(root)
        labels = np.array([frame.label for frame in tree.frames], np.int64)
        groups = labels * 100_000 + np.array([frame.track for frame in tree.frames], np.int64)
        kept = np.flatnonzero(_part(self.split, self.held_out, labels, groups))
        if not len(kept):
            raise DataError(f"{root}: no class has two tracks, so none can be held out; use --data.split all")
        rois = _rois(tree) if self.roi else None
        names = tuple(tree.frames[index].name for index in kept)
        return _Frames(
            archive=tree.archive,
            rois=rois,
            names=names,
            labels=labels[kept],
            groups=groups[kept],
            class_names=GTSRB_CLASSES,
            fingerprint=hashlib.sha256(repr((tree.archive.fingerprint, names, rois)).encode()).hexdigest(),
            skipped=tree.archive.skipped + tree.strays(),
            notes=tree.notes,
        )

    def has_test(self) -> bool:
        """Return whether the official test set, with its labels, is in the root."""
        return self.root is not None and find_test_images(self.root) is not None

    def _test_records(self) -> Records:
        found = None if self.root is None else find_test_images(self.root)
        if found is None:
            raise DataError(
                f"gtsrb: no test set in {self.root or 'no --root'}; put GTSRB_Final_Test_Images.zip and "
                "GTSRB_Final_Test_GT.zip there (or Kaggle's archive.zip), and give the folder with --root"
            )
        rois = found.rois if self.roi else None
        return _Frames(
            archive=found.archive,
            rois=rois,
            names=found.names,
            labels=np.array(found.labels, np.int64),
            class_names=GTSRB_CLASSES,
            fingerprint=hashlib.sha256(
                repr((found.archive.fingerprint, found.names, found.labels, rois)).encode()
            ).hexdigest(),
            skipped=found.archive.skipped,
        )


@dataclass(frozen=True, kw_only=True)
class _Frames(Records):
    archive: Archive
    rois: Mapping[str, Roi] | None

    def read(self, index: int) -> Image.Image:
        name = self.names[index]
        try:
            data = self.archive.read(name)
        except DataError as error:
            raise UnreadableImage(str(error)) from error
        image = decode(data)
        if self.rois is None:
            return image
        roi = self.rois[name]
        if image.size != roi.size:
            raise UnreadableImage(f"its size is {spell_size(image.size)}, but the table says {spell_size(roi.size)}")
        return image.crop(roi.box)


# --- finding the frames ------------------------------------------------------------------------------------


class _Frame(NamedTuple):
    name: str  # path in the archive
    label: int
    track: int


@dataclass(frozen=True)
class _Tree:
    """The training images of one archive: class folders inside one folder."""

    archive: Archive
    folder: str  # "Train", "GTSRB/Final_Training/Images", or "" if the class folders are at the top
    frames: tuple[_Frame, ...]
    notes: tuple[str, ...] = ()

    def class_files(self) -> Iterator[str]:
        """Return the names of all files in the class folders."""
        folders = {_parent(frame.name) for frame in self.frames}
        return (name for name in self.archive.names if _parent(name) in folders)

    def strays(self) -> tuple[tuple[str, str], ...]:
        """Return (name, reason) of the files in the class folders that are neither frames nor tables."""
        known = {frame.name for frame in self.frames}
        reason = "not named like 00000_00000.ppm (track, frame)"
        return tuple((name, reason) for name in self.class_files() if name not in known and not is_table(name))


# .../00014/00003_00029.ppm, and Kaggle's .../14/00014_00003_00029.png: class, track, frame
_FRAME = re.compile(
    r"(?:(?P<folder>.+)/)?(?P<label>\d{1,5})/(?:\d{5}_)?(?P<track>\d{5})_\d{5}\.[a-z]+", re.ASCII | re.I
)


def _find(root: Path) -> _Tree:
    """Find the largest set of training images in the root, else in zips there with a name like GTSRB.

    Kaggle's download is called archive.zip and contains the set twice, in Train and in train.
    """
    archive = open_archive(root)
    trees = _trees(archive)
    if not trees and archive.path.is_dir():
        packed = [name for name in archive.names if re.fullmatch(r"(?i)(archive|[^/]*gtsrb[^/]*)\.zip", name)]
        trees = [tree for name in packed for tree in _trees(open_archive(archive.path / name))]
    if not trees:
        raise DataError(
            f"gtsrb: no images like 00014/00003_00029.ppm or Train/14/00014_00003_00029.png in {root}; "
            f"put {_ARCHIVE.name} there, or omit --root to download it"
        )
    chosen = max(trees, key=lambda tree: len(tree.frames))
    notes = tuple(
        f"{tree.archive.path}: {len(tree.frames):,} more images in {tree.folder or 'its class folders'} are not read"
        for tree in trees
        if tree is not chosen
    )
    return _Tree(chosen.archive, chosen.folder, chosen.frames, notes)


def _trees(archive: Archive) -> list[_Tree]:
    frames = defaultdict(list)
    for name in archive.names:
        if match := _FRAME.fullmatch(name):
            label = int(match["label"])
            if label >= len(GTSRB_CLASSES):
                raise DataError(f"{archive.path}: {name} has class {label}, expected 0 to {len(GTSRB_CLASSES) - 1}")
            frames[match["folder"] or ""].append(_Frame(name, label, int(match["track"])))
    return [_Tree(archive, folder, tuple(found)) for folder, found in frames.items()]


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


# --- splitting by track ------------------------------------------------------------------------------------


def _part(split: str, share: float, labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    if split == "all":
        return np.ones(len(labels), np.bool_)
    held_out: list[int] = []
    for label in np.unique(labels):
        tracks = sorted(np.unique(groups[labels == label]).tolist(), key=_shuffled)
        held_out += tracks[: min(max(1, round(share * len(tracks))), len(tracks) - 1)]
    return np.isin(groups, held_out, invert=split == "train")


def _shuffled(track: int) -> bytes:
    """Return a sort key that depends only on the track, so that every copy of the set is split alike."""
    return hashlib.sha256(str(track).encode()).digest()


# --- regions of interest -----------------------------------------------------------------------------------


def _rois(tree: _Tree) -> dict[str, Roi]:
    rows: dict[tuple[int, str], Roi] = {}
    for where, data in _tables(tree):
        rows.update(parse_table(data, where))
    rois = {frame.name: rows.get((frame.label, frame.name.rpartition("/")[2])) for frame in tree.frames}
    missing = [name for name, roi in rois.items() if roi is None]
    if missing:
        raise DataError(
            f"{tree.archive.path}: no region of interest for {len(missing):,} images, first {missing[0]}; "
            f"put the set's tables (GT-*.csv in the class folders, or Train.csv beside Train) there, "
            "or use --data.roi false"
        )
    return {name: roi for name, roi in rois.items() if roi is not None}


def _tables(tree: _Tree) -> Iterator[tuple[str, bytes]]:
    """Read the tables: in each class folder (official set), or beside the folder of class folders (Kaggle)."""
    archive = tree.archive
    beside = [name for name in archive.names if name.lower() == f"{tree.folder}.csv".lower()]
    for name in [*filter(is_table, tree.class_files()), *beside]:
        where = f"{archive.path}: {name}"
        try:
            yield where, archive.read(name, TABLE_LIMIT)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    outside = archive.path.parent / f"{archive.path.name}.csv"
    if not tree.folder and outside.is_file():
        try:
            yield str(outside), read_bounded(outside, TABLE_LIMIT)
        except DataError as error:
            raise DataError(f"{outside}: {error}") from error


# Neither the publisher nor public loaders state a SHA-256 of this archive; six loaders state this MD5.
# GTSRB-Training_fixed.zip, which torchvision downloads, has only the 26,640 images of the first contest.
_ARCHIVE = RemoteFile(
    name="GTSRB_Final_Training_Images.zip",
    urls=("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB_Final_Training_Images.zip",),
    digest="md5:f33fd80ac59bff73c82d25ab499e03a3",
    size_bytes=276_294_756,
)
