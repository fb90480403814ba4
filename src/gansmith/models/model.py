"""The interface of models: hyper-parameters that create a generator and a discriminator for images of any shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from gansmith.component import (
    Between,
    Component,
)
from gansmith.images.pixels import SIGNED, UNIT, ValueRange
from gansmith.types import DiscriminatorOutput, Images, ImageSpec, Labels, Latents, Logits

__all__ = ["DiscriminatorNetwork", "GeneratorNetwork", "Model", "suspend_training"]


class GeneratorNetwork(nn.Module, ABC):
    """Maps latents and labels to images."""

    @abstractmethod
    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        """Generate one image per latent.

        Args:
            z: float32 [n z].
            labels: int64 [n] for a conditional network, else None.

        Returns:
            float32 [n c h w] in the model's ``value_range``.
        """


class DiscriminatorNetwork(nn.Module, ABC):
    """Maps images and labels to logits.

    Attributes:
        head_weights: factor on the loss of each head that it returns.
    """

    head_weights: tuple[float, ...] = (1.0,)

    @abstractmethod
    def forward(self, images: Images, labels: Labels | None = None) -> Logits | DiscriminatorOutput:
        """Return the logit of each image, float32 [n], or those of several heads; higher means "real"."""


@dataclass(frozen=True, kw_only=True)
class Model(Component):
    """The hyper-parameters of a generator and a discriminator.

    A model whose discriminator looks through a pretrained network has an attribute or field ``backbone`` with its name;
    see ``gansmith.models.pretrained``.

    Args:
        z_dim: length of the latent vector.
        latent: distribution of latents: standard "normal", or "uniform" in [-1, 1].
        output: the generator's last activation: "tanh" for pixels in [-1, 1], "sigmoid" for [0, 1]. Real images are
            scaled to the same range.
    """

    table: ClassVar[str] = "gansmith.models:MODELS"

    z_dim: Annotated[int, Between(1, 16_384)] = 100
    latent: Literal["normal", "uniform"] = "normal"
    output: Literal["tanh", "sigmoid"] = "tanh"

    @abstractmethod
    def generator(self, spec: ImageSpec) -> GeneratorNetwork:
        """Create a generator for images of a shape, initialised from torch's global random state."""

    @abstractmethod
    def discriminator(self, spec: ImageSpec) -> DiscriminatorNetwork:
        """Create a discriminator for images of a shape, initialised from torch's global random state."""

    @property
    @abstractmethod
    def batch_statistics(self) -> bool:
        """Whether an output depends on the other images of the batch in training, so that N ranks differ from one."""

    @property
    def value_range(self) -> ValueRange:
        """The values of black and white in these networks."""
        return SIGNED if self.output == "tanh" else UNIT

    def draw_latents(self, num: int, generator: torch.Generator) -> Latents:
        """Draw latents, float32 [num z], on the CPU, so that they are the same for every device."""
        if self.latent == "normal":
            return torch.randn(num, self.z_dim, generator=generator)
        return torch.rand(num, self.z_dim, generator=generator) * 2 - 1


@contextmanager
def suspend_training(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, without gradients, and back into its mode after the block."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)
