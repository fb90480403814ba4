"""Images that lie in memory already, as the small named sets and arrays do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.source import Records
from gansmith.types import PixelArray

__all__ = ["ArrayRecords", "fingerprint_of"]


@dataclass(frozen=True, kw_only=True)
class ArrayRecords(Records):
    """Images of one size.

    Args:
        images: uint8 [n h w c].
    """

    images: PixelArray

    def read(self, index: int) -> PixelArray:
        """One image, uint8 [h w c]: a view, not to be written to."""
        image: PixelArray = self.images[index]
        return image


def fingerprint_of(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of some arrays: their types, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
