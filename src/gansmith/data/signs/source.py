"""``signs``: drawn traffic signs of GTSRB's 43 classes, at any size and without a download."""

from __future__ import annotations

import hashlib
import inspect
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import PIL
from numpy.typing import NDArray

from gansmith.component import (
    Between,
    Fraction,
    Seed,
)
from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.signs import backgrounds, faces, factors, pictograms, scenes, shapes
from gansmith.data.signs.factors import Scene, draw_factors
from gansmith.data.signs.scenes import render
from gansmith.data.source import Records, Size, Source
from gansmith.types import PixelArray

__all__ = ["GTSRB_COUNTS", "Signs"]

# Number of GTSRB's training images of each class.
GTSRB_COUNTS: tuple[int, ...] = (
    *(210, 2220, 2250, 1410, 1980, 1860, 420, 1440, 1410, 1470, 2010, 1320, 2100, 2160, 780),
    *(630, 420, 1110, 1200, 210, 360, 330, 390, 510, 270, 1500, 600, 240, 540, 270),
    *(450, 780, 240, 689, 420, 1200, 390, 210, 2070, 300, 360, 240, 240),
)
_DRAWING_MODULES = (backgrounds, faces, factors, pictograms, scenes, shapes)


@dataclass(frozen=True, kw_only=True)
class Signs(Source):
    """Traffic signs drawn by gansmith; each image is a function of the seed, its index and the difficulty.

    Args:
        num: number of images; a larger number does not change the first images.
        seed: seed of all random factors.
        frequencies: class frequencies: "equal", or "gtsrb" for those of GTSRB's training set.
        difficulty: from 0 (clean signs from the front on plain backgrounds) to 1 (as hard as GTSRB's worst images).
    """

    kind: ClassVar[str] = "signs"
    native_size: ClassVar[Size | None] = (32, 32)

    num: Annotated[int, Between(1, 10_000_000)] = 12_900
    seed: Seed = 0
    frequencies: Literal["equal", "gtsrb"] = "equal"
    difficulty: Fraction = 0.5

    def records(self, size: Size | None = None) -> Records:
        """Return the signs, at ``size`` or else 32x32; each is drawn when it is read."""
        size = size or (32, 32)
        shares = GTSRB_COUNTS if self.frequencies == "gtsrb" else (1,) * len(GTSRB_CLASSES)
        return _DrawnSigns(
            names=[str(index) for index in range(self.num)],
            fingerprint=self._fingerprint(size),
            labels=_labels(self.num, np.array(shares)),
            class_names=GTSRB_CLASSES,
            factors=draw_factors(self.num, self.seed, self.difficulty),
            size=size,
            seed=self.seed,
        )

    def _fingerprint(self, size: Size) -> str:
        """Return a digest of the fields and of the drawing code, since changed drawings are another data set."""
        digest = hashlib.sha256(f"{self!r} {size} Pillow {PIL.__version__} NumPy {np.__version__}".encode())
        for module in _DRAWING_MODULES:
            digest.update(inspect.getsource(module).encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _DrawnSigns(Records):
    labels: NDArray[np.int64]
    size: Size
    seed: int

    def read(self, index: int) -> PixelArray:
        """Draw one image, uint8 [h w 3]."""
        scene = Scene(**{name: values[index].item() for name, values in self.factors.items()})
        generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index,)))
        return render(int(self.labels[index]), scene, self.size, generator)


def _labels(num: int, shares: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first ``num`` labels of an endless sequence that interleaves the classes by their shares."""
    parts = shares / shares.sum()
    turns = [(np.arange(math.ceil(num * part) + 1) + 0.5) / part for part in parts]
    labels = np.repeat(np.arange(len(parts), dtype=np.int64), [len(turn) for turn in turns])
    first: NDArray[np.int64] = labels[np.argsort(np.concatenate(turns), kind="stable")][:num]
    return first
