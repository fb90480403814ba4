"""Convolutions as matrix products, for small maps with many channels on a CPU.

oneDNN's convolutions are slow if the weights are larger than the map, probably because they read all weights for every
image. A matrix product of the weights with the patches of many images avoids this. The functions here have no
derivatives; ``convolution`` calls them for each of its three operations where it ``pays``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Geometry", "convolve_patches", "input_gradient", "pays", "weight_gradient"]

PATCH_BYTES = 16 * 2**20  # patches per product; from 32 MiB on, glibc returns and requests the memory every time
LARGE = 2**20  # elements of a weight that is too large for a core's own cache


class Geometry(NamedTuple):
    """Stride, padding and groups of a convolution, equal in both directions."""

    stride: int
    padding: int
    groups: int

    def size(self, larger: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """Return height and width of the smaller map."""
        sides = zip(larger, kernel, strict=True)
        return [(side + 2 * self.padding - reach) // self.stride + 1 for side, reach in sides]


def pays(weight: Float[Tensor, "d c k l"], size: Sequence[int], groups: int, *, for_weight: bool = False) -> bool:
    """Return whether a matrix product is faster than PyTorch, as measured by benchmarks/convolutions.py.

    Args:
        weight: the weight, in the precision of the computation.
        size: height and width of the smaller map.
        groups: groups of the convolution.
        for_weight: the operation is the gradient of the weight, for which PyTorch is slowest.
    """
    native = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and groups == 1
    return native and math.prod(size) < len(weight) and (for_weight or weight.numel() >= LARGE)


def convolve_patches(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "d c k l"], bias: Float[Tensor, "d"] | None, geometry: Geometry
) -> Float[Tensor, "n d i j"]:
    """Compute ``torch.nn.functional.conv2d``."""
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
    """Return the gradient of x, whose ``size`` is [h w], from that of y: a transposed convolution.

    The contributions to a pixel are rounded before they are added.
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
    """Return the gradient of the weight from that of y, summed in float32 or better."""
    channels = gradient.shape[1]
    flat = gradient.permute(0, 2, 3, 1).reshape(-1, channels)
    wide = torch.promote_types(gradient.dtype, torch.float32)
    parts = ((flat[rows].t() @ patches).to(wide) for rows, patches in _patches(x, kernel, geometry))
    total = next(parts)
    for part in parts:
        total += part
    return total.view(channels, *kernel, x.shape[1]).permute(0, 3, 1, 2).to(gradient.dtype)


def _maps(like: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    """Return empty maps for as many images; not a view, since a Function's returned view cannot be changed in place."""
    shape = (len(like), channels, *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _matrix(weight: Float[Tensor, "d c k l"]) -> Float[Tensor, "d klc"]:
    """Return the weight as a matrix; a view if its memory is channels-last."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _patches(x: Float[Tensor, "n c h w"], kernel: Sequence[int], geometry: Geometry) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, patches) of some images at a time: one row per position, with the pixels under the kernel."""
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
    """Return, in one direction, the positions at which kernel element ``offset`` is on the map, and where it is."""
    stride, shift = geometry.stride, offset - geometry.padding
    first = max(0, -(shift // stride))
    count = max(0, min(places, (side - 1 - shift) // stride + 1) - first)
    start = shift + first * stride
    return slice(first, first + count), slice(start, start + count * stride, stride)
