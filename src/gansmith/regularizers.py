"""Regularizers added to the generator's loss, per sample and unreduced, read from one pass through both networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from gansmith.errors import ConfigError
from gansmith.penalties import PerSample, Term
from gansmith.types import DiscriminatorOutput, Images, Labels, Latents

__all__ = ["REGULARIZERS", "FeatureMatching", "GeneratorPass", "ModeSeeking", "Regularizer"]


@dataclass(frozen=True, kw_only=True)
class GeneratorPass:
    """One pass through the generator and the discriminator.

    Args:
        generate: (latents, labels) to further images, through which the generator learns.
        latents: of the fake images, float32 [n z].
        fresh_latents: draws other ones, float32 [n z].
        labels: of the fake images; None if unconditional.
        fake_images: in the model's range; gradients flow on to the generator.
        fake: the discriminator's output of the fake images, augmented.
        real: its output of as many real images, augmented, without a graph; None unless asked for.
    """

    generate: Callable[[Latents, Labels | None], Images]
    latents: Latents
    fresh_latents: Callable[[], Latents]
    labels: Labels | None
    fake_images: Images
    fake: DiscriminatorOutput
    real: DiscriminatorOutput | None


@dataclass(frozen=True, kw_only=True)
class Regularizer(Term):
    """A term added to the generator's loss.

    Args:
        gamma: its weight.
        every: computed at every so many steps, and weighted by as much (Karras et al. 2020, appendix B).
        schedule: factor on gamma as training proceeds.

    Class attributes:
        reads_real: whether it reads the discriminator's output of real images; otherwise it is not computed.
    """

    table: ClassVar[str] = "gansmith.regularizers:REGULARIZERS"
    reads_real: ClassVar[bool] = False

    @abstractmethod
    def per_sample(self, scored: GeneratorPass) -> PerSample:
        """Return the unweighted term of each fake image, [n]."""


@dataclass(frozen=True, kw_only=True)
class ModeSeeking(Regularizer):
    """Distance of two latents over that of their images, against mode collapse (Mao et al. 2019, eq. 3, inverted).

    Both distances are means of absolute differences, as in the paper; a second image is generated for each.
    """

    def per_sample(self, scored: GeneratorPass) -> PerSample:
        z = scored.fresh_latents()
        of_images = (scored.fake_images - scored.generate(z, scored.labels)).abs().flatten(1).mean(1)
        of_latents = (scored.latents - z).abs().mean(1)
        return of_latents / (of_images + 1e-5)


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Regularizer):
    """Squared distance of the batch means of the discriminator's features (Salimans et al. 2016, section 3.1).

    For discriminators that return features; the means are those of a rank's micro-batch.
    """

    reads_real: ClassVar[bool] = True

    def per_sample(self, scored: GeneratorPass) -> PerSample:
        if scored.real is None or not scored.fake.features:
            raise ConfigError("regularizers: feature-matching needs a discriminator that returns features")
        pairs = zip(scored.real.features, scored.fake.features, strict=True)
        distance = sum((fake.float().mean(0) - real.float().mean(0)).square().mean() for real, fake in pairs)
        return distance * scored.latents.new_ones(len(scored.latents))


REGULARIZERS: dict[str, type[Regularizer] | str] = {
    "mode-seeking": ModeSeeking,
    "feature-matching": FeatureMatching,
}
