"""A discriminator that looks through a frozen backbone (Sauer et al. 2021), and a light generator (Liu et al. 2021).

For images of any shape. The discriminator has a head for each of the backbone's maps, with a logit for each position of
the head's map, and the loss acts on each logit. It may have one more head that sees pixels. The backbone is no part of
checkpoints: it is loaded from its package. The random mixing of its maps is part of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import Between
from gansmith.devices import autocast
from gansmith.images.pixels import ValueRange
from gansmith.models import layers
from gansmith.models.blocks import Block, Blockwise
from gansmith.models.convolution import Conv2d, UpsampledConv2d
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork, Model
from gansmith.models.pretrained import LiteName, load_efficientnet_lite
from gansmith.types import DiscriminatorOutput, Images, ImageSpec, Labels, Latents

__all__ = ["Projected"]

SMALLEST_MAP = 4  # pixels of the shorter side of the generator's first map and, at most about, of a head's last
GATE_DISTANCE = 3  # doublings from a map to the one that it gates: the paper's 4, as pixels have no map of their own
GATE_SIDE = 4  # pixels per side to which a map is pooled for a gate, as in the paper
SMALLEST_INPUT = 32  # pixels per side of the backbone's input: its deepest map has at least one
SPREADS = (9.0, 8.0, 7.0, 3.5)  # root mean squares of EfficientNet-Lite0's maps of photographs of 64 to 96 pixels


@dataclass(frozen=True, kw_only=True)
class Projected(Model):
    """Projected GAN (Sauer et al. 2021): heads on randomly mixed maps of a frozen network trained on ImageNet.

    The generator is a DCGAN with nearest-neighbour upsampling and the skip-layer excitation of FastGAN (Liu et al.
    2021, section 3.1), without FastGAN's noise, as one seed makes one image. Two details differ from Projected GAN, for
    speed on a CPU: the backbone sees small images, and heads have few channels and no batch normalisation by default.

    Args:
        z_dim: length of the latent vector.
        width: channels of the generator's last map, and of the first map of the head that sees pixels.
        max_multiple: upper limit of channels as a multiple of the width; they double from stage to stage.
        generator_activation: activation after each normalisation of the generator. "glu" is that of FastGAN: half of
            the channels gate the others, so twice as many are computed.
        generator_norm: normalisation after each stage of the generator, with a scale and shift per class.
        excitation: whether small maps of the generator scale the channels of maps 8 times as large.
        feature_size: images are resized for the backbone to about this many pixels squared; their aspect is kept.
        num_scales: number of the backbone's maps that are used, from that at stride 4 on: 4 are all.
        mixing_width: channels of the first mixed map; each deeper one has twice as many.
        head_width: channels within each head.
        discriminator_norm: normalisation in the heads on maps.
        pixel_head: add the discriminator of ``DCGAN``, which sees pixels, as one more head. R1 and R2 then act on it
            alone: second derivatives through the backbone are slow.
        map_weight: factor on the loss of each head on maps beside a head that sees pixels.
        leak: slope of leaky ReLUs for negative inputs.
    """

    backbone: ClassVar[LiteName] = "lite0"

    z_dim: Annotated[int, Between(1, 16_384)] = 64
    width: Annotated[int, Between(1, 4096)] = 32
    max_multiple: Annotated[int, Between(1, 64)] = 4
    generator_activation: Literal["relu", "glu"] = "relu"
    generator_norm: layers.Norm = "batch"
    excitation: bool = True
    feature_size: Annotated[int, Between(SMALLEST_INPUT, 512)] = 64
    num_scales: Annotated[int, Between(1, 4)] = 4
    mixing_width: Annotated[int, Between(1, 1024)] = 32
    head_width: Annotated[int, Between(1, 4096)] = 64
    discriminator_norm: layers.Norm = "none"
    pixel_head: bool = False
    map_weight: Annotated[float, Between(0, 100)] = 0.25
    leak: float = 0.2

    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        return _Generator(self, spec)

    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        return _Discriminator(self, spec)

    @property
    def batch_statistics(self) -> bool:
        return "batch" in (self.generator_norm, self.discriminator_norm)

    def map_sizes(self, spec: ImageSpec) -> list[tuple[int, int]]:
        """Return height and width of each of the generator's maps; the image is twice the last, cropped."""
        doublings = round(math.log2(min(spec.height, spec.width) / SMALLEST_MAP))
        return [_shrunk(spec, 1 << stage) for stage in range(max(1, doublings), 0, -1)]

    def channels(self, stage: int) -> int:
        """Return the channels of the generator's map that is this many stages away from the last."""
        return self.width * min(1 << stage, self.max_multiple)

    def input_size(self, spec: ImageSpec) -> tuple[int, int]:
        """Return height and width of the images that the backbone sees."""
        factor = self.feature_size / math.sqrt(spec.height * spec.width)
        height, width = (max(SMALLEST_INPUT, round(side * factor)) for side in (spec.height, spec.width))
        return height, width


def _shrunk(spec: ImageSpec, factor: int) -> tuple[int, int]:
    return math.ceil(spec.height / factor), math.ceil(spec.width / factor)


# --- the generator -----------------------------------------------------------------------------------------


class _Generator(GeneratorNetwork):
    def __init__(self, model: Projected, spec: ImageSpec) -> None:
        super().__init__()
        self.output = model.output
        self.sizes = sizes = model.map_sizes(spec)
        widths = [model.channels(len(sizes) - 1 - i) for i in range(len(sizes))]
        inside = widths[0] * _growth(model)
        self.start = (inside, *sizes[0])
        self.stem = nn.Linear(model.z_dim, math.prod(self.start), bias=False)
        self.stages = nn.ModuleList([layers.ConditionalSequential(*_activated(model, inside, spec.num_classes))])
        for (inputs, outputs), size in zip(pairwise(widths), sizes[1:], strict=True):
            self.stages.append(_enlarging(model, inputs, outputs, size, spec.num_classes))
        pairs = zip(widths, widths[GATE_DISTANCE:], strict=False) if model.excitation else ()
        self.gates = nn.ModuleList(_Gate(inputs, outputs) for inputs, outputs in pairs)
        self.to_pixels = UpsampledConv2d(widths[-1], spec.channels)
        self.crop = layers.Crop(spec.height, spec.width)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the blocks: each stage, and each gate with the size of the map that it scales."""
        stages = [
            Block(kind="enlarging" if i else "start", size=size, modules=(f"stages.{i}",))
            for i, size in enumerate(self.sizes)
        ]
        gates = [
            Block(kind="gate", size=size, modules=(f"gates.{i}",))
            for i, size in enumerate(self.sizes[GATE_DISTANCE:][: len(self.gates)])
        ]
        return (*reversed(stages), *reversed(gates))

    def list_gates(self) -> tuple[str, ...]:
        """Return the names of the modules that scale large maps by small ones; see ``models.mixing``."""
        return tuple(f"gates.{i}" for i in range(len(self.gates)))

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        channels, height, width = self.start
        x = self.stem(z).view(-1, height, width, channels).permute(0, 3, 1, 2)  # channels-last without a copy
        maps: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            x = stage(x, labels)
            if 0 <= i - GATE_DISTANCE < len(self.gates):
                x = x * self.gates[i - GATE_DISTANCE](maps[i - GATE_DISTANCE])
            maps.append(x)
        return layers.bound(self.crop(self.to_pixels(x)), self.output)


def _growth(model: Projected) -> int:
    """Return how many channels an activation needs for each one that it returns."""
    return 2 if model.generator_activation == "glu" else 1


def _enlarging(
    model: Projected, inputs: int, outputs: int, size: tuple[int, int], num_classes: int
) -> layers.ConditionalSequential:
    inside = outputs * _growth(model)
    return layers.ConditionalSequential(
        UpsampledConv2d(inputs, inside, bias=False), layers.Crop(*size), *_activated(model, inside, num_classes)
    )


def _activated(model: Projected, channels: int, num_classes: int) -> list[nn.Module]:
    activation = nn.GLU(dim=1) if model.generator_activation == "glu" else nn.ReLU(inplace=True)
    return [layers.norm(model.generator_norm, channels, num_classes), activation]


class _Gate(nn.Module):
    """Skip-layer excitation: a factor in (0, 1) for each channel of a large map, computed from a small map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(GATE_SIDE),
            Conv2d(inputs, outputs, GATE_SIDE),
            nn.SiLU(),
            Conv2d(outputs, outputs, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d 1 1"]:
        factors: Tensor = self.layers(x)
        return factors


# --- the discriminator -------------------------------------------------------------------------------------


class _Discriminator(DiscriminatorNetwork):
    def __init__(self, model: Projected, spec: ImageSpec) -> None:
        super().__init__()
        self.backbone = load_efficientnet_lite(model.backbone)
        size = model.input_size(spec)
        self.view = _View((spec.height, spec.width), size, model.value_range)
        self.mixing = _Mixing(self.backbone.channels[: model.num_scales], model.mixing_width)
        heads = [
            _Head(model, channels, [math.ceil(side / (4 << scale)) for side in size], spec.num_classes)
            for scale, channels in enumerate(self.mixing.channels)
        ]
        self.depths = [len(head.stages) // _Head.EACH for head in heads]
        self.heads = nn.ModuleList(heads)
        layers.add_spectral_norm(self.heads)
        self.pixels = _see_pixels(model).discriminator(spec) if model.pixel_head else None
        on_maps = model.map_weight if model.pixel_head else 1.0
        self.head_weights = (*[on_maps] * len(self.heads), *[1.0] * model.pixel_head)
        self.size = size

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the blocks: the first stages of the heads on maps, the first of the head on pixels, the second, ..."""
        depth = max(self.depths)
        on_maps = [
            Block(kind="stage", size=(self.size[0] >> (2 + i), self.size[1] >> (2 + i)), modules=self._stages(i))
            for i in range(depth)
        ]
        assert self.pixels is None or isinstance(self.pixels, Blockwise)
        own = () if self.pixels is None else self.pixels.list_blocks()
        on_pixels = [
            Block(
                kind=f"pixel {block.kind}", size=block.size, modules=tuple(f"pixels.{name}" for name in block.modules)
            )
            for block in own
        ]
        return tuple(block for pair in zip_longest(on_maps, on_pixels) for block in pair if block)

    def _stages(self, number: int) -> tuple[str, ...]:
        """Return the names of the layers with weights of one stage in all heads on maps that have it."""
        deep = [i for i, depth in enumerate(self.depths) if depth > number]
        return tuple(f"heads.{i}.stages.{_Head.EACH * number + layer}" for i in deep for layer in range(2))

    def forward(self, images: Images, labels: Labels | None = None) -> DiscriminatorOutput:
        maps = self.mixing(self.backbone.maps(self.view(images), len(self.heads)))
        heads = [head(mixed, labels) for head, mixed in zip(self.heads, maps, strict=True)]
        own = () if self.pixels is None else (self.pixels(images, labels),)
        return DiscriminatorOutput(heads=(*heads, *own), weights=self.head_weights, penalised=own or None)


def _see_pixels(model: Projected) -> DCGAN:
    return DCGAN(
        width=model.width,
        max_multiple=model.max_multiple,
        leak=model.leak,
        discriminator_norm="none",
        downsampling="pooled",
        init="torch",
    )


class _View(nn.Module):
    """The images that the backbone sees: three channels in [-1, 1], resized.

    The resizing is linear interpolation, with a wider filter where it shrinks: two products with constant matrices, so
    it is exact, and its gradient is the same each time.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, before: tuple[int, int], after: tuple[int, int], value_range: ValueRange) -> None:
        super().__init__()
        self.value_range, self.resizes = value_range, before != after
        for name, *sides in zip(("rows", "columns"), before, after, strict=True):
            self.register_buffer(name, _interpolation(*sides), persistent=False)

    def forward(self, images: Images) -> Float32[Tensor, "n 3 i j"]:
        low, high = self.value_range
        with autocast(images.device, None):  # bfloat16 is too coarse for pixels
            signed = (images.float() - low) * (2 / (high - low)) - 1
            if signed.shape[1] == 4:  # over mid-gray, which is 0
                signed = signed[:, :3] * (signed[:, 3:] + 1) / 2
            if self.resizes:
                signed = self.rows @ signed @ self.columns.T
        return signed.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _interpolation(before: int, after: int) -> Float32[Tensor, "after before"]:
    """Return the matrix of linear interpolation of ``before`` pixels at ``after`` places; each row has the sum 1."""
    scale = before / after
    places = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    distances = (torch.arange(before, dtype=torch.float64) + 0.5 - places[:, None]).abs()
    weights = (1 - distances / max(1.0, scale)).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


class _Mixing(nn.Module):
    """The backbone's maps after fixed random mixing across channels and scales (Sauer et al. 2021, section 4.1).

    A random 1x1 convolution mixes each map's channels. Then, from the deepest map on, a random 3x3 convolution of the
    mixed map is enlarged and added to the next larger one. The weights keep the mean square of the maps.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.channels = [width << scale for scale in range(len(channels))]
        for scale, (inputs, outputs) in enumerate(zip(channels, self.channels, strict=True)):
            self.register_buffer(f"across{scale}", _random(outputs, inputs, 1) / SPREADS[scale])
        for scale, (outputs, inputs) in enumerate(pairwise(self.channels)):
            self.register_buffer(f"down{scale}", _random(outputs, inputs, 3))

    def forward(self, maps: Sequence[Float[Tensor, "n _c _h _w"]]) -> list[Float[Tensor, "n _d _h _w"]]:
        mixed = [F.conv2d(x, self.get_buffer(f"across{scale}")) for scale, x in enumerate(maps)]
        for scale in range(len(mixed) - 2, -1, -1):
            deeper = F.conv2d(mixed[scale + 1], self.get_buffer(f"down{scale}"), padding=1)
            mixed[scale] = mixed[scale] + F.interpolate(deeper, size=mixed[scale].shape[2:], mode="bilinear")
        return mixed


def _random(outputs: int, inputs: int, kernel: int) -> Float32[Tensor, "outputs inputs kernel kernel"]:
    """Return normal weights of variance 1 / fan in, which keep the mean square (He et al. 2015, no activation)."""
    return nn.init.kaiming_normal_(torch.empty(outputs, inputs, kernel, kernel), nonlinearity="linear")


class _Head(nn.Module):
    """Halves a mixed map to about 4 pixels per side and returns a logit for each position, with a projection."""

    EACH: ClassVar = 3  # layers of a stage: a convolution, its normalisation, an activation

    def __init__(self, model: Projected, channels: int, size: Sequence[int], num_classes: int) -> None:
        super().__init__()
        halvings = max(0, round(math.log2(min(size) / SMALLEST_MAP)))
        self.stages = nn.Sequential()
        for inputs in [channels] + [model.head_width] * (max(1, halvings) - 1):
            geometry = (4, 2, 1) if halvings else (3, 1, 1)  # kernel, stride, padding
            self.stages.append(Conv2d(inputs, model.head_width, *geometry))
            self.stages.append(layers.norm(model.discriminator_norm, model.head_width))
            self.stages.append(nn.LeakyReLU(model.leak, inplace=True))
        self.score = layers.ProjectionHead(model.head_width, num_classes)

    def forward(self, x: Float[Tensor, "n c h w"], labels: Labels | None) -> Float32[Tensor, "n i j"]:
        features = self.stages(x).permute(0, 2, 3, 1)  # the order in memory, so that flatten copies nothing
        size = features.shape[:3]
        each = None if labels is None else labels.repeat_interleave(size[1] * size[2])
        logits: Tensor = self.score(features.flatten(0, 2), each)
        return logits.view(size)
