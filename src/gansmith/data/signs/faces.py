"""The faces of GTSRB's 43 signs, in the order of its classes."""

from __future__ import annotations

import functools

from PIL import Image

from gansmith.data.signs import pictograms as pictograms
from gansmith.data.signs.pictograms import BLACK, RED, WHITE, YELLOW, lettering
from gansmith.data.signs.shapes import Drawing, disc, flip_horizontally, polygon, rasterize, stroke, transform

__all__ = ["FACES", "face"]

_BLUE, _GRAY = "#1450a8", "#6c6c72"

# --- plates --------------------------------------------------------------------------------------------------

_PROHIBITION = disc(0, 0, 100, WHITE) + disc(0, 0, 96, RED) + disc(0, 0, 72, WHITE)
_MANDATORY = disc(0, 0, 100, WHITE) + disc(0, 0, 94, _BLUE)
_END = disc(0, 0, 100, WHITE) + disc(0, 0, 96, _GRAY) + disc(0, 0, 90, "#e4e4e0")
_BARS = stroke("M -73 59 L 59 -73 M -66 66 L 66 -66 M -59 73 L 73 -59", 7, "#3c3c42")


def _triangle(radius: float, colour: str) -> Drawing:
    """Return an upright triangle around its centroid; ``radius`` is the distance of its corners before rounding."""
    half, low = 0.866 * radius, 0.5 * radius
    return polygon(f"M 0 {-radius} L {half} {low} L {-half} {low}", colour, 6)


_TRIANGLE = _triangle(108, WHITE) + _triangle(102, RED) + _triangle(70, WHITE)


def _limit(text: str) -> Drawing:
    advance, width = (46, 15) if len(text) == 2 else (35, 12)
    return _PROHIBITION + lettering(text, 64 if len(text) == 2 else 58, advance, width)


def _warning(pictogram: Drawing) -> Drawing:
    return transform(_TRIANGLE + transform(pictogram, scale=1.06), 0, 28)


def _end(pictogram: Drawing) -> Drawing:
    return _END + pictogram + _BARS


def _pair(left: Drawing, right: Drawing) -> Drawing:
    return transform(left, -32, 4) + transform(right, 32, 4)


def _diamond(radius: float, colour: str) -> Drawing:
    return polygon(f"M 0 {-radius} L {radius} 0 L 0 {radius} L {-radius} 0", colour, 4)


def _octagon(radius: float, colour: str) -> Drawing:
    long, short = radius, 0.4142 * radius
    right = f"{short} {-long} {long} {-short} {long} {short} {short} {long}"
    left = f"{-short} {long} {-long} {short} {-long} {-short} {-short} {-long}"
    return polygon(f"M {right} {left}", colour)


# --- faces ---------------------------------------------------------------------------------------------------

_CURVE_LEFT = _warning(pictograms.CURVE_LEFT)
_TURN_RIGHT = _MANDATORY + pictograms.TURN_RIGHT
_STRAIGHT_OR_RIGHT = _MANDATORY + pictograms.STRAIGHT_OR_RIGHT
_KEEP_RIGHT = _MANDATORY + transform(pictograms.AHEAD, turn=135)

FACES: tuple[Drawing, ...] = (
    _limit("20"),
    _limit("30"),
    _limit("50"),
    _limit("60"),
    _limit("70"),
    _limit("80"),
    _end(lettering("80", 76, 56, 16, _GRAY)),
    _limit("100"),
    _limit("120"),
    _PROHIBITION + _pair(pictograms.car(RED), pictograms.car(BLACK)),
    _PROHIBITION + _pair(pictograms.lorry(RED), pictograms.car(BLACK)),
    _warning(pictograms.RIGHT_OF_WAY),
    _diamond(96, BLACK) + _diamond(91, WHITE) + _diamond(54, YELLOW),
    transform(_triangle(108, WHITE) + _triangle(101, RED) + _triangle(62, WHITE), 0, -27, turn=180),
    _octagon(100, WHITE) + _octagon(93, RED) + lettering("STOP", 50, 42, 11, WHITE),
    _PROHIBITION,
    _PROHIBITION + pictograms.LORRY_SIDE,
    disc(0, 0, 100, WHITE) + disc(0, 0, 96, RED) + polygon("M -72 -17 L 72 -17 L 72 17 L -72 17", WHITE),
    _warning(pictograms.CAUTION),
    _CURVE_LEFT,
    flip_horizontally(_CURVE_LEFT),
    _warning(pictograms.DOUBLE_CURVE),
    _warning(pictograms.BUMPS),
    _warning(pictograms.SKIDDING_CAR),
    _warning(pictograms.NARROWS),
    _warning(pictograms.WORKER),
    _warning(pictograms.LIGHTS),
    _warning(pictograms.PEDESTRIAN),
    _warning(pictograms.CHILDREN),
    _warning(pictograms.BICYCLE),
    _warning(pictograms.SNOWFLAKE),
    _warning(pictograms.DEER),
    _end(()),
    _TURN_RIGHT,
    flip_horizontally(_TURN_RIGHT),
    _MANDATORY + pictograms.AHEAD,
    _STRAIGHT_OR_RIGHT,
    flip_horizontally(_STRAIGHT_OR_RIGHT),
    _KEEP_RIGHT,
    flip_horizontally(_KEEP_RIGHT),
    _MANDATORY + pictograms.ROUNDABOUT,
    _end(_pair(pictograms.car(_GRAY), pictograms.car(_GRAY))),
    _end(_pair(pictograms.lorry(_GRAY), pictograms.car(_GRAY))),
)


@functools.lru_cache(maxsize=len(FACES))
def face(label: int, resolution: int) -> Image.Image:
    """Return a sign's face, painted by ``shapes.rasterize``; it is cached, so do not write to it."""
    return rasterize(FACES[label], resolution)
