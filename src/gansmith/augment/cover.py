"""Operations that hide a part of an image: it becomes mid-gray, halfway between black and white."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gansmith.images.pixels import ValueRange
from gansmith.types import Images, ImageSpec

__all__ = ["cutout", "fill_hidden", "mask_boxes"]


def cutout(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 4"]:
    """Draw boxes (left, top, right, bottom) of half the sides, centred anywhere in the image (Zhao et al. 2020)."""
    size = torch.tensor([spec.width, spec.height])
    box = (size + 1) // 2
    centre = (torch.rand(num, 2, generator=stream) * (size + 1 - box % 2)).floor()
    start = centre - box // 2
    return torch.cat([start, start + box], dim=1)


def mask_boxes(boxes: Float[Tensor, "n 4"], height: int, width: int) -> Bool[Tensor, "n h w"]:
    """Return a mask of the pixels that each box covers; a box of four zeros covers none."""
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    x, y = (torch.arange(side, device=boxes.device) for side in (width, height))
    return ((x >= left) & (x < right))[:, None] & ((y >= top) & (y < bottom))[:, :, None]


def fill_hidden(images: Images, hidden: Bool[Tensor, "n h w"], value_range: ValueRange) -> Images:
    """Fill the hidden pixels with mid-gray."""
    blank, middle = hidden[:, None].to(images.dtype), sum(value_range) / 2
    # Several times faster than torch.where on a CPU, and as exact, since one of the terms is 0.
    kept = images * (1 - blank)
    return kept + middle * blank if middle else kept
