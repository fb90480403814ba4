"""Backgrounds of signs: sky, leaves, trunks, buildings and roads, composed of noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.source import Size

__all__ = ["BACKGROUNDS", "Background", "Field", "Planes", "paint"]

Planes: TypeAlias = NDArray[np.floating[Any]]  # float32 [c h w], 0 black and 1 white
Field: TypeAlias = NDArray[np.floating[Any]]  # float32 [h w], mostly in [0, 1]: 0 the dark colour, 1 the light
Colour: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Background:
    """A pattern, and two pairs of a dark and a light colour, between which the tone interpolates."""

    pattern: Callable[[np.random.Generator, Size], Field]
    first: tuple[Colour, Colour]
    second: tuple[Colour, Colour]


def paint(background: Background, tone: float, detail: float, size: Size, generator: np.random.Generator) -> Planes:
    """Paint a background.

    Args:
        background: the background.
        tone: from 0, its first pair of colours, to 1, its second.
        detail: from 0, the mean of dark and light, to 1, the full pattern.
        size: height and width in pixels.
        generator: source of random numbers for the pattern.
    """
    first, second = (np.array(pair, np.float32) / 255 for pair in (background.first, background.second))
    dark, light = (first + tone * (second - first))[..., None, None]
    field = 0.5 + detail * (background.pattern(generator, size) - 0.5)
    picture: Planes = dark + field * (light - dark)
    return picture


# --- patterns ------------------------------------------------------------------------------------------------


def _noise(
    generator: np.random.Generator,
    size: Size,
    down: float,
    across: float,
    resampling: Image.Resampling = Image.Resampling.BICUBIC,
) -> Field:
    """Return uniform noise with numbers of cells per shorter side, down and across, enlarged to the image."""
    height, width = size
    rows, columns = (max(1, round(cells / min(size))) for cells in (down * height, across * width))
    grid = Image.fromarray(generator.random((rows, columns), dtype=np.float32))
    return np.asarray(grid.resize((width, height), resampling))


def _fall(size: Size) -> Field:
    """Return a gradient from 0 at the top to 1 at the bottom."""
    return np.linspace(0, 1, size[0], dtype=np.float32)[:, None]


def _sky(generator: np.random.Generator, size: Size) -> Field:
    field: Field = 0.75 * _fall(size) + 0.4 * _noise(generator, size, 3, 2)
    return field


def _leaves(generator: np.random.Generator, size: Size) -> Field:
    coarse, middle, fine = (_noise(generator, size, cells, cells) for cells in (4, 9, 18))
    field: Field = 0.9 * coarse + 0.7 * middle + 0.4 * fine - 0.5
    return field


def _trunks(generator: np.random.Generator, size: Size) -> Field:
    return 1.1 * _noise(generator, size, 1.2, 9) + 0.5 * _noise(generator, size, 12, 12) - 0.3


def _building(generator: np.random.Generator, size: Size) -> Field:
    down, across = generator.integers(2, 6, 2)
    walls = _noise(generator, size, down, across, Image.Resampling.NEAREST)
    return 0.9 * walls + 0.1 * _noise(generator, size, 8, 8)


def _road(generator: np.random.Generator, size: Size) -> Field:
    horizon = generator.uniform(0.35, 0.75)
    ground = np.clip((_fall(size) - horizon) * 12 + 0.5, 0, 1)
    above, below = 0.7 + 0.3 * _noise(generator, size, 6, 4), 0.3 * _noise(generator, size, 6, 3)
    field: Field = above + ground * (below - above)
    return field


BACKGROUNDS: dict[str, Background] = {
    "sky": Background(_sky, ((84, 132, 190), (190, 214, 236)), ((150, 156, 164), (236, 238, 240))),
    "leaves": Background(_leaves, ((18, 34, 16), (120, 150, 78)), ((48, 30, 16), (206, 160, 84))),
    "trunks": Background(_trunks, ((36, 32, 30), (150, 146, 142)), ((40, 46, 36), (214, 218, 220))),
    "building": Background(_building, ((112, 62, 48), (196, 160, 134)), ((90, 92, 100), (222, 216, 200))),
    "road": Background(_road, ((70, 72, 76), (186, 206, 228)), ((86, 84, 70), (150, 164, 120))),
}
