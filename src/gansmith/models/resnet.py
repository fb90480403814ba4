"""Residual GANs (Gulrajani et al. 2017; Miyato et al. 2018) for images of any shape.

The generator doubles a map of about 4 pixels per side up to the image's size and crops the surplus. The discriminator
halves the image to about 8 pixels per side, applies more blocks at this size, and pools.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import Between
from gansmith.errors import ConfigError
from gansmith.models import layers
from gansmith.models.blocks import Block
from gansmith.models.convolution import Conv2d, PooledConv2d, UpsampledConv2d
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork, Model
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["ResNet"]

SMALLEST_MAP = 4  # pixels of the shorter side of the generator's first map, as in the papers


@dataclass(frozen=True, kw_only=True)
class ResNet(Model):
    """Residual blocks of two 3x3 convolutions (Gulrajani et al. 2017; Miyato et al. 2018, appendix B.4).

    SNGAN's network for CIFAR-10 is ``ResNet(z_dim=128, width=128, generator_width=256, max_multiple=1,
    spectral_norm=True)``; that of WGAN-GP has 128 channels everywhere, no spectral norm, and mean pooling.

    Args:
        width: channels of the discriminator's first block and the generator's last.
        generator_width: channels of the generator's last block; None takes ``width``.
        max_multiple: upper limit of channels as a multiple of the width; they double from block to block.
        plain_blocks: blocks of the discriminator that keep the size, after those that halve it.
        generator_norm: normalisation before each activation of the generator.
        discriminator_norm: normalisation before each activation of the discriminator except in the first block.
        spectral_norm: apply spectral normalisation in the discriminator (Miyato et al. 2018).
        pooling: pooling of the discriminator's last map.
        activation: activation of both networks.
        leak: slope of a leaky ReLU for negative inputs.
        conditioning: how the generator gets the class: "norm" is a scale and shift per class after each normalisation,
            "embedding" is an embedding beside the latent. The discriminator uses a projection.
        init: initialisation of the weights; with "glorot", those in residual branches are larger by sqrt(2).
    """

    width: Annotated[int, Between(1, 4096)] = 32
    generator_width: Annotated[int, Between(1, 4096)] | None = None
    max_multiple: Annotated[int, Between(1, 64)] = 4
    plain_blocks: Annotated[int, Between(0, 64)] = 2
    generator_norm: layers.Norm = "batch"
    discriminator_norm: layers.Norm = "none"
    spectral_norm: bool = False
    pooling: Literal["sum", "mean"] = "sum"
    activation: layers.Activation = "relu"
    leak: float = 0.2
    conditioning: Literal["norm", "embedding"] = "norm"
    init: layers.Initialization = "glorot"

    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        return _Generator(self, spec)

    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        return _Discriminator(self, spec)

    @property
    def batch_statistics(self) -> bool:
        return "batch" in (self.generator_norm, self.discriminator_norm)

    def num_doublings(self, spec: ImageSpec) -> int:
        """Return the number of the generator's blocks.

        Raises:
            ConfigError: the image is too small for a block.
        """
        shorter = min(spec.height, spec.width)
        if shorter < 2:
            raise ConfigError(
                f"config.model: resnet needs images of at least 2x2 pixels, got {spec}; choose a larger --size"
            )
        return max(1, round(math.log2(shorter / SMALLEST_MAP)))

    def multiple(self, stage: int) -> int:
        """Return channels, as a multiple of the width, of the map that is this many blocks away from the image."""
        return min(1 << stage, self.max_multiple)


class _Generator(GeneratorNetwork):
    def __init__(self, model: ResNet, spec: ImageSpec) -> None:
        super().__init__()
        self.output = model.output
        depth = model.num_doublings(spec)
        widths = [(model.generator_width or model.width) * model.multiple(stage) for stage in range(depth, -1, -1)]
        embedded = bool(spec.num_classes) and model.conditioning == "embedding"
        num_classes = 0 if embedded else spec.num_classes
        self.embedding = nn.Embedding(spec.num_classes, model.z_dim) if embedded else None
        self.start = (widths[0], *_shrunk(spec, depth))
        self.stem = nn.Linear(model.z_dim * (2 if embedded else 1), math.prod(self.start))
        self.sizes = [_shrunk(spec, stage) for stage in range(depth - 1, -1, -1)]
        self.blocks = nn.ModuleList(
            _UpBlock(inputs, outputs, size, num_classes, model)
            for (inputs, outputs), size in zip(pairwise(widths), self.sizes, strict=True)
        )
        self.last = layers.ConditionalSequential(
            layers.norm(model.generator_norm, widths[-1], num_classes),
            layers.activation(model.activation, model.leak),
            Conv2d(widths[-1], spec.channels, 3, padding=1),
        )
        _initialize(self, model.init)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the residual blocks."""
        found = [Block(kind="doubling", size=size, modules=(f"blocks.{i}",)) for i, size in enumerate(self.sizes)]
        return tuple(reversed(found))

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        channels, height, width = self.start
        maps = self.stem(z).view(-1, height, width, channels).permute(0, 3, 1, 2)  # channels-last without a copy
        for block in self.blocks:
            maps = block(maps, labels)
        return layers.bound(self.last(maps, labels), self.output)


class _Discriminator(DiscriminatorNetwork):
    def __init__(self, model: ResNet, spec: ImageSpec) -> None:
        super().__init__()
        halvings = max(1, model.num_doublings(spec) - 1)
        widths = [model.width * model.multiple(stage) for stage in range(halvings)]
        self.blocks = nn.Sequential(_FirstBlock(spec.channels, widths[0], model))
        self.blocks.extend(_DownBlock(inputs, outputs, model) for inputs, outputs in pairwise(widths))
        self.blocks.extend(_PlainBlock(widths[-1], model) for _ in range(model.plain_blocks))
        self.blocks.extend(_activated(model, widths[-1]))
        self.sizes = [
            (spec.height >> min(i, halvings), spec.width >> min(i, halvings)) for i in range(len(self.blocks) - 1)
        ]
        self.pooling = model.pooling
        self.head = layers.ProjectionHead(widths[-1], spec.num_classes)
        _initialize(self, model.init)
        if model.spectral_norm:
            layers.add_spectral_norm(self)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the residual blocks, and the normalisation behind the last one if there is one."""
        kinds = {_FirstBlock: "first", _DownBlock: "halving", _PlainBlock: "plain"}
        return tuple(
            Block(kind=kinds.get(type(block), "end"), size=size, modules=(f"blocks.{i}",))
            for i, (block, size) in enumerate(zip(self.blocks, self.sizes, strict=False))
            if block.state_dict()
        )

    def forward(self, images: Images, labels: Labels | None = None) -> Logits:
        maps = self.blocks(images).float()
        features = maps.sum(dim=(2, 3)) if self.pooling == "sum" else maps.mean(dim=(2, 3))
        logits: Logits = self.head(features, labels)
        return logits


class _Block(nn.Module):
    """Two convolutions of x, plus x by a shortcut."""

    residual: nn.Sequential


class _UpBlock(_Block):
    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], num_classes: int, model: ResNet) -> None:
        super().__init__()
        self.residual = layers.ConditionalSequential(
            layers.norm(model.generator_norm, inputs, num_classes),
            layers.activation(model.activation, model.leak, inplace=False),
            UpsampledConv2d(inputs, outputs),
            layers.norm(model.generator_norm, outputs, num_classes),
            layers.activation(model.activation, model.leak),
            Conv2d(outputs, outputs, 3, padding=1),
        )
        self.shortcut = Conv2d(inputs, outputs, 1)
        self.crop = layers.Crop(*size)

    def forward(self, x: Tensor, labels: Labels | None) -> Tensor:
        changed: Tensor = self.crop(self.residual(x, labels) + F.interpolate(self.shortcut(x), scale_factor=2))
        return changed


class _FirstBlock(_Block):
    def __init__(self, inputs: int, outputs: int, model: ResNet) -> None:
        super().__init__()
        activation = layers.activation(model.activation, model.leak)
        self.residual = nn.Sequential(Conv2d(inputs, outputs, 3, padding=1), activation, PooledConv2d(outputs, outputs))
        self.shortcut = Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.residual(x) + self.shortcut(F.avg_pool2d(x, 2))
        return changed


class _DownBlock(_Block):
    def __init__(self, inputs: int, outputs: int, model: ResNet) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_activated(model, inputs, inplace=False),
            Conv2d(inputs, inputs, 3, padding=1),
            *_activated(model, inputs),
            PooledConv2d(inputs, outputs),
        )
        self.shortcut = Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.residual(x) + self.shortcut(F.avg_pool2d(x, 2))
        return changed


class _PlainBlock(_Block):
    def __init__(self, channels: int, model: ResNet) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_activated(model, channels, inplace=False),
            Conv2d(channels, channels, 3, padding=1),
            *_activated(model, channels),
            Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.residual(x)
        return changed


def _activated(model: ResNet, channels: int, *, inplace: bool = True) -> list[nn.Module]:
    return [
        layers.norm(model.discriminator_norm, channels),
        layers.activation(model.activation, model.leak, inplace=inplace),
    ]


def _shrunk(spec: ImageSpec, stage: int) -> tuple[int, int]:
    return math.ceil(spec.height / (1 << stage)), math.ceil(spec.width / (1 << stage))


def _initialize(network: nn.Module, how: layers.Initialization) -> None:
    layers.initialize(network, how)
    if how != "glorot":
        return
    for block in network.modules():
        for layer in block.residual if isinstance(block, _Block) else ():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight, gain=2**0.5)
