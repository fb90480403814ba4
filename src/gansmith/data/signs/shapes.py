"""Flat shapes as values: written like SVG paths, transformed, and drawn with Pillow.

Coordinates are hundredths of the plate's radius: x to the right and y down, the plate's centre at 0 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = [
    "REACH",
    "Drawing",
    "Shape",
    "disc",
    "flip_horizontally",
    "polygon",
    "rasterize",
    "stroke",
    "transform",
]

Points: TypeAlias = NDArray[np.float64]  # [m 2], x and y

REACH = 1.06  # a drawing covers [-REACH, REACH] plate radii, so that resampling sees the outside of the edge
_OVERSAMPLING = 4  # Pillow draws without antialiasing
_CURVE_STEPS = np.linspace(0, 1, 17)[1:, None]
_CIRCLE = np.exp(2j * np.pi * np.arange(72) / 72).view(np.float64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Shape:
    """Lines of one colour.

    Args:
        lines: polylines.
        colour: a colour in Pillow's notation.
        width: width of the pen; 0 fills the lines as polygons.
    """

    lines: tuple[Points, ...]
    colour: str
    width: float = 0


Drawing: TypeAlias = tuple[Shape, ...]  # painted in order, the first one lowest


def polygon(path: str, colour: str, rounding: float = 0) -> Drawing:
    """Draw a polygon; a pen of the radius ``rounding`` rounds its corners and enlarges it by this radius."""
    shape = Shape(_traced(path), colour)
    return (shape, replace(shape, lines=_closed(shape.lines), width=2 * rounding)) if rounding else (shape,)


def stroke(path: str, width: float, colour: str) -> Drawing:
    """Draw a line with flat ends and round joints."""
    return (Shape(_traced(path), colour, width),)


def disc(x: float, y: float, radius: float, colour: str) -> Drawing:
    """Draw a filled circle."""
    return (Shape((_CIRCLE * radius + (x, y),), colour),)


def transform(drawing: Drawing, x: float = 0, y: float = 0, scale: float = 1, turn: float = 0) -> Drawing:
    """Rotate a drawing clockwise by ``turn`` degrees about the origin, scale it, then move it by (x, y)."""
    cos, sin = scale * np.cos(np.radians(turn)), scale * np.sin(np.radians(turn))
    matrix = np.array([[cos, sin], [-sin, cos]])
    return tuple(
        replace(shape, lines=tuple(line @ matrix + (x, y) for line in shape.lines), width=shape.width * scale)
        for shape in drawing
    )


def flip_horizontally(drawing: Drawing) -> Drawing:
    """Mirror a drawing left to right."""
    return tuple(replace(shape, lines=tuple(line * (-1, 1) for line in shape.lines)) for shape in drawing)


def rasterize(drawing: Drawing, resolution: int) -> Image.Image:
    """Paint a drawing, antialiased, on a transparent square.

    Args:
        drawing: the drawing.
        resolution: side of the square in pixels; it covers ``2 * REACH`` plate radii.

    Returns:
        An image of mode RGBa: colours are premultiplied by alpha, for resampling and compositing.
    """
    side = resolution * _OVERSAMPLING
    image = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(image)
    pixels = side / (2 * REACH * 100)
    for shape in drawing:
        for line in shape.lines:
            _paint(pen, [(x, y) for x, y in line * pixels + side / 2], shape.colour, shape.width * pixels)
    return image.convert("RGBa").reduce(_OVERSAMPLING)


def _paint(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: str, width: float) -> None:
    if not width:
        pen.polygon(points, colour)
        return
    pen.line(points, colour, round(width))
    for x, y in points[1:-1]:
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), colour)


def _closed(lines: Iterable[Points]) -> tuple[Points, ...]:
    """Extend each line to its start and one point further, so that the first corner gets a joint too."""
    return tuple(np.concatenate([line, line[:2]]) for line in lines)


def _traced(path: str) -> tuple[Points, ...]:
    """Return the polylines of a path with the commands M (start, then lines), C (cubic curves) and L (lines)."""
    lines: list[Points] = []
    for command, numbers in re.findall(r"([MLC])([^MLC]*)", path):
        points = np.array(numbers.split(), np.float64).reshape(-1, 2)
        if command == "M":
            lines.append(points)
        else:
            lines[-1] = np.concatenate([lines[-1], points if command == "L" else _curves(lines[-1][-1], points)])
    return tuple(lines)


def _curves(start: Points, controls: Points) -> Points:
    pieces = []
    for first, second, end in controls.reshape(-1, 3, 2):
        t, s = _CURVE_STEPS, 1 - _CURVE_STEPS
        pieces.append(s**3 * start + 3 * s * s * t * first + 3 * s * t * t * second + t**3 * end)
        start = end
    return np.concatenate(pieces)
