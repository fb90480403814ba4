"""Sliced Wasserstein: pyramids of any shape, what it sees and what not, and its interval."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from gansmith.errors import MetricError
from gansmith.metrics import sliced_wasserstein
from gansmith.metrics.features import Features, Selection
from gansmith.metrics.metric import Estimate, MetricInputs
from gansmith.metrics.sliced_wasserstein import SlicedWasserstein, pyramid_level, pyramid_sizes
from gansmith.types import PixelArray, size_text


def blobs(num: int, seed: int, height: int = 16, width: int = 20, channels: int = 3, sharp: float = 1.0) -> PixelArray:
    """Smooth pictures of one strong and one weak wave."""
    draw = np.random.default_rng(seed)
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
    phase = draw.uniform(0, 6, (4, num, 1, 1, channels))
    slow = np.sin(4 * rows + 3 * columns)[..., None] * np.cos(phase[0]) + np.cos(4 * columns[:, None]) * phase[1] / 6
    fast = np.sin(25 * rows)[..., None] * np.cos(phase[2]) + np.sin(25 * columns[:, None] + phase[3])
    pixels = 128 + 35 * slow + 12 * sharp * fast + draw.normal(0, 3, (num, height, width, channels))
    return pixels.clip(0, 255).astype(np.uint8)


def features(images: PixelArray | Selection) -> Features:
    return Features(values=torch.zeros(len(images), 1), logits=None, labels=None, images=images)


def measured(real: PixelArray | Selection, fake: PixelArray | Selection, seed: int = 0) -> Estimate:
    comparison = MetricInputs(real=features(real), fake=features(fake), seed=seed)
    return SlicedWasserstein(projections=48).measure(comparison)["sliced_wasserstein"]


# --- the pyramid -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((16, 16), [(16, 16)]),
        ((31, 31), [(31, 31), (16, 16)]),
        ((32, 48), [(32, 48), (16, 24)]),
        ((17, 200), [(17, 200)]),
        ((128, 128), [(128, 128), (64, 64), (32, 32), (16, 16)]),
    ],
)
def test_levels_go_down_to_16_pixels(size: tuple[int, int], sizes: list[tuple[int, int]]) -> None:
    assert pyramid_sizes(*size) == sizes
    images = torch.rand(2, 3, *size)
    assert [tuple(pyramid_level(images, level).shape) for level in range(len(sizes))] == [(2, 3, *s) for s in sizes]


@pytest.mark.parametrize("size", [(15, 40), (40, 15), (1, 1)])
def test_smaller_images_are_one_clear_line(size: tuple[int, int]) -> None:
    images = np.zeros((40, *size, 1), np.uint8)
    with pytest.raises(
        MetricError, match=rf"images of {re.escape(size_text(size))} pixels are too small .* at least 16 pixels"
    ):
        measured(images, images)


def test_a_plain_colour_has_no_detail() -> None:
    images = torch.full((1, 2, 37, 64), 200.0)
    assert pyramid_level(images, 0).abs().max() < 1e-3
    torch.testing.assert_close(pyramid_level(images, 1), torch.full((1, 2, 19, 32), 200.0))


def test_each_level_is_linear_and_an_image_s_own() -> None:
    images = torch.rand(4, 1, 33, 40, generator=torch.Generator().manual_seed(0))
    for level in range(2):
        whole = pyramid_level(images, level)
        torch.testing.assert_close(pyramid_level(images[2:3], level), whole[2:3])
        torch.testing.assert_close(
            pyramid_level(images[:1] + 2 * images[1:2], level), whole[:1] + 2 * whole[1:2], rtol=1e-4, atol=1e-5
        )


# --- the figure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "channels"), [(16, 16, 1), (32, 17, 3), (16, 45, 4), (33, 32, 3)])
def test_any_shape_and_number_of_channels(height: int, width: int, channels: int) -> None:
    real = blobs(64, 0, height, width, channels)
    found = measured(real, blobs(64, 1, height, width, channels))
    worse = measured(real, blobs(64, 1, height, width, channels, sharp=0))
    assert 0 <= found.low <= found.value <= found.high and found.value < worse.value
    levels = [f"{w}x{h} px" for h, w in pyramid_sizes(height, width)]
    assert [part.rpartition(" ")[0] for part in found.note.split(", ")] == levels
    each = [float(part.rpartition(" ")[2]) for part in found.note.split(", ")]
    assert found.value == pytest.approx(np.mean(each), rel=0.01)


def test_the_same_images_are_at_0() -> None:
    real = blobs(40, 0)
    found = measured(real, real.copy())
    assert found.value == found.low == found.high == 0


def test_the_order_of_the_images_changes_nothing() -> None:
    real, fake = blobs(70, 0), blobs(70, 1)
    shuffled = fake[np.random.default_rng(2).permutation(70)]
    assert measured(real, shuffled).value == pytest.approx(measured(real, fake).value, rel=1e-5)


def test_more_images_of_one_kind_are_nearer_and_another_kind_is_not() -> None:
    few, many = measured(blobs(40, 0), blobs(40, 1)), measured(blobs(320, 0), blobs(320, 1))
    assert many.value < 0.6 * few.value
    other = measured(blobs(320, 0), blobs(320, 1, sharp=0.3))
    assert other.low > many.high


def test_brightness_and_contrast_alone_are_not_seen() -> None:
    """As in the paper: each set is normalised by itself."""
    real = blobs(100, 0)
    assert measured(real, (real // 2 + 60).astype(np.uint8)).value < 0.1 * measured(real, blobs(100, 1, sharp=0)).value


def test_channels_that_never_change_are_not_blown_up() -> None:
    real, fake = blobs(50, 0), blobs(50, 1)
    opaque = np.full_like(real[..., :1], 255)
    with_alpha = [np.concatenate([images, opaque], axis=3) for images in (real, fake)]
    assert 0 < measured(*with_alpha).value < 1.5 * measured(real, fake).value
    assert measured(real, np.full_like(real, 90)).value > 100


def test_of_many_images_2048_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliced_wasserstein, "MOST_IMAGES", 50)
    real, fake = blobs(120, 0), blobs(70, 1)
    seen: list[int] = []

    class Counting(Selection):
        def __getitem__(self, which: np.ndarray) -> PixelArray:  # type: ignore[type-arg]
            seen.append(len(which))
            return super().__getitem__(which)

    assert measured(Counting(real, np.arange(120)), fake).value == measured(real, fake).value
    assert sum(seen) == 50 + 1  # one image tells the size
    assert measured(real, fake).value != measured(real, fake, seed=1).value


def test_the_interval_is_about_as_wide_as_chance() -> None:
    found = [measured(blobs(64, 2 * seed, 16, 16), blobs(64, 2 * seed + 1, 16, 16, sharp=0.5)) for seed in range(15)]
    deviation = np.std([estimate.value for estimate in found], ddof=1)
    error = np.mean([estimate.high - estimate.value for estimate in found]) / 2.365
    assert 0.5 < error / deviation < 2


def test_too_few_images_are_one_clear_line() -> None:
    assert np.isfinite(measured(blobs(32, 0), blobs(32, 1)).value)
    for real, fake in ((31, 50), (50, 31)):
        with pytest.raises(MetricError, match=r"31 images are too few for a distance between patches; .* at least 32"):
            measured(blobs(real, 0), blobs(fake, 1))
