"""Colour operations, which treat every pixel alike: one matrix per image, a product of random matrices.

A pixel is a row (red, green, blue, mean, 1) in [-1, 1], where mean is the mean of all colour values of the image. It is
multiplied by a matrix [5 5] from the right. The operations draw such matrices for a batch.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.images.pixels import ValueRange
from gansmith.types import Images, ImageSpec

__all__ = ["brightness", "color", "contrast", "hue", "luma_flip", "recolour", "saturation"]

# Projections of a colour on the gray axis and on the plane across it; their sum is the identity.
ALONG = torch.full((3, 3), 1 / 3)
ACROSS = torch.eye(3) - ALONG
QUARTER = torch.tensor([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]]) / math.sqrt(3)  # rotates the part across by 90 degrees


def color(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Draw brightness, saturation and contrast together, as in DiffAugment (Zhao et al. 2020).

    Brightness adds a uniform number in [-0.5, 0.5], saturation is scaled by one in [0, 2], contrast about the image's
    mean by one in [0.5, 1.5].
    """
    lift, saturated, contrasted = torch.rand(3, num, 1, 1, generator=stream)
    slope = contrasted + 0.5
    matrix = _linear(slope * (ALONG + 2 * saturated * ACROSS))
    matrix[:, 3, :3] = 1 - slope[:, 0]
    matrix[:, 4, :3] = lift[:, 0] - 0.5
    return matrix


def brightness(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Draw a change of brightness: add a normal number of standard deviation 0.2.

    This and the operations below follow Karras et al. (2020), appendix B.
    """
    matrix = _linear(torch.eye(3).expand(num, 3, 3))
    matrix[:, 4, :3] = 0.2 * torch.randn(num, 1, generator=stream)
    return matrix


def contrast(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Draw a change of contrast: scale all colours by 2 to the power of a normal number of standard deviation 0.5."""
    return _linear(torch.exp2(0.5 * torch.randn(num, 1, 1, generator=stream)) * torch.eye(3))


def luma_flip(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Draw a flip of luma with probability 1/2: light becomes dark, and hues stay the same."""
    return _linear(ACROSS + ALONG * (1 - 2 * torch.randint(2, (num, 1, 1), generator=stream)))


def hue(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Draw a rotation of hues by a uniform angle."""
    angle = 2 * math.pi * torch.rand(num, 1, 1, generator=stream)
    return _linear(ALONG + angle.cos() * ACROSS + angle.sin() * QUARTER)


def saturation(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 5 5"]:
    """Draw a change of saturation: scale the part across the gray axis by 2 to the power of a normal number."""
    return _linear(ALONG + torch.exp2(torch.randn(num, 1, 1, generator=stream)) * ACROSS)


def _linear(colours: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 5 5"]:
    matrix = torch.eye(5).repeat(len(colours), 1, 1)
    matrix[:, :3, :3] = colours
    return matrix


def recolour(images: Images, matrices: Float[Tensor, "n 5 5"], value_range: ValueRange) -> Images:
    """Apply a colour matrix to each image.

    Alpha is not changed. A gray image becomes the mean of the three colours that result.

    Args:
        images: gray, RGB or RGBA.
        matrices: on the images' device.
        value_range: the values of black and white in the images.
    """
    colours = images[:, :3]
    num = colours.shape[1]
    middle, half = (value_range[0] + value_range[1]) / 2, (value_range[1] - value_range[0]) / 2
    # Compute the change and add it, so that the identity changes no bit.
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
