"""The pictograms of signs: lettering, arrows, vehicles, people, animals."""

from __future__ import annotations

from gansmith.data.signs.shapes import Drawing, disc, flip_horizontally, polygon, stroke, transform

__all__ = [
    "AHEAD",
    "BICYCLE",
    "BLACK",
    "BUMPS",
    "CAUTION",
    "CHILDREN",
    "CURVE_LEFT",
    "DEER",
    "DOUBLE_CURVE",
    "GREEN",
    "LIGHTS",
    "LORRY_SIDE",
    "NARROWS",
    "PEDESTRIAN",
    "RED",
    "RIGHT_OF_WAY",
    "ROUNDABOUT",
    "SKIDDING_CAR",
    "SNOWFLAKE",
    "STRAIGHT_OR_RIGHT",
    "TURN_RIGHT",
    "WHITE",
    "WORKER",
    "YELLOW",
    "car",
    "lettering",
    "lorry",
]

WHITE, BLACK = "#f2f2ee", "#16161a"
RED, YELLOW, GREEN = "#c0141f", "#f2b01c", "#149060"

# --- lettering -----------------------------------------------------------------------------------------------

# Paths of a pen in a box of 50 by 100, modelled on the narrow upright capitals of road signs.
_GLYPHS = {
    "0": "M 0 50 L 0 30 C 0 -10 50 -10 50 30 L 50 70 C 50 110 0 110 0 70 L 0 50",
    "1": "M 0 26 L 26 2 L 26 107",
    "2": "M 2 28 C 2 -10 49 -10 49 27 C 49 50 18 66 5 100 L 56 100",
    "3": "M 1 15 C 9 -7 47 -8 47 24 C 47 43 37 48 22 48 M 22 48 C 40 48 50 57 50 74 C 50 109 8 110 -1 85",
    "5": "M 49 0 L 9 0 L 5 48 C 20 32 50 36 50 68 C 50 109 7 110 -1 84",
    "6": "M 38 -7 C 18 22 0 44 0 69 C 0 111 50 111 50 69 C 50 32 10 32 2 60",
    "7": "M -5 0 L 49 0 C 30 34 17 68 15 107",
    "8": "M 25 46 C -4 46 -4 0 25 0 C 54 0 54 46 25 46 C -9 46 -9 100 25 100 C 59 100 59 46 25 46",
    "O": "M 0 50 L 0 30 C 0 -10 50 -10 50 30 L 50 70 C 50 110 0 110 0 70 L 0 50",
    "P": "M 4 107 L 4 0 L 26 0 C 58 0 58 56 26 56 L 4 56",
    "S": "M 47 24 C 42 -9 3 -8 3 25 C 3 56 50 42 50 74 C 50 109 5 109 1 76",
    "T": "M -6 0 L 56 0 M 25 0 L 25 107",
}


def lettering(text: str, height: float, advance: float, width: float, colour: str = BLACK) -> Drawing:
    """Draw a centred word.

    Args:
        text: characters of ``_GLYPHS``.
        height: height of the characters, in hundredths of the plate's radius.
        advance: distance from one character to the next.
        width: width of the pen.
        colour: colour of the pen.
    """
    drawing: Drawing = ()
    scale = height / 100
    for index, character in enumerate(text):
        x = (index - (len(text) - 1) / 2) * advance - 25 * scale
        drawing += transform(stroke(_GLYPHS[character], width / scale, colour), x, -50 * scale, scale)
    return drawing


# --- arrows of the round blue signs --------------------------------------------------------------------------

_HEAD = polygon("M 0 -34 L 44 8 L 31 21 L 0 -8 L -31 21 L -44 8", WHITE) + polygon("M 0 -30 L 27 4 L -27 4", WHITE)

AHEAD = transform(_HEAD, 0, -40) + stroke("M 0 -45 L 0 76", 22, WHITE)
TURN_RIGHT = transform(_HEAD, 38, -28, turn=90) + stroke(
    "M -36 70 L -36 12 C -36 -20 -16 -28 0 -28 L 42 -28", 24, WHITE
)
STRAIGHT_OR_RIGHT = (
    transform(_HEAD, -22, -48, 0.84)
    + stroke("M -22 -50 L -22 76", 21, WHITE)
    + transform(_HEAD, 47, 10, 0.8, turn=90)
    + stroke("M -22 42 C -22 18 -6 10 12 10 L 48 10", 20, WHITE)
)
_ARC = flip_horizontally(
    stroke("M 44.1 23.5 C 34.2 42.1 13.9 52.4 -7 49.5", 18, WHITE)
    + transform(polygon("M 0 -30 L 27 8 L -27 8", WHITE), -11, 48, turn=-75)
)
ROUNDABOUT = _ARC + transform(_ARC, turn=120) + transform(_ARC, turn=240)

# --- vehicles ------------------------------------------------------------------------------------------------


def car(colour: str) -> Drawing:
    """Draw a car from behind."""
    return (
        polygon("M -27 12 L -27 -7 L -21 -10 L -15 -25 L 15 -25 L 21 -10 L 27 -7 L 27 12", colour, 3)
        + polygon("M -23 12 L -12 12 L -12 25 L -23 25 M 12 12 L 23 12 L 23 25 L 12 25", colour)
        + polygon("M -14 -10 L -10 -20 L 10 -20 L 14 -10", WHITE)
    )


def lorry(colour: str) -> Drawing:
    """Draw a lorry from behind."""
    return polygon("M -25 -41 L 28 -41 L 28 10 L -25 10", colour, 2) + polygon(
        "M -22 10 L -8 10 L -8 25 L -22 25 M 10 10 L 24 10 L 24 25 L 10 25", colour
    )


LORRY_SIDE = (
    polygon("M -17 -32 L 54 -32 L 54 12 L -17 12", BLACK)
    + polygon("M -56 14 L -56 -6 L -47 -22 L -23 -22 L -23 14 M -56 14 L 54 14 L 54 20 L -56 20", BLACK)
    + polygon("M -49 -5 L -43 -16 L -33 -16 L -33 -5", WHITE)
    + disc(-39, 22, 15, WHITE)
    + disc(33, 22, 15, WHITE)
    + disc(-39, 22, 11, BLACK)
    + disc(33, 22, 11, BLACK)
)

# --- warnings, around the triangle's centroid, which leaves 43 to either side at y = 0, and 36 below ---------

RIGHT_OF_WAY = polygon("M 0 -44 L 19 -19 L 19 37 L 0 30 L -19 37 L -19 -19", BLACK) + polygon(
    "M -37 0 L 0 -6 L 37 0 L 37 13 L 0 9 L -37 13", BLACK
)
CAUTION = polygon("M -9 -44 L 9 -44 L 5 12 L -5 12", BLACK, 2) + disc(0, 27, 9, BLACK)
CURVE_LEFT = stroke("M 17 37 L 17 12 C 17 -6 4 -10 -8 -10", 17, BLACK) + polygon("M -38 -8 L -6 -31 L -6 11", BLACK)
DOUBLE_CURVE = stroke("M 12 37 L 12 0 L -11 12 L -11 -24", 15, BLACK) + polygon("M -12 -46 L 5 -21 L -28 -21", BLACK)
BUMPS = polygon(
    "M -46 34 L -46 24 C -34 24 -36 4 -21 4 C -6 4 -10 21 0 21 C 10 21 6 4 21 4 C 36 4 34 24 46 24 L 46 34", BLACK
)
SKIDDING_CAR = (
    transform(
        polygon("M -25 -5 L 25 -5 L 25 10 L -25 10", BLACK, 3)
        + polygon("M -22 9 L -12 9 L -12 20 L -22 20 M 12 9 L 22 9 L 22 20 L 12 20", BLACK)
        + stroke("M -21 -5 L -14 -22 L 14 -22 L 21 -5", 6, BLACK),
        *(2, -8, 0.92, 14),
    )
    + stroke("M -32 35 C 2 35 -30 19 -6 18", 6, BLACK)
    + stroke("M -2 36 C 36 36 4 23 28 20", 6, BLACK)
)
NARROWS = stroke("M -15 37 L -15 -27", 13, BLACK) + stroke("M 22 37 L 22 17 L 8 2 L 8 -27", 13, BLACK)
LIGHTS = disc(0, -28, 13, RED) + disc(0, 1, 13, YELLOW) + disc(0, 30, 13, GREEN)
WORKER = (
    disc(-4, -31, 8, BLACK)
    + polygon("M -16 -22 L -4 -22 L 4 6 L -12 8", BLACK)
    + stroke("M -9 2 L -15 18 L -24 36 M -6 2 L -1 16 L -2 37", 9, BLACK)
    + stroke("M -8 -18 L 6 -4 L 12 2", 7, BLACK)
    + stroke("M -16 -8 L 28 22", 4, BLACK)
    + polygon("M 6 37 L 26 12 L 36 18 L 50 37", BLACK)
)
PEDESTRIAN = (
    disc(1, -39, 8, BLACK)
    + polygon("M -7 -29 L 8 -29 L 9 2 L -7 2", BLACK)
    + stroke("M -3 -1 L -9 18 L -19 36 M 4 -1 L 9 16 L 17 36", 9, BLACK)
    + stroke("M -4 -26 L -16 -10 L -17 2 M 6 -26 L 17 -12 L 18 0", 6, BLACK)
)
_RUNNER = (
    disc(3, -32, 10, BLACK)
    + polygon("M -8 -21 L 9 -21 L 8 8 L -7 8", BLACK)
    + stroke("M -3 3 L -12 20 L -26 26 M 4 3 L 12 19 L 9 38", 10, BLACK)
    + stroke("M 5 -18 L 24 -8 M -4 -18 L -20 -4", 8, BLACK)
)
CHILDREN = transform(_RUNNER, -23, 15, 0.6) + transform(_RUNNER, 13, 4, 0.88)
BICYCLE = (
    disc(-24, 17, 19, BLACK)
    + disc(24, 17, 19, BLACK)
    + disc(-24, 17, 13.5, WHITE)
    + disc(24, 17, 13.5, WHITE)
    + stroke("M -24 17 L -12 -9 L 15 -9 L 0 17 L -24 17 M 0 17 L -14 -16", 5, BLACK)
    + stroke("M 24 17 L 12 -19 L 22 -19 M -21 -16 L -7 -16", 5, BLACK)
)
_BRANCH = stroke("M 0 0 L 0 -36 M -10 -35 L 0 -25 L 10 -35", 8, BLACK)
SNOWFLAKE = tuple(shape for turn in range(0, 360, 60) for shape in transform(_BRANCH, 0, 2, 0.93, turn))
_LEAPING = (
    polygon("M -20 -20 L -8 -14 C 4 -8 18 -6 24 0 C 30 8 30 14 24 16 L 10 12 L -8 6 C -14 2 -14 -6 -16 -10", BLACK)
    + polygon("M -33 -17 L -22 -29 L -13 -25 L -10 -10 L -20 -14 L -28 -12", BLACK)
    + stroke("M -20 -26 L -21 -38 L -27 -44 M -16 -26 L -13 -38 L -16 -46", 4, BLACK)
    + stroke("M -10 2 L -26 6 L -36 1 M -6 5 L -20 14 L -31 12", 5, BLACK)
    + stroke("M 22 10 L 34 20 L 38 34 M 18 12 L 26 24 L 27 36", 5, BLACK)
)
DEER = transform(_LEAPING, 5, 5, 0.9)
