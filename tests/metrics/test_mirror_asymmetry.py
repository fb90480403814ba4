"""What can be told from its mirror image, and what may be mirrored."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gansmith.augment import SAFE_OPERATIONS
from gansmith.data.folder import Folder
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.source import Source
from gansmith.data.store import Preparation, Store, prepare
from gansmith.metrics import mirror_asymmetry
from gansmith.metrics.metric import Estimate
from gansmith.metrics.mirror_asymmetry import choose_operations, measure_mirror_asymmetry
from gansmith.types import ImageSpec, PixelArray

SAFE = SAFE_OPERATIONS["photos"]


def store(images: PixelArray) -> Store:
    _, height, width, channels = images.shape
    return Store(
        path=Path("nowhere"),
        title="hooks",
        kind="photos",
        spec=ImageSpec(height=height, width=width, channels=channels),
        images=images,
        labels=None,
        class_names=(),
        groups=None,
        digest="",
    )


def hooks(num: int, *, either_side: bool) -> PixelArray:
    """The letter L, or as often its mirror image, in any colour and at any place."""
    draw = np.random.default_rng(0)
    images = np.tile(draw.integers(0, 256, (num, 1, 1, 3), np.uint8), (1, 20, 16, 1))
    for image, (down, right) in zip(images, draw.integers(1, 7, (num, 2)), strict=True):
        colour = 255 - image[0, 0]
        image[down : down + 12, right : right + 2] = colour
        image[down + 10 : down + 12, right : right + 8] = colour
        if either_side and draw.random() < 0.5:
            image[:] = image[:, ::-1].copy()
    return images


def found(images: PixelArray) -> Estimate:
    """The answer of a network that is smaller than usual and learns for a shorter time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror_asymmetry, "WIDTH", 12)
        patch.setattr(mirror_asymmetry, "KIMG", 4.0)
        told = measure_mirror_asymmetry(store(images), np.arange(len(images)))
    assert told is not None
    return told


def test_only_what_has_one_side_is_told() -> None:
    one_sided, two_sided = (found(hooks(400, either_side=either_side)) for either_side in (False, True))
    assert one_sided.value > 0.9 and one_sided.low > 0.8
    assert two_sided.low < 0.5
    assert choose_operations("photos", 3, lambda: two_sided) == (SAFE, "")
    rest, remark = choose_operations("photos", 3, lambda: one_sided)
    assert rest == tuple(name for name in SAFE if name != "mirror")
    assert remark == f"no mirror, as {one_sided.value:.0%} can be told from their mirror images"


def test_the_grain_of_a_format_is_not_taken_for_a_side() -> None:
    images = np.random.default_rng(0).integers(0, 200, (300, 64, 64, 1), np.uint8)
    images[:, :, ::8] += 50  # as blocks leave it, at the left edge of each
    assert found(images).value < 0.6


def test_nobody_can_say_of_few_images_or_narrow_ones() -> None:
    assert measure_mirror_asymmetry(store(hooks(60, either_side=False)), np.arange(60)) is None
    assert choose_operations("photos", 3, lambda: None) == (SAFE, "")
    assert found(hooks(300, either_side=False)[:, :, :1]).value <= 0.6


def test_it_is_not_asked_where_nothing_would_be_mirrored() -> None:
    assert choose_operations("digits", 1, lambda: pytest.fail("asked")) == (SAFE_OPERATIONS["digits"], "")
    assert choose_operations("photos", 3, None) == (SAFE, "")


@pytest.mark.slow
@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_signs_have_sides_and_flowers_have_none() -> None:
    root = Path(os.environ["GANSMITH_DATA"])
    sources: list[tuple[Source, int, bool]] = [
        (Gtsrb(root=root / "gtsrb"), 32, True),
        (Folder(path=root / "folder" / "flowers_128.zip"), 128, False),  # as JPEG keeps them
    ]
    for source, size, one_sided in sources:
        images = prepare(source, Preparation(size=(size, size)))
        told = measure_mirror_asymmetry(images, np.arange(len(images)))
        assert ("mirror" not in choose_operations("photos", 3, lambda told=told: told)[0]) == one_sided
