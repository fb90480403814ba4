"""The 43 faces can be told apart, and those that mirror each other do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.signs.faces import FACES, face

LEFT_AND_RIGHT = [
    ("dangerous curve left", "dangerous curve right"),
    ("turn left ahead", "turn right ahead"),
    ("straight or left", "straight or right"),
    ("keep left", "keep right"),
]


def pixels(label: int, resolution: int) -> np.ndarray:
    return np.asarray(face(label, resolution)).astype(int)


def test_every_class_has_a_face() -> None:
    assert len(FACES) == len(GTSRB_CLASSES)


def test_faces_of_32_pixel_pictures_all_differ() -> None:
    faces = [pixels(label, 32) for label in range(len(FACES))]
    nearest = min(np.abs(one - other).mean() for one, other in itertools.combinations(faces, 2))
    assert nearest > 2.5  # a 30 and an 80: 2.8


@pytest.mark.parametrize(("left", "right"), LEFT_AND_RIGHT)
def test_left_and_right_mirror_each_other(left: str, right: str) -> None:
    one, other = (pixels(GTSRB_CLASSES.index(name), 128) for name in (left, right))
    assert np.abs(one[:, ::-1] - other).mean() < 1
    assert np.abs(one - other).mean() > 5


@pytest.mark.parametrize(
    ("name", "left_is_whiter"),
    [("turn left ahead", True), ("keep left", False), ("dangerous curve left", False)],
)
def test_left_points_left(name: str, left_is_whiter: bool) -> None:
    """Told from the arrow's head in the half where it points."""
    upper = pixels(GTSRB_CLASSES.index(name), 128)[32:64, :, :3].sum(-1)
    assert (upper[:, :64].sum() > upper[:, 64:].sum()) == left_is_whiter


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("speed limit 50", (192, 20, 31)),
        ("stop", (192, 20, 31)),
        ("yield", (192, 20, 31)),
        ("bumpy road", (192, 20, 31)),
        ("priority road", (242, 176, 28)),
        ("roundabout", (20, 80, 168)),
    ],
)
def test_plates_have_their_colours(name: str, colour: tuple[int, int, int]) -> None:
    shown = pixels(GTSRB_CLASSES.index(name), 64)
    same = (np.abs(shown[..., :3] - colour).max(-1) < 8) & (shown[..., 3] == 255)
    assert same.mean() > 0.1


@pytest.mark.parametrize("label", range(len(FACES)))
def test_the_plate_ends_inside_the_picture(label: int) -> None:
    alpha = pixels(label, 64)[..., 3]
    assert alpha[[0, -1]].max() == alpha[:, [0, -1]].max() == 0
    assert alpha.max() == 255
    rows, columns = (np.flatnonzero(alpha.max(axis) > 128) for axis in (1, 0))
    assert columns[-1] - columns[0] >= 55 or rows[-1] - rows[0] >= 55
