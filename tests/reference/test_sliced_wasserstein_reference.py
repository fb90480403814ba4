"""Sliced Wasserstein against SciPy: the pyramid by convolution, the distance of each projection by its own function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve
from scipy.stats import wasserstein_distance

from gansmith.metrics.sliced_wasserstein import PATCH, Patches, level_distances, pyramid_level, pyramid_sizes

BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def pictures(seed: int, height: int, width: int, num: int = 40) -> NDArray[np.uint8]:
    """Noise of another grain each time, on a slope."""
    draw = np.random.default_rng(seed)
    noise = convolve(draw.normal(128, 60, (num, height, width, 3)), np.ones((1, 1 + seed, 2, 1)) / (2 + 2 * seed))
    return (noise + 30 * np.linspace(0, 1, width)[:, None]).clip(0, 255).astype(np.uint8)


def blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = convolve(image, BINOMIAL, mode="mirror")
    return found


def level_of(image: NDArray[np.float64], level: int) -> NDArray[np.float64]:
    """One channel's level, in float64, by zeros between pixels and convolution."""
    last = len(pyramid_sizes(*image.shape)) - 1
    for _ in range(level):
        image = blurred(image)[::2, ::2]
    if level == last:
        return image
    spread = np.zeros_like(image)
    spread[::2, ::2] = blurred(image)[::2, ::2]
    return image - 4 * blurred(spread)


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (64, 37)])
def test_levels_are_those_of_scipy(size: tuple[int, int]) -> None:
    images = pictures(1, *size, num=2)
    for level in range(len(pyramid_sizes(*size))):
        found = pyramid_level(torch.from_numpy(images).permute(0, 3, 1, 2).float(), level)
        wanted = [[level_of(image[..., channel].astype(float), level) for channel in range(3)] for image in images]
        np.testing.assert_allclose(found.numpy(), wanted, atol=2e-4)  # of 255


def descriptors(images: NDArray[np.uint8], level: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The patches [n*p d], cut out one by one and normalised channel by channel."""
    levels = np.array([[level_of(image[..., c].astype(float), level) for c in range(3)] for image in images])
    cut = [levels[:, :, row : row + PATCH, column : column + PATCH] for row, column in places.T]
    patches = np.stack(cut, axis=1)  # [n p c 7 7]
    patches -= patches.mean(axis=(0, 1, 3, 4), keepdims=True)
    patches /= patches.std(axis=(0, 1, 3, 4), keepdims=True)
    return patches.reshape(-1, 3 * PATCH * PATCH)


@pytest.mark.parametrize("level", [0, 1])
def test_the_distance_is_the_mean_of_scipy_s_over_the_projections(level: int) -> None:
    draw = torch.Generator().manual_seed(0)
    real, fake = pictures(1, 33, 36), pictures(2, 33, 36)
    size = pyramid_sizes(33, 36)[level]
    places = torch.stack([torch.randint(length - PATCH + 1, (9,), generator=draw) for length in size])
    directions = torch.randn(40, 3, PATCH * PATCH, generator=draw)
    directions /= directions.norm(dim=(1, 2), keepdim=True)
    which = np.arange(len(real))
    sides = [Patches.of(images, which, level, places) for images in (fake, real)]
    whole, *without = level_distances(*sides, directions)

    lines = directions.flatten(1).double().numpy()

    def wanted(kept: NDArray[np.int64], lines: NDArray[np.float64]) -> float:
        ours, theirs = (descriptors(images[kept], level, places.numpy()) @ lines.T for images in (fake, real))
        return float(np.mean([wasserstein_distance(*pair) for pair in zip(ours.T, theirs.T, strict=True)]))

    assert whole == pytest.approx(wanted(which, lines), rel=2e-5)
    assert without[0] == pytest.approx(wanted(which[5:], lines[:32]), rel=2e-5)
    assert without[7] == pytest.approx(wanted(which[:35], lines[:32]), rel=2e-5)
