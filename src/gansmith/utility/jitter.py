"""Classical augmentation of a classifier's images: what a practitioner does first."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.augment.geometry import mirror, resample
from gansmith.types import Images, ImageSpec

__all__ = ["jitter"]

SHIFT = 1 / 16  # of a side: 2 pixels of 32
SCALE = 0.1
TURN = math.radians(15)
BRIGHTNESS, CONTRAST = 0.3, 0.3


def jitter(images: Images, draw: torch.Generator, *, mirrored: bool) -> Images:
    """Shift by up to 1/16 of the side, scale by 0.9 to 1.1 and turn by up to 15 degrees (Sermanet and LeCun 2011).

    Brightness is scaled by 0.7 to 1.3, so black stays black, and contrast likewise about the mean of the image. Each
    image has its own uniform numbers.

    Args:
        images: float32 in [-1, 1], with any number of channels; the fourth, alpha, keeps its values.
        draw: of the random numbers, on the CPU.
        mirrored: also mirror half of the images; only where this keeps the class.

    Returns:
        Images in [-1, 1].
    """
    n, channels, height, width = images.shape
    matrices = _affine(n, height, width, draw)
    if mirrored:
        matrices = matrices @ mirror(n, ImageSpec(height=height, width=width, channels=channels), draw)
    moved = resample(images, matrices.to(images.device), whole=False, turned=True)
    contrast, brightness = (2 * torch.rand(2, n, 1, 1, 1, generator=draw) - 1).to(images.device)
    bright = (moved[:, :3] + 1) * (1 + BRIGHTNESS * brightness)  # from 0, black
    mean = bright.mean(dim=(1, 2, 3), keepdim=True)
    coloured = (mean + (bright - mean) * (1 + CONTRAST * contrast)).clamp(0, 2) - 1
    return torch.cat([coloured, moved[:, 3:]], dim=1) if channels > 3 else coloured


def _affine(n: int, height: int, width: int, draw: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Return a matrix for each image, which maps a position in the result to one in the original."""
    turn, scale, across, down = 2 * torch.rand(4, n, generator=draw) - 1
    cosine, sine = torch.cos(TURN * turn), torch.sin(TURN * turn)
    matrices = torch.eye(3).repeat(n, 1, 1)
    matrices[:, 0, 0], matrices[:, 0, 1] = cosine, -sine
    matrices[:, 1, 0], matrices[:, 1, 1] = sine, cosine
    matrices[:, :2, :2] /= (1 + SCALE * scale)[:, None, None]
    matrices[:, 0, 2], matrices[:, 1, 2] = SHIFT * width * across, SHIFT * height * down
    return matrices
