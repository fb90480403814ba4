"""The perceptual distance: its formula by a plain reference, and what it must not depend on."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gansmith.errors import MetricError
from gansmith.metrics.perceptual import Perception
from gansmith.models.pretrained import load_efficientnet_lite

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.rand(3, 3, 28, 36, generator=DRAW) * 2 - 1
OTHERS = (IMAGES + 0.3 * torch.randn(IMAGES.shape, generator=DRAW)).clamp(-1, 1)


@pytest.fixture(scope="module")
def perception() -> Perception:
    return Perception("lite0")


def test_it_is_the_mean_squared_distance_of_unit_vectors(perception: Perception) -> None:
    network, side = load_efficientnet_lite("lite0"), 64 / (28 * 36) ** 0.5
    size = (round(28 * side), round(36 * side))
    expected = torch.zeros(3, dtype=torch.float64)
    maps = [network.maps(F.interpolate(images, size, mode="bilinear"), 3) for images in (IMAGES, OTHERS)]
    for first, second in zip(*maps, strict=True):
        apart = first / first.norm(dim=1, keepdim=True) - second / second.norm(dim=1, keepdim=True)
        expected += apart.double().square().sum(dim=1).mean(dim=(1, 2)) / 3
    found = perception.measure(IMAGES, OTHERS)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    assert (found > 0.05).all() and (found < 4).all()


def test_equal_images_have_distance_0_and_embeddings_length_1(perception: Perception) -> None:
    assert perception.measure(IMAGES, IMAGES).abs().max() < 1e-6
    torch.testing.assert_close(perception.embed(IMAGES).norm(dim=1), torch.ones(3))


def test_gradients_reach_the_images(perception: Perception) -> None:
    images = IMAGES.clone().requires_grad_()
    perception.measure(images, OTHERS).sum().backward()
    assert images.grad is not None and images.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_gray_is_repeated_and_transparent_images_lie_on_white(perception: Perception) -> None:
    gray = IMAGES[:, :1]
    torch.testing.assert_close(perception.embed(gray), perception.embed(gray.expand(-1, 3, -1, -1)))
    alpha = torch.cat([torch.ones_like(gray), -torch.ones_like(gray)], dim=3)[..., ::2]
    shown = torch.where(alpha > 0, IMAGES, torch.ones_like(IMAGES))
    torch.testing.assert_close(perception.embed(torch.cat([IMAGES, alpha], dim=1)), perception.embed(shown))


def test_large_images_are_shrunk(perception: Perception) -> None:
    large = F.interpolate(IMAGES, (448, 576), mode="nearest")
    small = F.interpolate(large, (113, 145), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(perception.embed(large), perception.embed(small))


def test_two_channels_are_refused(perception: Perception) -> None:
    with pytest.raises(MetricError, match=r"^images have 2 channels; expected 1 \(gray\), 3 \(RGB\) or 4 \(RGBA\)$"):
        perception.embed(IMAGES[:, :2])
