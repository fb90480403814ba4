"""Penalties on the discriminator's features: what its head reads of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import Positive
from gansmith.errors import ConfigError
from gansmith.penalties import DiscriminatorPass, FeatureViews, Penalty, PerSample
from gansmith.types import DiscriminatorOutput

__all__ = ["FakeContrast", "NoiseConsistency", "read_features"]


@dataclass(frozen=True, kw_only=True)
class NoiseConsistency(Penalty):
    """The same features under two draws of multiplicative noise, real and fake (NICE; Ni and Koniusz 2023).

    The noise acts on what D computes between its first layer and its features. Its standard deviation grows with
    overfitting, from 0 to ``deviation``: the guard's estimate (``guard/overfitting``), or the mean sign of the real
    logits while that is undefined. The penalty is the mean squared difference of the features. Unlike in the paper, the
    adversarial loss itself is computed without noise.

    Args:
        deviation: of the noise where D treats held-out images like generated ones.
    """

    reads_features: ClassVar[bool] = True
    reads_overfitting: ClassVar[bool] = True

    gamma: Positive = 10.0
    deviation: Positive = 0.5

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        views = _require_views(scored)
        deviation = self.deviation * views.overfitting.clamp(0, 1)
        one, two, other, another = (
            views.modulated(images, deviation)
            for images in (scored.real_images, scored.real_images, scored.fake_images, scored.fake_images)
        )
        return (one - two).square().mean(dim=1) + (other - another).square().mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class FakeContrast(Penalty):
    """Distinguish fake images, but not those of nearly the same latent (FakeCLR; Li et al. 2022).

    For features f of a fake image, k of the image of its latent plus noise, and k' of all such images of the step, it
    is -log(exp(f.k / t) / sum exp(f.k' / t)), with features of length 1 and temperature t (InfoNCE; van den Oord et
    al. 2018, eq. 4). Real images are left alone. Unlike in the paper, features are compared without a projection of
    their own, and with the images of one step instead of a queue.

    Args:
        temperature: t.
        deviation: of the noise on standard normal latents, which are scaled to a deviation of 1 again.
    """

    reads_features: ClassVar[bool] = True

    gamma: Positive = 0.2
    temperature: Positive = 0.07
    deviation: Positive = 0.3

    def per_sample(self, scored: DiscriminatorPass) -> PerSample:
        views = _require_views(scored)
        queries = F.normalize(read_features(scored.fake), dim=1)
        keys = F.normalize(views.neighbours(self.deviation), dim=1)
        return F.cross_entropy(queries @ keys.T / self.temperature, views.rows, reduction="none")


def read_features(output: DiscriminatorOutput) -> Float[Tensor, "n d"]:
    """Return the last features of a discriminator's output, float32, flat.

    Raises:
        ConfigError: it has none.
    """
    if not output.features:
        raise ConfigError(
            "config.penalties: noise-consistency and fake-contrast need a discriminator that returns features; leave "
            "them out or choose another model"
        )
    return output.features[-1].flatten(1).float()


def _require_views(scored: DiscriminatorPass) -> FeatureViews:
    """Return the feature views of a pass.

    Raises:
        ConfigError: the recipe's step provides none.
    """
    if scored.views is None:
        raise ConfigError("config.penalties: noise-consistency and fake-contrast need a recipe that provides features")
    return scored.views
