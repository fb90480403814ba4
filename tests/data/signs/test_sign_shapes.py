"""Drawings have the areas, places and colours that their paths say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gansmith.data.signs.shapes import (
    REACH,
    Drawing,
    disc,
    flip_horizontally,
    polygon,
    rasterize,
    stroke,
    transform,
)

RESOLUTION = 212  # one pixel is one hundredth of the plate's radius


def coverage(drawing: Drawing) -> np.ndarray:
    """Alpha in [0, 1], [y x], one entry per hundredth."""
    assert 2 * REACH * 100 == RESOLUTION
    return np.asarray(rasterize(drawing, RESOLUTION))[..., 3] / 255


def centre(drawing: Drawing) -> tuple[float, float]:
    alpha = coverage(drawing)
    y, x = (np.arange(RESOLUTION) + 0.5 - RESOLUTION / 2,) * 2
    return float((alpha.sum(0) * x).sum() / alpha.sum()), float((alpha.sum(1) * y).sum() / alpha.sum())


@pytest.mark.parametrize(
    ("drawing", "area"),
    [
        (polygon("M -20 -30 L 20 -30 L 20 30 L -20 30", "black"), 40 * 60),
        (polygon("M -20 -30 20 -30 20 30 -20 30", "black"), 40 * 60),
        (polygon("M -30 -30 L 30 -30 L 30 30 L -30 30", "black", 10), 80 * 80 - (4 - np.pi) * 100),
        (disc(10, 5, 40, "black"), np.pi * 1600),
        (stroke("M -50 0 L 50 0", 12, "black"), 100 * 12),
        (stroke("M -50 0 L 0 0 M 0 20 L 50 20", 12, "black"), 100 * 12),
        (polygon("M 0 -40 C 22.1 -40 40 -22.1 40 0 C 40 22.1 22.1 40 0 40", "black"), np.pi * 800),
    ],
)
def test_area_is_the_paths(drawing: Drawing, area: float) -> None:
    assert coverage(drawing).sum() == pytest.approx(area, rel=0.04)


def test_a_strokes_joint_is_round() -> None:
    alpha = coverage(stroke("M -40 0 L 0 0 L 0 40", 20, "black"))
    outer_corner = alpha[RESOLUTION // 2 - 10 : RESOLUTION // 2, RESOLUTION // 2 : RESOLUTION // 2 + 10]
    assert outer_corner.sum() == pytest.approx(np.pi * 100 / 4, rel=0.08)


def test_placed_turns_clockwise_then_scales_then_moves() -> None:
    assert centre(transform(disc(0, -40, 10, "black"), 5, 30, scale=0.5, turn=90)) == pytest.approx((25, 30), abs=0.3)


def test_placed_scales_the_pen() -> None:
    assert coverage(transform(stroke("M -40 0 L 40 0", 20, "black"), scale=0.5)).sum() == pytest.approx(400, rel=0.05)


def test_mirrored_exchanges_left_and_right() -> None:
    assert centre(flip_horizontally(disc(30, 10, 10, "black"))) == pytest.approx((-30, 10), abs=0.3)


def test_later_shapes_cover_earlier_ones() -> None:
    image = rasterize(disc(0, 0, 50, "#ff0000") + disc(0, 0, 20, "#0000ff"), RESOLUTION)
    assert image.getpixel((106, 106)) == (0, 0, 255, 255)
    assert image.getpixel((106, 66)) == (255, 0, 0, 255)
    assert image.getpixel((2, 2)) == (0, 0, 0, 0)


def test_edges_are_antialiased_and_colours_multiplied_by_alpha() -> None:
    image = rasterize(disc(0, 0, 50, "#ff8000"), 40)
    assert image.mode == "RGBa"
    pixels = np.asarray(image).astype(int)
    assert len(np.unique(pixels[..., 3])) > 5
    np.testing.assert_allclose(pixels[..., 1], pixels[..., 3] * 128 / 255, atol=1.5)


def test_the_smallest_drawing_is_one_pixel() -> None:
    image: Image.Image = rasterize(disc(0, 0, 100, "black"), 1)
    assert image.size == (1, 1)
