"""Geometric operations: one affine map per image, a product of random matrices.

Positions are columns (x, y, 1), in pixels from the image's centre, x to the right and y down. A matrix [3 3] maps a
position in the result to one in the original. The operations draw such matrices for a batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from gansmith.types import Images, ImageSpec

__all__ = [
    "fractional_shift",
    "mask_outside",
    "mirror",
    "quarter_turn",
    "resample",
    "rotation",
    "scale",
    "shift",
    "stretch",
    "translation",
]

REACH = 1 / 8  # of the image's side

Places: TypeAlias = Float[Tensor, "n #h #w"]  # coordinates; a side is 1 if they are equal along it


def mirror(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a mirroring of left and right with probability 1/2.

    All operations here except ``translation`` follow Karras et al. (2020), appendix B.
    """
    side = 1.0 - 2 * torch.randint(2, (num,), generator=stream)
    return _scaled(side, torch.ones(num))


def quarter_turn(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a rotation by 0 to 3 quarter turns; by 0 or 2 if the image is not square."""
    if spec.height == spec.width:
        quarters = torch.randint(4, (num,), generator=stream)
    else:
        quarters = 2 * torch.randint(2, (num,), generator=stream)
    cosines, sines = torch.tensor([[1.0, 0, -1, 0], [0, 1, 0, -1]])
    return _turned(cosines[quarters], sines[quarters])


def shift(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a shift by whole pixels, up to an eighth of the side."""
    return _moved((2 * torch.rand(num, 2, generator=stream) - 1).mul(REACH * _size(spec)).round())


def scale(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a scale: 2 to the power of a normal number of standard deviation 0.2."""
    factor = torch.exp2(0.2 * torch.randn(num, generator=stream))
    return _scaled(factor, factor)


def stretch(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a change of aspect ratio: scale width and inversely height, by a number as in ``scale``."""
    factor = torch.exp2(0.2 * torch.randn(num, generator=stream))
    return _scaled(factor, 1 / factor)


def rotation(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a rotation by a uniform angle."""
    angle = 2 * math.pi * torch.rand(num, generator=stream)
    return _turned(angle.cos(), angle.sin())


def fractional_shift(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a shift by a normal number of standard deviation an eighth of the side."""
    return _moved(torch.randn(num, 2, generator=stream) * (REACH * _size(spec)))


def translation(num: int, spec: ImageSpec, stream: torch.Generator) -> Float[Tensor, "n 3 3"]:
    """Draw a shift by whole pixels, up to an eighth of the side (Zhao et al. 2020).

    Pixels from outside the image become mid-gray: see ``mask_outside``.
    """
    reach = (REACH * _size(spec) + 0.5).floor()
    return _moved((torch.rand(num, 2, generator=stream) * (2 * reach + 1)).floor() - reach)


def _size(spec: ImageSpec) -> Float[Tensor, "2"]:
    return torch.tensor([float(spec.width), float(spec.height)])


def _scaled(x: Float[Tensor, "n"], y: Float[Tensor, "n"]) -> Float[Tensor, "n 3 3"]:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _turned(cosine: Float[Tensor, "n"], sine: Float[Tensor, "n"]) -> Float[Tensor, "n 3 3"]:
    matrix = _scaled(cosine, cosine)
    matrix[:, 0, 1], matrix[:, 1, 0] = -sine, sine
    return matrix


def _moved(distance: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3 3"]:
    matrix = torch.eye(3).repeat(len(distance), 1, 1)
    matrix[:, :2, 2] = distance
    return matrix


# --- pixels from places ------------------------------------------------------------------------------------


def resample(images: Images, matrices: Float[Tensor, "n 3 3"], *, whole: bool, turned: bool) -> Images:
    """Resample each image by its matrix, with reflection beyond the borders.

    Interpolation is bilinear, and exact at whole pixels. Karras et al. (2020) filter with a wavelet at twice the
    resolution instead, which blurs less and avoids aliasing when an image shrinks. This function can be differentiated
    any number of times, which PyTorch does not guarantee for ``grid_sample``.

    Args:
        images: any number of channels.
        matrices: float32, on the images' device.
        whole: all positions that the matrices give are whole pixels.
        turned: some matrix rotates, so the pixels of a row may come from several rows.
    """
    height, width = images.shape[2:]
    x, y = _places(matrices, height, width, turned=turned)
    if whole:
        return _taken(images, y.long() * width + x.long())
    corners = (
        _taken(images, row * width + column) * (row_weight * column_weight)[:, None].to(images.dtype)
        for row, row_weight in _nearest_two(y, height)
        for column, column_weight in _nearest_two(x, width)
    )
    return functools.reduce(torch.add, corners)


def _places(matrices: Float[Tensor, "n 3 3"], height: int, width: int, *, turned: bool) -> tuple[Places, Places]:
    """Return the column and row that each pixel comes from, counted from 0 and reflected into the image."""
    x, y = _from_centre(width, matrices), _from_centre(height, matrices)[:, None]
    (xx, xy, x0), (yx, yy, y0) = (row.unbind(1) for row in matrices[:, :2, :, None, None].unbind(1))
    columns, rows = xx * x + x0, yy * y + y0  # one row and one column each, which is much less work
    if turned:
        columns, rows = columns + xy * y, rows + yx * x
    return _reflected(columns + (width - 1) / 2, width - 1), _reflected(rows + (height - 1) / 2, height - 1)


def _from_centre(side: int, like: Tensor) -> Float[Tensor, "s"]:
    return torch.arange(side, dtype=like.dtype, device=like.device) - (side - 1) / 2


def _reflected(place: Places, last: int) -> Places:
    """Reflect coordinates into [0, last], with mirrors at 0 and at ``last``."""
    if not last:
        return torch.zeros_like(place)
    return last - (place.remainder(2 * last) - last).abs()


def _nearest_two(place: Places, side: int) -> Iterator[tuple[Int64[Tensor, "n #h #w"], Places]]:
    """Yield the pixels on both sides of a coordinate, each with its weight."""
    before = place.floor()
    weight = place - before
    yield before.long(), 1 - weight
    yield (before.long() + 1).clamp(max=side - 1), weight


def _taken(images: Images, which: Int64[Tensor, "n h w"]) -> Images:
    """Return the pixels with these indices, counted row by row."""
    channels = images.shape[1]
    found = images.flatten(2).gather(2, which.flatten(1)[:, None].expand(-1, channels, -1))
    return found.view(images.shape)


def mask_outside(matrices: Float[Tensor, "n 3 3"], height: int, width: int) -> Bool[Tensor, "n h w"]:
    """Return a mask of the pixels that come from outside the image, for matrices that only shift."""
    sides = ((0, width), (1, height))
    x, y = (_from_centre(side, matrices) + matrices[:, axis, 2, None] for axis, side in sides)
    return (x.abs() > (width - 1) / 2)[:, None] | (y.abs() > (height - 1) / 2)[:, :, None]
