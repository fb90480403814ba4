"""Adversarial losses on logits, per sample and unreduced: the caller takes the mean."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import Component
from gansmith.types import Logits

__all__ = ["LOSSES", "Hinge", "LeastSquares", "Loss", "RelativisticPairing", "Sigmoid", "Wasserstein"]


AnyLogits: TypeAlias = Float[Tensor, "_"]  # as many as there are fakes, or none where nobody looks at them


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """What the two networks minimise.

    Class attributes:
        pairs: whether the generator's loss looks at real logits too; where it does not, nobody computes them.
    """

    table: ClassVar[str] = "gansmith.losses:LOSSES"
    pairs: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        """The discriminator's loss, per pair of samples [n]."""

    @abstractmethod
    def generator(self, real: AnyLogits, fake: Logits) -> Logits:
        """The generator's loss, per sample [n]; ``real`` is empty unless ``pairs``."""


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


LOSSES: dict[str, type[Loss] | str] = {
    "sigmoid": Sigmoid,
    "least-squares": LeastSquares,
    "hinge": Hinge,
    "wasserstein": Wasserstein,
    "relativistic": RelativisticPairing,
}
