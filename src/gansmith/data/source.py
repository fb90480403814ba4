"""What a data set is: a sized sequence of images that can be read one by one, with what is known about them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.component import Component
from gansmith.data.labels import check_labels
from gansmith.errors import DataError
from gansmith.types import PixelArray

__all__ = ["Record", "Records", "Size", "Source", "cache_folder"]

Size: TypeAlias = tuple[int, int]  # height, width: rows before columns, as in an array
Record: TypeAlias = Image.Image | PixelArray  # a Pillow image of any mode, or uint8 [h w c]


@dataclass(frozen=True, kw_only=True)
class Records(ABC):
    """The images of a source, none of them decoded yet.

    Args:
        names: one name per image, for messages: a path inside the source, or an index.
        fingerprint: changes whenever the images, their order or their labels could have; found without decoding.
        labels: int64 [n] in [0, k), or None.
        class_names: k names, or empty.
        groups: int64 [n]; images of one group show one physical thing (a GTSRB track), so that a split never
            parts them; or None.
        factors: what generated each image, one array of n entries a factor; empty where nobody knows.
        skipped: files that were found but are no images, each with the reason.
        notes: what a person should know about how the images were found, a sentence each.
    """

    names: Sequence[str]
    fingerprint: str
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    factors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels is not None:
            check_labels(self.labels, len(self), len(self.class_names), "data")

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def read(self, index: int) -> Record:
        """Decode one image.

        Raises:
            UnreadableImage: with the reason, and without the name, which the caller knows.
        """


@dataclass(frozen=True, kw_only=True)
class Source(Component):
    """A named data set, or a path. Reading happens in ``records``; making the value touches no disk.

    Class attributes:
        kind: "digits", "signs" or "photos": what may be done to the images without changing their meaning
            (a mirrored sign is another sign), and how they are best judged.
        native_size: height and width that the field uses for this set; None where the files decide.
    """

    table: ClassVar[str] = "gansmith.data:SOURCES"
    kind: ClassVar[str] = "photos"
    native_size: ClassVar[Size | None] = None

    @abstractmethod
    def records(self, size: Size | None = None) -> Records:
        """Find the images.

        Args:
            size: height and width that will be stored. A source that draws its images draws them at this size;
                one that reads files may decode a large JPEG coarsely, never below twice this size.

        Raises:
            DataError: nothing there, or not what was expected; the message names the file to put where.
        """

    @property
    def title(self) -> str:
        """A short name for messages and file names: that of the path it reads, if it has one, else its class's."""
        path = getattr(self, "path", None)
        return (path.stem if isinstance(path, Path) else "") or type(self).__name__.lower()


def cache_folder() -> Path:
    """Where downloads and stores live: $GANSMITH_CACHE, else the platform's cache folder."""
    named = os.environ.get("GANSMITH_CACHE")
    try:
        if named:
            return Path(named).expanduser()
        if os.name == "nt":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "gansmith"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gansmith"
    except RuntimeError as error:  # of Path.home()
        raise DataError("cache: this user has no home folder; set GANSMITH_CACHE to a folder for the cache") from error
