"""Convolutions and resampling are those of PyTorch, with derivatives of any order, in the fast layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gansmith.models import convolution

GEOMETRIES = [  # kernel, stride, padding, groups
    (3, 1, 1, 1),
    (4, 2, 1, 1),
    (3, 1, 1, 2),
    (1, 1, 0, 1),
    (2, 2, 0, 4),
]


def numbers(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype).requires_grad_()


# --- derivatives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride", "padding", "groups"), GEOMETRIES)
def test_it_is_torch_s_convolution_with_its_derivatives(kernel: int, stride: int, padding: int, groups: int) -> None:
    x, weight, bias = numbers(2, 4, 3, 4), numbers(4, 4 // groups, kernel, kernel, seed=1), numbers(4, seed=2)

    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return convolution.convolve(x, weight, bias, stride=stride, padding=padding, groups=groups)

    expected = F.conv2d(x, weight, bias, stride, padding, 1, groups)
    torch.testing.assert_close(convolve(x, weight, bias), expected)
    with torch.no_grad():
        torch.testing.assert_close(convolve(x, weight, bias), expected)
    assert gradcheck(convolve, (x, weight, bias)) and gradgradcheck(convolve, (x, weight, bias))


def test_the_third_derivative_is_right_too() -> None:
    x, weight = numbers(1, 2, 3, 3), numbers(2, 2, 3, 3, seed=1)

    def weight_gradient(x: Tensor, weight: Tensor) -> Tensor:
        y = convolution.convolve(x, weight, padding=1).square().sum()
        (gradient,) = torch.autograd.grad(y, weight, create_graph=True)
        return gradient

    assert gradgradcheck(weight_gradient, (x, weight))


class _Log(TorchDispatchMode):
    """What the backward passes of convolutions were asked for: input, weight, bias."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[list[bool]] = []
        self.layouts: list[bool] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.convolution_backward.default:
            self.wanted.append(args[-1])
        made = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            tensors = [t for t in (made if isinstance(made, tuple) else (made,)) if t is not None and t.dim() == 4]
            self.layouts += [t.is_contiguous(memory_format=torch.channels_last) for t in tensors]
        return made


def test_a_penalty_s_gradient_leaves_out_the_weights() -> None:
    x, layer = numbers(2, 3, 8, 8, dtype=torch.float32), convolution.Conv2d(3, 4, 3, padding=1)
    with _Log() as log:
        (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    assert log.wanted == [[True, False, False]]
    gradient.square().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.any()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_penalty_stays_in_channels_last(precision: torch.dtype) -> None:
    x = numbers(2, 3, 8, 8, dtype=torch.float32).detach().to(memory_format=torch.channels_last).requires_grad_()
    network = nn.Sequential(
        convolution.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        convolution.Conv2d(8, 8, 3, padding=1, groups=2),
        convolution.PooledConv2d(8, 4),
    ).to(memory_format=torch.channels_last)
    with _Log() as log:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            y = network(x)
        assert y.dtype == precision
        (gradient,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert log.layouts and all(log.layouts)


def test_weights_of_autocast_get_their_gradient_in_float32() -> None:
    layer, x = convolution.Conv2d(4, 4, 3, padding=1), numbers(2, 4, 6, 6, dtype=torch.float32)
    plain = nn.Conv2d(4, 4, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    for made in (layer, plain):
        with torch.autocast("cpu", torch.bfloat16):
            made(x).float().square().sum().backward()
    for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None and ours.grad.dtype == torch.float32
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.02, atol=0.1)


# --- convolutions with resampling --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_a_pooled_convolution_is_a_convolution_and_a_mean(size: tuple[int, int]) -> None:
    layer, x = convolution.PooledConv2d(3, 4).double(), numbers(2, 3, *size)
    torch.testing.assert_close(layer(x), F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2))
    assert gradgradcheck(layer, (x,))


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_an_upsampled_convolution_is_pixels_doubled_and_a_convolution(size: tuple[int, int]) -> None:
    layer, x = convolution.UpsampledConv2d(3, 4).double(), numbers(2, 3, *size)
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(layer(x), F.conv2d(doubled, layer.weight, layer.bias, padding=1))


# --- resampling --------------------------------------------------------------------------------------------


def taps() -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    return torch.outer(taps, taps).expand(3, 1, 4, 4)


def test_halving_filters_with_1331() -> None:
    x = numbers(2, 3, 6, 8)
    torch.testing.assert_close(convolution.halve(x), F.conv2d(x, taps(), stride=2, padding=1, groups=3))
    padded = F.pad(x[:, :, :5, :7], (0, 1, 0, 1))
    torch.testing.assert_close(convolution.halve(x[:, :, :5, :7]), convolution.halve(padded))


def test_doubling_filters_with_1331() -> None:
    x = numbers(2, 3, 3, 5)
    torch.testing.assert_close(convolution.double(x), F.conv_transpose2d(x, 4 * taps(), stride=2, padding=1, groups=3))


@pytest.mark.parametrize("resample", [convolution.halve, convolution.double])
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_resampling_has_derivatives_of_any_order(resample: Any, size: tuple[int, int]) -> None:
    x = numbers(2, 2, *size)
    assert gradcheck(resample, (x,)) and gradgradcheck(resample, (x,))
    with torch.no_grad():
        torch.testing.assert_close(resample(x.detach()), resample(x).detach())


@pytest.mark.parametrize("resample", [convolution.halve, convolution.double])
def test_resampling_keeps_precision_and_layout(resample: Any) -> None:
    x = torch.randn(2, 4, 6, 6).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    y = resample(x)
    y.sum().backward()
    assert x.grad is not None
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert all(t.is_contiguous(memory_format=torch.channels_last) for t in (y, x.grad))
