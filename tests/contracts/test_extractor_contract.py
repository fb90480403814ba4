"""Every feature network: finite features, the same however the images come and however often it is made."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gansmith.component import from_plain, member, member_name, to_plain
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics import EXTRACTORS, default_extractor, inception, learning
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.types import ImageSpec, Pixels

CLASSES = 3
SPECS = {
    "gray": ImageSpec(height=8, width=8, channels=1, num_classes=CLASSES),
    "RGB": ImageSpec(height=16, width=16, channels=3, num_classes=CLASSES),
    "RGBA": ImageSpec(height=9, width=13, channels=4, num_classes=CLASSES),
    "upright": ImageSpec(height=24, width=10, channels=3, num_classes=CLASSES),
    "large": ImageSpec(height=90, width=50, channels=3, num_classes=CLASSES),
}
LEARNING = ("classifier", "self-supervised")
RECIPES = {
    "classifier": {"width": 8, "num_features": 6, "kimg": 0.3},
    "self-supervised": {"width": 8, "num_features": 6, "kimg": 0.3},
    "random-conv": {"width": 8, "num_features": 6},
    "efficientnet-lite0": {"side": 32},
    "efficientnet-lite1": {"side": 32},
    "function": {"path": f"{__name__}:means"},
    "inception": {},
}


def means(pixels: Pixels) -> Tensor:
    """What the extractor "function" is given here."""
    return pixels.float().mean(dim=(2, 3))


class Miniature(nn.Module):
    """Is called as the true Inception export is."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(3, 5)

    def forward(
        self, img: Tensor, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> Tensor:
        features = img.to(torch.float32).mean(dim=[2, 3])
        return features if return_features else self.output(features).softmax(dim=1)


def store_of(spec: ImageSpec, seed: int = 0, num: int = 60) -> Store:
    """Noise, lighter from class to class."""
    labels = np.arange(num) % CLASSES
    shape = (num, spec.height, spec.width, spec.channels)
    images = np.random.default_rng(seed).integers(0, 100, shape) + 70 * labels[:, None, None, None]
    return Store(
        path=Path("nowhere"),
        title="noise",
        kind="photos",
        spec=spec,
        images=images.astype(np.uint8),
        labels=labels,
        class_names=("dark", "gray", "light"),
        groups=None,
        digest=f"{spec} {seed}",
    )


@pytest.fixture(params=EXTRACTORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From each call on, nothing has been made yet."""
    numbers = iter(range(9))

    def renew() -> None:
        monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / f"cache{next(numbers)}"))

    return renew


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the extractor "function" import from here."""
    monkeypatch.setenv("GANSMITH_TRUST", __name__)


@pytest.fixture(autouse=True)
def inception_copy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file that passes for the true one."""
    path = tmp_path_factory.mktemp("inception") / "copy.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Miniature()).save(path)
    content = path.read_bytes()
    pinned = {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size_bytes": len(content)}
    monkeypatch.setattr(inception, "INCEPTION", dataclasses.replace(inception.INCEPTION, **pinned))
    monkeypatch.setitem(RECIPES, "inception", {"path": str(path)})
    return path


def network(name: str, store: Store, **changes: object) -> FeatureNetwork:
    extractor = from_plain(Extractor, {"name": name, **RECIPES[name], **changes}, "extractor")
    made: FeatureNetwork = extractor.network(store, np.arange(50))
    return made


def pixels_of(store: Store) -> Pixels:
    return torch.from_numpy(store.images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", SPECS)
def test_features_are_numbers_and_an_image_s_own(name: str, kind: str) -> None:
    store = store_of(SPECS[kind])
    made = network(name, store)
    pixels = pixels_of(store)
    if (name == "inception" or name.startswith("efficientnet")) and kind == "RGBA":
        with pytest.raises(MetricError, match=f"have 4 channels, but {name} takes gray or RGB; .* --channels rgb"):
            made(pixels)
        return
    features, logits = made(pixels)
    assert features.dtype == torch.float32 and features.dim() == 2 and len(features) == len(pixels)
    assert torch.isfinite(features).all() and features.std(dim=0).max() > 0
    assert (logits is not None) == (made.num_classes > 0)
    alone, alone_logits = made(pixels[7:8])
    torch.testing.assert_close(alone, features[7:8], rtol=1e-4, atol=1e-5)
    if logits is not None and alone_logits is not None:
        assert logits.shape == (len(pixels), made.num_classes) and logits.dtype == torch.float32
        torch.testing.assert_close(alone_logits, logits[7:8], rtol=1e-4, atol=1e-4)


def test_it_is_the_same_when_made_again(name: str, fresh_cache: Callable[[], None]) -> None:
    store = store_of(SPECS["RGB"])
    fresh_cache()
    first = network(name, store)
    fresh_cache()
    again = network(name, store)
    assert (again.name, again.digest, again.note) == (name, first.digest, first.note)
    assert torch.equal(again(pixels_of(store))[0], first(pixels_of(store))[0])


@pytest.mark.parametrize("name", LEARNING)
def test_it_learns_once(name: str, fresh_cache: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(SPECS["RGB"])
    fresh_cache()
    first = network(name, store)
    monkeypatch.setattr(learning, "Batches", None)
    again = network(name, store)
    assert (again.digest, again.note) == (first.digest, first.note) and first.note
    assert torch.equal(again(pixels_of(store))[0], first(pixels_of(store))[0])


@pytest.mark.parametrize("name", LEARNING)
def test_other_data_make_another_network(name: str) -> None:
    assert network(name, store_of(SPECS["RGB"])).digest != network(name, store_of(SPECS["RGB"], seed=1)).digest


@pytest.mark.parametrize("name", [*LEARNING, "random-conv"])
def test_another_recipe_makes_another_network(name: str) -> None:
    store = store_of(SPECS["RGB"])
    assert network(name, store).digest != network(name, store, width=10).digest


@pytest.mark.parametrize("name", [*LEARNING, "random-conv"])
def test_images_of_another_shape_are_refused(name: str) -> None:
    made = network(name, store_of(SPECS["RGB"]))
    with pytest.raises(
        MetricError, match=f"images are 10x24 .width x height. RGB, but {name} takes 16x16 RGB; pass images"
    ):
        made(pixels_of(store_of(SPECS["upright"])))


def test_nobody_else_s_random_numbers_change(name: str, fresh_cache: Callable[[], None]) -> None:
    fresh_cache()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    network(name, store_of(SPECS["gray"]))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_is_written_down_and_read_again(name: str) -> None:
    extractor = from_plain(Extractor, {"name": name, **RECIPES[name]}, "extractor")
    assert from_plain(Extractor, to_plain(extractor), "extractor") == extractor


def test_every_extractor_is_held_to_this() -> None:
    assert RECIPES.keys() == EXTRACTORS.keys()
    assert all(member(Extractor, name, "extractor") for name in EXTRACTORS)


def test_the_default_is_one_that_works_on_the_data() -> None:
    labelled = dataclasses.replace(store_of(SPECS["RGB"]), kind="signs")
    unlabelled = dataclasses.replace(labelled, labels=None, class_names=())
    of_one_class = dataclasses.replace(labelled, labels=np.zeros(len(labelled), np.int64))
    assert default_extractor(labelled) == Classifier()
    for store in (unlabelled, of_one_class):
        assert network(member_name(default_extractor(store)), store).num_classes == 0
