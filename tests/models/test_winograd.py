"""Convolutions by minimal filtering are those of PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gansmith.models import winograd
from gansmith.models.geometry import Geometry

GEOMETRIES = [  # kernel, stride, padding, height and width of the larger map
    (4, 2, 1, (8, 12)),
    (4, 2, 1, (9, 9)),  # a last row and column that no kernel reaches
    (4, 2, 0, (10, 6)),
    (2, 1, 1, (3, 5)),
    (2, 1, 2, (3, 3)),  # more zeros than pixels
    (3, 1, 1, (6, 4)),
    (3, 1, 0, (8, 6)),
    (6, 2, 2, (8, 12)),
    (6, 3, 2, (11, 11)),
    (9, 3, 3, (12, 12)),
]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(memory_format=torch.channels_last) if len(shape) == 4 else drawn


def fill_new_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill new memory with NaN, so that what is read before it is written shows."""
    empty_maps = winograd._empty_maps
    monkeypatch.setattr(Tensor, "new_empty", lambda like, *shape: like.new_full(shape, torch.nan))
    monkeypatch.setattr(winograd, "_empty_maps", lambda *about: empty_maps(*about).fill_(torch.nan))


@pytest.mark.parametrize("taps", [2, 3])
def test_the_transforms_are_minimal_filtering(taps: int) -> None:
    """y = A^T ((G w) * (B^T x)) is the correlation of x with w (Lavin and Gray 2016, eq. 6)."""
    transforms = winograd._TRANSFORMS[taps]
    matrices = (transforms.input, transforms.filter, transforms.output)
    assert {number for rows in matrices for row in rows for number in row} == {-1, 0, 1}
    of_input, of_filter, of_output = (torch.tensor(rows, dtype=torch.float64) for rows in matrices)
    x, w = numbers(taps + 1), numbers(taps, seed=1)
    filtered = torch.tensor(transforms.scale, dtype=torch.float64) * (of_filter @ w)
    torch.testing.assert_close(of_output @ (filtered * (of_input @ x)), x.unfold(0, taps, 1) @ w)


def test_memory_is_for_one_image_where_more_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, geometry = numbers(3, 2, 8, 8), Geometry(2, 1, 1)
    tiling = winograd._Tiling.of((5, 2, 4, 4), (4, 4), geometry)
    assert tiling.padded == (10, 10), "no more zeros than the kernels reach"
    bytes_of_one = tiling.products**2 * 4 * (tiling.depth + tiling.outputs) * x.element_size()
    for work_bytes, expected in ((1, [1, 1, 1]), (2 * bytes_of_one, [2, 1]), (10 * bytes_of_one, [3])):
        monkeypatch.setattr(winograd, "WORK_BYTES", work_bytes)
        chunks = list(tiling.chunks(x))
        assert [larger.shape[2] for _, larger, _ in chunks] == expected
        assert [smaller.shape[2] for _, _, smaller in chunks] == expected


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), GEOMETRIES)
@pytest.mark.parametrize("work_bytes", [1, 24 * 2**20])  # one image at a time, and all at once
def test_they_are_torch_s_convolution_and_its_gradients(
    kernel: int, stride: int, padding: int, size: tuple[int, int], work_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "WORK_BYTES", work_bytes)
    fill_new_memory(monkeypatch)
    geometry = Geometry(stride, padding, groups=1)
    assert winograd.applies((kernel, kernel), geometry.size(size, (kernel, kernel)), geometry)
    x, weight, bias = numbers(3, 2, *size), numbers(5, 2, kernel, kernel, seed=1), numbers(5, seed=2)
    expected = F.conv2d(x, weight, bias, stride, padding)
    gradient = numbers(*expected.shape, seed=3)
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, True, False]
    )
    made = winograd.convolve_tiles(x, weight, bias, geometry)
    back = winograd.tile_input_gradient(gradient, weight, size, geometry)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(winograd.convolve_tiles(x, weight, None, geometry) + bias[:, None, None], expected)
    torch.testing.assert_close(back, of_x)
    torch.testing.assert_close(winograd.tile_weight_gradient(gradient, x, weight.shape, geometry), of_weight)
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in (made, back))


def test_any_layout_will_do() -> None:
    geometry = Geometry(stride=2, padding=1, groups=1)
    x, weight = numbers(2, 3, 8, 8).contiguous(), numbers(4, 3, 4, 4).contiguous()
    expected = F.conv2d(x, weight, None, 2, 1)
    torch.testing.assert_close(winograd.convolve_tiles(x, weight, None, geometry), expected)
    gradient = expected.contiguous()
    torch.testing.assert_close(
        winograd.tile_input_gradient(gradient, weight, (8, 8), geometry),
        F.conv_transpose2d(gradient, weight, None, 2, 1),
    )


def test_a_convolution_takes_the_fewest_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of 2x2 outputs takes 9 products instead of 16 for 4x4 and stride 2, and 16 instead of 36 for 3x3."""
    products: list[int] = []
    real = torch.bmm

    def counted(a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
        products.append(a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2])
        return real(a, b, out=out)

    monkeypatch.setattr(torch, "bmm", counted)
    for kernel, stride, share in ((4, 2, 9 / 16), (3, 1, 16 / 36)):
        x, weight = numbers(2, 3, 8, 8), numbers(5, 3, kernel, kernel)
        places = winograd.convolve_tiles(x, weight, None, Geometry(stride, 1, 1))[:, 0].numel()
        assert products.pop() == share * places * weight.numel()


@pytest.mark.parametrize(
    ("kernel", "size", "geometry"),
    [
        ((4, 4), (3, 4), Geometry(2, 1, 1)),  # an odd number of rows
        ((5, 5), (4, 4), Geometry(2, 2, 1)),  # taps of different numbers
        ((4, 3), (4, 4), Geometry(1, 1, 1)),
        ((3, 2), (4, 4), Geometry(1, 1, 1)),
        ((2, 3), (4, 4), Geometry(1, 1, 1)),
        ((1, 1), (4, 4), Geometry(1, 0, 1)),
        ((8, 8), (4, 4), Geometry(2, 3, 1)),  # four taps, of which there are no transforms
        ((3, 3), (4, 4), Geometry(1, 1, 2)),
    ],
)
def test_what_they_cannot_compute(kernel: tuple[int, int], size: tuple[int, int], geometry: Geometry) -> None:
    assert not winograd.applies(kernel, size, geometry)


def test_rounding_is_about_that_of_the_direct_sum() -> None:
    x, weight = numbers(4, 64, 16, 16), numbers(32, 64, 4, 4, seed=1)
    geometry, exact = Geometry(2, 1, 1), F.conv2d(x, weight, None, 2, 1)
    minimal = winograd.convolve_tiles(x.float(), weight.float(), None, geometry).double() - exact
    direct = F.conv2d(x.float(), weight.float(), None, 2, 1).double() - exact
    assert minimal.square().mean().sqrt() < 3 * direct.square().mean().sqrt()
