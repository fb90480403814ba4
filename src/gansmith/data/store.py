"""Every data set as one memory map of uint8 pixels: made once, atomically, and checked when it is opened."""

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
from gansmith.data.decode import Fit
from gansmith.data.integrity import check_files, hash_file
from gansmith.data.labels import check_labels
from gansmith.data.levels import Levels, choose_levels
from gansmith.data.source import Records, Source, cache_folder
from gansmith.data.survey import Facts, propose_channels, propose_size, survey
from gansmith.data.writer import Progress, Written, made_at_once, write_images
from gansmith.errors import DataError
from gansmith.files import free_disk
from gansmith.plain_json import Altered, sealed, unsealed
from gansmith.types import ImageSpec, PixelArray, parse_size, size_text

__all__ = ["Preparation", "Store", "crop_notes", "frame_notes", "prepare", "propose_spec"]

FORMAT = 2  # a store of another number is built anew
KEY = 1  # raise it when the same source and preparation give other pixels
SAMPLE = 128  # images that are looked at to find size and channels
CHANNELS = {"gray": 1, "rgb": 3, "rgba": 4}
FACTOR = "factor-"
SPARE_BYTES = 2**20  # of a store, beside its arrays


@dataclass(frozen=True, kw_only=True)
class Preparation(Component):
    """How images become pixels of one shape.

    Args:
        size: height and width in pixels, in this order (``--size`` takes width x height); None takes the size that
            the field uses for the set, else finds one: see ``survey.propose_size``.
        channels: "auto" finds them from a sample: RGBA if most images show transparency, gray if none shows
            colour, else RGB. Transparency is laid on white for gray and RGB.
        fit: what to do about another aspect ratio: see ``decode.to_pixels``.
        levels: the values of images of more than 8 bits that become black and white; values beyond are clipped. None
            chooses once for the whole set: see ``levels.settle``.
        max_unreadable: the share of images that may be unreadable; they are left out and named.
    """

    size: Annotated[tuple[Side, Side], ReadAs(parse_size)] | None = None
    channels: Literal["auto", "gray", "rgb", "rgba"] = "auto"
    fit: Fit = "crop"
    levels: tuple[float, float] | None = None
    max_unreadable: Fraction = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A prepared data set.

    Args:
        path: its folder.
        title: the source's.
        kind: the source's: "digits", "signs" or "photos".
        spec: the images' shape and the number of classes.
        images: uint8 [n h w c], mapped from the file, read-only.
        labels: int64 [n], or None.
        class_names: k names; empty without labels.
        groups: int64 [n], or None; see ``Records``.
        factors: one array of n entries a factor; see ``Records``.
        digest: SHA-256 of shape, pixels and labels.
        skipped: files that are not in the store, each with the reason.
        notes: what a person should know about how the images were found.
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
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __post_init__(self) -> None:
        if self.labels is not None:
            check_labels(self.labels, len(self.images), len(self.class_names), str(self.path))

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a store that ``prepare`` made, after comparing its files with their digests.

        Files of more than 256 MiB are read for this only if they may have changed since: see ``integrity``.

        Raises:
            DataError: there is none, or it is damaged.
        """
        try:
            return _open(path)
        except _UNUSABLE as error:
            raise DataError(f"{path}: no usable store ({error}); delete it and prepare the data again") from error


_UNUSABLE = (OSError, ValueError, KeyError, TypeError, EOFError, DataError)


def _open(path: Path, key: str | None = None) -> Store:
    """Open a store, if it is that of a key."""
    about = unsealed((path / "store.json").read_text("utf-8"))
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
        skipped=tuple((name, reason) for name, reason in about["skipped"]),
        notes=tuple(about["notes"]),
    )


def prepare(
    source: Source,
    preparation: Preparation | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Store:
    """Return the store of a source: opened if it was made before and neither source nor preparation has changed.

    A store that is damaged, or was made by an earlier version, is made anew, and a note says so.

    Args:
        source: what to read.
        preparation: how; the defaults if not given.
        cache: the folder of stores; ``stores`` in ``cache_folder()`` if not given.
        progress: called with the number of images done and of all, now and then.

    Raises:
        DataError: nothing to read, or too many images cannot be read.
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
    return replace(store, notes=(*store.notes, f"{path}: no usable store ({flaw}); made anew from {source.title}"))


def _make(
    path: Path,
    key: str,
    source: Source,
    records: Records,
    preparation: Preparation,
    progress: Progress | None,
    flaw: Exception | None,
) -> None:
    """Make a store, in place of one that has a flaw if there is one."""
    spec = _spec_of(source, records, preparation)
    if preparation.size is None and source.native_size is None:
        records = source.records((spec.height, spec.width))
    _require_room(path.parent, records, spec)
    try:
        with made_at_once(path, replacing=flaw is not None) as unfinished:
            about = _build(unfinished, source, records, preparation, spec, progress)
            files = {file.name: hash_file(file) for file in sorted(unfinished.iterdir())}
            (unfinished / "store.json").write_text(sealed({**about, "key": key, "files": files}), "utf-8")
    except OSError as error:
        remedy = "make room there, or set GANSMITH_CACHE to another folder"
        reason = f"{error}; the store there cannot be used: {flaw}" if flaw else str(error)
        raise DataError(f"{path.parent}: cannot be written ({reason}); {remedy}") from error


def _require_room(folder: Path, records: Records, spec: ImageSpec) -> None:
    """Refuse a store that the disk has no room for, before an image is decoded."""
    num_arrays = sum(1 for _ in _arrays(records))
    needed = len(records) * (spec.height * spec.width * spec.channels + 8 * num_arrays) + SPARE_BYTES
    free = free_disk(folder)
    if free is not None and needed > free:
        found = f"needs {needed / 2**20:,.0f} MiB, of which {free / 2**20:,.0f} MiB are free"
        remedy = "make room there, choose a smaller --size, or set GANSMITH_CACHE to a folder on another disk"
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
    """The shape to store a source's images in.

    Args:
        source: it may know the size.
        records: they know the classes.
        preparation: it may state size and channels.
        facts: of at least one image; not needed where size and channels are known.
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
    """Write a store's arrays, and return what is known of them."""
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
            *frame_notes(written.num_animated),
            *crop_notes(written.num_cropped, len(written.kept), spec, preparation.fit),
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
    """Write the pixels; once more if images of more than 8 bits turn out to need other levels than assumed."""
    assumed = Levels.of(preparation.levels)
    written = write_images(path, records, spec, preparation.fit, assumed, progress)
    try:
        levels, notes = choose_levels(written.spans, preparation.levels)
    except DataError as error:
        raise DataError(f"{source.title}: {error}") from error
    if levels != assumed:
        written = write_images(path, records, spec, preparation.fit, levels, progress)
    return written, levels, notes


def crop_notes(num_cropped: int, num_images: int, spec: ImageSpec, fit: Fit) -> tuple[str, ...]:
    """Say so if more than a tenth of the images lose more than a third of themselves by cropping."""
    if fit != "crop" or num_cropped * 10 <= num_images:
        return ()
    lost = f"{num_cropped:,} of {num_images:,} images lose more than a third of themselves"
    shape = f"cropping to {size_text((spec.height, spec.width))}"
    remedy = "keep all with --preparation.fit pad, or choose a shape like theirs with --size WIDTHxHEIGHT"
    return (f"{lost} by {shape}; {remedy}",)


def frame_notes(num_animated: int) -> tuple[str, ...]:
    """Say so if files have more frames or pages than the one that is read."""
    return (f"{num_animated:,} files have several frames or pages; the first of each is read",) if num_animated else ()


def _arrays(records: Records) -> Iterator[tuple[str, NDArray[Any]]]:
    """What is kept of each image beside its pixels."""
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
        f"mend or remove them, or allow more with max_unreadable (now {preparation.max_unreadable:g})"
    )
