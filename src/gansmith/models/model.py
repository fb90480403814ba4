"""What a model is: hyper-parameters that make a generator and a discriminator for any image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from gansmith.component import (
    Between,
    Component,
)
from gansmith.images.pixels import SIGNED, UNIT, ValueRange
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["DiscriminatorNetwork", "GeneratorNetwork", "Model"]


class GeneratorNetwork(nn.Module, ABC):
    """Latents and labels to images."""

    @abstractmethod
    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        """Make one image per latent.

        Args:
            z: float32 [n z].
            labels: int64 [n] for a conditional network, else None.

        Returns:
            float32 [n c h w] in the model's ``value_range``.
        """


class DiscriminatorNetwork(nn.Module, ABC):
    """Images and labels to logits."""

    @abstractmethod
    def forward(self, images: Images, labels: Labels | None = None) -> Logits:
        """Score each image; returns float32 [n], higher means "real"."""


@dataclass(frozen=True, kw_only=True)
class Model(Component):
    """A pair of networks, described by its hyper-parameters.

    Args:
        z_dim: length of the latent vector.
        latent: its distribution: standard normal, or uniform in [-1, 1].
        output: what bounds the generator's pixels: "tanh" works in [-1, 1], "sigmoid" in [0, 1]. Real images are
            brought to the same range.
    """

    table: ClassVar[str] = "gansmith.models:MODELS"

    z_dim: Annotated[int, Between(1, 16_384)] = 100
    latent: Literal["normal", "uniform"] = "normal"
    output: Literal["tanh", "sigmoid"] = "tanh"

    @abstractmethod
    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        """A fresh generator for such images, initialised from torch's global random state."""

    @abstractmethod
    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        """A fresh discriminator for such images."""

    @property
    @abstractmethod
    def batch_statistics(self) -> bool:
        """Whether an image's output depends on its batch while training, so that N ranks differ from one."""

    @property
    def value_range(self) -> ValueRange:
        """What the darkest and the brightest pixel are in these networks."""
        return SIGNED if self.output == "tanh" else UNIT

    def draw_latents(self, num: int, generator: torch.Generator) -> Latents:
        """Random latents, float32 [num z], on the CPU, where they are the same for every device."""
        if self.latent == "normal":
            return torch.randn(num, self.z_dim, generator=generator)
        return torch.rand(num, self.z_dim, generator=generator) * 2 - 1
