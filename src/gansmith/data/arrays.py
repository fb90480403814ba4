"""Records whose images are one array in memory, used by the small named data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.source import Records
from gansmith.types import PixelArray

__all__ = ["ArrayRecords", "compute_fingerprint"]


@dataclass(frozen=True, kw_only=True)
class ArrayRecords(Records):
    """Images of one size in one array.

    Args:
        images: uint8 [n h w c].
    """

    images: PixelArray

    def read(self, index: int) -> PixelArray:
        """Return one image, uint8 [h w c]: a view that must not be written to."""
        image: PixelArray = self.images[index]
        return image


def compute_fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Return the SHA-256 of arrays: dtypes, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
