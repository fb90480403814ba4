"""Convolutions as products of matrices, for small maps of many channels on a processor.

oneDNN's convolutions are slow where the weights outweigh the map, most likely as they read all of them for each
image; a product of the weights with the patches of many images at once is not. Nothing here has derivatives:
``convolution`` makes each of its three operations from one of these where it ``pays``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Geometry", "convolved", "input_gradient", "pays", "weight_gradient"]

PATCH_BYTES = 16 * 2**20  # of patches that are made at a time; from 32 MiB on, glibc asks for its memory anew each time
LARGE = 2**20  # numbers of a weight that no core's own cache holds


class Geometry(NamedTuple):
    """How a convolution lies on its map, in both directions."""

    stride: int
    padding: int
    groups: int

    def size(self, larger: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """Height and width of the smaller map."""
        sides = zip(larger, kernel, strict=True)
        return [(side + 2 * self.padding - reach) // self.stride + 1 for side, reach in sides]


def pays(weight: Float[Tensor, "d c k l"], size: Sequence[int], groups: int, *, for_weight: bool = False) -> bool:
    """Whether a product is faster than a convolution, or its gradient, by what benchmarks/convolutions.py measures.

    Args:
        weight: in the precision that is worked in.
        size: height and width of the smaller map.
        groups: of the convolution.
        for_weight: whether the gradient of the weight is wanted, whose convolutions are the slowest.
    """
    native = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and groups == 1
    return native and math.prod(size) < len(weight) and (for_weight or weight.numel() >= LARGE)


def convolved(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "d c k l"], bias: Float[Tensor, "d"] | None, geometry: Geometry
) -> Float[Tensor, "n d i j"]:
    """``torch.nn.functional.conv2d``."""
    kernel = weight.shape[2:]
    y = _maps(x, len(weight), geometry.size(x.shape[2:], kernel))
    flat, matrix = y.permute(0, 2, 3, 1).flatten(0, 2), _matrix(weight).t()
    for rows, patches in _patches(x, kernel, geometry):
        if bias is None:
            torch.mm(patches, matrix, out=flat[rows])
        else:
            torch.addmm(bias, patches, matrix, out=flat[rows])
    return y


def input_gradient(
    gradient: Float[Tensor, "n d i j"], weight: Float[Tensor, "d c k l"], size: Sequence[int], geometry: Geometry
) -> Float[Tensor, "n c h w"]:
    """From y's gradient to that of x, whose ``size`` is [h w]; a transposed convolution.

    A pixel's share of each patch is rounded before they are added up.
    """
    channels, *kernel = weight.shape[1:]
    x = _maps(gradient, channels, size).zero_()
    matrix = _matrix(weight)
    maps, pixels = gradient.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
    at_once = _images_at_once(gradient.shape[2:], matrix.shape[1], gradient.element_size())
    for first in range(0, len(x), at_once):
        some = slice(first, first + at_once)
        patches = (maps[some].reshape(-1, len(weight)) @ matrix).view(-1, *maps.shape[1:3], *kernel, channels)
        for a in range(kernel[0]):
            of_patch, of_x = _overlap(a, maps.shape[1], size[0], geometry)
            for b in range(kernel[1]):
                along_patch, along_x = _overlap(b, maps.shape[2], size[1], geometry)
                pixels[some, of_x, along_x] += patches[:, of_patch, along_patch, a, b]
    return x


def weight_gradient(
    gradient: Float[Tensor, "n d i j"], x: Float[Tensor, "n c h w"], kernel: Sequence[int], geometry: Geometry
) -> Float[Tensor, "d c k l"]:
    """From y's gradient to that of the weight, added up in single precision or better."""
    channels = gradient.shape[1]
    flat = gradient.permute(0, 2, 3, 1).reshape(-1, channels)
    wide = torch.promote_types(gradient.dtype, torch.float32)
    parts = ((flat[rows].t() @ patches).to(wide) for rows, patches in _patches(x, kernel, geometry))
    total = next(parts)
    for part in parts:
        total += part
    return total.view(channels, *kernel, x.shape[1]).permute(0, 3, 1, 2).to(gradient.dtype)


def _maps(like: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    """For as many images, to be written: no view, as a view that a Function returns could not be changed in place."""
    shape = (len(like), channels, *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _matrix(weight: Float[Tensor, "d c k l"]) -> Float[Tensor, "d klc"]:
    """A view, where the weight has its channels last."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _patches(x: Float[Tensor, "n c h w"], kernel: Sequence[int], geometry: Geometry) -> Iterator[tuple[slice, Tensor]]:
    """What a kernel sees at each place, a row each, of some images at a time; and which rows these are."""
    size = geometry.size(x.shape[2:], kernel)
    places = math.prod(size)
    at_once = _images_at_once(size, math.prod(kernel) * x.shape[1], x.element_size())
    for first in range(0, len(x), at_once):
        padded = F.pad(x[first : first + at_once], [geometry.padding] * 4).permute(0, 2, 3, 1)
        windows = padded.unfold(1, kernel[0], geometry.stride).unfold(2, kernel[1], geometry.stride)
        patches = windows.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)
        yield slice(first * places, first * places + len(patches)), patches


def _images_at_once(size: Sequence[int], patch: int, element_bytes: int) -> int:
    return max(1, PATCH_BYTES // (math.prod(size) * patch * element_bytes))


def _overlap(offset: int, places: int, side: int, geometry: Geometry) -> tuple[slice, slice]:
    """At which places the kernel's number ``offset`` lies on the map, and where there, in one direction."""
    stride, shift = geometry.stride, offset - geometry.padding
    first = max(0, -(shift // stride))
    count = max(0, min(places, (side - 1 - shift) // stride + 1) - first)
    start = shift + first * stride
    return slice(first, first + count), slice(start, start + count * stride, stride)
