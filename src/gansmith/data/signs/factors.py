"""The random factors of an image of a sign, and their ranges."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.signs.backgrounds import BACKGROUNDS

__all__ = ["FACTORS", "Free", "Scene", "Widening", "draw_factors"]


@dataclass(frozen=True)
class Widening:
    """A range that grows with the difficulty from the value ``rest`` at 0 to ``rest + [low, high]`` at 1."""

    low: float
    high: float
    rest: float = 0
    floor: float = -math.inf  # lower values are raised to it, so that some images do not have the effect

    def at(self, uniform: NDArray[np.float64], difficulty: float) -> NDArray[Any]:
        """Return the factor's values for uniform numbers in [0, 1)."""
        value = self.rest + difficulty * (self.low + uniform * (self.high - self.low))
        return np.maximum(value, self.floor)


@dataclass(frozen=True)
class Free:
    """A range that is the same at any difficulty; with ``whole``, the whole numbers from low to below high."""

    low: float
    high: float
    whole: bool = False

    def at(self, uniform: NDArray[np.float64], difficulty: float) -> NDArray[Any]:
        """Return the factor's values for uniform numbers in [0, 1)."""
        value = self.low + uniform * (self.high - self.low)
        return value.astype(np.int64) if self.whole else value


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The factors of one image; lengths are fractions of the image's shorter side, angles are clockwise."""

    rotation_degrees: Annotated[float, Widening(-20, 20)]
    yaw_degrees: Annotated[float, Widening(-50, 50)]  # positive: the plate's right edge is farther away
    pitch_degrees: Annotated[float, Widening(-30, 30)]  # positive: the plate's top edge is farther away
    scale: Annotated[float, Widening(-0.2, 0.08, rest=0.86)]  # diameter of the plate
    x: Annotated[float, Widening(-0.1, 0.1)]  # offset of the plate's centre from the image's, to the right
    y: Annotated[float, Widening(-0.1, 0.1)]  # offset of the plate's centre from the image's, down
    fading: Annotated[float, Widening(-0.5, 0.5, floor=0)]  # share by which the plate's colours have faded
    background: Annotated[int, Free(0, len(BACKGROUNDS), whole=True)]  # an index of BACKGROUNDS
    background_tone: Annotated[float, Free(0, 1)]  # from the background's first pair of colours to its second
    background_detail: Annotated[float, Widening(0.5, 1)]  # 0 is plain
    post_width: Annotated[float, Widening(-0.08, 0.16, floor=0)]  # width of the post below the plate
    brightness_stops: Annotated[float, Widening(-2, 1.1)]  # each stop doubles the light
    backlight_stops: Annotated[float, Widening(-1, 1)]  # light of the background relative to the sign
    contrast: Annotated[float, Widening(-0.4, 0.5, rest=1)]  # factor about mid-gray
    warmth: Annotated[float, Widening(-0.25, 0.25)]  # share by which red increases and blue decreases
    gradient: Annotated[float, Widening(0, 1.4)]  # gradient of the light across the image, in stops
    gradient_degrees: Annotated[float, Free(0, 360)]  # direction of increasing light: 0 right, 90 down
    shadow: Annotated[float, Widening(-0.7, 0.6, floor=0)]  # share of the light that the shadow removes
    shadow_degrees: Annotated[float, Free(0, 360)]  # side of the shadow: 0 right, 90 down
    shadow_offset: Annotated[float, Free(-0.3, 0.3)]  # distance of the shadow's edge from the image's centre
    blur_sigma: Annotated[float, Widening(0, 0.04)]
    motion_length: Annotated[float, Widening(-0.12, 0.12, floor=0)]
    motion_degrees: Annotated[float, Free(0, 180)]
    noise_sigma: Annotated[float, Widening(0, 0.04)]  # of the range from black to white


FACTORS: dict[str, Widening | Free] = {
    name: typing.get_args(hint)[1] for name, hint in typing.get_type_hints(Scene, include_extras=True).items()
}


def draw_factors(num: int, seed: int, difficulty: float) -> dict[str, NDArray[Any]]:
    """Draw the factors of ``num`` images, arrays [num] by name; a larger ``num`` does not change the first ones."""
    uniform = np.random.default_rng(seed).random((num, len(FACTORS)))
    return {name: span.at(uniform[:, column], difficulty) for column, (name, span) in enumerate(FACTORS.items())}
