"""Convolutions by PyTorch's own kernels, in either memory layout.

On a CPU these are oneDNN's. Channels-last is usually the faster layout, and that of the networks; "contiguous" converts
to channels-first and back. The functions here have no derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.models.geometry import Geometry

__all__ = [
    "contiguous_input_gradient",
    "contiguous_weight_gradient",
    "convolve_contiguous",
    "convolve_direct",
    "direct_input_gradient",
    "direct_weight_gradient",
]


def convolve_direct(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "d e k l"], bias: Float[Tensor, "d"] | None, geometry: Geometry
) -> Float[Tensor, "n d i j"]:
    """Compute ``torch.nn.functional.conv2d``."""
    return F.conv2d(x, weight, bias, geometry.stride, geometry.padding, 1, geometry.groups)


def direct_input_gradient(
    gradient: Float[Tensor, "n d i j"], weight: Float[Tensor, "d e k l"], size: Sequence[int], geometry: Geometry
) -> Float[Tensor, "n c h w"]:
    """Return the gradient of x, whose ``size`` is [h w], from that of y."""
    return _backward(0, gradient, _maps(gradient, weight, size, geometry, torch.channels_last), weight, geometry)


def direct_weight_gradient(
    gradient: Float[Tensor, "n d i j"], x: Float[Tensor, "n c h w"], shape: Sequence[int], geometry: Geometry
) -> Float[Tensor, "d e k l"]:
    """Return the gradient of a weight of this shape from that of y."""
    weight = torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return _backward(1, gradient, x, weight, geometry)


def convolve_contiguous(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "d e k l"], bias: Float[Tensor, "d"] | None, geometry: Geometry
) -> Float[Tensor, "n d i j"]:
    """Compute ``convolve_direct`` with channels-first maps inside."""
    return _channels_last(convolve_direct(x.contiguous(), weight.contiguous(), bias, geometry))


def contiguous_input_gradient(
    gradient: Float[Tensor, "n d i j"], weight: Float[Tensor, "d e k l"], size: Sequence[int], geometry: Geometry
) -> Float[Tensor, "n c h w"]:
    """Compute ``direct_input_gradient`` with channels-first maps inside."""
    x = _maps(gradient, weight, size, geometry, torch.contiguous_format)
    return _channels_last(_backward(0, gradient.contiguous(), x, weight.contiguous(), geometry))


def contiguous_weight_gradient(
    gradient: Float[Tensor, "n d i j"], x: Float[Tensor, "n c h w"], shape: Sequence[int], geometry: Geometry
) -> Float[Tensor, "d e k l"]:
    """Compute ``direct_weight_gradient`` with channels-first maps inside."""
    weight = x.new_empty(tuple(shape))
    return _channels_last(_backward(1, gradient.contiguous(), x.contiguous(), weight, geometry))


def _backward(of: int, gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient of x, 0, or of the weight, 1."""
    (stride, padding, groups), wanted = geometry, [of == i for i in range(3)]
    transposed, output_padding = False, [0, 0]
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], transposed, output_padding, groups, wanted
    )
    only: Tensor = found[of]
    return only


def _maps(
    gradient: Tensor, weight: Tensor, size: Sequence[int], geometry: Geometry, layout: torch.memory_format
) -> Tensor:
    """Return an empty larger map, of which only the shape and the layout matter."""
    shape = (len(gradient), weight.shape[1] * geometry.groups, *size)
    return torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)
