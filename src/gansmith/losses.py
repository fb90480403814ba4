"""Adversarial losses on logits, per sample and unreduced: the caller takes the mean."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import Component
from gansmith.types import DiscriminatorOutput, Logits

__all__ = [
    "LOSSES",
    "Hinge",
    "LeastSquares",
    "Loss",
    "RelativisticPairing",
    "Sigmoid",
    "Wasserstein",
    "discriminator_loss",
    "generator_loss",
]

AnyLogits: TypeAlias = Float[Tensor, "_"]  # [n], or [0] if the loss ignores real logits


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """What the discriminator and the generator minimise.

    Class attributes:
        pairs: whether the generator's loss reads real logits too; otherwise they are not computed.
    """

    table: ClassVar[str] = "gansmith.losses:LOSSES"
    pairs: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        """Return the discriminator's loss of each pair of a real and a fake image, [n]."""

    @abstractmethod
    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        """Return the generator's loss of each fake image, [n]; ``real`` is [0] unless ``pairs``."""


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Loss):
    """Sigmoid cross-entropy (Goodfellow et al. 2014, eq. 1).

    Args:
        saturating: the generator maximises D's loss (the minimax game as written, whose gradient vanishes while
            D wins) instead of minimising its own cross-entropy (the same paper, section 3).
    """

    saturating: bool = False

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return F.softplus(-real) + F.softplus(fake)

    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        return -F.softplus(fake) if self.saturating else F.softplus(-fake)


@dataclass(frozen=True, kw_only=True)
class LeastSquares(Loss):
    """Least squares with targets 0 and 1 (Mao et al. 2017, eq. 9)."""

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        return (fake - 1).square() / 2


@dataclass(frozen=True, kw_only=True)
class Hinge(Loss):
    """Hinge (Lim and Ye 2017; Miyato et al. 2018, eqs. 16 and 17)."""

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return F.relu(1 - real) + F.relu(1 + fake)

    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        return -fake


@dataclass(frozen=True, kw_only=True)
class Wasserstein(Loss):
    """Wasserstein critic (Arjovsky et al. 2017, eq. 2); D must be kept Lipschitz: a penalty or spectral norm."""

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return fake - real

    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        return -fake


@dataclass(frozen=True, kw_only=True)
class RelativisticPairing(Loss):
    """Softplus on paired logits (Jolicoeur-Martineau 2019; Huang et al. 2024, eq. 2)."""

    pairs: ClassVar[bool] = True

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return F.softplus(fake - real)

    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        return F.softplus(real - fake)


def discriminator_loss(loss: Loss, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Logits:
    """Return the discriminator's loss of each pair, [n]: the weighted sum of the heads' means over positions."""
    return _over_heads(loss.discriminator, real.heads, fake.heads, fake.weights)


def generator_loss(loss: Loss, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Logits:
    """Return the generator's loss of each fake image, [n]: the weighted sum of the heads' means over positions.

    Args:
        loss: the adversarial loss.
        real: of as many real images; None unless ``loss.pairs``.
        fake: of the generated images.
    """
    nothing = tuple(head.new_empty(0) for head in fake.heads)
    return _over_heads(loss.generator, real.heads if real else nothing, fake.heads, fake.weights)


def _over_heads(
    loss: Callable[[AnyLogits, Logits], Logits],
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    weights: Sequence[float],
) -> Logits:
    each = [
        loss(ours.flatten(), theirs.flatten()).view(len(theirs), -1).mean(1) if theirs.dim() > 1 else loss(ours, theirs)
        for ours, theirs in zip(real, fake, strict=True)
    ]
    total, *others = [weight * x for weight, x in zip(weights, each, strict=True)] if weights else each
    return sum(others, total)


LOSSES: dict[str, type[Loss] | str] = {
    "sigmoid": Sigmoid,
    "least-squares": LeastSquares,
    "hinge": Hinge,
    "wasserstein": Wasserstein,
    "relativistic": RelativisticPairing,
}
