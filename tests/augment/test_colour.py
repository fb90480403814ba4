"""Operations on colour: what they are by their papers, what they leave alone, and gray and alpha."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gansmith.augment.colour import brightness, color, contrast, hue, luma_flip, recolour, saturation
from gansmith.images.pixels import SIGNED, UNIT
from gansmith.types import Images, ImageSpec

NUM = 500
RGB = ImageSpec(height=5, width=4, channels=3)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(num: int = NUM, channels: int = 3) -> Images:
    return 2 * torch.rand(num, channels, 5, 4, generator=stream(1)) - 1


def luma(images: Images) -> Tensor:
    return images.mean(dim=1, keepdim=True)


def chroma(images: Images) -> Tensor:
    return (images - luma(images)).norm(dim=1)


def test_diffaugments_colour_is_its_three_steps_in_a_row() -> None:
    images = pictures()
    found = recolour(images, color(NUM, RGB, stream()), SIGNED)
    lift, saturated, contrasted = torch.rand(3, NUM, 1, 1, 1, generator=stream())
    expected = images + (lift - 0.5)
    expected = luma(expected) + 2 * saturated * (expected - luma(expected))
    mean = expected.mean(dim=(1, 2, 3), keepdim=True)
    expected = mean + (contrasted + 0.5) * (expected - mean)
    torch.testing.assert_close(found, expected)


def test_brightness_adds_one_number_of_deviation_a_fifth() -> None:
    images = pictures()
    added = recolour(images, brightness(NUM, RGB, stream()), SIGNED) - images
    numbers = added[:, :1, :1, :1]
    torch.testing.assert_close(added, numbers.expand_as(added), atol=1e-6, rtol=0)
    assert numbers.std() == pytest.approx(0.2, rel=0.1) and numbers.mean() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("operation", "deviation"), [(contrast, 0.5), (saturation, 1.0)])
def test_contrast_and_saturation_multiply(operation: object, deviation: float) -> None:
    assert callable(operation)
    images = pictures()
    found = recolour(images, operation(NUM, RGB, stream()), SIGNED)
    kept, before = (found, images) if operation is contrast else (found - luma(found), images - luma(images))
    factors = (kept / before)[:, 0, 0, 0]
    torch.testing.assert_close(kept, before * factors[:, None, None, None], atol=1e-4, rtol=1e-4)
    assert factors.log2().std() == pytest.approx(deviation, rel=0.1)
    assert factors.log2().mean() == pytest.approx(0, abs=0.15)


def test_a_turned_hue_keeps_luma_and_strength_and_can_be_any() -> None:
    images = pictures()
    found = recolour(images, hue(NUM, RGB, stream()), SIGNED)
    torch.testing.assert_close(luma(found), luma(images), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(chroma(found), chroma(images), atol=1e-5, rtol=1e-5)
    a, b = ((side - luma(side)).flatten(1) for side in (found, images))
    cosines = torch.nn.functional.cosine_similarity(a, b)
    assert cosines.min() < -0.99 and cosines.max() > 0.99 and abs(cosines.mean()) < 0.1


def test_a_luma_flip_turns_light_to_dark_in_half_of_the_images_and_no_hue() -> None:
    images = pictures()
    found = recolour(images, luma_flip(NUM, RGB, stream()), SIGNED)
    torch.testing.assert_close(found - luma(found), images - luma(images), atol=1e-6, rtol=1e-5)
    signs = (luma(found) / luma(images)).mean(dim=(1, 2, 3))
    assert torch.allclose(signs.abs(), torch.ones(NUM), atol=1e-3) and 0.4 < (signs < 0).float().mean() < 0.6


@pytest.mark.parametrize("operation", [color, brightness, contrast, luma_flip])
def test_gray_is_treated_as_the_same_gray_in_rgb(operation: object) -> None:
    assert callable(operation)
    gray, matrices = pictures(channels=1), operation(NUM, RGB, stream())
    expected = recolour(gray.expand(-1, 3, -1, -1), matrices, SIGNED)
    torch.testing.assert_close(recolour(gray, matrices, SIGNED), expected[:, :1], atol=1e-6, rtol=1e-5)


def test_alpha_is_neither_changed_nor_counted() -> None:
    images, matrices = pictures(channels=4), color(NUM, RGB, stream())
    found = recolour(images, matrices, UNIT)
    assert torch.equal(found[:, 3:], images[:, 3:])
    torch.testing.assert_close(found[:, :3], recolour(images[:, :3], matrices, UNIT))


def test_each_random_number_has_its_effect() -> None:
    """With the same numbers: a hue is turned about the gray axis (Rodrigues' formula), the others are one factor."""
    images = pictures(40)
    grays = luma(images)

    def numbers(normal: bool) -> Tensor:
        return (torch.randn if normal else torch.rand)(40, 1, 1, generator=stream())[..., None]

    axis = torch.full((3,), 3**-0.5)
    angle = 2 * torch.pi * numbers(normal=False)
    crossed = torch.linalg.cross(axis[None, :, None, None].expand_as(images), images, dim=1)
    turned = images * angle.cos() + crossed * angle.sin() + grays * (1 - angle.cos())
    dark = torch.randint(2, (40, 1, 1), generator=stream())[..., None]
    wanted = {
        hue: turned,
        luma_flip: images - 2 * dark * grays,
        contrast: images * 2 ** (0.5 * numbers(normal=True)),
        saturation: grays + (images - grays) * 2 ** numbers(normal=True),
        brightness: images + 0.2 * torch.randn(40, 1, generator=stream())[..., None, None],
    }
    for operation, expected in wanted.items():
        torch.testing.assert_close(recolour(images, operation(40, RGB, stream()), SIGNED), expected)
