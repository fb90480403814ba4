"""How probable the operations are: as a schedule says, or as the discriminator's overfitting asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.component import Between, Component, Fraction, Positive
from gansmith.schedules import Constant, Schedule

__all__ = ["AUGMENTS", "AdaptiveAugment", "Augment", "FixedAugment"]

TARGETS = {"sign": 0.6, "held-out": 0.5}  # of the paper, section 3.1


@dataclass(frozen=True, kw_only=True)
class Augment(Component):
    """Random changes of all images, real and generated, before the discriminator sees them.

    Args:
        operations: names of ``gansmith.augment.OPERATIONS``; none for what is safe for the data.
    """

    table: ClassVar[str] = "gansmith.augment:AUGMENTS"

    operations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FixedAugment(Augment):
    """A given probability; 1, with "color", "translation" and "cutout", is DiffAugment (Zhao et al. 2020).

    Args:
        p: how probable it is that an operation happens to an image.
        schedule: what it is multiplied by as training goes on.
    """

    p: Fraction = 1.0
    schedule: Schedule = Constant()

    def p_at(self, fraction: float) -> float:
        """The probability after this fraction of training."""
        return min(1.0, self.p * self.schedule.factor(fraction))


@dataclass(frozen=True, kw_only=True)
class AdaptiveAugment(Augment):
    """A probability that rises while the discriminator knows its images by heart (Karras et al. 2020, section 3.1).

    It starts at 0.

    Args:
        by: what tells: the mean "sign" of real logits (of real less fake, with a loss on pairs), 0 being a coin's; or
            how far the logits of "held-out" images are on the way from training images to samples, which the guard
            measures now and then (its ``guard/overfitting``).
        target: of that figure; None for the paper's, 0.6 of the signs and 0.5 of the way.
        kimg: thousands of images in which the probability can rise from 0 to 1.
        limit: the most that it can become; from 0.8 on, augmentation shows in the samples (figure 4 of the paper).
    """

    by: Literal["sign", "held-out"] = "sign"
    target: Annotated[float, Between(-1, 1)] | None = None
    kimg: Positive = 500.0
    limit: Fraction = 0.8

    def adjusted(self, p: Float[Tensor, ""], figure: Float[Tensor, ""], nimg: int) -> Float[Tensor, ""]:
        """The next probability, in [0, limit], without waiting for the device.

        Args:
            p: the present one.
            figure: what tells; where it is no number, p stays where it is.
            nimg: images that the discriminator has seen since the last adjustment.
        """
        target = TARGETS[self.by] if self.target is None else self.target
        direction = torch.sign(figure - target).nan_to_num()
        return (p + direction * (nimg / (1000 * self.kimg))).clamp(0, self.limit)


AUGMENTS: dict[str, type[Augment] | str] = {"fixed": FixedAugment, "adaptive": AdaptiveAugment}
