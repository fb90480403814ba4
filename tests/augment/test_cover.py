"""Cutout: one box of half the sides, whose centre is anywhere, and the middle of the range in it."""

from __future__ import annotations

import pytest
import torch

from gansmith.augment.cover import cutout, fill_hidden, mask_boxes
from gansmith.images.pixels import SIGNED, UNIT, ValueRange
from gansmith.types import ImageSpec

NUM = 4000


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (5, 1), (3, 12)])
def test_boxes_are_half_the_sides_and_centred_anywhere(height: int, width: int) -> None:
    boxes = cutout(NUM, ImageSpec(height=height, width=width, channels=1), torch.Generator().manual_seed(0))
    for side, start, end in ((width, boxes[:, 0], boxes[:, 2]), (height, boxes[:, 1], boxes[:, 3])):
        assert (end - start == (side + 1) // 2).all()
        centres = (start + (side + 1) // 2 // 2).unique(return_counts=True)
        most = side if (side + 1) // 2 % 2 == 0 else side - 1  # as DiffAugment's: randint(0, side + (1 - box % 2))
        assert centres[0].tolist() == list(range(most + 1))
        assert centres[1].min() > 0.7 * centres[1].float().mean()


def test_a_box_covers_what_lies_in_it_and_an_empty_one_nothing() -> None:
    hidden = mask_boxes(torch.tensor([[1.0, 2, 3, 4], [-2, -1, 1, 2], [0, 0, 0, 0]]), 4, 5)
    expected = torch.zeros(3, 4, 5, dtype=torch.bool)
    expected[0, 2:4, 1:3] = True
    expected[1, :2, :1] = True
    assert torch.equal(hidden, expected)


@pytest.mark.parametrize(("value_range", "blank"), [(SIGNED, 0.0), (UNIT, 0.5)])
def test_blank_is_the_middle_of_the_range(value_range: ValueRange, blank: float) -> None:
    images = torch.randn(2, 3, 4, 5)
    hidden = torch.rand(2, 4, 5) < 0.5
    found = fill_hidden(images, hidden, value_range)
    assert torch.equal(found, torch.where(hidden[:, None], blank, images))
