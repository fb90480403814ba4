"""The basic GAN: two networks of dense layers (Goodfellow et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import nn

from gansmith.component import (
    Between,
)
from gansmith.models import layers
from gansmith.models.blocks import Block
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork, Model
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["Dense"]


@dataclass(frozen=True, kw_only=True)
class Dense(Model):
    """Networks of dense layers on flattened images.

    The generator gets the class as an embedding beside the latent, the discriminator by a projection.

    Args:
        width: units of each hidden layer.
        depth: number of hidden layers per network.
        activation: activation of the hidden layers of both networks.
        leak: slope of a leaky ReLU for negative inputs.
        generator_norm: normalisation after each hidden layer of the generator.
        dropout: dropout probability of the discriminator's hidden units.
        spectral_norm: apply spectral normalisation in the discriminator.
        init: initialisation of the weights.
    """

    width: Annotated[int, Between(1, 16_384)] = 256
    depth: Annotated[int, Between(1, 64)] = 1
    activation: layers.Activation = "relu"
    leak: float = 0.2
    generator_norm: layers.Norm = "none"
    dropout: Annotated[float, Between(0, 1, open_high=True)] = 0.0
    spectral_norm: bool = False
    init: layers.Initialization = "glorot"

    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        return _Generator(self, spec)

    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        return _Discriminator(self, spec)

    @property
    def batch_statistics(self) -> bool:
        return self.generator_norm == "batch"


class _Generator(GeneratorNetwork):
    def __init__(self, model: Dense, spec: ImageSpec) -> None:
        super().__init__()
        self.shape = (spec.channels, spec.height, spec.width)
        self.output = model.output
        self.embedding = nn.Embedding(spec.num_classes, model.z_dim) if spec.num_classes else None
        widths = [model.z_dim * (2 if spec.num_classes else 1)] + [model.width] * model.depth
        hidden: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            hidden += [nn.Linear(width, next_width), layers.norm(model.generator_norm, next_width, dims=1)]
            hidden += [layers.activation(model.activation, model.leak)]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], spec.channels * spec.height * spec.width))
        layers.initialize(self, model.init)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the dense layers, each hidden one with its normalisation."""
        last = len(self.layers) - 1
        blocks = [Block(kind="last", size=self.shape[1:], modules=(f"layers.{last}",))]
        for i in range(last - 3, -1, -3):
            modules = (f"layers.{i}", f"layers.{i + 1}")
            blocks.append(Block(kind="hidden" if i else "first", size=self.shape[1:], modules=modules))
        return tuple(blocks)

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        return layers.bound(self.layers(z), self.output).view(-1, *self.shape)


class _Discriminator(DiscriminatorNetwork):
    def __init__(self, model: Dense, spec: ImageSpec) -> None:
        super().__init__()
        widths = [spec.channels * spec.height * spec.width] + [model.width] * model.depth
        hidden: list[nn.Module] = []
        for width, next_width in pairwise(widths):
            hidden += [nn.Linear(width, next_width), layers.activation(model.activation, model.leak)]
            hidden += [layers.Dropout(model.dropout)]
        self.layers = nn.Sequential(*hidden)
        self.size = (spec.height, spec.width)
        self.head = layers.ProjectionHead(widths[-1], spec.num_classes)
        layers.initialize(self, model.init)
        if model.spectral_norm:
            layers.add_spectral_norm(self)

    def list_blocks(self) -> tuple[Block, ...]:
        """Return the hidden layers."""
        return tuple(
            Block(kind="hidden" if i else "first", size=self.size, modules=(f"layers.{i}",))
            for i in range(0, len(self.layers), 3)
        )

    def forward(self, images: Images, labels: Labels | None = None) -> Logits:
        logits: Logits = self.head(self.layers(images.flatten(1)), labels)
        return logits
