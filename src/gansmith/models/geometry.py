"""The geometry of a convolution, which all algorithms read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Geometry"]


class Geometry(NamedTuple):
    """Stride, padding and groups of a convolution, equal in both directions."""

    stride: int
    padding: int
    groups: int

    def size(self, larger: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """Return height and width of the smaller map."""
        sides = zip(larger, kernel, strict=True)
        return [(side + 2 * self.padding - reach) // self.stride + 1 for side, reach in sides]
