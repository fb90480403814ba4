"""Operations on colour: what happens to a pixel wherever it stands, composed into one matrix an image.

A pixel is a row (red, green, blue, mean, 1) in [-1, 1], the mean being that of all colours of its image; a matrix
[5 5] acts on it from the right. The operations draw such matrices for a batch.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.images.pixels import ValueRange
from gansmith.types import Images, ImageSpec

__all__ = ["brightness", "color", "contrast", "hue", "luma_flip", "recoloured", "saturation"]

# A colour is its part along the gray axis and its part across: the identity is the sum of both.
ALONG = torch.full((3, 3), 1 / 3)
ACROSS = torch.eye(3) - ALONG
QUARTER = torch.tensor([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]]) / math.sqrt(3)  # turns what is across by 90 degrees


def color(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Brightness, saturation and contrast at once, the last about the image's mean (Zhao et al. 2020, DiffAugment)."""
    lift, saturated, contrasted = torch.rand(3, num, 1, 1, generator=stream)
    slope = contrasted + 0.5
    matrix = _linear(slope * (ALONG + 2 * saturated * ACROSS))
    matrix[:, 3, :3] = 1 - slope[:, 0]
    matrix[:, 4, :3] = lift[:, 0] - 0.5
    return matrix


def brightness(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Lighter or darker by a normal number of deviation 0.2 (as all below: Karras et al. 2020, appendix B)."""
    matrix = _linear(torch.eye(3).expand(num, 3, 3))
    matrix[:, 4, :3] = 0.2 * torch.randn(num, 1, generator=stream)
    return matrix


def contrast(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """All colours times 2 to the power of a normal number of deviation 0.5."""
    return _linear(torch.exp2(0.5 * torch.randn(num, 1, 1, generator=stream)) * torch.eye(3))


def luma_flip(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Light becomes dark and dark light, hues staying what they are, in every other image."""
    return _linear(ACROSS + ALONG * (1 - 2 * torch.randint(2, (num, 1, 1), generator=stream)))


def hue(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Hues turned by any angle."""
    angle = 2 * math.pi * torch.rand(num, 1, 1, generator=stream)
    return _linear(ALONG + angle.cos() * ACROSS + angle.sin() * QUARTER)


def saturation(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """What is not gray times 2 to the power of a normal number."""
    return _linear(ALONG + torch.exp2(torch.randn(num, 1, 1, generator=stream)) * ACROSS)


def _linear(colours: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 5 5"]:
    matrix = torch.eye(5).repeat(len(colours), 1, 1)
    matrix[:, :3, :3] = colours
    return matrix


def recoloured(images: Images, matrices: Float[Tensor, "n 5 5"], value_range: ValueRange) -> Images:
    """Apply a matrix to each image; alpha stays as it is, and gray is the mean of what its colours become.

    Args:
        images: gray, RGB or RGBA.
        matrices: on the images' device.
        value_range: of the images.
    """
    colours = images[:, :3]
    num = colours.shape[1]
    middle, half = (value_range[0] + value_range[1]) / 2, (value_range[1] - value_range[0]) / 2
    # What is added is computed, not what results, so that the identity leaves every bit alone.
    change = matrices[:, :, :3].mT - torch.eye(3, 5, dtype=images.dtype, device=images.device)
    if num == 1:
        change = torch.cat([change[:, :, :3].sum(dim=2, keepdim=True), change[:, :, 3:]], dim=2).mean(
            dim=1, keepdim=True
        )
    slopes, of_mean, constant = torch.split(change, [num, 1, 1], dim=2)
    mean = colours.mean(dim=(1, 2, 3))[:, None, None]
    offset = half * constant + of_mean * (mean - middle) - middle * slopes.sum(dim=2, keepdim=True)
    pixels = colours.flatten(2)
    found = (pixels + torch.baddbmm(offset, slopes, pixels)).view(colours.shape)
    return found if num == images.shape[1] else torch.cat([found, images[:, 3:]], dim=1)
