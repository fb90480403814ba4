"""What a run stores about its data (data.json) and its machine (environment.json)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gansmith.data.store import Store, without_labels
from gansmith.devices import Compute, describe_environment
from gansmith.errors import RunError
from gansmith.models.algorithms import AlgorithmTable
from gansmith.plain_json import read_json, write_json
from gansmith.runs import RunFolder
from gansmith.types import ImageSpec, size_text

__all__ = ["CONVOLUTIONS", "DataFacts", "machine_changes", "match_trained_data", "write_environment"]

CONVOLUTIONS = "convolutions"  # the field of environment.json with the algorithms

LARGEST_SIDE = 2**14  # pixels; a file with larger ones is damaged or malicious


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What is needed of a data set to build its networks, name its classes, and recognise it.

    Args:
        title: the source's.
        num_images: how many.
        height: pixels.
        width: pixels.
        channels: 1 gray, 3 RGB, 4 RGBA.
        class_names: k names; empty without labels.
        class_counts: images of each class; empty without labels.
        digest: SHA-256 of shape, pixels and labels.
    """

    title: str
    num_images: int
    height: int
    width: int
    channels: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    digest: str

    @classmethod
    def of(cls, store: Store) -> DataFacts:
        """Return the facts of a prepared data set."""
        num_classes = len(store.class_names)
        counts = [] if store.labels is None else np.bincount(store.labels, minlength=num_classes).tolist()
        return cls(
            title=store.title,
            num_images=len(store),
            height=store.spec.height,
            width=store.spec.width,
            channels=store.spec.channels,
            class_names=store.class_names,
            class_counts=tuple(counts),
            digest=store.digest,
        )

    @classmethod
    def read(cls, path: Path) -> DataFacts:
        """Read the facts of a run.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            plain = read_json(path)
            names, counts = (tuple(plain.pop(key)) for key in ("class_names", "class_counts"))
            facts = cls(class_names=names, class_counts=counts, **plain)
            facts._check()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path}: cannot be read ({error}); it is part of every run that has begun") from error
        return facts

    def write(self, path: Path) -> None:
        """Write the facts, all or nothing."""
        write_json(path, asdict(self))

    def spec(self, use_labels: bool) -> ImageSpec:
        """Return the shape of the images, with the classes if labels are used."""
        num_classes = len(self.class_names) if use_labels else 0
        return ImageSpec(height=self.height, width=self.width, channels=self.channels, num_classes=num_classes)

    def _check(self) -> None:
        sides = (self.height, self.width, self.channels, self.num_images, *self.class_counts)
        if not all(type(number) is int and number >= 0 for number in sides):
            raise ValueError("a size or count is no whole number")
        if not (0 < self.height <= LARGEST_SIDE and 0 < self.width <= LARGEST_SIDE and self.channels in (1, 3, 4)):
            raise ValueError(f"{size_text((self.height, self.width))} of {self.channels} channels is no size of images")
        if not all(isinstance(text, str) for text in (self.title, self.digest, *self.class_names)):
            raise ValueError("a name is no text")
        if len(self.class_counts) != len(self.class_names):
            raise ValueError(f"{len(self.class_names)} classes, but {len(self.class_counts)} counts")


def match_trained_data(store: Store, facts: DataFacts) -> Store:
    """Return a store as a run knows it: without labels that the same images got after the run had begun.

    Args:
        store: the run's data, as it is prepared now.
        facts: what the run remembers of them.
    """
    if facts.class_names or store.labels is None or len(store) != facts.num_images:
        return store
    unlabelled = without_labels(store)
    if unlabelled.digest != facts.digest:
        return store
    return replace(unlabelled, notes=(*store.notes, "its labels are not used, for this run began without labels"))


def write_environment(folder: RunFolder, compute: Compute, algorithms: AlgorithmTable | None = None) -> None:
    """Write environment.json: the current machine, the choice of algorithms, and the command that began the run."""
    before = _environment_before(folder).get("command")
    command = before if isinstance(before, list) else [Path(sys.argv[0]).name, *sys.argv[1:]]
    chosen = {} if algorithms is None else {CONVOLUTIONS: algorithms.to_plain()}
    write_json(folder.environment, {**describe_environment(compute), "command": command, **chosen})


def machine_changes(folder: RunFolder, compute: Compute) -> Iterator[str]:
    """Yield what has changed since the last session and makes the last digits of the weights differ."""
    before, now = _environment_before(folder), describe_environment(compute)
    for key in ("torch", "device_name", "precision", "threads", "world_size"):
        if key in before and before[key] != now[key]:
            was = f"{key} is {now[key]}, and was {before.get(key)}"
            yield f"{was}: the last digits will differ from those of an uninterrupted run"


def _environment_before(folder: RunFolder) -> dict[str, Any]:
    try:
        plain = read_json(folder.environment)
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}
