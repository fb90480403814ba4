"""PYTHONPATH=examples gansmith train mnist --recipe two_generators:TwoGenerators

Trains two generators against one discriminator, each of half of the latents (after MGAN, Hoang et al. 2018, without
its classifier).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from gansmith.data.resident import BatchAt
from gansmith.models.model import GeneratorNetwork
from gansmith.optimizers import Optimizer
from gansmith.training.adversarial import discriminator_step, generator_step
from gansmith.training.config import Config
from gansmith.training.recipe import Builders, Recipe
from gansmith.training.state import TrainState
from gansmith.training.steps import draw_latents, generate, next_batch, score
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["Mixture", "TwoGenerators"]


class Mixture(GeneratorNetwork):
    """The sign of a latent's first number says which of two generators makes its image."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        is_first = (z[:, 0] > 0)[:, None, None, None]
        return torch.where(is_first, self.first(z, labels), self.second(z, labels))


@dataclass(frozen=True, kw_only=True)
class TwoGenerators(Recipe):
    """Two generators, of half of the latents each, against one discriminator."""

    averaged: ClassVar[tuple[str, ...]] = ("generator", "second_generator")
    generators: ClassVar[tuple[str, ...]] = ("generator", "second_generator")
    ignores: ClassVar[frozenset[str]] = frozenset({"discriminator_steps", "reuse_fakes"})

    def networks(self, config: Config, spec: ImageSpec) -> Builders:
        model = config.model
        return {
            "generator": functools.partial(model.generator, spec),
            "second_generator": functools.partial(model.generator, spec),
            "discriminator": functools.partial(model.discriminator, spec),
        }

    def optimizers(self, config: Config) -> Mapping[str, Optimizer]:
        generators = dict.fromkeys(self.generators, config.generator_optimizer)
        return {**generators, "discriminator": config.discriminator_optimizer}

    def generator(self, networks: Mapping[str, nn.Module]) -> GeneratorNetwork:
        return Mixture(networks["generator"], networks["second_generator"])

    def score(self, state: TrainState, images: Images, labels: Labels | None) -> Logits | None:
        return score(state, state.networks["discriminator"], images, labels).logits

    def step(self, state: TrainState, batch_at: BatchAt) -> None:
        batch, z = next_batch(state, batch_at), draw_latents(state, salt=0)
        fake = generate(state, z, batch.labels)
        discriminator_step(state, batch, fake.detach())
        state.nimg += state.config.batch_size
        generator_step(state, batch, fake, z)
