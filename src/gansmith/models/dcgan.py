"""Deep convolutional GANs (Radford et al. 2016) for images of any shape, including TensorFlow's 28-pixel tutorial.

The paper's generator maps the latent to a 4x4 map and doubles it up to the image's size; the discriminator halves the
image down again. If a size is not a multiple of the stride, each stage computes the next larger map and crops it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import nn

from gansmith.component import Between
from gansmith.errors import ConfigError
from gansmith.models import layers
from gansmith.models.blocks import Block
from gansmith.models.convolution import Conv2d, ConvTranspose2d, PooledConv2d, UpsampledConv2d
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork, Model
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["DCGAN"]

SMALLEST_MAP = 4  # pixels of the shorter side of the generator's first map, as in the paper


@dataclass(frozen=True, kw_only=True)
class DCGAN(Model):
    """DCGAN: networks of strided convolutions (Radford et al. 2016).

    Args:
        width: channels of the discriminator's first stage and the generator's last.
        max_multiple: upper limit of channels as a multiple of the width; they double from stage to stage.
        depth: number of strided stages per network; None makes the smallest map about 4 pixels.
        plain_stages: additional stages of the generator with stride 1, before the others.
        kernel: kernel size of strided convolutions in pixels, at least the stride.
        stride: factor by which each stage enlarges or shrinks its map.
        generator_activation: activation after each stage of the generator except the last.
        discriminator_activation: activation after each stage of the discriminator.
        leak: slope of a leaky ReLU for negative inputs.
        generator_norm: normalisation before each activation of the generator.
        stem_norm: what the generator's first normalisation normalises: each "channel" of the first map, as after a
            convolution (the paper), or each "number" by itself, as after a dense layer (TensorFlow's tutorial).
        discriminator_norm: normalisation before each activation of the discriminator except the first.
        dropout: dropout probability after each stage of the discriminator.
        spectral_norm: apply spectral normalisation in the discriminator (Miyato et al. 2018), usually together with
            discriminator_norm "none".
        upsampling: how the generator upsamples: strided "transposed" convolutions, or "nearest": nearest-neighbour
            upsampling by 2 and a 3x3 convolution, for stride 2 only.
        downsampling: how the discriminator downsamples: "strided" convolutions, or "pooled": a 3x3 convolution and 2x2
            mean pooling from the second stage on, for stride 2 only. A pooled first stage could not see a checkerboard.
        conditioning: how the generator gets the class: "norm" is a scale and shift per class after each normalisation,
            "embedding" is an embedding beside the latent. The discriminator uses a projection.
        init: initialisation of the weights.
    """

    width: Annotated[int, Between(1, 4096)] = 64
    max_multiple: Annotated[int, Between(1, 64)] = 8
    depth: Annotated[int, Between(1, 16)] | None = None
    plain_stages: Annotated[int, Between(0, 16)] = 0
    kernel: Annotated[int, Between(2, 31)] = 4
    stride: Annotated[int, Between(2, 4)] = 2
    generator_activation: layers.Activation = "relu"
    discriminator_activation: layers.Activation = "leaky-relu"
    leak: float = 0.2
    generator_norm: layers.Norm = "batch"
    stem_norm: Literal["channel", "number"] = "channel"
    discriminator_norm: layers.Norm = "batch"
    dropout: Annotated[float, Between(0, 1, open_high=True)] = 0.0
    spectral_norm: bool = False
    upsampling: Literal["transposed", "nearest"] = "transposed"
    downsampling: Literal["strided", "pooled"] = "strided"
    conditioning: Literal["norm", "embedding"] = "norm"
    init: layers.Initialization = "dcgan"

    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        return _Generator(self, spec)

    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        return _Discriminator(self, spec)

    @property
    def batch_statistics(self) -> bool:
        return "batch" in (self.generator_norm, self.discriminator_norm)

    def num_stages(self, spec: ImageSpec) -> int:
        """Return the number of strided stages for images of a shape.

        Raises:
            ConfigError: the kernel is smaller than the stride, or the image too small for the depth.
        """
        if self.kernel < self.stride:
            raise ConfigError(
                f"config.model.kernel: {self.kernel} is below the stride; expected at least {self.stride}"
            )
        if self.stride != 2 and (self.upsampling, self.downsampling) != ("transposed", "strided"):
            raise ConfigError(
                f"config.model.stride: {self.stride} with {self.upsampling} upsampling and {self.downsampling} "
                "downsampling; only stride 2 allows others than transposed and strided"
            )
        shorter = min(spec.height, spec.width)
        depth = self.depth or max(1, round(math.log(shorter / SMALLEST_MAP, self.stride)))
        if shorter < self.stride**depth:
            raise ConfigError(
                f"config.model.depth: {depth} stages of stride {self.stride} are too many for {spec}; "
                "choose a larger size or a smaller depth"
            )
        return depth

    def channels(self, stage: int) -> int:
        """Return the channels of the map that is this many stages away from the image."""
        return self.width * min(1 << stage, self.max_multiple)


class _Generator(GeneratorNetwork):
    def __init__(self, model: DCGAN, spec: ImageSpec) -> None:
        super().__init__()
        self.output = model.output
        depth = model.num_stages(spec)
        sizes = [_shrunk(spec, model.stride**stage) for stage in range(depth, -1, -1)]
        sizes = [sizes[0]] * (1 + model.plain_stages) + sizes[1:]
        self.start = (model.channels(len(sizes) - 2), *sizes[0])
        embedded = bool(spec.num_classes) and model.conditioning == "embedding"
        self.embedding = nn.Embedding(spec.num_classes, model.z_dim) if embedded else None
        self.stem = nn.Linear(model.z_dim * (2 if embedded else 1), math.prod(self.start), bias=False)
        flat = model.stem_norm == "number"
        normalized = _normalized(model, math.prod(self.start) if flat else self.start[0], spec, dims=1 if flat else 2)
        self.flat_stages = layers.ConditionalSequential(*normalized if flat else ())
        self.stages = layers.ConditionalSequential(*() if flat else normalized)
        for i, size in enumerate(sizes[1:], start=2):
            last = i == len(sizes)
            inputs = model.channels(len(sizes) - i)
            outputs = spec.channels if last else model.channels(len(sizes) - i - 1)
            stride = 1 if i <= 1 + model.plain_stages else model.stride
            self.stages.append(_enlarging(model, inputs, outputs, stride))
            self.stages.append(layers.Crop(*size))
            if not last:
                self.stages.extend(_normalized(model, outputs, spec))
        layers.initialize(self, model.init)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the blocks: the first normalisation, then each convolution with the normalisation behind it."""
        size, found = (self.start[1], self.start[2]), list[Block]()
        found.append(
            Block(kind="start", size=size, modules=("flat_stages.0" if len(self.flat_stages) else "stages.0",))
        )
        for i, layer in enumerate(self.stages):
            if isinstance(layer, layers.Crop):
                before, size = size, (layer.height, layer.width)
                last = i + 1 == len(self.stages)
                kind = "last" if last else "plain" if size == before else "enlarging"
                modules = (f"stages.{i - 1}",) if last else (f"stages.{i - 1}", f"stages.{i + 1}")
                found.append(Block(kind=kind, size=size, modules=modules))
        return tuple(reversed(found))

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        start = self.flat_stages(self.stem(z), labels)
        channels, height, width = self.start
        start = start.view(-1, height, width, channels).permute(0, 3, 1, 2)  # channels-last without a copy
        return layers.bound(self.stages(start, labels), self.output)


class _Discriminator(DiscriminatorNetwork):
    def __init__(self, model: DCGAN, spec: ImageSpec) -> None:
        super().__init__()
        height, width, inputs = spec.height, spec.width, spec.channels
        self.stages = nn.Sequential()
        self.sizes: list[tuple[int, int]] = []
        for stage in range(model.num_stages(spec)):
            self.sizes.append((height, width))
            outputs = model.channels(stage)
            kind = model.discriminator_norm if stage else "none"
            self.stages.extend([_shrinking(model, inputs, outputs, stage), layers.norm(kind, outputs)])
            self.stages.append(layers.activation(model.discriminator_activation, model.leak))
            self.stages.append(layers.Dropout(model.dropout))
            height, width = (_shrunk_by(model, stage, side) for side in (height, width))
            inputs = outputs
        self.head = layers.ProjectionHead(inputs * height * width, spec.num_classes)
        layers.initialize(self, model.init)
        if model.spectral_norm:
            layers.add_spectral_norm(self)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the blocks: each convolution with the normalisation behind it."""
        each = len(self.stages) // len(self.sizes)
        return tuple(
            Block(kind="halving" if i else "first", size=size, modules=(f"stages.{each * i}", f"stages.{each * i + 1}"))
            for i, size in enumerate(self.sizes)
        )

    def forward(self, images: Images, labels: Labels | None = None) -> Logits:
        features = self.stages(images).permute(0, 2, 3, 1)  # the order in memory, so that flatten copies nothing
        logits: Logits = self.head(features.flatten(1), labels)
        return logits


def _shrunk(spec: ImageSpec, factor: int) -> tuple[int, int]:
    return math.ceil(spec.height / factor), math.ceil(spec.width / factor)


def _shrunk_by(model: DCGAN, stage: int, side: int) -> int:
    if stage and model.downsampling == "pooled":
        return side // 2
    return (side + 2 * ((model.kernel - 1) // 2) - model.kernel) // model.stride + 1


def _enlarging(model: DCGAN, inputs: int, outputs: int, stride: int) -> nn.Module:
    if model.upsampling == "nearest" and stride > 1:
        return UpsampledConv2d(inputs, outputs, bias=False)
    # The surplus on the right and at the bottom is cropped, as by TensorFlow's "same" padding.
    return ConvTranspose2d(inputs, outputs, model.kernel, stride, (model.kernel - stride) // 2, bias=False)


def _shrinking(model: DCGAN, inputs: int, outputs: int, stage: int) -> nn.Module:
    bias = not stage or model.discriminator_norm == "none"  # a normalisation would cancel it
    if stage and model.downsampling == "pooled":
        return PooledConv2d(inputs, outputs, bias=bias)
    return Conv2d(inputs, outputs, model.kernel, model.stride, (model.kernel - 1) // 2, bias=bias)


def _normalized(model: DCGAN, channels: int, spec: ImageSpec, dims: Literal[1, 2] = 2) -> list[nn.Module]:
    num_classes = spec.num_classes if model.conditioning == "norm" else 0
    return [
        layers.norm(model.generator_norm, channels, num_classes, dims),
        layers.activation(model.generator_activation, model.leak),
    ]
