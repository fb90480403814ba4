"""Convolutions as products of matrices are those of PyTorch, and are taken where they pay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gansmith.models import algorithms, convolution, matmul
from gansmith.models.dcgan import DCGAN
from gansmith.models.geometry import Geometry
from gansmith.types import ImageSpec

GEOMETRIES = [  # kernel, stride, padding, height and width of the larger map
    ((4, 4), 2, 1, (8, 8)),
    ((5, 5), 2, 2, (7, 9)),
    ((3, 3), 1, 1, (5, 4)),
    ((1, 1), 1, 0, (3, 3)),
    ((3, 2), 3, 0, (8, 9)),  # rows and columns at the end that no kernel reaches
    ((4, 2), 2, 1, (8, 6)),
    ((2, 6), 2, 2, (6, 8)),
    ((4, 4), 1, 3, (2, 3)),  # the kernel is larger than the map
]


def numbers(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return drawn.to(memory_format=torch.channels_last) if len(shape) == 4 else drawn


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), GEOMETRIES)
@pytest.mark.parametrize("images_at_once", [1, 2, 5])
def test_they_are_torch_s_convolution_and_its_gradients(
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    size: tuple[int, int],
    images_at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matmul, "_images_at_once", lambda *_: images_at_once)
    geometry = Geometry(stride, padding, groups=1)
    x, weight, bias = numbers(5, 3, *size), numbers(6, 3, *kernel, seed=1), numbers(6, seed=2)
    expected = F.conv2d(x, weight, bias, stride, padding)
    gradient = numbers(*expected.shape, seed=3)
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, True, False]
    )
    made = matmul.convolve_patches(x, weight, bias, geometry)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(matmul.convolve_patches(x, weight, None, geometry) + bias[:, None, None], expected)
    back = matmul.patch_input_gradient(gradient, weight, size, geometry)
    torch.testing.assert_close(back, of_x)
    torch.testing.assert_close(matmul.patch_weight_gradient(gradient, x, weight.shape, geometry), of_weight)
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in (made, back))


def test_any_layout_will_do() -> None:
    geometry = Geometry(stride=2, padding=1, groups=1)
    x, weight = numbers(2, 3, 6, 6).contiguous(), numbers(4, 3, 4, 4).contiguous()
    torch.testing.assert_close(matmul.convolve_patches(x, weight, None, geometry), F.conv2d(x, weight, None, 2, 1))
    gradient = numbers(2, 4, 3, 3).contiguous()
    expected = F.conv_transpose2d(gradient, weight, None, 2, 1)
    torch.testing.assert_close(matmul.patch_input_gradient(gradient, weight, (6, 6), geometry), expected)


def test_patches_take_no_more_memory_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matmul.PATCH_BYTES < 32 * 2**20, "from there on, glibc returns and requests the memory every time"
    seen: list[int] = []
    multiply = Tensor.__matmul__

    def spied(one: Tensor, other: Tensor) -> Tensor:
        made = multiply(one, other)
        seen.append(max(made.numel(), other.numel()) * made.element_size())
        return made

    monkeypatch.setattr(Tensor, "__matmul__", spied)
    x, weight, gradient = numbers(6, 3, 8, 12), numbers(5, 3, 4, 4, seed=1), numbers(6, 5, 4, 6, seed=2)
    of_one = 4 * 6 * 3 * 4 * 4 * x.element_size()  # patches of one image
    for patch_bytes, images in ((1, [1] * 6), (4 * of_one, [4, 2]), (6 * of_one, [6])):
        monkeypatch.setattr(matmul, "PATCH_BYTES", patch_bytes)
        for work in (
            lambda: matmul.patch_input_gradient(gradient, weight, (8, 12), Geometry(2, 1, 1)),
            lambda: matmul.patch_weight_gradient(gradient, x, weight.shape, Geometry(2, 1, 1)),
        ):
            seen.clear()
            work()
            assert seen == [num * of_one for num in images]


def test_the_weight_s_gradient_is_added_up_in_single_precision() -> None:
    """256 ones and then many more: in bfloat16 the sum would stay at 256."""
    images = 8 * matmul.PATCH_BYTES // (4 * 2 * 64)
    x = torch.ones(images, 64, 2, 2, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    gradient = torch.ones(images, 1, 2, 2, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    found = matmul.patch_weight_gradient(gradient, x, (1, 64, 1, 1), Geometry(1, 0, 1))
    torch.testing.assert_close(found, torch.full((1, 64, 1, 1), 4.0 * images, dtype=torch.bfloat16))


def test_they_pay_where_weights_outweigh_the_map() -> None:
    large, small, half = (512, 256, 4, 4), (512, 16, 4, 4), torch.bfloat16
    assert matmul.pays(large, (4, 4), 1, half) and matmul.pays(large, (4, 4), 1, half, for_weight=True)
    assert matmul.pays((512, 128, 4, 4), (4, 4), 1, half) and not matmul.pays((511, 128, 4, 4), (4, 4), 1, half)
    assert not matmul.pays(small, (4, 4), 1, half) and matmul.pays(small, (4, 4), 1, half, for_weight=True)
    assert not matmul.pays(large, (32, 32), 1, half, for_weight=True)
    assert not matmul.pays(large, (4, 4), 2, half, for_weight=True)
    assert not matmul.pays(large, (4, 4), 1, torch.float32, for_weight=True)


class _Log(TorchDispatchMode):
    """How often each operation was made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[Any] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made[function.overloadpacket] += 1
        return function(*args, **(kwargs or {}))


def _steps(network: nn.Module, *inputs: Any) -> tuple[Counter[Any], list[Tensor]]:
    with _Log() as log, torch.autocast("cpu", torch.bfloat16):
        made = network(*inputs)
        made.float().square().mean().backward()
    return log.made, [made, *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_both_networks_of_dcgan_take_them(upsampling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight's gradient in each, of 8 to 16 channels at 2x2 places; the same figures as without."""
    pooling = "strided" if upsampling == "transposed" else "pooled"
    model = DCGAN(width=8, depth=2, upsampling=upsampling, downsampling=pooling, init="torch")
    spec = ImageSpec(height=8, width=8, channels=3)
    torch.manual_seed(0)
    for network, inputs in (
        (model.generator(spec), (torch.randn(4, model.z_dim), None)),
        (model.discriminator(spec), (torch.randn(4, 3, 8, 8), None)),
    ):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with_them, ours = _steps(network, *inputs)
        network.zero_grad()
        with monkeypatch.context() as without:
            without.setattr(algorithms, "_follow_rule", lambda *_: "direct")
            plain, theirs = _steps(network, *inputs)
        backward = torch.ops.aten.convolution_backward
        assert with_them[backward] == plain[backward] - 1
        for mine, its in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, its, rtol=0.05, atol=0.05 * float(its.detach().abs().max()))


@pytest.mark.parametrize("kind", [convolution.Conv2d, convolution.ConvTranspose2d])
def test_what_they_make_can_be_activated_in_place(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "LARGE", 0)
    channels = (8, 32) if kind is convolution.Conv2d else (32, 8)
    layer, x = kind(*channels, 4, stride=2, padding=1), numbers(2, channels[0], 4, 4, dtype=torch.float32)
    with _Log() as log, torch.autocast("cpu", torch.bfloat16):
        nn.LeakyReLU(0.2, inplace=True)(layer(x)).float().sum().backward()
    assert torch.ops.aten.convolution not in log.made and torch.ops.aten.convolution_backward not in log.made
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in layer.parameters())


def test_a_transposed_convolution_has_derivatives_of_any_order() -> None:
    layer = convolution.ConvTranspose2d(3, 2, 4, stride=2, padding=1).double()
    x = numbers(2, 3, 3, 4).requires_grad_()
    plain = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), plain)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain.detach())

    def transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return convolution.convolve_transposed(x, weight, bias, stride=2, padding=1)

    values = x, layer.weight.detach().requires_grad_(), numbers(2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(transposed, values) and torch.autograd.gradgradcheck(transposed, values)
