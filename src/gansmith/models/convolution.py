"""Convolutions and resampling with second derivatives, which penalties need, as fast as the first.

PyTorch differentiates a convolution twice by convolving transposed tensors, group by group, in a layout without fast
kernels. A convolution is linear in its input and in its weight, so its derivatives of any order are again one of three
operations: the convolution, the gradient of its input, or the gradient of its weight. Here, each of the three is
differentiated into the other two. A transposed convolution is the gradient of the input.

``algorithms`` chooses how each operation is computed. While torch exports a network, it sees PyTorch's own operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from gansmith.devices import autocast_dtype
from gansmith.models.algorithms import compute_convolution, compute_input_gradient, compute_weight_gradient
from gansmith.models.geometry import Geometry

__all__ = [
    "Conv2d",
    "ConvTranspose2d",
    "PooledConv2d",
    "UpsampledConv2d",
    "convolve",
    "convolve_transposed",
    "double",
    "halve",
]


class _Convolution(Function):
    """Map x and weight to y. The argument ``share`` is zero and passes y's gradient to ``_WeightShare``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, share: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return compute_convolution(x, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x = _input_gradient(gradient, weight, x.shape[2:], ctx.geometry) if ctx.needs_input_grad[0] else None
        return of_x, None, None, gradient, None


class _WeightShare(Function):
    """Return zeros in y's shape; the backward pass computes the gradients of weight and bias.

    Autograd cannot ask a function for only some of its gradients, but it skips whole functions. So a penalty on the
    gradient of the images never computes the gradients of the weights.
    """

    @staticmethod
    def forward(ctx: Any, x: tuple[Tensor], weight: Tensor, bias: Tensor | None, shape: Any, geometry: Any) -> Tensor:
        ctx.save_for_backward(x[0], weight)  # x is in a tuple so that autograd computes no gradient for it here
        ctx.geometry = geometry
        return weight.new_zeros(()).expand(shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_weight = _weight_gradient(gradient, x, weight, ctx.geometry) if ctx.needs_input_grad[1] else None
        of_bias = gradient.sum(dim=(0, 2, 3)) if ctx.needs_input_grad[2] else None
        return None, of_weight, of_bias, None, None


class _InputGradient(Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, size: Sequence[int], geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.geometry = geometry
        return _input_gradient(gradient, weight, size, geometry)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, weight = ctx.saved_tensors
        of_gradient = _convolve(second, weight, None, ctx.geometry) if ctx.needs_input_grad[0] else None
        of_weight = _weight_gradient(gradient, second, weight, ctx.geometry) if ctx.needs_input_grad[1] else None
        return of_gradient, of_weight, None, None


class _WeightGradient(Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.geometry = geometry
        return _weight_gradient(gradient, x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, x = ctx.saved_tensors
        of_gradient = _convolve(x, second, None, ctx.geometry) if ctx.needs_input_grad[0] else None
        of_x = _input_gradient(gradient, second, x.shape[2:], ctx.geometry) if ctx.needs_input_grad[1] else None
        return of_gradient, of_x, None, None


_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch < 2.7
_convolution_node: Callable[..., Tensor] = _Convolution.apply
_weight_share_node: Callable[..., Tensor] = _WeightShare.apply
_input_gradient_node: Callable[..., Tensor] = _InputGradient.apply
_weight_gradient_node: Callable[..., Tensor] = _WeightGradient.apply


# Each of the three creates an autograd node only if gradients are enabled: without, the call takes half the time.


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    if not torch.is_grad_enabled():
        return compute_convolution(x, weight, bias, geometry)
    shape = (len(x), len(weight), *geometry.size(x.shape[2:], weight.shape[2:]))
    share = _weight_share_node((x,), weight, bias, shape, geometry)
    return _convolution_node(x, weight, bias, share, geometry)


def _input_gradient(gradient: Tensor, weight: Tensor, size: Sequence[int], geometry: Geometry) -> Tensor:
    if torch.is_grad_enabled():
        return _input_gradient_node(gradient, weight, size, geometry)
    return compute_input_gradient(gradient, weight, size, geometry)


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    if torch.is_grad_enabled():
        return _weight_gradient_node(gradient, x, weight, geometry)
    return compute_weight_gradient(gradient, x, weight.shape, geometry)


def convolve(
    x: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "d e k l"],
    bias: Float[Tensor, "d"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Float[Tensor, "n d i j"]:
    """Compute ``torch.nn.functional.conv2d`` in autocast's precision, with fast second derivatives."""
    if _is_exporting():
        return F.conv2d(x, weight, bias, stride, padding, 1, groups)
    x, weight, bias = _in_autocast(x, weight, bias)
    return _convolve(x, weight, bias, Geometry(stride, padding, groups))


def convolve_transposed(
    x: Float[Tensor, "n d i j"],
    weight: Float[Tensor, "d c k l"],
    bias: Float[Tensor, "c"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "n c h w"]:
    """Compute ``torch.nn.functional.conv_transpose2d`` in autocast's precision, with fast second derivatives."""
    if _is_exporting():
        return F.conv_transpose2d(x, weight, bias, stride, padding)
    x, weight, bias = _in_autocast(x, weight, bias)
    sides = zip(x.shape[2:], weight.shape[2:], strict=True)
    size = [(side - 1) * stride - 2 * padding + kernel for side, kernel in sides]
    y = _input_gradient(x, weight, size, Geometry(stride, padding, groups=1))
    return y if bias is None else y + bias[:, None, None]


def _in_autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    dtype = autocast_dtype(x.device)
    if dtype is None:
        return x, weight, bias
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class Conv2d(nn.Conv2d):
    """A convolution with fast second derivatives; stride, padding and kernel are equal for both sides."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [n c h w] to [n d i j]."""
        assert not isinstance(self.padding, str)
        padding, stride = self.padding[0], self.stride[0]
        return convolve(x, self.weight, self.bias, stride=stride, padding=padding, groups=self.groups)


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution with fast second derivatives; stride, padding and kernel are equal for both sides."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [n d i j] to [n c h w]."""
        assert output_size is None and self.groups == 1 and not any(self.output_padding)
        return convolve_transposed(x, self.weight, self.bias, stride=self.stride[0], padding=int(self.padding[0]))


class PooledConv2d(nn.Conv2d):
    """A 3x3 convolution followed by 2x2 mean pooling, fused into one convolution with 4/9 of the operations."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n c h w] to [n d h//2 w//2]."""
        return convolve(x, _blurred(self.weight, _averaging(self.weight.device)), self.bias, stride=2, padding=1)


class UpsampledConv2d(nn.Conv2d):
    """Nearest-neighbour upsampling by 2 followed by a 3x3 convolution, fused with 4/9 of the operations."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n c h w] to [n d 2h 2w]."""
        return convolve_transposed(x, self.fused_weight(), self.bias, stride=2, padding=1)

    def fused_weight(self) -> Float[Tensor, "c d 4 4"]:
        """Return the kernel of the transposed convolution, of stride 2 and padding 1."""
        return _blurred(self.weight, _repeating(self.weight.device)).transpose(0, 1)


def _blurred(weight: Float[Tensor, "d c 3 3"], how: Float[Tensor, "9 16"]) -> Float[Tensor, "d c 4 4"]:
    """Return the fused 4x4 kernel; a matrix product costs a tenth of pooling the kernel."""
    return (weight.reshape(-1, 9) @ how.to(weight.dtype)).view(*weight.shape[:2], 4, 4)


@functools.cache
@torch.inference_mode(mode=False)
def _averaging(device: torch.device) -> Float[Tensor, "9 16"]:
    """Return the matrix from a 3x3 kernel to the kernel of convolution and 2x2 mean."""
    each = torch.eye(9, device=device).view(9, 1, 3, 3)
    return F.avg_pool2d(F.pad(each, (1, 1, 1, 1)), 2, stride=1).view(9, 16)


@functools.cache
@torch.inference_mode(mode=False)
def _repeating(device: torch.device) -> Float[Tensor, "9 16"]:
    """Return the matrix from a 3x3 kernel to that of upsampling and transposed convolution, rotated by 180 degrees."""
    return 4 * _averaging(device).flip(0)


# --- resampling --------------------------------------------------------------------------------------------


class _Halving(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _halved(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return double(gradient / 4)


class _Doubling(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _doubled(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return halve(gradient) * 4


_halving_node: Callable[..., Tensor] = _Halving.apply
_doubling_node: Callable[..., Tensor] = _Doubling.apply


def _halved(x: Tensor) -> Tensor:
    return F.conv2d(x, _taps(4, x), None, stride=2, padding=1, groups=x.shape[1])


def _doubled(x: Tensor) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2), _taps(3, x), None, padding=1, groups=x.shape[1])


def _taps(size: int, x: Tensor) -> Float[Tensor, "c 1 size size"]:
    """Return the filter [1, 3, 3, 1] / 8 or [1, 2, 1] / 4 in both directions, created on x's device without a copy."""
    taps = (2 - (torch.arange(size, device=x.device, dtype=x.dtype) - (size - 1) / 2).abs()) / 4
    return torch.outer(taps, taps).expand(x.shape[1], 1, size, size)


def halve(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c i j"]:
    """Halve the size, rounded up, with the filter [1, 3, 3, 1]; ``double`` is four times the transpose."""
    odd = x.shape[3] % 2, x.shape[2] % 2
    x = F.pad(x, (0, odd[0], 0, odd[1])) if any(odd) else x
    return _halving_node(x) if torch.is_grad_enabled() and not _is_exporting() else _halved(x)


def double(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Double the size with the filter [1, 3, 3, 1]."""
    return _doubling_node(x) if torch.is_grad_enabled() and not _is_exporting() else _doubled(x)
