"""Augmentation leak: nothing in real images, the share that was augmented, and no figure where there is no telling."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.augment import draw
from gansmith.errors import MetricError
from gansmith.images.pixels import to_array, to_float, to_uint8
from gansmith.types import Images, ImageSpec, PixelArray

_SPEC = importlib.util.spec_from_file_location(
    "augmentation_leak", Path(__file__).parents[1] / "benchmarks/augmentation_leak.py"
)
assert _SPEC is not None and _SPEC.loader is not None
sys.modules["augmentation_leak"] = _MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
augmentation_leak = _MODULE.augmentation_leak

DIFFAUGMENT = ("color", "translation", "cutout")


def pictures(num: int, seed: int, channels: int = 3) -> PixelArray:
    """Soft blobs that look the same mirrored, of 16x12 pixels."""
    coarse = torch.randn(num, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    images: Images = torch.nn.functional.interpolate(coarse, (16, 12), mode="bicubic").mul(0.5)
    return to_array(to_uint8(images))


def augmented(images: PixelArray, name: str, p: float) -> PixelArray:
    n, height, width, channels = images.shape
    spec = ImageSpec(height=height, width=width, channels=channels)
    transform = draw((name,), n, spec, torch.Generator().manual_seed(9))
    return to_array(to_uint8(transform(to_float(torch.from_numpy(images).permute(0, 3, 1, 2)), p)))


@pytest.fixture(scope="module")
def real() -> PixelArray:
    return pictures(600, seed=0)


@pytest.fixture(scope="module")
def unseen() -> PixelArray:
    return pictures(600, seed=1)


def test_real_images_show_nothing(real: PixelArray, unseen: PixelArray) -> None:
    found = augmentation_leak(real, unseen, ("translation", "cutout"))
    assert found.keys() == {"translation", "cutout"}
    for estimate in found.values():
        assert estimate.low <= 0 <= estimate.high and estimate.high - estimate.low < 0.1
        assert "is right about" in estimate.note and estimate.interval


@pytest.mark.parametrize("name", ["translation", "cutout"])
def test_what_leaks_is_named_and_counted(real: PixelArray, unseen: PixelArray, name: str) -> None:
    fake = augmented(unseen, name, 0.3)
    share = (fake != unseen).any(axis=(1, 2, 3)).mean()
    found = augmentation_leak(real, fake, DIFFAUGMENT)
    assert 0.2 < share < 0.4 and found[name].low < share < found[name].high
    assert all(abs(estimate.value) < 0.12 for other, estimate in found.items() if other != name)


def test_images_that_are_all_augmented_come_out_at_1(real: PixelArray, unseen: PixelArray) -> None:
    found = augmentation_leak(real, augmented(unseen, "cutout", 1.0), ("cutout",))["cutout"]
    assert found.value == pytest.approx(1, abs=0.03) and found.high <= 1


def test_where_there_is_no_telling_there_is_no_figure(real: PixelArray, unseen: PixelArray) -> None:
    assert augmentation_leak(real, unseen, ("mirror",)) == {}


def test_what_does_nothing_to_gray_images_has_no_figure() -> None:
    assert augmentation_leak(pictures(200, 0, channels=1), pictures(100, 1, channels=1), ("hue",)) == {}


def test_images_that_a_mirror_leaves_alone_do_not_count(real: PixelArray, unseen: PixelArray) -> None:
    """Of images that grow darker to the right half stay as they are where all are mirrored at random."""
    ramp = np.linspace(60, -60, 12)[None, None, :, None]
    darker, other = (np.clip(images / 2 + 64 + ramp, 0, 255).astype(np.uint8) for images in (real, unseen))
    found = augmentation_leak(darker, augmented(other, "mirror", 1.0), ("mirror",))["mirror"]
    assert found.low < 0.5 < found.high


def test_blur_and_noise_are_no_leak(real: PixelArray, unseen: PixelArray) -> None:
    soft = (unseen.astype(np.uint16) + np.roll(unseen, 1, axis=1) + np.roll(unseen, 1, axis=2)) // 3
    noisy = np.clip(unseen + np.random.default_rng(0).normal(0, 4, unseen.shape), 0, 255)
    for flawed in (soft, noisy):
        for estimate in augmentation_leak(real, flawed.astype(np.uint8), ("translation", "cutout")).values():
            assert abs(estimate.value) < 0.05


def test_the_seed_alone_decides(real: PixelArray, unseen: PixelArray) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = [augmentation_leak(real[:200], unseen[:100], DIFFAUGMENT, seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("num_real", "num_fake", "channels", "message"),
    [
        (99, 50, 3, "99 real images cannot show augmentation; expected at least 100"),
        (100, 19, 3, "19 generated images cannot show augmentation; expected at least 20"),
        (100, 20, 1, "real and generated images are 16x12x3 and 16x12x1; give images of one shape"),
    ],
)
def test_too_little_is_said(num_real: int, num_fake: int, channels: int, message: str) -> None:
    with pytest.raises(MetricError) as caught:
        augmentation_leak(pictures(num_real, 0), pictures(num_fake, 1, channels), ("cutout",))
    assert str(caught.value) == message
