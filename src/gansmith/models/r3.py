"""R3GAN's networks (Huang et al. 2024): residual blocks without normalisation, initialised as the identity.

For images of any shape: the smallest map has about 4 pixels per side, each stage doubles it, and the surplus on the
right and at the bottom is cropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from gansmith.component import (
    Between,
)
from gansmith.models import layers
from gansmith.models.blocks import Block
from gansmith.models.convolution import Conv2d, double, halve
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork, Model
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["R3"]

SMALLEST_MAP = 4  # pixels of the shorter side, as in the paper


@dataclass(frozen=True, kw_only=True)
class R3(Model):
    """Residual blocks with a grouped 3x3 convolution between two 1x1 convolutions (Huang et al. 2024, section 3).

    The paper's network for CIFAR-10 is ``R3(width=768, max_multiple=1, blocks=2)``; for faces of 256 pixels
    ``width=96, max_multiple=8``. Two details follow the other models here instead of the paper. Pixels are bounded by
    ``output``; the paper has no bound. Labels enter by an embedding of standard deviation 1, and by a projection beside
    a logit for all classes. The paper starts with weak class embeddings without this logit, and learns more slowly.

    Args:
        z_dim: length of the latent vector.
        width: channels of the stage at the image's size.
        max_multiple: upper limit of channels as a multiple of the width; they double from stage to stage.
        blocks: residual blocks per stage.
        expansion: channels inside a block as a multiple of those outside.
        group: channels per group of the 3x3 convolutions; reduced to a divisor of the channels if necessary.
        leak: slope of a leaky ReLU for negative inputs.
    """

    z_dim: Annotated[int, Between(1, 16_384)] = 64
    width: Annotated[int, Between(1, 4096)] = 16
    max_multiple: Annotated[int, Between(1, 64)] = 16
    blocks: Annotated[int, Between(1, 64)] = 1
    expansion: Annotated[int, Between(1, 16)] = 2
    group: Annotated[int, Between(1, 4096)] = 16
    leak: float = 0.2

    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        return _Generator(self, spec)

    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        return _Discriminator(self, spec)

    @property
    def batch_statistics(self) -> bool:
        return False

    def num_stages(self, spec: ImageSpec) -> int:
        """Return the number of map sizes, including the image's."""
        return 1 + max(0, round(math.log2(min(spec.height, spec.width) / SMALLEST_MAP)))

    def channels(self, stage: int) -> int:
        """Return the channels of the map that is this many stages away from the image."""
        return self.width * min(1 << stage, self.max_multiple)


class _Generator(GeneratorNetwork):
    def __init__(self, model: R3, spec: ImageSpec) -> None:
        super().__init__()
        self.output = model.output
        self.embedding = nn.Embedding(spec.num_classes, model.z_dim) if spec.num_classes else None
        last = model.num_stages(spec) - 1
        inputs = model.channels(last)
        self.modulation = nn.Linear(model.z_dim * (2 if spec.num_classes else 1), inputs, bias=False)
        self.start = nn.Parameter(torch.randn(1, inputs, *_size(spec, last)))
        self.stages = nn.Sequential(*_blocks(model, last))
        for stage in range(last - 1, -1, -1):
            outputs = model.channels(stage)
            self.stages.append(_projection(inputs, outputs))
            self.stages.extend([_Double(), layers.Crop(*_size(spec, stage)), *_blocks(model, stage)])
            inputs = outputs
        self.to_pixels = Conv2d(inputs, spec.channels, 1, bias=False)
        _initialize(self, model.leak)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the stages, each with the projection before it; the first pixels are outside them."""
        starts = [i for i, layer in enumerate(self.stages) if isinstance(layer, layers.Crop)]
        sizes = [(self.start.shape[2], self.start.shape[3])]
        sizes += [(crop.height, crop.width) for crop in self.stages if isinstance(crop, layers.Crop)]
        bounds = [0, *(i - 2 for i in starts), len(self.stages)]  # a projection and a doubling stand before each crop
        return tuple(
            Block(
                kind="doubling" if first else "start",
                size=size,
                modules=tuple(f"stages.{i}" for i in range(first, end)),
            )
            for size, (first, end) in reversed(list(zip(sizes, pairwise(bounds), strict=True)))
        )

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        strength = self.modulation(z)
        start = self.start.to(strength.dtype) * strength[:, :, None, None]
        maps = self.stages(start.contiguous(memory_format=torch.channels_last))
        return layers.bound(self.to_pixels(maps), self.output)


class _Discriminator(DiscriminatorNetwork):
    def __init__(self, model: R3, spec: ImageSpec) -> None:
        super().__init__()
        last = model.num_stages(spec) - 1
        self.from_pixels = Conv2d(spec.channels, model.channels(0), 1, bias=False)
        self.stages = nn.Sequential()
        for stage in range(last):
            self.stages.extend(_blocks(model, stage))
            self.stages.append(_Halve())
            self.stages.append(_projection(model.channels(stage), model.channels(stage + 1)))
        self.stages.extend(_blocks(model, last))
        channels, size = model.channels(last), _size(spec, last)
        self.window = nn.Parameter(torch.randn(1, channels, *size) / math.sqrt(math.prod(size)))
        self.head = layers.ProjectionHead(channels, spec.num_classes)
        self.sizes = [_size(spec, stage) for stage in range(last + 1)]
        _initialize(self, model.leak)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the stages, each with the projection before it; the first also with the convolution of the pixels."""
        starts = [i + 1 for i, layer in enumerate(self.stages) if isinstance(layer, _Halve)]
        bounds = [0, *starts, len(self.stages)]
        return tuple(
            Block(
                kind="halving" if first else "first",
                size=size,
                modules=(*(() if first else ("from_pixels",)), *(f"stages.{i}" for i in range(first, end))),
            )
            for size, (first, end) in zip(self.sizes, pairwise(bounds), strict=True)
        )

    def forward(self, images: Images, labels: Labels | None = None) -> Logits:
        maps = self.stages(self.from_pixels(images))
        logits: Logits = self.head((maps.float() * self.window).sum(dim=(2, 3)), labels)
        return logits


class _Block(nn.Module):
    """x plus three convolutions of x with two activations between them; the last convolution starts at zero."""

    def __init__(self, channels: int, model: R3) -> None:
        super().__init__()
        inside = channels * model.expansion
        groups = inside // math.gcd(inside, model.group)
        self.layers = nn.Sequential(
            Conv2d(channels, inside, 1),
            nn.LeakyReLU(model.leak, inplace=True),
            Conv2d(inside, inside, 3, padding=1, groups=groups),
            nn.LeakyReLU(model.leak, inplace=True),
            Conv2d(inside, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.layers(x)
        return changed


class _Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return double(x)


class _Halve(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return halve(x)


def _blocks(model: R3, stage: int) -> list[nn.Module]:
    return [_Block(model.channels(stage), model) for _ in range(model.blocks)]


def _projection(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else Conv2d(inputs, outputs, 1, bias=False)


def _size(spec: ImageSpec, stage: int) -> tuple[int, int]:
    return math.ceil(spec.height / (1 << stage)), math.ceil(spec.width / (1 << stage))


def _initialize(network: nn.Module, leak: float) -> None:
    """Initialise with standard deviation 1 / sqrt(fan in), and blocks as in Fixup (Zhang et al. 2019)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    blocks = [module for module in network.modules() if isinstance(module, _Block)]
    factor = math.sqrt(2 / (1 + leak**2)) * len(blocks) ** -0.25
    for block in blocks:
        *first, last = (layer for layer in block.layers if isinstance(layer, nn.Conv2d))
        for layer in first:
            layer.weight.data.mul_(factor)
        nn.init.zeros_(last.weight)
