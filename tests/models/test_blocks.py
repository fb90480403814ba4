"""The blocks of each family, and what freezing them keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gansmith.component import member
from gansmith.errors import ConfigError
from gansmith.models.blocks import Block, Blockwise, freeze_blocks
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import Model
from gansmith.models.r3 import R3
from gansmith.models.resnet import ResNet
from gansmith.types import ImageSpec

SPEC = ImageSpec(height=32, width=24, channels=3, num_classes=3)
OUTSIDE = {"stem", "embedding", "last", "modulation", "start", "to_pixels", "head", "window", "mixing"}
BUILTIN = ("dcgan", "dense", "projected", "r3", "resnet")


def pair(name: str, spec: ImageSpec = SPEC, **fields: Any) -> tuple[nn.Module, nn.Module]:
    model = member(Model, name, "model")(width=4, z_dim=6, **fields)
    return model.generator(spec), model.discriminator(spec)


def blocks_of(network: nn.Module) -> tuple[Block, ...]:
    assert isinstance(network, Blockwise)
    return network.list_blocks()


def test_networks_of_convolutions_and_dense_layers_list_their_blocks() -> None:
    for name in BUILTIN:
        assert [isinstance(network, Blockwise) for network in pair(name)] == [True, True]


@pytest.mark.parametrize("name", BUILTIN)
def test_each_weight_is_in_one_block_or_in_a_layer_outside(name: str) -> None:
    for network in pair(name):
        modules = [module for block in blocks_of(network) for module in block.modules]
        assert len(modules) == len(set(modules))
        for weight in network.state_dict():
            inside = sum(weight.startswith(f"{module}.") for module in modules)
            assert inside == (weight.partition(".")[0] not in OUTSIDE and ".score." not in weight)


def kinds(network: nn.Module) -> list[tuple[str, tuple[int, int]]]:
    return [(block.kind, block.size) for block in blocks_of(network)]


def test_the_blocks_of_dcgan_begin_at_the_image() -> None:
    generator, discriminator = pair("dcgan", plain_stages=1)
    sides = [(32, 24), (16, 12), (8, 6), (4, 3), (4, 3)]
    assert kinds(generator) == list(zip(["last", "enlarging", "enlarging", "plain", "start"], sides, strict=True))
    assert kinds(discriminator) == list(zip(["first", "halving", "halving"], sides[:3], strict=True))
    assert blocks_of(discriminator)[1].modules == ("stages.4", "stages.5")
    flat, _ = pair("dcgan", stem_norm="number")
    assert blocks_of(flat)[-1].modules == ("flat_stages.0",)


def test_the_blocks_of_resnet_begin_at_the_image() -> None:
    generator, discriminator = pair("resnet", discriminator_norm="batch")
    assert kinds(generator) == [("doubling", (32, 24)), ("doubling", (16, 12)), ("doubling", (8, 6))]
    assert blocks_of(generator)[0].modules == ("blocks.2",)
    behind = [("plain", (8, 6)), ("plain", (8, 6)), ("end", (8, 6))]
    assert kinds(discriminator) == [("first", (32, 24)), ("halving", (16, 12)), *behind]
    assert kinds(pair("resnet")[1])[-1] == ("plain", (8, 6))  # without weights, there is no block at the end
    odd = ResNet(width=4).discriminator(ImageSpec(height=33, width=33, channels=3))
    assert kinds(odd)[:3] == [("first", (33, 33)), ("halving", (16, 16)), ("plain", (8, 8))]


def test_the_blocks_of_r3_begin_at_the_image() -> None:
    generator, discriminator = pair("r3", blocks=2)
    sizes = [(32, 24), (16, 12), (8, 6), (4, 3)]
    assert kinds(generator) == list(zip([*["doubling"] * 3, "start"], sizes, strict=True))
    assert kinds(discriminator) == list(zip(["first", *["halving"] * 3], sizes, strict=True))
    assert blocks_of(discriminator)[0].modules == ("from_pixels", "stages.0", "stages.1", "stages.2")
    for network in (generator, discriminator):
        convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
        for block in blocks_of(network):  # a projection, then two blocks of three convolutions each
            inside = [name for name in convolutions if any(f"{name}.".startswith(f"{part}.") for part in block.modules)]
            assert len(inside) == 6 + (block.kind != "start")


def test_the_blocks_of_projected_are_stages_of_all_heads() -> None:
    generator, discriminator = pair("projected", SPEC, pixel_head=True, feature_size=96, num_scales=2)
    sides = [(16, 12), (8, 6), (4, 3)]
    assert kinds(generator) == list(zip(["enlarging", "enlarging", "start"], sides, strict=True))
    first, pixels, second = blocks_of(discriminator)[:3]
    assert [first.kind, pixels.kind, second.kind] == ["stage", "pixel first", "stage"]
    assert first.modules == tuple(f"heads.{head}.stages.{layer}" for head in range(2) for layer in range(2))
    assert second.modules == ("heads.0.stages.3", "heads.0.stages.4")  # the smaller maps are halved only once
    large = pair("projected", ImageSpec(height=64, width=64, channels=3))[0]
    assert kinds(large)[-1] == ("gate", (32, 32)) and blocks_of(large)[-1].modules == ("gates.0",)


def test_freezing_keeps_the_blocks_next_to_the_image() -> None:
    network = DCGAN(width=4).discriminator(SPEC)
    freeze_blocks(network, 2, "config.freeze_discriminator")
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    assert frozen == {"stages.0.weight", "stages.0.bias", "stages.4.weight", "stages.5.weight", "stages.5.bias"}


@pytest.mark.parametrize(("name", "num"), [("dcgan", 3), ("dense", 1), ("r3", 4), ("resnet", 4)])
def test_all_blocks_can_be_frozen_but_the_head_learns(name: str, num: int) -> None:
    network = pair(name)[1]
    freeze_blocks(network, num, "K")
    learning = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert {name.partition(".")[0] for name in learning} <= {"head", "window"} and "head.linear.weight" in learning


def test_too_many_blocks_or_unknown_ones_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^config.freeze_discriminator: 9, but .* 4 blocks; choose 0 to 4$"):
        freeze_blocks(R3(width=4).discriminator(SPEC), 9, "config.freeze_discriminator")
    with pytest.raises(ConfigError, match=r"^K: 1, but Linear does not list its blocks; expected 0$"):
        freeze_blocks(nn.Linear(2, 2), 1, "K")


def test_frozen_weights_of_a_normalised_network_are_frozen_too() -> None:
    network = DCGAN(width=4, spectral_norm=True).discriminator(SPEC)
    freeze_blocks(network, 1, "K")
    network(torch.zeros(2, 3, 32, 24), torch.tensor([0, 1])).sum().backward()
    weights = dict(network.named_parameters())
    assert weights["stages.0.parametrizations.weight.original"].grad is None
    assert weights["stages.4.parametrizations.weight.original"].grad is not None
