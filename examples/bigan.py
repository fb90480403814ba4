"""PYTHONPATH=examples gansmith train mnist --recipe bigan:BiGAN

Trains an encoder beside the generator and the discriminator (BiGAN, Donahue et al. 2017): the discriminator tells
pairs (real image, its code) from pairs (generated image, its latent), so the encoder learns to invert the generator.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from gansmith.component import PositiveInt
from gansmith.data.resident import BatchAt
from gansmith.images.pixels import to_float
from gansmith.models.model import GeneratorNetwork
from gansmith.optimizers import Adam, Optimizer
from gansmith.training.config import Config
from gansmith.training.recipe import Builders, Recipe
from gansmith.training.state import TrainState
from gansmith.training.steps import descend, draw_latents, freeze, generate, next_batch
from gansmith.types import Images, ImageSpec, Labels, Latents, Logits

__all__ = ["BiGAN", "Encoder", "JointDiscriminator"]


def trunk(channels: int, width: int) -> nn.Sequential:
    """Images [n c h w] to features [n 32 width]."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
    )


class Encoder(nn.Module):
    """Images [n c h w] to codes [n z]."""

    def __init__(self, spec: ImageSpec, z_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(trunk(spec.channels, width), nn.Linear(32 * width, z_dim))

    def forward(self, images: Images) -> Latents:
        codes: Latents = self.layers(images)
        return codes


class JointDiscriminator(nn.Module):
    """Images [n c h w], their codes [n z] and labels to logits [n]."""

    def __init__(self, spec: ImageSpec, z_dim: int, width: int) -> None:
        super().__init__()
        self.trunk = trunk(spec.channels, width)
        self.classes = nn.Embedding(max(1, spec.num_classes), z_dim)
        self.head = nn.Sequential(nn.Linear(32 * width + z_dim, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))

    def forward(self, images: Images, codes: Latents, labels: Labels | None = None) -> Logits:
        codes = codes if labels is None else codes + self.classes(labels)
        logits: Tensor = self.head(torch.cat([self.trunk(images), codes], dim=1))
        return logits.squeeze(1).float()


@dataclass(frozen=True, kw_only=True)
class BiGAN(Recipe):
    """Adversarial feature learning (Donahue et al. 2017, eq. 3): generator and encoder against one discriminator.

    Args:
        width: channels of the first convolution of encoder and discriminator.
        encoder_optimizer: of the encoder.
    """

    ignores: ClassVar[frozenset[str]] = frozenset(
        {"penalties", "regularizers", "augment", "discriminator_steps", "reuse_fakes", "micro_batch"}
    )

    width: PositiveInt = 32
    encoder_optimizer: Optimizer = Adam()

    def networks(self, config: Config, spec: ImageSpec) -> Builders:
        z_dim = config.model.z_dim
        return {
            "generator": functools.partial(config.model.generator, spec),
            "encoder": functools.partial(Encoder, spec, z_dim, self.width),
            "discriminator": functools.partial(JointDiscriminator, spec, z_dim, self.width),
        }

    def optimizers(self, config: Config) -> Mapping[str, Optimizer]:
        players = {"generator": config.generator_optimizer, "discriminator": config.discriminator_optimizer}
        return {**players, "encoder": self.encoder_optimizer}

    def generator(self, networks: Mapping[str, nn.Module]) -> GeneratorNetwork:
        return cast(GeneratorNetwork, networks["generator"])

    def score(self, state: TrainState, images: Images, labels: Labels | None) -> Logits | None:
        return None

    def step(self, state: TrainState, batch_at: BatchAt) -> None:
        batch, loss = next_batch(state, batch_at), state.config.loss
        discriminate = functools.partial(state.networks["discriminator"], labels=batch.labels)
        real, z = to_float(batch.images, state.config.model.value_range), draw_latents(state, salt=0)
        fake, codes = generate(state, z, batch.labels), state.networks["encoder"](real)
        real_logits, fake_logits = discriminate(real, codes.detach()), discriminate(fake.detach(), z)
        loss_of_discriminator = loss.discriminator(real_logits, fake_logits)
        descend(state, loss_of_discriminator.mean(), ["discriminator"])
        state.nimg += state.config.batch_size
        with freeze(state.networks["discriminator"]):
            on_real, on_fake = discriminate(real, codes), discriminate(fake, z)
            loss_of_generator = loss.generator(on_real.detach(), on_fake)
            loss_of_encoder = loss.generator(-on_fake.detach(), -on_real)  # wants its pairs to pass as generated
            descend(state, (loss_of_generator + loss_of_encoder).mean(), ["generator", "encoder"])
        losses = {"loss/generator": loss_of_generator, "loss/encoder": loss_of_encoder}
        logits = {"logits/real": real_logits, "logits/fake": fake_logits}
        state.statistics.add({"loss/discriminator": loss_of_discriminator, **losses, **logits})
