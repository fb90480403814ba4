"""Convolutions as matrix products, for small maps with many channels on a CPU.

oneDNN's convolutions are slow if the weights are larger than the map, probably because they read all weights for every
image. A matrix product of the weights with the patches of many images avoids this. The functions here have no
derivatives; ``algorithms`` chooses them for each of its three operations, by measurement or where it ``pays``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.models.geometry import Geometry

__all__ = ["convolve_patches", "patch_input_gradient", "patch_weight_gradient", "pays"]

PATCH_BYTES = 16 * 2**20  # patches per product; from 32 MiB on, glibc returns and requests the memory every time
LARGE = 2**20  # elements of a weight that is too large for a core's own cache


def pays(
    weight: Sequence[int], size: Sequence[int], groups: int, dtype: torch.dtype, *, for_weight: bool = False
) -> bool:
    """Return whether a matrix product is likely faster than PyTorch's kernels, where that is not measured.

    The rule is from benchmarks/convolutions.py on a processor with bfloat16 units.

    Args:
        weight: shape of the weight, [d c k l].
        size: height and width of the smaller map.
        groups: groups of the convolution.
        dtype: precision of the computation.
        for_weight: the operation is the gradient of the weight, for which PyTorch is slowest.
    """
    native = dtype == torch.bfloat16 and groups == 1
    return native and math.prod(size) < weight[0] and (for_weight or math.prod(weight) >= LARGE)


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


def patch_input_gradient(
    gradient: Float[Tensor, "n d i j"], weight: Float[Tensor, "d c k l"], size: Sequence[int], geometry: Geometry
) -> Float[Tensor, "n c h w"]:
    """Return the gradient of x, whose ``size`` is [h w], from that of y: a transposed convolution.

    The contributions to a pixel are rounded before they are added. Pixels are grouped by their phase in the stride: so
    a kernel of 4x4 and stride 2 takes 4 additions of whole rows instead of 16 of single pixels.
    """
    matrix, taps = _phase_matrix(weight, geometry.stride)
    maps, x = gradient.permute(0, 2, 3, 1), _maps(gradient, weight.shape[1], size)
    at_once = _images_at_once(gradient.shape[2:], matrix.shape[1], gradient.element_size())
    for first in range(0, len(x), at_once):
        some = slice(first, first + at_once)
        patches = (maps[some].reshape(-1, len(weight)) @ matrix).view(*maps[some].shape[:3], *taps, geometry.stride, -1)
        _crop(_add_patches(patches), x[some], geometry.padding)
    return x


def _phase_matrix(weight: Float[Tensor, "d c k l"], stride: int) -> tuple[Float[Tensor, "d e"], tuple[int, int]]:
    """Return the weight with columns [taps, taps, stride, stride, c], and the taps in each direction.

    The kernel is filled up with zeros to a multiple of the stride.
    """
    missing = [-side % stride for side in weight.shape[2:]]
    kernel = F.pad(weight.permute(0, 2, 3, 1), (0, 0, 0, missing[1], 0, missing[0]))
    taps = kernel.shape[1] // stride, kernel.shape[2] // stride
    grouped = kernel.reshape(len(weight), taps[0], stride, taps[1], -1)  # a row of phases is contiguous
    return grouped.transpose(2, 3).flatten(1), taps


def _add_patches(patches: Float[Tensor, "m i j t u s e"]) -> Float[Tensor, "m h w c"]:
    """Return the sum of overlapping patches, as padded maps of stride * (i + t - 1) rows."""
    num, rows, columns, *taps, stride, width = patches.shape
    total = patches.new_empty(num, rows + taps[0] - 1, stride, columns + taps[1] - 1, width)
    for t in range(taps[0]):
        for u in range(taps[1]):
            here = total[:, t : t + rows, :, u : u + columns]
            patch = patches[:, :, :, t, u].transpose(2, 3)
            if t or u:
                here += patch
            else:
                here.copy_(patch)
                total[:, rows:].zero_()
                total[:, :rows, :, columns:].zero_()
    return total.view(num, stride * total.shape[1], stride * total.shape[3], width // stride)


def _crop(padded: Float[Tensor, "m i j c"], x: Float[Tensor, "m c h w"], padding: int) -> None:
    """Write the inside of padded maps to x, and zeros where they do not reach."""
    inside = padded[:, padding : padding + x.shape[2], padding : padding + x.shape[3]]
    height, width = inside.shape[1:3]
    x.permute(0, 2, 3, 1)[:, :height, :width].copy_(inside)
    x[:, :, height:].zero_()
    x[:, :, :height, width:].zero_()


def patch_weight_gradient(
    gradient: Float[Tensor, "n d i j"], x: Float[Tensor, "n c h w"], shape: Sequence[int], geometry: Geometry
) -> Float[Tensor, "d c k l"]:
    """Return the gradient of a weight of this shape from that of y, summed in float32 or better."""
    channels, _, *kernel = shape
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
