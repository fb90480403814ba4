"""A data set as one memory-mapped array of uint8 pixels: written once, atomically, and checked when it is opened."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gansmith.component import (
    Component,
    Fraction,
    ReadAs,
    Side,
    to_plain,
)
from gansmith.data.convert import Fit
from gansmith.data.integrity import check_files, hash_file
from gansmith.data.labels import check_labels
from gansmith.data.levels import Levels, choose_levels
from gansmith.data.source import Records, Source, cache_folder
from gansmith.data.survey import Facts, propose_channels, propose_size, survey
from gansmith.data.writer import Progress, Written, write_folder_atomically, write_images
from gansmith.errors import DataError
from gansmith.files import free_disk
from gansmith.plain_json import Altered, seal, unseal
from gansmith.types import SIZE_TEXT, ImageSpec, PixelArray, parse_size, size_text

__all__ = ["Preparation", "Store", "note_crops", "note_frames", "prepare", "propose_spec", "without_labels"]

FORMAT = 2  # a store of another format is written again
KEY = 1  # increase it when the same source and preparation give other pixels
SAMPLE = 128  # images that are read to find size and channels
CHANNELS = {"gray": 1, "rgb": 3, "rgba": 4}
FACTOR = "factor-"
SPARE_BYTES = 2**20  # allowance for a store's other files


@dataclass(frozen=True, kw_only=True)
class Preparation(Component):
    """How images are converted to pixels of one shape.

    Args:
        size: height and width in pixels, in this order (``--size`` takes width x height). None takes the size that
            publications use for the data set, or else proposes one: see ``survey.propose_size``.
        channels: "auto" decides by a sample: RGBA if most images are transparent, gray if none has colour, else RGB.
            For gray and RGB, transparent images are composited on white.
        fit: how to change the aspect ratio: "crop" keeps the centre, "pad" keeps the whole image, "stretch" distorts.
        levels: the values that become black and white, for images of more than 8 bits; values outside are clipped. None
            chooses once for the whole data set: see ``levels.choose_levels``.
        max_unreadable: the largest share of unreadable images, from 0 to 1; they are skipped and listed.
    """

    size: Annotated[tuple[Side, Side], ReadAs(parse_size, SIZE_TEXT)] | None = None
    channels: Literal["auto", "gray", "rgb", "rgba"] = "auto"
    fit: Fit = "crop"
    levels: tuple[float, float] | None = None
    max_unreadable: Fraction = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A prepared data set.

    Args:
        path: the store's folder.
        title: title of the source.
        kind: kind of the source: "digits", "signs" or "photos".
        spec: image shape and number of classes.
        images: uint8 [n h w c], memory-mapped, read-only.
        labels: int64 [n], or None.
        class_names: k names; empty without labels.
        groups: int64 [n], or None; see ``Records``.
        factors: arrays of n entries by name; see ``Records``.
        digest: SHA-256 of shape, pixels, labels and levels.
        levels: by which images of more than 8 bits were converted.
        skipped: (name, reason) of files that are not in the store.
        notes: remarks about how the images were found, a sentence each.
    """

    path: Path
    title: str
    kind: str
    spec: ImageSpec
    images: PixelArray
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    groups: NDArray[np.int64] | None
    factors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    digest: str
    levels: Levels = Levels()
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __post_init__(self) -> None:
        if self.labels is not None:
            check_labels(self.labels, len(self.images), len(self.class_names), str(self.path))

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a store that ``prepare`` wrote, after checking its files against their digests.

        Files of more than 256 MiB are read again only if they may have changed: see ``integrity.check_files``.

        Raises:
            DataError: it does not exist, or is damaged.
        """
        try:
            return _open(path)
        except _UNUSABLE as error:
            raise DataError(f"{path}: no usable store ({error}); delete it and prepare the data again") from error


def without_labels(store: Store) -> Store:
    """Return a store without its labels, with the digest that its images had without labels."""
    digest, step = hashlib.sha256(), max(1, 2**24 // store.images[0].nbytes)
    for start in range(0, len(store), step):
        digest.update(store.images[start : start + step].tobytes())
    digest.update(str(store.images.shape).encode())
    if store.levels != Levels():
        digest.update(repr(store.levels).encode())
    spec = replace(store.spec, num_classes=0)
    return replace(store, spec=spec, labels=None, class_names=(), digest=digest.hexdigest())


_UNUSABLE = (OSError, ValueError, KeyError, TypeError, EOFError, DataError)


def _open(path: Path, key: str | None = None) -> Store:
    """Open a store; raise ``Altered`` if its key is another."""
    about = unseal((path / "store.json").read_text("utf-8"))
    if about["format"] != FORMAT:
        raise Altered(f"format {about['format']}, expected {FORMAT}")
    if key is not None and about["key"] != key:
        raise Altered("it is the store of another source or preparation")
    check_files(path, about["files"])
    spec = ImageSpec(**about["spec"])
    shape = (about["num_images"], spec.height, spec.width, spec.channels)
    images: PixelArray = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
    if images.dtype != np.uint8 or images.shape != shape:
        raise Altered(f"images.npy is {images.dtype} {list(images.shape)}, expected uint8 {list(shape)}")
    arrays = {name: np.load(path / f"{name}.npy", allow_pickle=False) for name in about["arrays"]}
    return Store(
        path=path,
        title=about["title"],
        kind=about["kind"],
        spec=spec,
        images=images,
        labels=arrays.pop("labels", None),
        class_names=tuple(about["class_names"]),
        groups=arrays.pop("groups", None),
        factors={name.removeprefix(FACTOR): array for name, array in arrays.items()},
        digest=about["digest"],
        levels=_read_levels(about),
        skipped=tuple((name, reason) for name, reason in about["skipped"]),
        notes=tuple(about["notes"]),
    )


def _read_levels(about: Mapping[str, Any]) -> Levels:
    stated, chosen = about["preparation"].get("levels"), about.get("levels")
    if stated or not chosen:
        return Levels.of(stated and (stated[0], stated[1]))
    return Levels(tuple(chosen["integers"]), chosen["floats"] and tuple(chosen["floats"]))


def prepare(
    source: Source,
    preparation: Preparation | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Store:
    """Return the store of a source: open it if source and preparation have not changed, else write it.

    A store that is damaged, or of an earlier version, is written again, and a note says so.

    Args:
        source: the data set.
        preparation: how to convert the images; None takes the defaults.
        cache: the folder of stores; None takes ``stores`` in ``cache_folder()``.
        progress: called now and then with the number of images done and the total.

    Raises:
        DataError: there are no images, or too many cannot be read.
    """
    preparation = preparation or Preparation()
    records = source.records(preparation.size or source.native_size)
    key = _key(source, records, preparation)
    path = (cache or cache_folder() / "stores") / f"{re.sub('[^A-Za-z0-9_-]+', '-', source.title)}-{key[:16]}"
    flaw: Exception | None = None
    if path.exists():
        try:
            return _open(path, key)
        except _UNUSABLE as error:
            flaw = error
    _make(path, key, source, records, preparation, progress, flaw)
    store = Store.open(path)
    if flaw is None:
        return store
    return replace(store, notes=(*store.notes, f"{path}: no usable store ({flaw}); written again from {source.title}"))


def _make(
    path: Path,
    key: str,
    source: Source,
    records: Records,
    preparation: Preparation,
    progress: Progress | None,
    flaw: Exception | None,
) -> None:
    """Write a store; replace one that has a flaw."""
    spec = _spec_of(source, records, preparation)
    if preparation.size is None and source.native_size is None:
        records = source.records((spec.height, spec.width))
    _require_room(path.parent, records, spec)
    try:
        with write_folder_atomically(path, replacing=flaw is not None) as unfinished:
            about = _build(unfinished, source, records, preparation, spec, progress)
            files = {file.name: hash_file(file) for file in sorted(unfinished.iterdir())}
            (unfinished / "store.json").write_text(seal({**about, "key": key, "files": files}), "utf-8")
    except OSError as error:
        remedy = "free some disk space, or set GANSMITH_CACHE to another folder"
        reason = f"{error}; the store there is not usable: {flaw}" if flaw else str(error)
        raise DataError(f"{path.parent}: cannot be written ({reason}); {remedy}") from error


def _require_room(folder: Path, records: Records, spec: ImageSpec) -> None:
    """Raise DataError if the disk has too little space for a store, before any image is decoded."""
    num_arrays = sum(1 for _ in _arrays(records))
    needed = len(records) * (spec.height * spec.width * spec.channels + 8 * num_arrays) + SPARE_BYTES
    free = free_disk(folder)
    if free is not None and needed > free:
        found = f"needs {needed / 2**20:,.0f} MiB, but {free / 2**20:,.0f} MiB are free"
        remedy = "free some disk space, choose a smaller --size, or set GANSMITH_CACHE to a folder on another disk"
        raise DataError(f"{folder}: the store of {len(records):,} images of {spec} {found}; {remedy}")


def _key(source: Source, records: Records, preparation: Preparation) -> str:
    described = [KEY, to_plain(source), records.fingerprint, to_plain(preparation)]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _spec_of(source: Source, records: Records, preparation: Preparation) -> ImageSpec:
    if (preparation.size or source.native_size) and preparation.channels != "auto":
        return propose_spec(source, records, preparation, [])
    indices = np.unique(np.linspace(0, len(records) - 1, SAMPLE).round().astype(int)).tolist()
    facts, failed = survey(records, indices)
    if not facts:
        raise _too_many_unreadable(source, len(indices), failed, preparation)
    return propose_spec(source, records, preparation, facts)


def propose_spec(source: Source, records: Records, preparation: Preparation, facts: Sequence[Facts]) -> ImageSpec:
    """Return the shape in which to store a source's images.

    Args:
        source: the source, which may have a native size.
        records: its images, for the number of classes.
        preparation: size and channels that the user gave, if any.
        facts: facts about at least one image; may be empty if size and channels are given.
    """
    height, width = preparation.size or source.native_size or propose_size([fact.size for fact in facts])
    channels = CHANNELS.get(preparation.channels) or propose_channels(facts)
    return ImageSpec(height=height, width=width, channels=channels, num_classes=len(_class_names(records)))


def _class_names(records: Records) -> tuple[str, ...]:
    if records.labels is None:
        return ()
    return records.class_names or tuple(str(label) for label in range(int(records.labels.max()) + 1))


def _build(
    path: Path,
    source: Source,
    records: Records,
    preparation: Preparation,
    spec: ImageSpec,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write a store's arrays, and return the content of its store.json."""
    written, levels, notes = _write(path / "images.npy", source, records, preparation, spec, progress)
    num_failed, total = len(written.failed), len(records)
    if num_failed == total or num_failed > preparation.max_unreadable * total:
        raise _too_many_unreadable(source, total, written.failed, preparation)
    arrays = {name: values[written.kept] for name, values in _arrays(records)}
    for name, values in arrays.items():
        np.save(path / f"{name}.npy", values, allow_pickle=False)
    if "labels" in arrays:
        written.digest.update(arrays["labels"].tobytes())
    if levels != Levels():
        written.digest.update(repr(levels).encode())
    return {
        "format": FORMAT,
        "title": source.title,
        "kind": source.kind,
        "source": to_plain(source),
        "preparation": to_plain(preparation),
        "spec": asdict(spec),
        "num_images": len(written.kept),
        "arrays": list(arrays),
        "class_names": _class_names(records),
        "digest": written.digest.hexdigest(),
        "skipped": [*records.skipped, *written.failed],
        "levels": {"integers": list(levels.integers), "floats": levels.floats and list(levels.floats)},
        "notes": [
            *records.notes,
            *notes,
            *note_frames(written.num_animated),
            *note_crops(written.num_cropped, len(written.kept), spec, preparation.fit),
        ],
    }


def _write(
    path: Path,
    source: Source,
    records: Records,
    preparation: Preparation,
    spec: ImageSpec,
    progress: Progress | None,
) -> tuple[Written, Levels, tuple[str, ...]]:
    """Write the pixels; write them again if images of more than 8 bits turn out to need other levels than assumed."""
    assumed = Levels.of(preparation.levels)
    written = write_images(path, records, spec, preparation.fit, assumed, progress)
    try:
        levels, notes = choose_levels(written.spans, preparation.levels)
    except DataError as error:
        raise DataError(f"{source.title}: {error}") from error
    if levels != assumed:
        written = write_images(path, records, spec, preparation.fit, levels, progress)
    return written, levels, notes


def note_crops(num_cropped: int, num_images: int, spec: ImageSpec, fit: Fit) -> tuple[str, ...]:
    """Return a note if cropping removes more than a third of the area of more than a tenth of the images."""
    if fit != "crop" or num_cropped * 10 <= num_images:
        return ()
    lost = f"{num_cropped:,} of {num_images:,} images lose more than a third of their area"
    shape = f"cropping to {size_text((spec.height, spec.width))}"
    remedy = "keep whole images with --preparation.fit pad, or choose a similar shape with --size WIDTHxHEIGHT"
    return (f"{lost} by {shape}; {remedy}",)


def note_frames(num_animated: int) -> tuple[str, ...]:
    """Return a note if files have more frames or pages than the first, which is read."""
    return (f"{num_animated:,} files have several frames or pages; only the first is read",) if num_animated else ()


def _arrays(records: Records) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays that are stored beside the pixels, with their names."""
    if records.labels is not None:
        yield "labels", records.labels
    if records.groups is not None:
        yield "groups", records.groups
    for name, values in records.factors.items():
        yield f"{FACTOR}{name}", values


def _too_many_unreadable(
    source: Source, total: int, failed: list[tuple[str, str]], preparation: Preparation
) -> DataError:
    first = "; ".join(f"{name}: {reason}" for name, reason in failed[:3])
    return DataError(
        f"{source.title}: {len(failed):,} of {total:,} images ({len(failed) / total:.1%}) cannot be read ({first}); "
        f"repair or remove them, or allow more with --preparation.max_unreadable (now {preparation.max_unreadable:g})"
    )
