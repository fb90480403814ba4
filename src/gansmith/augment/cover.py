"""Operations that hide a part of an image: it becomes blank, which is midway between darkest and lightest."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gansmith.images.pixels import ValueRange
from gansmith.types import Images, ImageSpec

__all__ = ["blanked", "cutout", "inside"]


def cutout(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 4"]:
    """A box of half the sides, its centre anywhere in the image (Zhao et al. 2020): left, top, right, bottom."""
    size = torch.tensor([spec.width, spec.height])
    box = (size + 1) // 2
    centre = (torch.rand(num, 2, generator=stream) * (size + 1 - box % 2)).floor()
    start = centre - box // 2
    return torch.cat([start, start + box], dim=1)


def inside(boxes: Float[Tensor, "n 4"], height: int, width: int) -> Bool[Tensor, "n h w"]:
    """Which pixels a box covers; none where all four of its numbers are 0."""
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    x, y = (torch.arange(side, device=boxes.device) for side in (width, height))
    return ((x >= left) & (x < right))[:, None] & ((y >= top) & (y < bottom))[:, :, None]


def blanked(images: Images, hidden: Bool[Tensor, "n h w"], value_range: ValueRange) -> Images:
    """Images without what is hidden."""
    blank, middle = hidden[:, None].to(images.dtype), sum(value_range) / 2
    # Several times faster than torch.where on a processor, and as exact: one of the terms is 0.
    kept = images * (1 - blank)
    return kept + middle * blank if middle else kept
