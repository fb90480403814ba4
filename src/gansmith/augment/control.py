"""How probable the operations are: as a schedule says, or as the discriminator's overfitting asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.component import Between, Component, Fraction, Positive
from gansmith.schedules import Constant, Schedule

__all__ = ["AUGMENTS", "AdaptiveAugment", "Augment", "FixedAugment"]


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
    """A probability that rises while the discriminator is too sure of real images (Karras et al. 2020, section 3.1).

    Sure of them it becomes when it has learnt them by heart. It starts at 0.

    Args:
        target: the mean sign of the real logits that is aimed at, 0 being a coin's.
        kimg: thousands of images in which the probability can rise from 0 to 1.
        limit: the most that it can become; from 0.8 on, augmentation shows in the samples (figure 4 of the paper).
    """

    target: Annotated[float, Between(-1, 1)] = 0.6
    kimg: Positive = 500.0
    limit: Fraction = 0.8

    def adjusted(self, p: Tensor, signs: Float[Tensor, "2"], nimg: int) -> Tensor:
        """The next probability, in [0, limit], without waiting for the device.

        Args:
            p: the present one, without dimensions.
            signs: the sum of the signs of real logits since the last adjustment, and their number.
            nimg: images that the discriminator has seen since then.
        """
        total, num = signs
        # The sign of a logit that is no number is none: p stays where it is.
        direction = torch.sign(total - self.target * num).nan_to_num()
        return (p + direction * (nimg / (1000 * self.kimg))).clamp(0, self.limit)


AUGMENTS: dict[str, type[Augment] | str] = {"fixed": FixedAugment, "adaptive": AdaptiveAugment}
