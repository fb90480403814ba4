"""Inspects a data set for ``gansmith data check``: contents, problems, and proposed settings."""

from __future__ import annotations

import hashlib
import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image

from gansmith.augment import resolve_operations
from gansmith.data.budget import hold_image_memory
from gansmith.data.class_names import describe_classes
from gansmith.data.convert import compute_crop_loss, convert
from gansmith.data.levels import choose_levels
from gansmith.data.parallel import map_in_order
from gansmith.data.source import Record, Records, Size, Source
from gansmith.data.store import Preparation, note_crops, note_frames, propose_spec
from gansmith.data.survey import CLIPPED, Facts, cut_record, inspect_image
from gansmith.data.writer import Progress
from gansmith.errors import DataError, UnreadableImage
from gansmith.types import ImageSpec, explain_sides

__all__ = ["Findings", "check"]

T = TypeVar("T")
Names: TypeAlias = tuple[str, ...]
Reasons: TypeAlias = tuple[tuple[str, str], ...]  # a name, and why it cannot be used

SHOWN = 10  # entries of a long list
SHOWN_CLASSES = 100


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The result of inspecting every image of a source.

    Args:
        title: title of the source.
        num_images: number of images, readable or not.
        sizes: number of images by (height, width), most common first.
        modes: number of images by Pillow mode, most common first.
        formats: number of images by file format, most common first.
        classes: number of images by class, readable or not; empty without labels.
        unreadable: images that cannot be read, with reasons.
        skipped: files that are not images, with reasons.
        notes: remarks about how the images were found, a sentence each.
        duplicates: groups of names of images with equal pixels.
        conflicts: the groups of duplicates whose classes differ.
        spec: the proposed image shape; None if no image can be read.
        augmentations: names of the proposed augmentations, which do not change the meaning of such images.
    """

    title: str
    num_images: int
    sizes: Mapping[Size, int]
    modes: Mapping[str, int]
    formats: Mapping[str, int]
    classes: Mapping[str, int]
    unreadable: Reasons
    skipped: Reasons
    notes: Names
    duplicates: tuple[Names, ...]
    conflicts: tuple[Names, ...]
    spec: ImageSpec | None
    augmentations: Names

    def lines(self) -> list[str]:
        """Return the report as lines of plain text, each with a heading."""
        readable = self.num_images - len(self.unreadable)
        lines = [f"images      {self.num_images:,} found, {readable:,} readable"]
        lines += [f"size        {line}" for line in _size_lines(self.sizes)]
        lines += [f"pixels      {_tally(self.modes)}", f"format      {_tally(self.formats)}"] if self.modes else []
        lines += _class_lines(self.classes)
        lines += _reason_lines("unreadable", self.unreadable) + _reason_lines("skipped", self.skipped)
        harmless = tuple(sorted(set(self.duplicates) - set(self.conflicts)))
        lines += _group_lines("duplicates", harmless, "images occur more than once")
        lines += _group_lines("conflicts", self.conflicts, "images occur in more than one class")
        lines += [f"note        {note}" for note in self.notes]
        return lines + _proposal_lines(self)


def check(source: Source, preparation: Preparation | None = None, *, progress: Progress | None = None) -> Findings:
    """Decode every image of a source and return what was found.

    Args:
        source: the data set.
        preparation: settings that are kept as given; the others are proposed.
        progress: called with the number of images done and the total.

    Raises:
        DataError: the source has no images.
    """
    records = source.records()
    facts: list[Facts] = []
    unreadable: list[tuple[str, str]] = []
    alike: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, found in enumerate(map_in_order(lambda index: _look(records, index), range(len(records)))):
        if isinstance(found, str):
            unreadable.append((records.names[index], found))
        else:
            facts.append(found[0])
            alike[found[1]].append(index)
        if progress is not None:
            progress(index + 1, len(records))
    preparation = preparation or Preparation()
    duplicates = [indices for indices in alike.values() if len(indices) > 1]
    spec = propose_spec(source, records, preparation, facts) if facts else None
    return Findings(
        title=source.title,
        num_images=len(records),
        sizes=_counted(fact.size for fact in facts),
        modes=_counted(fact.mode for fact in facts),
        formats=_counted(fact.format for fact in facts),
        classes=_classes(records),
        unreadable=tuple(unreadable),
        skipped=records.skipped,
        notes=(*records.notes, *_notes(facts, spec, preparation)),
        duplicates=_named(records, duplicates),
        conflicts=_named(records, [indices for indices in duplicates if _in_conflict(records, indices)]),
        spec=spec,
        augmentations=resolve_operations((), source.kind, spec.channels if spec else 3),
    )


def _notes(facts: Sequence[Facts], spec: ImageSpec | None, preparation: Preparation) -> Names:
    """Return remarks about levels, frames and crops of the images in a store."""
    try:
        _, notes = choose_levels([fact.span for fact in facts if fact.span], preparation.levels)
    except DataError as error:
        notes = (str(error),)
    notes = (*notes, *note_frames(sum(fact.animated for fact in facts)))
    if spec is None:
        return notes
    cropped = sum(compute_crop_loss(fact.size, (spec.height, spec.width)) > 1 / 3 for fact in facts)
    return (*notes, *note_crops(cropped, len(facts), spec, preparation.fit))


def _counted(values: Iterable[T]) -> dict[T, int]:
    return dict(Counter(values).most_common())


def _look(records: Records, index: int) -> tuple[Facts, bytes] | str:
    try:
        with hold_image_memory():
            record = records.read(index)
            return inspect_image(record), _digest(record)
    except UnreadableImage as error:
        return str(error)


def _digest(record: Record) -> bytes:
    """Return a digest of the pixels; equal for equal images in any file format or mode."""
    width, height = record.size if isinstance(record, Image.Image) else record.shape[1::-1]
    digest = hashlib.blake2b(digest_size=16, salt=f"{width}x{height}".encode()[-16:])
    for part in cut_record(record):
        digest.update(convert(part, 4, CLIPPED).tobytes())
    return digest.digest()


def _classes(records: Records) -> dict[str, int]:
    if records.labels is None:
        return {}
    counts = np.bincount(records.labels, minlength=len(records.class_names)).tolist()
    names = records.class_names or tuple(map(str, range(len(counts))))
    return dict(zip(names, counts, strict=True))


def _in_conflict(records: Records, indices: list[int]) -> bool:
    return records.labels is not None and len(set(records.labels[indices].tolist())) > 1


def _named(records: Records, groups: Iterable[list[int]]) -> tuple[Names, ...]:
    return tuple(tuple(records.names[index] for index in indices) for indices in groups)


# --- as text -----------------------------------------------------------------------------------------------


def _size_lines(sizes: Mapping[Size, int]) -> Iterator[str]:
    if len(sizes) > 1:
        heights, widths = ([size[axis] for size, count in sizes.items() for _ in range(count)] for axis in (0, 1))
        for name, sides in (("width", widths), ("height", heights)):
            yield f"{name} {min(sides)} to {max(sides)}, median {statistics.median_low(sides)}"
    if sizes:
        yield _tally({f"{width}x{height}": count for (height, width), count in sizes.items()}, most=5) + explain_sides(
            sizes
        )


def _class_lines(classes: Mapping[str, int]) -> list[str]:
    if not classes:
        return ["classes     none"]
    low, high = min(filter(None, classes.values()), default=0), max(1, *classes.values())
    empty = [name for name, count in classes.items() if not count]
    margin = min(32, max(map(len, classes)))
    bars = (f"  {name:{margin}} {count:7,} {'█' * round(32 * count / high)}" for name, count in classes.items())
    return [
        f"classes     {len(classes) - len(empty)}, with {low:,} to {high:,} images each",
        *(
            [f"no images   {len(empty)}: {', '.join(empty[:SHOWN])}{', ...' if len(empty) > SHOWN else ''}"]
            if empty
            else []
        ),
        *itertools.islice(bars, SHOWN_CLASSES),
        *_rest(classes, SHOWN_CLASSES),
    ]


def _reason_lines(heading: str, entries: Reasons) -> list[str]:
    lines = [f"  {name}: {reason}" for name, reason in entries[:SHOWN]]
    return [f"{heading:11} {len(entries):,}", *lines, *_rest(entries)] if entries else []


def _group_lines(heading: str, groups: Sequence[Names], what: str) -> list[str]:
    lines = [f"  {' = '.join(names[:SHOWN])}{' ...' if len(names) > SHOWN else ''}" for names in groups[:SHOWN]]
    return [f"{heading:11} {len(groups):,} {what}", *lines, *_rest(groups)] if groups else []


def _rest(entries: Sized, shown: int = SHOWN) -> list[str]:
    return [f"  and {len(entries) - shown:,} more"] if len(entries) > shown else []


def _proposal_lines(findings: Findings) -> list[str]:
    spec = findings.spec
    if spec is None:
        return ["proposal    none: no image can be read"]
    labels = (
        f"conditional on {describe_classes(list(findings.classes.values()))}" if spec.num_classes else "unconditional"
    )
    shape = ImageSpec(height=spec.height, width=spec.width, channels=spec.channels)
    return [f"proposal    {shape}, {labels}; augmentation: {', '.join(findings.augmentations)}"]


def _tally(counts: Mapping[str, int], most: int = SHOWN) -> str:
    shown = ", ".join(f"{name} ({count:,})" for name, count in list(counts.items())[:most])
    return f"{shown}, and {len(counts) - most:,} more" if len(counts) > most else shown
