"""Operations on places: PyTorch's own ways as references, exactness of whole pixels, and what lies beyond."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gansmith.augment import geometry
from gansmith.types import Images, ImageSpec

NUM = 300


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec_of(height: int, width: int) -> ImageSpec:
    return ImageSpec(height=height, width=width, channels=2)


def pictures(num: int, height: int, width: int) -> Images:
    return torch.randn(num, 2, height, width, generator=stream(1))


def moved(height: int, width: int, x: int, y: int) -> Images:
    """One image, by its places, of which the matrix says that x and y are added."""
    matrix = torch.eye(3)[None]
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return geometry.resample(pictures(1, height, width), matrix, whole=True, turned=False)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12), (1, 5), (6, 1)])
def test_it_samples_as_grid_sample_does(height: int, width: int) -> None:
    images = pictures(NUM, height, width)
    matrices = torch.eye(3) + 0.4 * torch.randn(NUM, 3, 3, generator=stream())
    matrices[:, 2] = torch.tensor([0.0, 0, 1])
    matrices[:, :2, 2] *= 3
    found = geometry.resample(images, matrices, whole=False, turned=True)
    # In float64, and from -1 to 1 between the centres of the outer pixels.
    half = torch.tensor([max(width - 1, 1) / 2, max(height - 1, 1) / 2], dtype=torch.float64)
    x, y = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2 for side in (width, height))
    places = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(height, width)], dim=2)
    grid = (places.view(-1, 3) @ matrices.double().mT)[:, :, :2].view(NUM, height, width, 2) / half
    expected = F.grid_sample(images.double(), grid, "bilinear", "reflection", align_corners=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


def test_the_unit_matrix_leaves_every_bit() -> None:
    images = pictures(3, 33, 47)
    unit = torch.eye(3).repeat(3, 1, 1)
    for whole in (True, False):
        assert torch.equal(geometry.resample(images, unit, whole=whole, turned=not whole), images)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (6, 9)])
def test_mirrors_and_turns_are_exact_and_equally_frequent(height: int, width: int) -> None:
    images, spec = pictures(NUM, height, width), spec_of(height, width)
    quarters = range(4) if height == width else (0, 2)
    kinds = [
        (geometry.mirror, False, [images, images.flip(3)]),
        (geometry.quarter_turn, True, [images.rot90(k, (2, 3)) for k in quarters]),
    ]
    for operation, turned, expected in kinds:
        found = geometry.resample(images, operation(NUM, spec, stream()), whole=True, turned=turned)
        matches = torch.stack([(found == each).flatten(1).all(dim=1) for each in expected])
        assert (matches.sum(dim=0) == 1).all()
        shares = matches.float().mean(dim=1)
        assert shares.min() > 0.7 / len(expected), shares


def test_quarter_turns_give_the_same_with_weights() -> None:
    images = pictures(NUM, 7, 7)
    matrices = geometry.quarter_turn(NUM, spec_of(7, 7), stream())
    exact, weighted = (geometry.resample(images, matrices, whole=whole, turned=True) for whole in (True, False))
    assert torch.equal(exact, weighted)


def test_whole_shifts_reflect_at_the_border() -> None:
    image = pictures(1, 6, 8)
    padded = F.pad(image, (3, 3, 2, 2), mode="reflect")
    assert torch.equal(moved(6, 8, 3, -2), padded[:, :, :6, 6:14])


def test_even_far_outside_there_is_an_image() -> None:
    assert torch.equal(moved(6, 8, 14 * 100, 10 * -100), pictures(1, 6, 8))  # whole periods of the reflections


def offsets(matrices: Tensor) -> Tensor:
    assert torch.equal(matrices[:, :, :2], torch.eye(3)[:, :2].expand(len(matrices), 3, 2))
    return matrices[:, :2, 2]


@pytest.mark.parametrize(("operation", "reach"), [(geometry.shift, (6, 2)), (geometry.translation, (6, 3))])
def test_shifts_are_whole_and_up_to_an_eighth(operation: object, reach: tuple[int, int]) -> None:
    """Of 48 and 20 pixels; an eighth of the latter is 2.5, of which DiffAugment makes 3; ADA rounds what it draws."""
    assert callable(operation)
    found = offsets(operation(5000, spec_of(20, 48), stream()))
    assert torch.equal(found, found.round())
    for axis, most in enumerate(reach):
        assert found[:, axis].unique().tolist() == list(range(-most, most + 1))


def test_fractional_shifts_deviate_by_an_eighth() -> None:
    found = offsets(geometry.fractional_shift(5000, spec_of(20, 48), stream()))
    torch.testing.assert_close(found.std(dim=0), torch.tensor([6.0, 2.5]), rtol=0.05, atol=0)


def test_scaling_and_stretching() -> None:
    spec = spec_of(8, 8)
    for operation, product in ((geometry.scale, None), (geometry.stretch, 1.0)):
        x, y, one = operation(5000, spec, stream()).diagonal(dim1=1, dim2=2).unbind(1)
        assert x.log2().std() == pytest.approx(0.2, rel=0.05) and abs(x.log2().mean()) < 0.02
        torch.testing.assert_close(y, x if product is None else product / x)
        assert (one == 1).all()


def test_rotations_are_rigid_and_by_any_angle() -> None:
    matrices = geometry.rotation(5000, spec_of(8, 8), stream())
    turns = matrices[:, :2, :2]
    torch.testing.assert_close(turns @ turns.mT, torch.eye(2).expand_as(turns), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(5000))
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])
    counts = torch.histc(angles, bins=8, min=-math.pi, max=math.pi)
    assert counts.min() > 0.8 * 5000 / 8


def test_what_a_translation_brings_in_is_found() -> None:
    """Against DiffAugment's way: shifts in an image padded with zeros."""
    images, spec = pictures(NUM, 16, 9).abs() + 1, spec_of(16, 9)
    matrices = geometry.translation(NUM, spec, stream())
    hidden = geometry.mask_outside(matrices, 16, 9)
    found = geometry.resample(images, matrices, whole=True, turned=False) * ~hidden[:, None]
    padded = F.pad(images, (2, 2, 2, 2))
    for image, result, (x, y) in zip(padded, found, offsets(matrices).int().tolist(), strict=True):
        assert torch.equal(result, image[:, 2 + y : 18 + y, 2 + x : 11 + x])
    assert 0 < hidden.float().mean() < 0.3
