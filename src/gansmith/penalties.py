"""Penalties that keep the discriminator smooth, per sample and unreduced, all read from one pass through it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.component import Component, Positive, PositiveInt
from gansmith.types import Images, Labels, Logits

__all__ = ["PENALTIES", "R1", "R2", "DiscriminatorPass", "Penalty"]


@dataclass(frozen=True, kw_only=True)
class DiscriminatorPass:
    """What the discriminator was shown and what it said.

    Args:
        score: the discriminator: (images, labels) to logits.
        real_images: leaf of the graph that ``real_logits`` hang on, when a penalty is due.
        fake_images: likewise for ``fake_logits``.
        labels: of both, as fakes are made with the labels of the reals; None if unconditional.
        real_logits: float32 [n].
        fake_logits: float32 [n].
    """

    score: Callable[[Images, Labels | None], Logits]
    real_images: Images
    fake_images: Images
    labels: Labels | None
    real_logits: Logits
    fake_logits: Logits


@dataclass(frozen=True, kw_only=True)
class Penalty(Component):
    """A term added to the discriminator's loss.

    Args:
        gamma: its weight.
        every: computed at every so many steps, and weighted by as much (Karras et al. 2020, appendix B).
    """

    table: ClassVar[str] = "gansmith.penalties:PENALTIES"

    gamma: Positive = 1.0
    every: PositiveInt = 1

    @abstractmethod
    def per_sample(self, scored: DiscriminatorPass) -> Float[Tensor, "n"]:
        """The unweighted penalty."""


@dataclass(frozen=True, kw_only=True)
class R1(Penalty):
    """Half the squared gradient at the real images (Mescheder et al. 2018, eq. 9)."""

    def per_sample(self, scored: DiscriminatorPass) -> Float[Tensor, "n"]:
        return _squared_gradient(scored.real_logits, scored.real_images) / 2


@dataclass(frozen=True, kw_only=True)
class R2(Penalty):
    """Half the squared gradient at the fake images (Mescheder et al. 2018, eq. 10)."""

    def per_sample(self, scored: DiscriminatorPass) -> Float[Tensor, "n"]:
        return _squared_gradient(scored.fake_logits, scored.fake_images) / 2


def _squared_gradient(logits: Logits, images: Images) -> Float[Tensor, "n"]:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3))


PENALTIES: dict[str, type[Penalty] | str] = {"r1": R1, "r2": R2}
