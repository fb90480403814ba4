"""Features of EfficientNet-Lite: those of the network at one size, the same on every machine and in any batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gansmith.component import from_plain
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics.efficientnet import CHUNK, EfficientNetLite1, resize_to_area
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork, extract
from gansmith.models.pretrained import LiteName, load_efficientnet_lite
from gansmith.types import Pixels

NAMES: tuple[LiteName, ...] = ("lite0", "lite1")
DIGESTS = {"lite0": "8172ce03", "lite1": "b7df7a15"}
FEATURES = {"lite0": [0.107935, 0.631564, 0.167132, -1.912427], "lite1": [1.145908, 2.559962, 2.790906, -0.308944]}


def network(name: LiteName, **settings: object) -> FeatureNetwork:
    extractor = from_plain(Extractor, {"name": f"efficientnet-{name}", **settings}, "extractor")
    store: Store = None  # type: ignore[assignment]  # nothing is learnt from the data
    made: FeatureNetwork = extractor.network(store, np.arange(0))
    return made


def pictures(num: int, channels: int = 3, height: int = 20, width: int = 28) -> Pixels:
    """Smooth images that no random number generator changes: sums of a few waves."""
    n, c, y, x = np.meshgrid(*map(np.arange, (num, channels, height, width)), indexing="ij")
    waves = np.sin(0.3 * x + 0.9 * n) + np.cos(0.2 * y * (1 + c)) + 0.5 * np.sin(1.7 * (x - y))
    return torch.from_numpy(np.rint(127.5 + 50 * waves).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 20, 28), (1, 28, 28), (3, 100, 80)])
def test_it_is_the_network_at_one_area(name: LiteName, channels: int, height: int, width: int) -> None:
    pixels = pictures(3, channels, height, width)
    features, logits = network(name, side=48)(pixels)
    factor = 48 / (height * width) ** 0.5
    size = [round(height * factor), round(width * factor)]
    images = F.interpolate(
        pixels.double() / 127.5 - 1, size, mode="bilinear", align_corners=False, antialias=height > 48
    )
    with torch.no_grad():
        expected = load_efficientnet_lite(name).maps(images.float().repeat(1, 3 // channels, 1, 1))[3].mean(dim=(2, 3))
    assert logits is None and features.shape == (3, 320)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_batch_or_many_one_thread_or_two_give_the_same(request: pytest.FixtureRequest) -> None:
    made = network("lite1")
    num = CHUNK // 64**2 + 3  # more than the network sees at once
    images = pictures(num).permute(0, 2, 3, 1).numpy()
    whole, _ = extract(made, [images])
    alone, _ = extract(made, [images[:1]])
    request.getfixturevalue("_two_threads")
    threads, _ = extract(made, [images[:5], images[5:]])
    torch.testing.assert_close(threads, whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone, whole[:1], rtol=1e-4, atol=1e-4)


def test_mixed_precision_around_it_changes_nothing() -> None:
    made, pixels = network("lite0"), pictures(2)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = made(pixels)
    assert torch.equal(inside, made(pixels)[0])


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_preprocessing_are_the_digest(name: LiteName) -> None:
    """Whoever changes what is computed raises RESIZING, and then these: old and new values are not comparable."""
    made = network(name)
    assert (made.digest[:8], made.num_classes) == (DIGESTS[name], 0)
    assert network(name, side=96).digest not in {made.digest, network("lite1" if name == "lite0" else "lite0").digest}
    found = made(pictures(1))[0][0]
    torch.testing.assert_close(found[:4], torch.tensor(FEATURES[name]), rtol=1e-4, atol=1e-4)
    assert made.note == "ImageNet weights" and "area of 96x96" in network(name, side=96).note


@pytest.mark.parametrize(("given", "area"), [((20, 28), 64), ((70, 90), None), ((130, 200), 128)])
def test_small_images_are_enlarged_and_large_ones_shrunk(given: tuple[int, int], area: int | None) -> None:
    pixels = pictures(1, 3, *given)
    found, _ = network("lite0")(pixels)
    expected, _ = network("lite0", side=area)(pixels) if area else (None, None)
    if area is None:
        with torch.no_grad():
            expected = load_efficientnet_lite("lite0").pool(pixels.float() / 127.5 - 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_rgba_images_are_refused_in_one_line() -> None:
    with pytest.raises(
        MetricError,
        match=r"^images have 4 channels, but efficientnet-lite0 takes gray or RGB; .* --channels rgb, or .*$",
    ):
        network("lite0")(pictures(1, channels=4))


@pytest.mark.parametrize(
    ("given", "side", "found"),
    [((32, 32), 96, (96, 96)), ((48, 192), 128, (64, 256)), ((300, 200), 96, (118, 78)), ((1, 900), 32, (1, 960))],
)
def test_the_area_is_fixed_and_the_aspect_kept(given: tuple[int, int], side: int, found: tuple[int, int]) -> None:
    assert resize_to_area(torch.zeros(1, 3, *given), side).shape[2:] == found
    images = torch.rand(1, 3, 96, 96)
    assert resize_to_area(images, 96) is images


def test_the_side_is_bounded() -> None:
    assert dataclasses.replace(EfficientNetLite1(), side=32).side == 32
    with pytest.raises(Exception, match="side"):
        EfficientNetLite1(side=16)
