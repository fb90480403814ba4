"""Scikit-learn's handwritten digits: real scans that are installed with the library, so nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gansmith.data.arrays import ArrayRecords, compute_fingerprint
from gansmith.data.source import Records, Size, Source

__all__ = ["Digits"]


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """1,797 handwritten digits, 8x8 gray (Alpaydin and Kaynak 1998: the test part of UCI's optical recognition set)."""

    kind: ClassVar[str] = "digits"
    native_size: ClassVar[Size | None] = (8, 8)

    def records(self, size: Size | None = None) -> Records:
        """Load the scans; see ``Source.records``."""
        from sklearn.datasets import load_digits  # imported here because it takes a second

        values, labels = load_digits(return_X_y=True)
        # A value counts the inked points of a 4x4 cell, 0 to 16; scale to 0 to 255.
        images = np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        labels = labels.astype(np.int64)
        return ArrayRecords(
            images=images,
            labels=labels,
            names=tuple(map(str, range(len(images)))),
            class_names=tuple("0123456789"),
            fingerprint=compute_fingerprint([images, labels]),
        )
