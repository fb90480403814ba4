"""The interface of data sets: a sequence of images that are read one by one, with labels and other facts."""

from __future__ import annotations

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
from gansmith.download import cache_folder
from gansmith.types import PixelArray

__all__ = ["Record", "Records", "Size", "Source", "cache_folder"]

Size: TypeAlias = tuple[int, int]  # height, width: rows before columns, as in an array
Record: TypeAlias = Image.Image | PixelArray  # a Pillow image of any mode, or uint8 [h w c]


@dataclass(frozen=True, kw_only=True)
class Records(ABC):
    """The images of a source, not yet decoded.

    Args:
        names: a name per image, for messages: a path inside the source, or an index.
        fingerprint: a digest, computed without decoding, that changes if images, order or labels may have changed.
        labels: int64 [n] in [0, k), or None.
        class_names: k names, or empty.
        groups: int64 [n], or None. Images of a group show the same object (a track of GTSRB), so a split never
            separates them.
        factors: generating factors by name, each an array of n entries; empty if unknown.
        skipped: (name, reason) of files that are not images.
        notes: remarks about how the images were found, a sentence each.
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
            UnreadableImage: it cannot be decoded. The message gives the reason without the name, which the caller
                knows.
        """


@dataclass(frozen=True, kw_only=True)
class Source(Component):
    """A data set by name or path. Creating it does not access the disk; ``records`` does.

    Class attributes:
        kind: "digits", "signs" or "photos". It decides which augmentations keep an image's meaning (a mirrored sign is
            another sign), and which feature extractor metrics use.
        native_size: the (height, width) that publications use for this data set; None if the files decide.
    """

    table: ClassVar[str] = "gansmith.data:SOURCES"
    kind: ClassVar[str] = "photos"
    native_size: ClassVar[Size | None] = None

    @abstractmethod
    def records(self, size: Size | None = None) -> Records:
        """Find the images.

        Args:
            size: the (height, width) that will be stored. A source that draws its images draws them at this size; one
                that reads files may decode a large JPEG at a reduced size, at least twice this.

        Raises:
            DataError: files are missing or not as expected; the message says which file to put where.
        """

    @property
    def title(self) -> str:
        """A short name for messages and file names: that of its path, or else of its class."""
        path = getattr(self, "path", None)
        return (path.stem if isinstance(path, Path) else "") or type(self).__name__.lower()
