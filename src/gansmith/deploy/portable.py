"""A copy of a generator in layers that every runtime has.

A transposed convolution is rewritten as a convolution and a depth-to-space step, with the same products and sums.
onnxruntime-web's WebGL backend has no transposed convolution, and its WebGPU backend had wrong ones.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.models.convolution import UpsampledConv2d
from gansmith.models.layers import Crop

__all__ = ["BinnedMean", "SubPixelConvTranspose2d", "make_portable"]


class SubPixelConvTranspose2d(nn.Module):
    """Computes a transposed convolution by a convolution whose channels are the phases of the stride (Shi et al. 2016).

    Pixel o of the padded output is s * a + r: tap r + s * m of the kernel reaches it from input pixel a - m. So the
    convolution has a channel for each phase r, and ceil(k / s) taps.

    Args:
        weight: of the transposed convolution, [d c k l].
        bias: [c], or None.
        stride: s, equal for both sides.
        padding: pixels that are cut off at each side.
    """

    def __init__(self, weight: Float[Tensor, "d c k l"], bias: Tensor | None, stride: int, padding: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.kernel = weight.shape[2], weight.shape[3]
        self.taps = [-(-side // stride) for side in self.kernel]
        inputs, outputs = weight.shape[:2]
        missing = [taps * stride - side for taps, side in zip(self.taps, self.kernel, strict=True)]
        filled = F.pad(weight, (0, missing[1], 0, missing[0]))
        phases = filled.view(inputs, outputs, self.taps[0], stride, self.taps[1], stride).flip(2, 4)
        self.weight = nn.Parameter(phases.permute(1, 3, 5, 0, 2, 4).flatten(0, 2).contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.repeat_interleave(stride**2))

    def forward(self, x: Tensor) -> Tensor:
        """Map [n d i j] to [n c h w]."""
        height, width = (
            (side - 1) * self.stride - 2 * self.padding + kernel
            for side, kernel in zip(x.shape[2:], self.kernel, strict=True)
        )
        phases = F.conv2d(x, self.weight, self.bias, padding=[taps - 1 for taps in self.taps])
        maps = F.pixel_shuffle(phases, self.stride) if self.stride > 1 else phases
        first = self.padding
        return maps[:, :, first : first + height, first : first + width]


class _Slice(nn.Module):
    """Crops by a slice; ``Crop`` pads by a negative number, which few runtimes have."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.height, : self.width]


class BinnedMean(nn.Module):
    """Computes an adaptive average pooling by two products with constant matrices.

    torch.onnx writes pooling to a size that does not divide the map's with operations that few runtimes have.

    Args:
        size: height and width of the output.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Map [n c h w] to [n c *size]."""
        for axis, after in ((2, self.size[0]), (3, self.size[1])):
            before = x.shape[axis]
            if before != after:
                matrix = _average_bins(before, after)
                x = matrix @ x if axis == 2 else x @ matrix.T
        return x


def _average_bins(before: int, after: int) -> Float[Tensor, "after before"]:
    """Return the matrix of means over bins; bin i is from floor(i b / a) to ceil((i + 1) b / a), without the end."""
    matrix = torch.zeros(after, before)
    for i in range(after):
        first, end = i * before // after, -(-(i + 1) * before // after)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


@torch.no_grad()
def make_portable(network: nn.Module, *, subpixel: bool = True) -> nn.Module:
    """Return a copy that computes the same in plain layers, on the CPU and for evaluation.

    Args:
        network: a generator.
        subpixel: rewrite transposed convolutions; see ``SubPixelConvTranspose2d``.
    """
    portable = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    for module in list(portable.modules()):
        if hasattr(module, "inplace"):  # after a crop, it would be traced as an update of the uncropped map
            vars(module)["inplace"] = False
        for name, child in module.named_children():
            module.add_module(name, _replace(child, subpixel=subpixel))
    return portable


def _replace(layer: nn.Module, *, subpixel: bool) -> nn.Module:
    if isinstance(layer, UpsampledConv2d):
        return _transposed(layer.fused_weight(), layer.bias, 2, 1, subpixel=subpixel)
    if isinstance(layer, nn.ConvTranspose2d) and layer.groups == 1 and not any(layer.output_padding):
        return _transposed(layer.weight, layer.bias, layer.stride[0], int(layer.padding[0]), subpixel=subpixel)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        size = layer.output_size
        height, width = size if isinstance(size, tuple) else (size, size)
        return layer if height is None or width is None else BinnedMean((height, width))
    return _Slice(layer.height, layer.width) if isinstance(layer, Crop) else layer


def _transposed(weight: Tensor, bias: Tensor | None, stride: int, padding: int, *, subpixel: bool) -> nn.Module:
    if subpixel:
        return SubPixelConvTranspose2d(weight, bias, stride, padding)
    inputs, outputs, height, width = weight.shape
    layer = nn.ConvTranspose2d(inputs, outputs, (height, width), stride, padding, bias=bias is not None)
    layer.weight = nn.Parameter(weight.contiguous())
    layer.bias = None if bias is None else nn.Parameter(bias)
    return layer
